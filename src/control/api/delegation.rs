//! Access for one end user: delegation tokens for browsers, and keys that live longer. Whatever is made here is worth no more than the key
//! that makes it, and makes nothing further.

use jiff::Timestamp;

use super::api_keys;
use super::listing::{cut, limit};
use super::minting::whole_seconds;
use super::prelude::*;
use crate::model::token::Delegation;
use crate::model::{Binding, KeyId, KeyScope, ScopedToken, ScopedTokenId, after};

/// The usual lifetime of a token, seconds.
const USUAL: u64 = 3_600;

endpoints!(
    [list_scoped_tokens, create_scoped_token],
    [revoke_scoped_token],
    [create_scoped_api_key]
);

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

/// Whose tokens a caller sees: all of the tenant's with the master scope, else those that its key minted.
fn minted_by(caller: &Caller) -> Option<KeyId> {
    caller.needs(&[]).is_err().then_some(caller.key.id)
}

/// Create a user-scoped token.
///
/// For the browser of one end user: it is confined to that user's sandboxes. Any key that is not itself user-scoped may create one.
#[utoipa::path(post, path = "/tokens/scoped", request_body = shapes::ScopedTokenOrder,
    responses((status = 201, body = shapes::MintedScopedToken),
    (status = 403, description = "`insufficient_scope`: the caller is bound itself, or lacks the scopes in `invalid_scopes`. `FORBIDDEN`: `X-Miosa-Tenant` names another tenant than the key's")))]
async fn create_scoped_token(caller: Caller, mut fields: Fields) -> Made {
    caller.must_be_unbound()?;
    let user_id = fields.text("user_id").flatten().unwrap_or_default();
    let external_user_id = fields.text("external_user_id").flatten();
    let workspace_id = fields.text("workspace_id").flatten();
    let lifetime = fields.number("expires_in_seconds").unwrap_or(USUAL);
    let sandboxes = fields.list("sandbox_ids").unwrap_or_default();
    let scopes = fields.list("scopes").filter(|scopes| !scopes.is_empty());
    fields.finish()?;
    let scopes = scopes.unwrap_or_else(|| caller.scopes().to_vec());
    must_have(&caller, &scopes)?;
    let now = whole_seconds(caller.state.clock.now());
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
    let signed = caller.state.routes.key_ring().mint_delegation(&Delegation {
        id: token.id,
        tenant: token.tenant,
        user_id: token.user_id.clone(),
        workspace_id: token.binding.workspace_id.clone(),
        scopes: token.scopes.clone(),
        issued_at: token.created_at,
        expires_at: token.expires_at,
    });
    let signed = signed.map_err(|_| Problem::internal("The token could not be signed."))?;
    caller.state.store.record_scoped_token(&token).await?;
    Ok((StatusCode::CREATED, Json(shapes::MintedScopedToken::of(&token, signed, lifetime).into())))
}

/// List user-scoped tokens.
///
/// Newest first. All of the tenant's for keys with the scope `*`, else those that the key created. Tokens that expired 30 days ago are not
/// listed.
#[utoipa::path(get, path = "/tokens/scoped", params(shapes::ScopedTokenQuery), responses((status = 200, body = shapes::ScopedTokenPage)))]
async fn list_scoped_tokens(caller: Caller, Query(query): Asked) -> Shown {
    caller.must_be_unbound()?;
    let limit = limit(&query)?;
    // An empty one is the first page's.
    let before = query.get("before").filter(|text| !text.is_empty());
    let before = before.map(|text| text.parse::<ScopedTokenId>());
    let before = before.transpose().map_err(|_| Problem::field("before", "must be a cursor"))?;
    let (page, minted_by) = ((before, limit + 1), minted_by(&caller));
    let mut tokens = caller.state.store.scoped_tokens(caller.tenant, minted_by, page).await?;
    let next = cut(&mut tokens, limit).map(|token| token.id);
    let shown: Vec<_> = tokens.iter().map(shapes::ScopedToken::of).collect();
    Ok(Json(json!({ "data": shown, "next_cursor": next })))
}

/// Revoke a user-scoped token.
///
/// With `?revoke_minted=true`, the preview tokens and share links that it created are revoked as well.
#[utoipa::path(delete, path = "/tokens/scoped/{id}", params(shapes::RevocationQuery), responses((status = 200, body = shapes::Revoked)))]
async fn revoke_scoped_token(
    caller: Caller,
    Path(token): Path<String>,
    Query(query): Asked,
) -> Shown {
    let with_minted = api_keys::revokes_minted(&query)?;
    caller.must_be_unbound()?;
    let (token, minted_by) = (id(&token, "token")?, minted_by(&caller));
    caller.state.store.revoke_scoped_token(caller.tenant, minted_by, token).await?;
    api_keys::revoke_minted(&caller, &token.to_string(), with_minted).await?;
    Ok(Json(json!({ "revoked": true })))
}

/// Create a user-scoped API key.
///
/// Confined to one end user like a user-scoped token; listed and revoked with the other keys.
#[utoipa::path(post, path = "/api-keys/scoped", tag = "API keys", security(("api_key" = ["*"])), request_body = shapes::ScopedKeyOrder,
    responses((status = 201, body = shapes::MadeApiKey)))]
async fn create_scoped_api_key(caller: Caller, mut fields: Fields) -> Made {
    let external_user_id = fields.text("external_user_id").flatten().unwrap_or_default();
    let scopes = fields.list("scopes").unwrap_or_default();
    let label = fields.text("label").flatten();
    let workspace_id = fields.text("workspace_id").flatten();
    let now = caller.state.clock.now();
    let must = "must be a time in the future, such as 2030-01-01T00:00:00Z";
    let read = |value: &Value| value.as_str()?.parse().ok().filter(|at: &Timestamp| *at > now);
    let at = fields.get("expires_at", must, read).flatten();
    let lifetime = fields.number("expires_in");
    fields.finish()?;
    let order = api_keys::Order {
        label: label.unwrap_or_else(|| external_user_id.clone()),
        scopes,
        expires_at: at.or_else(|| lifetime.and_then(|seconds| caller.state.after(seconds))),
        binding: Some(Binding { external_user_id, workspace_id, sandboxes: Vec::new() }),
    };
    api_keys::make(&caller, order).await
}
