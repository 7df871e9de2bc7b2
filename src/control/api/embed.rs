//! The script that a customer's page embeds previews with, and its types. Anybody may have them: they hold no secret, and a page that
//! loads them has no API key. The version in the path changes when a page that uses them would have to.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use super::asset::Asset;
use super::prelude::endpoints;

static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(include_str!("../../../embed/portico-embed.js"), "text/javascript; charset=utf-8")
});
static TYPES: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        include_str!("../../../embed/portico-embed.d.ts"),
        "application/typescript; charset=utf-8",
    )
});

endpoints!([get_embed_script], [get_embed_types]);

/// Get the embed script.
///
/// Embeds previews in a page.
#[utoipa::path(
    get, path = "/embed/v1/portico-embed.js", security(()),
    responses(
        (status = 200, body = String, content_type = "text/javascript"),
        (status = 304, description = "`If-None-Match` names the version that it still is"),
    ),
)]
async fn get_embed_script(headers: HeaderMap) -> Response {
    open_to_all(&SCRIPT, &headers)
}

/// Get the types of the embed script.
#[utoipa::path(
    get, path = "/embed/v1/portico-embed.d.ts", security(()),
    responses(
        (status = 200, body = String, content_type = "application/typescript"),
        (status = 304, description = "`If-None-Match` names the version that it still is"),
    ),
)]
async fn get_embed_types(headers: HeaderMap) -> Response {
    open_to_all(&TYPES, &headers)
}

fn open_to_all(asset: &Asset, asked: &HeaderMap) -> Response {
    let mut response = asset.respond(asked, "public, max-age=3600");
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        // A page that isolates itself (COEP) may load it as well.
        (header::HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
