//! The API for pages in browsers: which origins may read its responses. Nothing here lets anybody do anything, because no cookie is a
//! credential of the API: a page needs a token. A preflight carries none, so nobody knows yet whose it will be; that is why an origin
//! that any tenant has named is admitted, beside those of the configuration.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Method, header, request};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::ApiState;
use crate::base::request_id::X_REQUEST_ID;

/// How long a browser may remember an approval.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Responds to preflights, and says on every response, errors too, who may read it.
pub(super) fn layer(state: &ApiState) -> CorsLayer {
    let (settings, routes) = (Arc::clone(&state.settings), Arc::clone(&state.routes));
    let admits = move |origin: &HeaderValue, parts: &request::Parts| {
        // What is not the API speaks for itself.
        parts.uri.path().starts_with("/api/v1/")
            && origin.to_str().is_ok_and(|origin| {
                settings.allowed_origins.iter().any(|own| own == origin)
                    || routes.is_allowed_origin(origin)
            })
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(admits))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // Clients add fields of their own, and there is none that the API would have to fear.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([X_REQUEST_ID, header::RETRY_AFTER])
        .max_age(REMEMBERED)
}
