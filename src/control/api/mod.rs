//! The control API, `/api/v1`: what a tenant's backend calls. One file a resource. Every write waits until this process's own tables
//! hold it before the response is sent, so that whoever creates a sandbox can open it at once.
//!
//! A new endpoint is a shape, a handler and a test. Declare its bodies in `shapes/`, with their bounds, to which `Fields` holds what is
//! sent; write the handler with `#[utoipa::path(…)]` as its neighbours do (its name = the operation's id, first line of the doc comment =
//! summary, `security` = the scopes of which the caller has one when the handler runs, errors only where they do not follow from the shape,
//! see `document/complete.rs`, and placeholders of its path that nobody else has), and name it in the file's `endpoints!`. A new file is named
//! here and in `endpoints.rs`. `UPDATE_GOLDEN=1 cargo test --lib api::document` writes the document.

mod api_keys;
mod asset;
mod audit;
mod audit_entry;
mod auth;
mod bulk;
mod confine;
mod cors;
mod credits;
mod custom_domains;
mod delegation;
mod document;
mod domain_record;
mod embed;
mod endpoints;
mod events;
mod fairness;
mod fields;
mod filter;
mod front;
pub mod keys;
mod lifecycle;
mod listing;
mod minting;
mod operations;
mod prelude;
mod preview_domain;
mod previews;
mod problem;
mod quotas;
mod readiness;
mod render;
mod reply;
mod sandboxes;
mod sdk;
mod settings;
mod shapes;
mod shares;
mod short_links;
mod stream_tickets;
mod tenant;
mod tickets;
mod tokens;
mod twins;
mod unknown;
mod usage;
mod webhook_deliveries;
mod webhooks;
mod workspaces;
mod zones;

pub use document::openapi;
pub use fairness::{Fairness, Shares};
pub use minting::{Minted, TokenOrder, mint as mint_preview_token};
pub use problem::Problem;
pub use settings::{ApiSettings, ApiState, Permits};
pub use short_links::{LinkOrder, ShortLink, short_link};
pub use tenant::is_origin;
pub use tickets::Tickets;

use axum::extract::DefaultBodyLimit;
use axum::{Extension, Router, middleware};

/// The largest request body, bytes.
const MAX_BODY: usize = 1 << 20;

/// All routes.
pub fn router(state: ApiState) -> Router {
    Router::from(endpoints::described())
        .method_not_allowed_fallback(sdk::method_not_allowed)
        .fallback(front::fallback)
        .layer(middleware::from_fn(unknown::warn))
        .layer(Extension(operations::Described(document::operations)))
        .layer(Extension(document::served()))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(cors::layer(&state))
        .layer(middleware::from_fn(problem::with_request_id))
        .with_state(state)
}
