//! The control API, `/api/v1`: what a tenant's backend calls. One file a resource. Every write waits until this process's own tables
//! hold it before it is answered, so that whoever creates a sandbox can open it at once.

mod api_keys;
mod auth;
mod bulk;
mod embed;
mod fields;
mod filter;
pub mod keys;
mod lifecycle;
mod listing;
mod previews;
mod problem;
mod readiness;
mod render;
mod sandboxes;
mod settings;
mod tenant;
mod tokens;

pub use problem::Problem;
pub use settings::{ApiSettings, ApiState};
pub use tokens::{Minted, TokenOrder, mint as mint_preview_token};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;

/// The largest request body, octets.
const MAX_BODY: usize = 1 << 20;

/// All routes.
pub fn router(state: ApiState) -> Router {
    let v1 = Router::new()
        .merge(api_keys::routes())
        .merge(bulk::routes())
        .merge(lifecycle::routes())
        .merge(previews::routes())
        .merge(readiness::routes())
        .merge(sandboxes::routes())
        .merge(tenant::routes())
        .merge(tokens::routes())
        .method_not_allowed_fallback(problem::method_not_allowed);
    Router::new()
        .nest("/api/v1", v1)
        .merge(embed::routes())
        .fallback(problem::no_such_route)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(problem::with_request_id))
        .with_state(state)
}
