//! Serving the document and the page that is made of it.

use std::sync::LazyLock;

use axum::Extension;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::STYLE;
use crate::control::api::{ApiState, keys};

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(keys::hash(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// What is served. It is handed in, as the document describes these operations as well.
#[derive(Clone, Copy)]
pub(in crate::control::api) struct Served {
    pub(super) text: fn() -> &'static str,
    pub(super) page: fn() -> &'static str,
}

pub(in crate::control::api) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(show)).routes(routes!(read))
}

/// Gives this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "Reference", operation_id = "get_api_document", security(()),
    responses((status = 200, body = Object, description = "An OpenAPI 3.1 document")),
)]
async fn show(Extension(served): Extension<Served>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], (served.text)()).into_response()
}

/// Gives this document as a page to read.
#[utoipa::path(
    get, path = "/docs", tag = "Reference", operation_id = "get_api_page", security(()),
    responses((status = 200, body = String, content_type = "text/html")),
)]
async fn read(Extension(served): Extension<Served>) -> Response {
    let fields = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (fields, Html((served.page)())).into_response()
}
