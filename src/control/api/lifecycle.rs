//! A sandbox's life after its creation: pausing, stopping, resuming, a longer life; and its environment.

use super::fields::{MAX_OBJECT, json_length};
use super::prelude::*;
use super::{credits, render};
use crate::control::store::{SandboxPatch, StoreError};
use crate::model::{Move, Sandbox, SandboxState};

endpoints!(
    [list_sandbox_env, set_sandbox_env],
    [delete_sandbox_env],
    [pause_sandbox],
    [resume_sandbox],
    [stop_sandbox],
    [extend_sandbox]
);

/// Pause a sandbox.
///
/// Its previews respond with 503 until it is resumed. Pausing it twice is not an error.
#[utoipa::path(post, path = "/sandboxes/{id}/pause", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = shapes::SandboxData), (status = 409, description = "`RESOURCE_STATE`: it cannot become so from the state it is in")))]
async fn pause_sandbox(caller: Caller, path: Path<String>) -> Shown {
    transition(&caller, &path, Move::Pause).await
}

/// Stop a sandbox.
#[utoipa::path(post, path = "/sandboxes/{id}/stop", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = shapes::SandboxData), (status = 409, description = "`RESOURCE_STATE`: it cannot become so from the state it is in")))]
async fn stop_sandbox(caller: Caller, path: Path<String>) -> Shown {
    transition(&caller, &path, Move::Stop).await
}

/// Resume a sandbox.
///
/// A paused or stopped sandbox runs again.
#[utoipa::path(post, path = "/sandboxes/{id}/resume", security(("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = shapes::SandboxData), (status = 402, description = "`QUOTA_EXCEEDED`: the end user has spent its credit of this month"),
    (status = 403, description = "`QUOTA_EXCEEDED`: the end user would exceed a quota; `details` says which. `insufficient_scope`, `FORBIDDEN`: as everywhere"),
    (status = 409, description = "`RESOURCE_STATE`: it cannot become so from the state it is in")))]
async fn resume_sandbox(caller: Caller, path: Path<String>) -> Shown {
    transition(&caller, &path, Move::Resume).await
}

async fn transition(caller: &Caller, path: &str, wanted: Move) -> Shown {
    let before = alive(caller, path).await?;
    if wanted == Move::Resume && before.state != SandboxState::Running {
        credits::judge(caller, before.external_user_id.as_deref(), None).await?;
    }
    let store = &caller.state.store;
    let (sandbox, version) = store.move_sandbox(caller.tenant, before.id, wanted).await?;
    if let Some(version) = version {
        caller.reached(version).await?;
    }
    render::sandbox(&caller.state, &sandbox).await
}

/// A sandbox that is not destroyed: what is gone can be looked at, and nothing else.
async fn alive(caller: &Caller, path: &str) -> Result<Sandbox, Problem> {
    let sandbox = caller.sandbox(path).await?;
    if sandbox.state == SandboxState::Destroyed {
        return Err(StoreError::State(sandbox.state).into());
    }
    Ok(sandbox)
}

/// Extend a sandbox's lifetime.
///
/// The lifetime starts again now: the one that is sent, or the sandbox's own.
#[utoipa::path(post, path = "/sandboxes/{id}/extend", security(("api_key" = ["sandboxes:write"])), request_body = shapes::ExtendOrder,
    responses((status = 200, body = shapes::SandboxData), (status = 409, description = "`RESOURCE_STATE`: it is destroyed")))]
async fn extend_sandbox(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Shown {
    let before = alive(&caller, &path).await?;
    let timeout_sec = fields.number("timeout_sec");
    fields.finish()?;
    let store = &caller.state.store;
    let (sandbox, version) = store.extend_sandbox(caller.tenant, before.id, timeout_sec).await?;
    caller.reached(version).await?;
    render::sandbox(&caller.state, &sandbox).await
}

fn show_env(env: &Map<String, Value>) -> Shown {
    list(env.iter().map(|(name, value)| shapes::Variable::of(name, value)))
}

/// List environment variables.
#[utoipa::path(get, path = "/sandboxes/{id}/env", security(("api_key" = ["env:read", "sandboxes:write"])), responses((status = 200, body = shapes::EnvData)))]
async fn list_sandbox_env(caller: Caller, Path(path): Path<String>) -> Shown {
    // Whoever may write it is shown it as well.
    let sandbox = caller.sandbox(&path).await?;
    show_env(&caller.state.store.open_env(sandbox.id, &sandbox.attributes.env)?)
}

/// Set environment variables.
///
/// Variables that are not named stay as they are.
#[utoipa::path(put, path = "/sandboxes/{id}/env", security(("api_key" = ["sandboxes:write"])), request_body = shapes::EnvOrder, responses((status = 200, body = shapes::EnvData)))]
async fn set_sandbox_env(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Shown {
    let read = |value: &Value| -> Option<Map<String, Value>> {
        let pair = |item: &Value| {
            Some((item.get("key")?.as_str()?.to_owned(), item.get("value")?.clone()))
        };
        value.as_array()?.iter().map(pair).collect()
    };
    let vars = fields.get("vars", "must be a list of {\"key\", \"value\"}", read).flatten();
    fields.finish()?;
    change_env(&caller, &path, |env| env.extend(vars.unwrap_or_default())).await
}

/// Delete an environment variable.
///
/// Returns the remaining ones. Deleting one that does not exist is not an error.
#[utoipa::path(delete, path = "/sandboxes/{id}/env/{key}", security(("api_key" = ["sandboxes:write"])), responses((status = 200, body = shapes::EnvData)))]
async fn delete_sandbox_env(caller: Caller, Path((path, key)): Path<(String, String)>) -> Shown {
    change_env(&caller, &path, |env| drop(env.remove(&key))).await
}

async fn change_env(
    caller: &Caller,
    path: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Shown {
    let before = caller.sandbox(path).await?;
    let (store, mut attributes) = (&caller.state.store, before.attributes);
    let mut env = store.open_env(before.id, &attributes.env)?;
    change(&mut env);
    if json_length(&env) > MAX_OBJECT {
        return Err(Problem::field("vars", "must be at most 64 KiB in all"));
    }
    let shown = show_env(&env)?;
    attributes.env = store.seal_env(before.id, &env)?;
    let patch = SandboxPatch { attributes: Some(attributes), ..SandboxPatch::default() };
    store.update_sandbox(caller.tenant, before.id, patch).await?;
    Ok(shown)
}
