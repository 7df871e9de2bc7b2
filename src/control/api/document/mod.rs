//! The API document (OpenAPI 3.1): what `#[utoipa::path]` says beside each handler, put together by the router itself, so that nothing is
//! served which is not described; completed by what follows from an operation's shape. The same bytes are served and kept in
//! `docs/openapi.json`.

mod complete;
mod kind;
mod page;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::shapes::Error;

const ABOUT: &str = "Creates sandboxes, publishes their ports as previews, mints and revokes preview tokens.

Every call carries `Authorization: Bearer msk_…`. Bodies are JSON objects of at most 1 MiB; keys that are not described are ignored. Times are \
RFC 3339 in UTC. A change is answered once it is durable and this process serves visitors by it.

All errors have one shape, `Error`, and every answer has `X-Request-Id`.";

/// The groups of operations, in the order in which they are read.
const TAGS: &[(&str, &str)] = &[
    ("Sandboxes", "What is previewed: create, find, change, destroy."),
    ("Previews", "Published ports of a sandbox."),
    ("Preview tokens", "Credentials that open the private ports of one sandbox."),
    (
        "Share links",
        "Links that open a sandbox, or one published port of it, without any other credential.",
    ),
    ("Usage", "What sandboxes took up, and what their visitors moved."),
    ("Workspaces", "Groups of sandboxes."),
    ("Tenant", "The caller, its face on the pages that visitors meet, and its rules."),
    (
        "Domains",
        "Where previews are served: domains of the tenant, of workspaces and projects, and exact host names.",
    ),
    ("Quotas", "What the tenant's end users may have."),
    ("Webhooks", "Endpoints of the tenant's that are told of events."),
    ("Events", "What happens, as streams of server-sent events."),
    ("API keys", "Credentials of this API, for keys with the scope `*`."),
    ("Delegation", "Credentials for the browser of one end user."),
    ("Reference", "This document, and the script that a customer's page embeds previews with."),
];

/// What answers refer to that no handler names.
#[derive(OpenApi)]
#[openapi(components(schemas(Error)))]
struct Common;

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
});

/// The document, as it is served and kept in the repository.
pub fn openapi() -> &'static str {
    &TEXT
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(show)).routes(routes!(page::show))
}

fn document() -> Value {
    let mut described = Common::openapi();
    described.merge(super::described().into_openapi());
    let mut described = serde_json::to_value(described).unwrap_or_default();
    let mut part = |pointer: &str| match described.pointer_mut(pointer).map(Value::take) {
        Some(Value::Object(part)) => part,
        _ => Map::new(),
    };
    let mut paths = complete::paths(part("/paths"));
    let schemas = schemas::complete(part("/components/schemas"), &paths);
    complete::bodies(&mut paths, &schemas);
    let tag = |(name, about): &(&str, &str)| json!({ "name": name, "description": about });
    let tags: Vec<Value> = TAGS.iter().map(tag).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portico control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": complete::shared_responses(),
            "headers": complete::headers(),
            "securitySchemes": {
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `msk_…`. Where a scope is named, the key must have it or `*`.",
                },
            },
        },
    })
}

/// Gives this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "Reference", operation_id = "get_api_document", security(()),
    responses((status = 200, body = Object, description = "An OpenAPI 3.1 document")),
)]
async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi()).into_response()
}
