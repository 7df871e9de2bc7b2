//! The API document (OpenAPI 3.1): what `#[utoipa::path]` says beside each handler, put together by the router itself, so that nothing is
//! served which is not described; completed by what follows from an operation's shape. The same bytes are served and kept in
//! `docs/openapi.json`.

mod build;
mod complete;
mod page;
mod schemas;
pub(super) mod serve;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde_json::Value;

use super::endpoints;
use super::operations::{self, Operations};

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| build::of(endpoints::described().into_openapi()));
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(document()).unwrap_or_default();
    text.push('\n');
    text
});

/// The document, as it is served and kept in the repository.
pub fn openapi() -> &'static str {
    &TEXT
}

/// What is served: made when it is first asked for.
pub(super) fn served() -> serve::Served {
    serve::Served { text: openapi }
}

/// What it says of each operation.
pub(super) fn operations() -> &'static Operations {
    static OPERATIONS: LazyLock<Operations> = LazyLock::new(|| operations::of(document()));
    &OPERATIONS
}

fn document() -> &'static Value {
    &DOCUMENT
}
