//! Putting the document together: what the handlers say, the groups, and what all operations share.

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::{complete, schemas};
use crate::control::api::endpoints::GROUPS;
use crate::control::api::shapes::Error;

const ABOUT: &str = "Create sandboxes, publish their ports as previews, create and revoke preview tokens and share links.

Every call carries `Authorization: Bearer msk_…`. Bodies are JSON objects of at most 1 MiB. Fields that an operation does not have are ignored and \
listed in the response's `warnings` (in `data` where that is an object); with `?strict=1` they are a 422. Times are RFC 3339 in UTC. The response to \
a change is sent once the change is durable and this process serves visitors by it.

All errors have one shape, `Error`, and every response has `X-Request-Id`.";

/// What responses refer to that no handler names.
#[derive(OpenApi)]
#[openapi(components(schemas(Error)))]
struct Common;

/// The document about what the router serves.
pub(super) fn of(served: utoipa::openapi::OpenApi) -> Value {
    let mut described = Common::openapi();
    described.merge(served);
    let mut described = serde_json::to_value(described).unwrap_or_default();
    let mut part = |pointer: &str| match described.pointer_mut(pointer).map(Value::take) {
        Some(Value::Object(part)) => part,
        _ => Map::new(),
    };
    let mut paths = complete::paths(part("/paths"));
    let schemas = schemas::complete(part("/components/schemas"), &paths);
    complete::bodies(&mut paths, &schemas);
    let tags = GROUPS.map(|(name, about, _)| json!({ "name": name, "description": about }));
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
