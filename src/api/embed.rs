//! The script that a customer's page embeds previews with, and its types. Anybody may have them: they hold no secret, and a page that
//! loads them has no API key. The version in the path changes when a page that uses them would have to.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{ApiState, keys, problem};

const SCRIPT: &str = include_str!("../../embed/portico-embed.js");
const TYPES: &str = include_str!("../../embed/portico-embed.d.ts");

static SCRIPT_TAG: LazyLock<String> = LazyLock::new(|| tag(SCRIPT));
static TYPES_TAG: LazyLock<String> = LazyLock::new(|| tag(TYPES));

pub(super) fn routes() -> Router<ApiState> {
    let script = async |headers: HeaderMap| {
        answer(&headers, (SCRIPT, &SCRIPT_TAG, "text/javascript; charset=utf-8"))
    };
    let types = async |headers: HeaderMap| {
        answer(&headers, (TYPES, &TYPES_TAG, "application/typescript; charset=utf-8"))
    };
    Router::new()
        .route("/embed/v1/portico-embed.js", get(script))
        .route("/embed/v1/portico-embed.d.ts", get(types))
        .method_not_allowed_fallback(problem::method_not_allowed)
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
