//! A sandbox's life after its creation: pausing, stopping, resuming, a longer life; and its environment.

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::auth::Caller;
use super::fields::Fields;
use super::sandboxes::{MAX_LIFETIME, MAX_OBJECT, answer, find};
use super::{ApiState, Problem};
use crate::model::{KeyScope, Move, Sandbox, SandboxState};
use crate::store::{SandboxPatch, StoreError};

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/sandboxes/{id}/env", get(env).put(put_env))
        .route("/sandboxes/{id}/env/{key}", delete(delete_env))
        .route("/sandboxes/{id}/pause", post(pause))
        .route("/sandboxes/{id}/resume", post(resume))
        .route("/sandboxes/{id}/stop", post(stop))
        .route("/sandboxes/{id}/extend", post(extend))
}

async fn pause(
    state: State<ApiState>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Value>, Problem> {
    transition(&state, &caller, &path, Move::Pause).await
}

async fn stop(
    state: State<ApiState>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Value>, Problem> {
    transition(&state, &caller, &path, Move::Stop).await
}

async fn resume(
    state: State<ApiState>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Value>, Problem> {
    transition(&state, &caller, &path, Move::Resume).await
}

async fn transition(
    state: &ApiState,
    caller: &Caller,
    path: &str,
    wanted: Move,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesWrite])?;
    let before = alive(state, caller, path).await?;
    let store = caller.store(state);
    let (sandbox, version) = store.move_sandbox(caller.tenant, before.id, wanted).await?;
    if let Some(version) = version {
        state.follower.reached(version).await?;
    }
    answer(state, &sandbox).await
}

/// A sandbox that is not destroyed: what is gone can be looked at, and nothing else.
async fn alive(state: &ApiState, caller: &Caller, path: &str) -> Result<Sandbox, Problem> {
    let sandbox = find(state, caller.tenant, path).await?;
    if sandbox.state == SandboxState::Destroyed {
        return Err(StoreError::State(sandbox.state).into());
    }
    Ok(sandbox)
}

/// Gives a sandbox another lifetime from now on: the one named, or the one it has.
async fn extend(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesWrite])?;
    let before = alive(&state, &caller, &path).await?;
    let timeout_sec = fields.number("timeout_sec", (1, MAX_LIFETIME));
    fields.finish()?;
    let store = caller.store(&state);
    let (sandbox, version) = store.extend_sandbox(caller.tenant, before.id, timeout_sec).await?;
    state.follower.reached(version).await?;
    answer(&state, &sandbox).await
}

fn show_env(env: &Map<String, Value>) -> Json<Value> {
    let vars: Vec<Value> =
        env.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    Json(json!({ "data": vars }))
}

async fn env(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesRead])?;
    Ok(show_env(&find(&state, caller.tenant, &path).await?.attributes.env))
}

async fn put_env(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    let read = |value: &Value| -> Option<Map<String, Value>> {
        let pair = |item: &Value| {
            Some((item.get("key")?.as_str()?.to_owned(), item.get("value")?.clone()))
        };
        value.as_array()?.iter().map(pair).collect()
    };
    let vars = fields
        .get("vars", "must be a list of {\"key\", \"value\"}", read)
        .flatten()
        .unwrap_or_default();
    fields.finish()?;
    change_env(&state, &caller, &path, |env| env.extend(vars)).await
}

async fn delete_env(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, key)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    change_env(&state, &caller, &path, |env| drop(env.remove(&key))).await
}

async fn change_env(
    state: &ApiState,
    caller: &Caller,
    path: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesWrite])?;
    let before = find(state, caller.tenant, path).await?;
    let mut attributes = before.attributes;
    change(&mut attributes.env);
    if serde_json::to_vec(&attributes.env).map_or(0, |json| json.len()) > MAX_OBJECT {
        return Err(Problem::field("vars", "must be at most 64 KiB in all"));
    }
    let shown = show_env(&attributes.env);
    let patch = SandboxPatch { attributes: Some(attributes), ..SandboxPatch::default() };
    caller.store(state).update_sandbox(caller.tenant, before.id, patch).await?;
    Ok(shown)
}
