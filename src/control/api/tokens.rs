//! Preview tokens: minting, listing, revoking.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{self, MintedToken, PreviewTokenList, SentToken};
use super::{ApiState, Problem, render};
use crate::control::store::Store;
use crate::model::token::Claims;
use crate::model::{KeyScope, PreviewTokenRecord, Sandbox, SandboxState, TokenId, TokenScope};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(create, revoke_by_token))
        .routes(routes!(list, revoke_all))
        .routes(routes!(revoke))
}

/// What is to be minted.
#[derive(Clone, Copy, Debug)]
pub struct TokenOrder {
    /// Lifetime, seconds.
    pub expires_in: u64,
    /// What it allows.
    pub scope: TokenScope,
    /// The only port it opens, or any.
    pub port: Option<u16>,
    /// The port in its URL.
    pub url_port: u16,
}

/// A minted token.
#[derive(Clone, Debug)]
pub struct Minted {
    /// What is remembered of it.
    pub record: PreviewTokenRecord,
    /// The token.
    pub token: String,
    /// A URL that carries it.
    pub url: String,
}

/// Mints a token and remembers it.
pub async fn mint(
    state: &ApiState,
    sandbox: &Sandbox,
    order: TokenOrder,
) -> Result<Minted, Problem> {
    mint_as(&state.store, state, sandbox, order).await
}

/// Mints a token in the name that the store is written to in.
async fn mint_as(
    store: &Store,
    state: &ApiState,
    sandbox: &Sandbox,
    order: TokenOrder,
) -> Result<Minted, Problem> {
    // Whole seconds: that is what the token itself says.
    let now =
        Timestamp::from_second(state.clock.now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
    let lifetime = SignedDuration::from_secs(i64::try_from(order.expires_in).unwrap_or(i64::MAX));
    let expires_at = now
        .checked_add(lifetime)
        .map_err(|_| Problem::field("expires_in", "is too far in the future"))?;
    let record = PreviewTokenRecord {
        id: TokenId::new(),
        sandbox: sandbox.id,
        port: order.port,
        scope: order.scope,
        created_at: now,
        expires_at,
        revoked_at: None,
    };
    let claims = Claims {
        id: record.id,
        sandbox: sandbox.id,
        tenant: sandbox.tenant,
        port: order.port,
        scope: order.scope,
        generation: sandbox.token_generation,
        issued_at: now,
        expires_at,
        external_user_id: sandbox.external_user_id.clone(),
    };
    let token = state.routes.key_ring().mint(&claims).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL_ERROR",
            "The token could not be signed.",
        )
    })?;
    store.record_token(sandbox.tenant, &record).await?;
    let zone = render::zone(state, sandbox.tenant).await?;
    let url = format!("{}/?mt={token}", render::preview_url(state, &zone, sandbox, order.url_port));
    Ok(Minted { record, token, url })
}

async fn live(state: &ApiState, caller: &Caller, path: &str) -> Result<Sandbox, Problem> {
    let sandbox = caller.sandbox(state, path).await?;
    if sandbox.state == SandboxState::Destroyed {
        return Err(Problem::not_found("sandbox"));
    }
    Ok(sandbox)
}

/// Create a preview token.
#[utoipa::path(
    post, path = "/sandboxes/{id}/preview-token", tag = "Preview tokens", operation_id = "create_preview_token", security(("api_key" = ["previews:write"])), request_body = shapes::TokenOrder,
    responses((status = 200, body = MintedToken),
        (status = 422, description = "`invalid_scope`: there is no such scope. `VALIDATION_ERROR`: every other field that cannot be taken is named in `details`")),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = live(&state, &caller, &path).await?;
    let settings = &state.settings;
    let expires_in = fields
        .number("expires_in", (1, settings.token_max_ttl))
        .unwrap_or(settings.token_default_ttl);
    let port = fields.port("port");
    // Judged after everything else, because it has a code of its own.
    let scope = match fields.raw_value("scope") {
        None | Some(Value::Null) => Some(TokenScope::Read),
        Some(value) => serde_json::from_value(value.clone()).ok(),
    };
    fields.finish()?;
    let scope = scope.ok_or_else(|| {
        Problem::field("scope", "must be one of read, interact, terminal")
            .with_code("invalid_scope")
    })?;
    let url_port = port.unwrap_or(sandbox.default_port);
    let order = TokenOrder { expires_in, scope, port, url_port };
    let minted = mint_as(&caller.store(&state), &state, &sandbox, order).await?;
    Ok(Json(json!({
        "id": minted.record.id,
        "token": minted.token,
        "url": minted.url,
        "expires_at": minted.record.expires_at,
        "expires_in": expires_in,
        "scope": scope,
        "port": port,
    })))
}

/// List preview tokens.
///
/// The tokens themselves are not stored.
#[utoipa::path(
    get, path = "/sandboxes/{id}/preview-tokens", tag = "Preview tokens", operation_id = "list_preview_tokens", security(("api_key" = ["previews:read"]), ("api_key" = ["previews:write"])),
    responses((status = 200, body = PreviewTokenList)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::PreviewsRead, KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let tokens = state.store.tokens(caller.tenant, sandbox.id).await?;
    let show = |token: &PreviewTokenRecord| {
        json!({
            "id": token.id,
            "scope": token.scope,
            "port": token.port,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
        })
    };
    Ok(Json(json!({ "data": tokens.iter().map(show).collect::<Vec<_>>() })))
}

/// Revoke a preview token by id.
///
/// Active connections are closed. Revoking it twice is not an error.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/preview-tokens/{token}", tag = "Preview tokens", operation_id = "revoke_preview_token", security(("api_key" = ["previews:write"])),
    responses((status = 204, description = "Done")),
)]
async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, token)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let token = token.parse().map_err(|_| Problem::not_found("preview token"))?;
    revoke_one(&state, &caller, &path, token).await
}

/// Revoke the preview token in the body.
///
/// Its signature identifies it.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/preview-token", tag = "Preview tokens", operation_id = "revoke_sent_preview_token", security(("api_key" = ["previews:write"])), request_body = SentToken,
    responses((status = 204, description = "Done")),
)]
async fn revoke_by_token(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let token = fields
        .get("token", "must be a preview token", |value| value.as_str().map(str::to_owned))
        .flatten();
    fields.finish()?;
    let token = token.ok_or_else(|| Problem::field("token", "is required"))?;
    let claims =
        state.routes.key_ring().verify(&token).map_err(|_| Problem::not_found("preview token"))?;
    revoke_one(&state, &caller, &path, claims.id).await
}

async fn revoke_one(
    state: &ApiState,
    caller: &Caller,
    path: &str,
    token: TokenId,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = caller.sandbox(state, path).await?;
    let version = caller.store(state).revoke_token(caller.tenant, sandbox.id, token).await?;
    state.follower.reached(version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke all preview tokens of a sandbox.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/preview-tokens", tag = "Preview tokens", operation_id = "revoke_all_preview_tokens", security(("api_key" = ["previews:write"])),
    responses((status = 204, description = "Done")),
)]
async fn revoke_all(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::PreviewsWrite])?;
    let sandbox = live(&state, &caller, &path).await?;
    let version = caller.store(&state).revoke_all_tokens(caller.tenant, sandbox.id).await?;
    state.follower.reached(version).await?;
    Ok(StatusCode::NO_CONTENT)
}
