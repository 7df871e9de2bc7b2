//! Giving tickets for streams.

use std::time::Duration;

use super::keys;
use super::prelude::*;
use super::tickets::{PREFIX, Ticket};
use super::twins::twin;

/// How long a ticket is good for, seconds.
const LIFETIME: u64 = 60;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let other_name = [
        ("/auth/sse-ticket", "/sse/ticket"),
        ("\"create_ticket\"", "\"create_ticket_by_other_name\""),
        ("Create a stream ticket", "Create a stream ticket under its other name"),
    ];
    OpenApiRouter::default()
        .routes(routes!(create_ticket))
        .routes(twin(&other_name, routes!(create_ticket)))
}

/// Create a stream ticket.
///
/// For `?ticket=` of a browser's `EventSource`, which cannot send an `Authorization` header. It grants what its creator may do when it is
/// used.
#[utoipa::path(post, path = "/auth/sse-ticket",
    responses((status = 200, body = shapes::Ticket), (status = 429, description = "`rate_limit_exceeded`: too many tickets are waiting to be used, or the caller has used up its share")))]
async fn create_ticket(caller: Caller) -> Shown {
    let secret = keys::secret(PREFIX)?;
    let now = caller.state.clock.now();
    let expires_at = caller.state.after(LIFETIME).unwrap_or(now);
    let ticket = Ticket { tenant: caller.tenant, credential: caller.credential, expires_at };
    if !caller.state.tickets.put(keys::hash(&secret), ticket, now) {
        let message = "Too many tickets are waiting to be used.";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
            .with_retry_after(Duration::from_secs(LIFETIME)));
    }
    Ok(Json(json!({ "ticket": secret, "expires_in": LIFETIME })))
}
