//! Published ports.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{ExposeOrder, ExposedData, PreviewData, PreviewList, PreviewOrder};
use super::{ApiState, Problem, render};
use crate::control::store::NewPreview;
use crate::model::{KeyScope, PreviewId, Protocol, Sandbox, SandboxState};

/// The longest name, characters.
const NAME: usize = 200;
/// The longest a preview may be published for, seconds: a year.
const MAX_LIFETIME: u64 = 366 * 24 * 3600;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show, remove))
        .routes(routes!(expose))
}

async fn live(state: &ApiState, caller: &Caller, path: &str) -> Result<Sandbox, Problem> {
    let sandbox = caller.sandbox(state, path).await?;
    if sandbox.state == SandboxState::Destroyed {
        return Err(Problem::not_found("sandbox"));
    }
    Ok(sandbox)
}

/// Publish a port.
///
/// A port that is published already is updated.
#[utoipa::path(
    post, path = "/sandboxes/{id}/previews", tag = "Previews", operation_id = "create_preview", security(("api_key" = ["previews:write"])), request_body = PreviewOrder,
    responses((status = 201, body = PreviewData)),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = live(&state, &caller, &path).await?;
    let lifetime =
        fields.number_of(&["expires_in", "expires_in_sec", "ttl_seconds"], (1, MAX_LIFETIME));
    let lifetime = lifetime
        .map(|seconds| SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
    let name = fields.text_of(&["label", "name"], NAME).flatten();
    if matches!(fields.raw_value("port"), None | Some(Value::Null)) {
        fields.fault("port", "is required");
    }
    let new = NewPreview {
        port: fields.port("port").unwrap_or(sandbox.default_port),
        name,
        visibility: fields
            .word("visibility", "public, private")
            .unwrap_or(state.settings.default_visibility),
        profile: fields.word("profile", "forwarded, local, public"),
        protocol: fields.word("protocol", "http, https, h2c").unwrap_or_default(),
        metadata: fields.object("metadata").unwrap_or_default(),
        expires_at: lifetime.and_then(|lifetime| state.clock.now().checked_add(lifetime).ok()),
    };
    fields.finish()?;
    let (preview, version) =
        caller.store(&state).put_preview(caller.tenant, sandbox.id, new).await?;
    state.follower.reached(version).await?;
    let zone = render::zone(&state, caller.tenant).await?;
    let shares = state.store.preview_shares(sandbox.id).await?;
    let shown = render::preview(&state, &zone, &sandbox, (&preview, shares.get(&preview.id)));
    Ok((StatusCode::CREATED, Json(json!({ "data": shown }))).into_response())
}

/// List published ports.
#[utoipa::path(
    get, path = "/sandboxes/{id}/previews", tag = "Previews", operation_id = "list_previews", security(("api_key" = ["previews:read"]), ("api_key" = ["previews:write"])),
    responses((status = 200, body = PreviewList)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::PreviewsRead, KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let zone = render::zone(&state, caller.tenant).await?;
    let previews = state.store.previews(caller.tenant, sandbox.id).await?;
    let shares = state.store.preview_shares(sandbox.id).await?;
    let shown: Vec<Value> = previews
        .iter()
        .map(|p| render::preview(&state, &zone, &sandbox, (p, shares.get(&p.id))))
        .collect();
    Ok(Json(json!({ "data": shown })))
}

fn preview_id(text: &str) -> Result<PreviewId, Problem> {
    text.parse().map_err(|_| Problem::not_found("preview"))
}

/// Get a published port.
#[utoipa::path(
    get, path = "/sandboxes/{id}/previews/{preview}", tag = "Previews", operation_id = "get_preview", security(("api_key" = ["previews:read"]), ("api_key" = ["previews:write"])),
    responses((status = 200, body = PreviewData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, preview)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::PreviewsRead, KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let preview = state.store.preview(caller.tenant, sandbox.id, preview_id(&preview)?).await?;
    let zone = render::zone(&state, caller.tenant).await?;
    let shares = state.store.preview_shares(sandbox.id).await?;
    let shown = render::preview(&state, &zone, &sandbox, (&preview, shares.get(&preview.id)));
    Ok(Json(json!({ "data": shown })))
}

/// Unpublish a port.
///
/// It is private again, and connections without a token are closed.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/previews/{preview}", tag = "Previews", operation_id = "delete_preview", security(("api_key" = ["previews:write"])),
    responses((status = 204, description = "Done")),
)]
async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, preview)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let version = caller
        .store(&state)
        .delete_preview(caller.tenant, sandbox.id, preview_id(&preview)?)
        .await?;
    state.follower.reached(version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Expose a port.
///
/// Returns its URL. A port that was never published is published now; otherwise its visibility is kept.
#[utoipa::path(
    post, path = "/sandboxes/{id}/expose", tag = "Previews", operation_id = "expose_port", security(("api_key" = ["previews:write"])), request_body = ExposeOrder,
    responses((status = 200, body = ExposedData)),
)]
async fn expose(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = live(&state, &caller, &path).await?;
    let port = fields.port("port").unwrap_or(sandbox.default_port);
    fields.finish()?;
    let now = state.clock.now();
    let previews = state.store.previews(caller.tenant, sandbox.id).await?;
    let known =
        previews.into_iter().find(|p| p.port == port && p.expires_at.is_none_or(|at| at > now));
    let visibility = if let Some(preview) = known {
        preview.visibility
    } else {
        let new = NewPreview {
            port,
            name: None,
            visibility: state.settings.default_visibility,
            profile: None,
            protocol: Protocol::Http,
            metadata: Map::new(),
            expires_at: None,
        };
        let (preview, version) =
            caller.store(&state).put_preview(caller.tenant, sandbox.id, new).await?;
        state.follower.reached(version).await?;
        preview.visibility
    };
    let zone = render::zone(&state, caller.tenant).await?;
    Ok(Json(json!({
        "data": {
            "port": port,
            "url": render::preview_url(&state, &zone, &sandbox, port),
            "visibility": visibility,
            "url_class": "stable_sandbox_embed",
            "stable_for_embedding": true,
            "recommended_next_action": null,
        }
    })))
}
