//! A sandbox's life after its creation: pausing, stopping, resuming, a longer life; and its environment.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::{Fields, MAX_OBJECT, json_length};
use super::sandboxes::{MAX_LIFETIME, answer};
use super::shapes::{EnvData, EnvOrder, ExtendOrder, SandboxData};
use super::{ApiState, Problem, credits};
use crate::control::store::{SandboxPatch, StoreError};
use crate::model::{KeyScope, Move, Sandbox, SandboxState};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(env, put_env))
        .routes(routes!(delete_env))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(stop))
        .routes(routes!(extend))
}

/// Pause a sandbox.
///
/// Its previews respond with 503 until it is resumed. Pausing it twice is not an error.
#[utoipa::path(
    post, path = "/sandboxes/{id}/pause", tag = "Sandboxes", operation_id = "pause_sandbox", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = SandboxData), (status = 409, description = "`RESOURCE_STATE`: it cannot become so from the state it is in")),
)]
async fn pause(
    state: State<ApiState>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Value>, Problem> {
    transition(&state, &caller, &path, Move::Pause).await
}

/// Stop a sandbox.
#[utoipa::path(
    post, path = "/sandboxes/{id}/stop", tag = "Sandboxes", operation_id = "stop_sandbox", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = SandboxData), (status = 409, description = "`RESOURCE_STATE`: it cannot become so from the state it is in")),
)]
async fn stop(
    state: State<ApiState>,
    caller: Caller,
    path: Path<String>,
) -> Result<Json<Value>, Problem> {
    transition(&state, &caller, &path, Move::Stop).await
}

/// Resume a sandbox.
///
/// A paused or stopped sandbox runs again.
#[utoipa::path(
    post, path = "/sandboxes/{id}/resume", tag = "Sandboxes", operation_id = "resume_sandbox", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = SandboxData),
        (status = 402, description = "`QUOTA_EXCEEDED`: the end user has spent its credit of this month"),
        (status = 403, description = "`QUOTA_EXCEEDED`: the end user would exceed a quota; `details` says which. `insufficient_scope`, `FORBIDDEN`: as everywhere"),
        (status = 409, description = "`RESOURCE_STATE`: it cannot become so from the state it is in")),
)]
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
    if wanted == Move::Resume && before.state != SandboxState::Running {
        credits::judge(state, caller, before.external_user_id.as_deref(), None).await?;
    }
    let store = caller.store(state);
    let (sandbox, version) = store.move_sandbox(caller.tenant, before.id, wanted).await?;
    if let Some(version) = version {
        state.follower.reached(version).await?;
    }
    answer(state, &sandbox).await
}

/// A sandbox that is not destroyed: what is gone can be looked at, and nothing else.
async fn alive(state: &ApiState, caller: &Caller, path: &str) -> Result<Sandbox, Problem> {
    let sandbox = caller.sandbox(state, path).await?;
    if sandbox.state == SandboxState::Destroyed {
        return Err(StoreError::State(sandbox.state).into());
    }
    Ok(sandbox)
}

/// Extend a sandbox's lifetime.
///
/// The lifetime starts again now: the one that is sent, or the sandbox's own.
#[utoipa::path(
    post, path = "/sandboxes/{id}/extend", tag = "Sandboxes", operation_id = "extend_sandbox", security(("api_key" = ["sandboxes:write"])), request_body = ExtendOrder,
    responses((status = 200, body = SandboxData), (status = 409, description = "`RESOURCE_STATE`: it is destroyed")),
)]
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

/// List environment variables.
#[utoipa::path(
    get, path = "/sandboxes/{id}/env", tag = "Sandboxes", operation_id = "list_sandbox_env", security(("api_key" = ["env:read"]), ("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = EnvData)),
)]
async fn env(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    // Whoever may write it is shown it as well.
    caller.needs(&[KeyScope::EnvRead, KeyScope::SandboxesWrite])?;
    Ok(show_env(&caller.sandbox(&state, &path).await?.attributes.env))
}

/// Set environment variables.
///
/// Variables that are not named stay as they are.
#[utoipa::path(
    put, path = "/sandboxes/{id}/env", tag = "Sandboxes", operation_id = "set_sandbox_env", security(("api_key" = ["sandboxes:write"])), request_body = EnvOrder,
    responses((status = 200, body = EnvData)),
)]
async fn put_env(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesWrite])?;
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

/// Delete an environment variable.
///
/// Returns the remaining ones. Deleting one that does not exist is not an error.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/env/{key}", tag = "Sandboxes", operation_id = "delete_sandbox_env", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = EnvData)),
)]
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
    let before = caller.sandbox(state, path).await?;
    let mut attributes = before.attributes;
    change(&mut attributes.env);
    if json_length(&attributes.env) > MAX_OBJECT {
        return Err(Problem::field("vars", "must be at most 64 KiB in all"));
    }
    let shown = show_env(&attributes.env);
    let patch = SandboxPatch { attributes: Some(attributes), ..SandboxPatch::default() };
    caller.store(state).update_sandbox(caller.tenant, before.id, patch).await?;
    Ok(shown)
}
