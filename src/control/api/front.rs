//! What is at the root of the API's listener: where everything else is.

use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};

use super::sdk;

/// For who opens the listener's address in a browser.
const FRONT: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
    <title>Portico API</title>\n<h1>Portico API</h1>\n<ul>\n<li><a href=\"/api/v1/docs\">Reference</a>\n\
    <li><a href=\"/api/v1/openapi.json\">OpenAPI document</a>\n</ul>\n\
    <p>Metrics and health are at the admin listener (<code>admin.listen</code>).</p>\n</html>\n";

/// Whatever has no endpoint of its own.
pub(super) async fn fallback(request: Request) -> Response {
    let path = request.uri().path();
    let is_front = matches!(path, "/" | "/api" | "/api/" | "/api/v1" | "/api/v1/");
    if is_front && matches!(*request.method(), Method::GET | Method::HEAD) {
        let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
        let policy =
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
        return ([kind, policy], FRONT).into_response();
    }
    sdk::no_such_route(request).await.into_response()
}
