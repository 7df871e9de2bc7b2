//! Access for one end user: delegation tokens for browsers, and keys that live longer. Whatever is made here is worth no more than the key
//! that makes it, and makes nothing further.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api_keys::{LABEL, MAX_LIFETIME, show};
use super::auth::Caller;
use super::fields::{EXTERNAL_ID, Fields};
use super::listing::limit;
use super::shapes::{
    MadeApiKey, MintedScopedToken, Revoked, ScopedKeyOrder, ScopedTokenOrder, ScopedTokenPage,
    ScopedTokenQuery,
};
use super::{ApiState, Problem, keys};
use crate::control::store::NewApiKey;
use crate::model::token::Delegation;
use crate::model::{Binding, KeyId, KeyScope, SandboxId, ScopedToken, ScopedTokenId};

/// The longest and the usual lifetime of a token, seconds.
const LONGEST: u64 = 86_400;
const USUAL: u64 = 3_600;
/// Sandboxes that a token may name, and the longest id.
const SANDBOXES: (usize, usize) = (100, 64);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
        .routes(routes!(create_key))
}

/// The scopes that were sent; `None` when none were.
fn scopes(fields: &mut Fields) -> Option<Vec<KeyScope>> {
    let read = |value: &Value| {
        serde_json::from_value::<Vec<KeyScope>>(value.clone()).ok().filter(|s| !s.is_empty())
    };
    fields.get("scopes", "must be a list of known scopes", read).flatten()
}

/// Refuses scopes that the caller does not have itself.
fn must_have(caller: &Caller, scopes: &[KeyScope]) -> Result<(), Problem> {
    let has = |scope: &&KeyScope| caller.scopes().iter().any(|held| held.covers(**scope));
    let beyond: Vec<&KeyScope> = scopes.iter().filter(|scope| !has(scope)).collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let beyond = json!(beyond);
    let message = "Requested scopes exceed caller's permissions";
    Err(Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", message)
        .with_details(Map::from_iter([("invalid_scopes".to_owned(), beyond.clone())]))
        .beside("code", "insufficient_scope".into())
        .beside("invalid_scopes", beyond))
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn after(now: Timestamp, seconds: u64) -> Option<Timestamp> {
    now.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
}

/// Whose tokens a caller sees: all of the tenant's with the master scope, else those that its key minted.
fn minted_by(caller: &Caller) -> Option<KeyId> {
    caller.needs(&[]).is_err().then_some(caller.key.id)
}

fn sandboxes(fields: &mut Fields) -> Vec<SandboxId> {
    let sent = fields.texts("sandbox_ids", SANDBOXES).unwrap_or_default();
    let read: Option<Vec<SandboxId>> = sent.iter().map(|id| id.parse().ok()).collect();
    if read.is_none() {
        fields.fault("sandbox_ids", "must each be the id of a sandbox");
    }
    read.unwrap_or_default()
}
/// Create a user-scoped token.
///
/// For the browser of one end user: it is confined to that user's sandboxes. Any key that is not itself user-scoped may create one.
#[utoipa::path(
    post, path = "/tokens/scoped", tag = "Delegation", operation_id = "create_scoped_token", security(("api_key" = [])), request_body = ScopedTokenOrder,
    responses((status = 201, body = MintedScopedToken),
        (status = 403, description = "`insufficient_scope`: the caller is bound itself, or lacks the scopes in `invalid_scopes`. `FORBIDDEN`: `X-Miosa-Tenant` names another tenant than the key's")),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.must_be_unbound()?;
    let user_id = fields.text("user_id", EXTERNAL_ID).flatten();
    if user_id.is_none() {
        fields.fault("user_id", "is required");
    }
    let external_user_id = fields.text("external_user_id", EXTERNAL_ID).flatten();
    let workspace_id = fields.text("workspace_id", EXTERNAL_ID).flatten();
    let lifetime = fields.number("expires_in_seconds", (1, LONGEST)).unwrap_or(USUAL);
    let sandboxes = sandboxes(&mut fields);
    let scopes = scopes(&mut fields);
    fields.finish()?;
    let scopes = scopes.unwrap_or_else(|| caller.scopes().to_vec());
    must_have(&caller, &scopes)?;
    let user_id = user_id.unwrap_or_default();
    let now = whole_seconds(state.clock.now());
    let token = ScopedToken {
        id: ScopedTokenId::new(),
        tenant: caller.tenant,
        minted_by: caller.key.id,
        binding: Binding {
            external_user_id: external_user_id.unwrap_or_else(|| user_id.clone()),
            workspace_id,
            sandboxes,
        },
        user_id,
        scopes,
        created_at: now,
        expires_at: after(now, lifetime).unwrap_or(now),
        revoked_at: None,
    };
    let signed = state.routes.key_ring().mint_delegation(&Delegation {
        id: token.id,
        tenant: token.tenant,
        user_id: token.user_id.clone(),
        workspace_id: token.binding.workspace_id.clone(),
        scopes: token.scopes.clone(),
        issued_at: token.created_at,
        expires_at: token.expires_at,
    });
    let signed = signed.map_err(|_| {
        let message = "The token could not be signed.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    })?;
    caller.store(&state).record_scoped_token(&token).await?;
    let mut answer = shown(&token);
    if let Value::Object(answer) = &mut answer {
        answer.insert("token".to_owned(), signed.into());
        answer.insert("expires_in".to_owned(), lifetime.into());
    }
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

fn shown(token: &ScopedToken) -> Value {
    json!({
        "id": token.id,
        "user_id": token.user_id,
        "external_user_id": token.binding.external_user_id,
        "workspace_id": token.binding.workspace_id,
        "sandbox_ids": token.binding.sandboxes,
        "scopes": token.scopes,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    })
}
/// List user-scoped tokens.
///
/// Newest first. All of the tenant's for keys with the scope `*`, else those that the key created. Tokens that expired 30 days ago are not
/// listed.
#[utoipa::path(
    get, path = "/tokens/scoped", tag = "Delegation", operation_id = "list_scoped_tokens", security(("api_key" = [])), params(ScopedTokenQuery),
    responses((status = 200, body = ScopedTokenPage)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    caller.must_be_unbound()?;
    let limit = limit(&query)?;
    // An empty one is the first page's.
    let before = query.get("before").filter(|text| !text.is_empty());
    let before = before.map(|text| text.parse::<ScopedTokenId>());
    let before = before.transpose().map_err(|_| Problem::field("before", "must be a cursor"))?;
    // One more than is shown tells whether there is more.
    let page = (before, limit + 1);
    let mut tokens = state.store.scoped_tokens(caller.tenant, minted_by(&caller), page).await?;
    let shown_at_most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = tokens.len() > shown_at_most;
    tokens.truncate(shown_at_most);
    let next = tokens.last().filter(|_| more).map(|token| token.id);
    let items: Vec<Value> = tokens.iter().map(shown).collect();
    Ok(Json(json!({ "data": items, "next_cursor": next })))
}
/// Revoke a user-scoped token.
#[utoipa::path(
    delete, path = "/tokens/scoped/{id}", tag = "Delegation", operation_id = "revoke_scoped_token", security(("api_key" = [])),
    responses((status = 200, body = Revoked)),
)]
async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.must_be_unbound()?;
    let id = id.parse().map_err(|_| Problem::not_found("token"))?;
    caller.store(&state).revoke_scoped_token(caller.tenant, minted_by(&caller), id).await?;
    Ok(Json(json!({ "revoked": true })))
}

