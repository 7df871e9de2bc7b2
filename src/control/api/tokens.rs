//! Preview tokens: minting, listing, revoking.

use super::minting::{TokenOrder, mint};
use super::prelude::*;
use crate::model::TokenId;

endpoints!(
    [create_preview_token, revoke_sent_preview_token],
    [list_preview_tokens, revoke_all_preview_tokens],
    [revoke_preview_token]
);

/// Create a preview token.
#[utoipa::path(post, path = "/sandboxes/{id}/preview-token", security(("api_key" = ["previews:write"])), request_body = shapes::TokenOrder,
    responses((status = 200, body = shapes::MintedToken),
    (status = 422, description = "`invalid_scope`: there is no such scope. `VALIDATION_ERROR`: every other field that cannot be taken is named in `details`")))]
async fn create_preview_token(
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Shown {
    let sandbox = caller.live(&path).await?;
    let settings = &caller.state.settings;
    let expires_in = fields.number_up_to("expires_in", settings.token_max_ttl);
    let expires_in = expires_in.unwrap_or(settings.token_default_ttl);
    let port = fields.number("port");
    let scope = fields.scope()?;
    let url_port = port.unwrap_or(sandbox.default_port);
    let order = TokenOrder { expires_in, scope, port, url_port };
    caller.mints()?;
    let minted = mint(&caller.state, &sandbox, order).await?;
    Ok(Json(shapes::MintedToken::of(&minted, expires_in).into()))
}

/// List preview tokens.
///
/// The tokens themselves are not stored.
#[utoipa::path(get, path = "/sandboxes/{id}/preview-tokens", security(("api_key" = ["previews:read", "previews:write"])),
    responses((status = 200, body = shapes::PreviewTokenList)))]
async fn list_preview_tokens(caller: Caller, Path(path): Path<String>) -> Shown {
    let sandbox = caller.sandbox(&path).await?;
    let tokens = caller.state.store.tokens(caller.tenant, sandbox.id).await?;
    list(tokens.iter().map(shapes::PreviewToken::of))
}

/// Revoke a preview token by id.
///
/// Active connections are closed. Revoking it twice is not an error.
#[utoipa::path(delete, path = "/sandboxes/{id}/preview-tokens/{token}", security(("api_key" = ["previews:write"])), responses((status = 204)))]
async fn revoke_preview_token(caller: Caller, Path((path, token)): Path<(String, String)>) -> Done {
    revoke(&caller, &path, id(&token, "preview token")?).await
}

/// Revoke the preview token in the body.
///
/// Its signature identifies it.
#[utoipa::path(delete, path = "/sandboxes/{id}/preview-token", security(("api_key" = ["previews:write"])), request_body = shapes::SentToken, responses((status = 204)))]
async fn revoke_sent_preview_token(
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Done {
    let token = fields.text("token").flatten().unwrap_or_default();
    fields.finish()?;
    let claims = caller.state.routes.key_ring().verify(&token);
    let claims = claims.map_err(|_| Problem::not_found("preview token"))?;
    revoke(&caller, &path, claims.id).await
}

async fn revoke(caller: &Caller, path: &str, token: TokenId) -> Done {
    let sandbox = caller.sandbox(path).await?;
    caller.done(caller.state.store.revoke_token(caller.tenant, sandbox.id, token).await?).await
}

/// Revoke all preview tokens of a sandbox.
#[utoipa::path(delete, path = "/sandboxes/{id}/preview-tokens", security(("api_key" = ["previews:write"])), responses((status = 204)))]
async fn revoke_all_preview_tokens(caller: Caller, Path(path): Path<String>) -> Done {
    let sandbox = caller.live(&path).await?;
    caller.done(caller.state.store.revoke_all_tokens(caller.tenant, sandbox.id).await?).await
}
