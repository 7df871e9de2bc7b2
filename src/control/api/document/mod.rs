//! The API document (OpenAPI 3.1): what `#[utoipa::path]` says beside each handler, put together by the router itself, so that nothing is
//! served which is not described; completed by what follows from an operation's shape. The same bytes are served and kept in
//! `docs/openapi.json`.

mod build;
mod complete;
mod demands;
mod known;
mod page;
mod schemas;
pub(super) mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use axum::http::Method;
use serde_json::Value;

use super::endpoints;
use super::unknown::{Declared, Level};
use crate::model::KeyScope;

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

/// What the bodies of calls may hold.
pub(super) fn declared() -> Declared {
    static KNOWN: LazyLock<BTreeMap<(String, String), Level>> =
        LazyLock::new(|| known::of(document()));
    fn find(method: &Method, route: &str) -> Option<&'static Level> {
        known::find(&KNOWN, method, route)
    }
    Declared(find)
}

/// What is served: made when it is first asked for.
pub(super) fn served() -> serve::Served {
    serve::Served { text: openapi }
}

/// The scopes that operations ask for.
pub(super) fn demands() -> &'static HashMap<String, Vec<KeyScope>> {
    static DEMANDS: LazyLock<HashMap<String, Vec<KeyScope>>> =
        LazyLock::new(|| demands::of(document()));
    &DEMANDS
}

/// The operations that stream, by method and path.
pub(super) fn streams() -> &'static HashSet<String> {
    static STREAMS: LazyLock<HashSet<String>> = LazyLock::new(|| demands::streams(document()));
    &STREAMS
}

fn document() -> &'static Value {
    &DOCUMENT
}
