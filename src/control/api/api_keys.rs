//! API keys, for keys with the master scope.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{ApiKeyList, ApiKeyOrder, MadeApiKey};
use super::{ApiState, Problem, keys};
use crate::control::store::NewApiKey;
use crate::model::{ApiKey, KeyScope};

/// The longest label, characters, and the longest lifetime, seconds.
pub(super) const LABEL: usize = 200;
pub(super) const MAX_LIFETIME: u64 = 10 * 366 * 24 * 3600;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(revoke))
}

pub(super) fn show(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "label": key.label,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "external_user_id": key.binding.as_ref().map(|binding| &binding.external_user_id),
        "workspace_id": key.binding.as_ref().and_then(|binding| binding.workspace_id.as_ref()),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}

/// List API keys.
///
/// Revoked ones are included; secrets are not.
#[utoipa::path(
    get, path = "/api-keys", tag = "API keys", operation_id = "list_api_keys", security(("api_key" = ["*"])),
    responses((status = 200, body = ApiKeyList)),
)]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[])?;
    let keys = state.store.api_keys(caller.tenant).await?;
    Ok(Json(json!({ "data": keys.iter().map(show).collect::<Vec<_>>() })))
}

/// Create an API key.
///
/// Its secret is in `token`, only this once.
#[utoipa::path(
    post, path = "/api-keys", tag = "API keys", operation_id = "create_api_key", security(("api_key" = ["*"])), request_body = ApiKeyOrder,
    responses((status = 201, body = MadeApiKey)),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.needs(&[])?;
    let read = |value: &Value| {
        serde_json::from_value::<Vec<KeyScope>>(value.clone()).ok().filter(|s| !s.is_empty())
    };
    let scopes = fields.get("scopes", "must be a list of known scopes", read).flatten();
    let label = fields.text_of(&["label", "name"], LABEL).flatten();
    let lifetime = fields.number("expires_in", (1, MAX_LIFETIME));
    fields.finish()?;
    let lifetime = lifetime
        .map(|seconds| SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)));
    let (secret, prefix, hash) = keys::generate();
    let new = NewApiKey {
        tenant: caller.tenant,
        label: label.unwrap_or_else(|| "key".into()),
        prefix,
        hash,
        scopes: scopes.unwrap_or_else(|| vec![KeyScope::All]),
        expires_at: lifetime.and_then(|lifetime| state.clock.now().checked_add(lifetime).ok()),
        binding: None,
    };
    let key = caller.store(&state).put_api_key(new).await?;
    // The secret beside the record and, for clients that keep only that, in it; once.
    let mut shown = show(&key);
    if let Value::Object(shown) = &mut shown {
        shown.insert("token".to_owned(), secret.clone().into());
    }
    Ok((StatusCode::CREATED, Json(json!({ "data": shown, "token": secret }))).into_response())
}

/// Revoke an API key.
///
/// It stops working at once. Revoking it twice is not an error.
#[utoipa::path(
    delete, path = "/api-keys/{id}", tag = "API keys", operation_id = "revoke_api_key", security(("api_key" = ["*"])),
    responses((status = 204, description = "Done")),
)]
async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(&[])?;
    let id = id.parse().map_err(|_| Problem::not_found("API key"))?;
    caller.store(&state).revoke_api_key(caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
