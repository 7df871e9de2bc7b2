//! Is a sandbox ready: asked once, or told as a stream.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::prelude::*;
use crate::model::{Sandbox, SandboxState, Subject};

/// How long the stream waits before it says "timeout".
const STREAM: Duration = Duration::from_mins(2);
/// The longest a create may wait for readiness, seconds: below the time after which the SDK gives up on a response.
const MAX_WAIT: u64 = 45;
endpoints!([get_readiness], [stream_readiness]);

/// Get a sandbox's readiness.
#[utoipa::path(get, path = "/sandboxes/{id}/readiness", security(("api_key" = ["sandboxes:read"])), responses((status = 200, body = shapes::Readiness)))]
async fn get_readiness(caller: Caller, Path(path): Path<String>) -> Shown {
    Ok(Json(shapes::Readiness::of(&caller.sandbox(&path).await?).into()))
}

/// Wait until a sandbox is ready.
///
/// Server-sent events: one `ready` or, after 120 seconds, one `timeout`, each with what `/readiness` returns.
#[utoipa::path(get, path = "/sandboxes/{id}/readiness/stream", security(("api_key" = ["sandboxes:read"])),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn stream_readiness(
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let sandbox = caller.sandbox(&path).await?;
    let place = caller.stream()?;
    let events = futures_util::stream::once(async move {
        let _place = place;
        let sandbox = wait(&caller.state, sandbox.clone(), STREAM).await.unwrap_or(sandbox);
        let name = if sandbox.is_ready() { "ready" } else { "timeout" };
        Ok(Event::default()
            .event(name)
            .data(Value::Object(shapes::Readiness::of(&sandbox)).to_string()))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// How long a caller wants to wait; more than we can is no error.
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
        sandbox = state.store.sandbox(sandbox.tenant, sandbox.id).await?;
        let may_become = matches!(
            sandbox.state,
            SandboxState::Creating | SandboxState::Resuming | SandboxState::Running
        );
        let pending = may_become && !sandbox.is_ready();
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
