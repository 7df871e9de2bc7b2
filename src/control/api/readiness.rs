//! Is a sandbox ready: asked once, or told as a stream.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{ApiState, Problem, render, shapes};
use crate::model::{KeyScope, Sandbox, SandboxState, Subject};

/// How long the stream waits before it says "timeout".
const STREAM: Duration = Duration::from_mins(2);
/// The longest a create may wait for readiness, seconds: below the time after which the SDK gives up on an answer.
const MAX_WAIT: u64 = 45;
/// The components a client may look for; all of them stand or fall with the sandbox's address here.
const COMPONENTS: [&str; 8] = [
    "command_agent",
    "process_control",
    "resource_contract",
    "clock",
    "identity",
    "durability",
    "filesystem",
    "internal_probe",
];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(show)).routes(routes!(stream))
}

fn verdict(sandbox: &Sandbox) -> Value {
    let ready = render::is_ready(sandbox);
    let word = if ready { "ready" } else { "pending" };
    let components: serde_json::Map<_, _> =
        COMPONENTS.iter().map(|name| ((*name).to_owned(), word.into())).collect();
    json!({ "ready": ready, "state": sandbox.state, "components": components })
}

/// Get a sandbox's readiness.
#[utoipa::path(
    get, path = "/sandboxes/{id}/readiness", tag = "Sandboxes", operation_id = "get_readiness", security(("api_key" = ["sandboxes:read"])),
    responses((status = 200, body = shapes::Readiness)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesRead])?;
    Ok(Json(verdict(&caller.sandbox(&state, &id).await?)))
}

/// Wait until a sandbox is ready.
///
/// Server-sent events: one `ready` or, after 120 seconds, one `timeout`, each with what `/readiness` returns.
#[utoipa::path(
    get, path = "/sandboxes/{id}/readiness/stream", tag = "Sandboxes", operation_id = "stream_readiness", security(("api_key" = ["sandboxes:read"])),
    responses((status = 200, body = String, content_type = "text/event-stream")),
)]
async fn stream(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    caller.needs(&[KeyScope::SandboxesRead])?;
    let sandbox = caller.sandbox(&state, &id).await?;
    let events = futures_util::stream::once(async move {
        let sandbox = wait(&state, sandbox.clone(), STREAM).await.unwrap_or(sandbox);
        let name = if render::is_ready(&sandbox) { "ready" } else { "timeout" };
        Ok(Event::default().event(name).data(verdict(&sandbox).to_string()))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// How long a caller wants to wait; more than we can is no fault.
pub(super) fn patience(query: &HashMap<String, String>) -> Result<Option<Duration>, Problem> {
    let Some(text) = query.get("wait") else { return Ok(None) };
    let seconds: u64 =
        text.parse().map_err(|_| Problem::field("wait", "must be a number of seconds"))?;
    Ok(Some(Duration::from_secs(seconds.min(MAX_WAIT))))
}

/// Waits until a sandbox is ready, can no longer become so, or patience ends; gives back what it is then.
pub(super) async fn wait(
    state: &ApiState,
    mut sandbox: Sandbox,
    patience: Duration,
) -> Result<Sandbox, Problem> {
    let until = Instant::now() + patience;
    let mut changes = state.follower.subscribe();
    loop {
        let now = state.store.sandbox(sandbox.tenant, sandbox.id).await?;
        sandbox = now;
        let may_become = matches!(
            sandbox.state,
            SandboxState::Creating | SandboxState::Resuming | SandboxState::Running
        );
        let pending = may_become && !render::is_ready(&sandbox);
        if !pending
            || tokio::time::timeout_at(until, mentions(&mut changes, &sandbox)).await.is_err()
        {
            return Ok(sandbox);
        }
    }
}

/// Completes when something about the sandbox has changed (or may have).
async fn mentions(changes: &mut broadcast::Receiver<Subject>, sandbox: &Sandbox) {
    loop {
        match changes.recv().await {
            Ok(Subject::Sandbox(id)) if id == sandbox.id => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