/// Create a user-scoped API key.
///
/// Confined to one end user like a user-scoped token; listed and revoked with the other keys.
#[utoipa::path(
    post, path = "/api-keys/scoped", tag = "API keys", operation_id = "create_scoped_api_key", security(("api_key" = ["*"])), request_body = ScopedKeyOrder,
    responses((status = 201, body = MadeApiKey)),
)]
async fn create_key(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.needs(&[])?;
    let user = fields.text("external_user_id", EXTERNAL_ID).flatten();
    if user.is_none() {
        fields.fault("external_user_id", "is required");
    }
    let scopes = scopes(&mut fields);
    if scopes.is_none() {
        fields.fault("scopes", "must name at least one scope");
    }
    let label = fields.text_of(&["label", "name"], LABEL).flatten();
    let workspace_id = fields.text("workspace_id", EXTERNAL_ID).flatten();
    let now = state.clock.now();
    let must = "must be a time in the future, such as 2030-01-01T00:00:00Z";
    let read = |value: &Value| value.as_str()?.parse().ok().filter(|at: &Timestamp| *at > now);
    let at = fields.get("expires_at", must, read).flatten();
    let lifetime = fields.number("expires_in", (1, MAX_LIFETIME));
    fields.finish()?;
    let (secret, prefix, hash) = keys::generate();
    let external_user_id = user.unwrap_or_default();
    let new = NewApiKey {
        tenant: caller.tenant,
        label: label.unwrap_or_else(|| external_user_id.clone()),
        prefix,
        hash,
        scopes: scopes.unwrap_or_default(),
        expires_at: at.or_else(|| lifetime.and_then(|lifetime| after(now, lifetime))),
        binding: Some(Binding { external_user_id, workspace_id, sandboxes: Vec::new() }),
    };
    let key = caller.store(&state).put_api_key(new).await?;
    let mut shown = show(&key);
    if let Value::Object(shown) = &mut shown {
        shown.insert("token".to_owned(), secret.clone().into());
    }
    Ok((StatusCode::CREATED, Json(json!({ "data": shown, "token": secret }))).into_response())
}
