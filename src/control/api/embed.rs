//! The script that a customer's page embeds previews with, and its types. Anybody may have them: they hold no secret, and a page that
//! loads them has no API key. The version in the path changes when a page that uses them would have to.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ApiState, keys};

const SCRIPT: &str = include_str!("../../../embed/portico-embed.js");
const TYPES: &str = include_str!("../../../embed/portico-embed.d.ts");

static SCRIPT_TAG: LazyLock<String> = LazyLock::new(|| tag(SCRIPT));
static TYPES_TAG: LazyLock<String> = LazyLock::new(|| tag(TYPES));

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(script)).routes(routes!(types))
}

/// Gives the script that a page embeds previews with.
#[utoipa::path(
    get, path = "/embed/v1/portico-embed.js", tag = "Reference", operation_id = "get_embed_script", security(()),
    responses(
        (status = 200, body = String, content_type = "text/javascript"),
        (status = 304, description = "`If-None-Match` names the version that it still is"),
    ),
)]
async fn script(headers: HeaderMap) -> Response {
    answer(&headers, (SCRIPT, &SCRIPT_TAG, "text/javascript; charset=utf-8"))
}

/// Gives the types of that script.
#[utoipa::path(
    get, path = "/embed/v1/portico-embed.d.ts", tag = "Reference", operation_id = "get_embed_types", security(()),
    responses(
        (status = 200, body = String, content_type = "application/typescript"),
        (status = 304, description = "`If-None-Match` names the version that it still is"),
    ),
)]
async fn types(headers: HeaderMap) -> Response {
    answer(&headers, (TYPES, &TYPES_TAG, "application/typescript; charset=utf-8"))
}

fn tag(text: &str) -> String {
    let hash = keys::hash(text);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash.get(..12).unwrap_or_default()))
}

fn answer(asked: &HeaderMap, (text, tag, kind): (&'static str, &str, &'static str)) -> Response {
    let known = asked.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let mut tags = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        // Weak comparison: a cache on the way may have weakened it (RFC 9110 section 13.1.2).
        tags.any(|own| own == b"*" || own.strip_prefix(b"W/").unwrap_or(own) == tag.as_bytes())
    });
    let mut response =
        if known { StatusCode::NOT_MODIFIED.into_response() } else { text.into_response() };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A page that isolates itself (COEP) may load it as well.
        (header::HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
