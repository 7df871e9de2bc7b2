//! Giving tickets for streams.

use std::time::Duration;

use aws_lc_rs::rand;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::tickets::{PREFIX, Ticket};
use super::{ApiState, Problem, keys, shapes};

/// How long a ticket is good for, seconds.
const LIFETIME: i64 = 60;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(create)).routes(routes!(create_by_other_name))
}

/// Create a stream ticket.
///
/// For `?ticket=` of a browser's `EventSource`, which cannot send an `Authorization` header. It grants what its creator may do when it is
/// used.
#[utoipa::path(
    post, path = "/auth/sse-ticket", tag = "Delegation", operation_id = "create_ticket", security(("api_key" = [])),
    responses((status = 200, body = shapes::Ticket),
        (status = 429, description = "`rate_limit_exceeded`: too many tickets are waiting to be used")),
)]
async fn create(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| {
        let message = "The ticket could not be created.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    })?;
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let now = state.clock.now();
    let expires_at = now.saturating_add(SignedDuration::from_secs(LIFETIME)).unwrap_or(now);
    let ticket = Ticket { tenant: caller.tenant, credential: caller.credential, expires_at };
    if !state.tickets.put(keys::hash(&secret), ticket, now) {
        let message = "Too many tickets are waiting to be used.";
        let wait = Duration::from_secs(LIFETIME.unsigned_abs());
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
            .with_retry_after(wait));
    }
    Ok(Json(json!({ "ticket": secret, "expires_in": LIFETIME })))
}

/// Create a stream ticket under its other name.
#[utoipa::path(
    post, path = "/sse/ticket", tag = "Delegation", operation_id = "create_ticket_by_other_name", security(("api_key" = [])),
    responses((status = 200, body = shapes::Ticket),
        (status = 429, description = "`rate_limit_exceeded`: too many tickets are waiting to be used")),
)]
async fn create_by_other_name(
    state: State<ApiState>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    create(state, caller).await
}
