//! The control API, `/api/v1`: what a tenant's backend calls. One file a resource. Every write waits until this process's own tables
//! hold it before it is answered, so that whoever creates a sandbox can open it at once.
//!
//! A new endpoint: declare its bodies in `shapes/`, write `#[utoipa::path(…)]` above the handler as its neighbours do (first line of the
//! doc comment = summary; errors only where they do not follow from the shape, see `document/complete.rs`), register it by `routes!`, name
//! its path parameters in `complete::PLACES` and a new tag in `build::TAGS`, then `UPDATE_GOLDEN=1 cargo test --lib api::document`.

mod api_keys;
mod asset;
mod audit;
mod audit_entry;
mod auth;
mod bulk;
mod cors;
mod credits;
mod custom_domains;
mod delegation;
mod document;
mod domain_record;
mod embed;
mod endpoints;
mod events;
mod fields;
mod filter;
mod front;
pub mod keys;
mod lifecycle;
mod listing;
mod preview_domain;
mod previews;
mod problem;
mod quotas;
mod readiness;
mod render;
mod sandboxes;
mod sdk;
mod settings;
mod shapes;
mod shares;
mod stream_tickets;
mod tenant;
mod tickets;
mod tokens;
mod unknown;
mod usage;
mod webhook_deliveries;
mod webhooks;
mod workspaces;

pub use document::openapi;
pub use problem::Problem;
pub use settings::{ApiSettings, ApiState};
pub use tenant::is_origin;
pub use tickets::Tickets;
pub use tokens::{Minted, TokenOrder, mint as mint_preview_token};

use axum::extract::DefaultBodyLimit;
use axum::{Extension, Router, middleware};

/// The largest request body, octets.
const MAX_BODY: usize = 1 << 20;

/// All routes.
pub fn router(state: ApiState) -> Router {
    Router::from(endpoints::described())
        .method_not_allowed_fallback(sdk::method_not_allowed)
        .fallback(front::fallback)
        .layer(middleware::from_fn(unknown::warn))
        .layer(Extension(document::declared()))
        .layer(Extension(document::served()))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(cors::layer(&state))
        .layer(middleware::from_fn(problem::with_request_id))
        .with_state(state)
}
