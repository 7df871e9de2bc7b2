//! Serving the document, and the page that shows it.

use axum::Extension;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::control::api::ApiState;

/// What is served. It is handed in, as the document describes these operations as well.
#[derive(Clone, Copy)]
pub(in crate::control::api) struct Served {
    pub(super) text: fn() -> &'static str,
}

pub(in crate::control::api) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(get_api_document)).merge(page::routes())
}

/// Get this document.
#[utoipa::path(
    get, path = "/openapi.json", security(()),
    responses((status = 200, body = Object, description = "An OpenAPI 3.1 document")),
)]
async fn get_api_document(Extension(served): Extension<Served>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], (served.text)()).into_response()
}
