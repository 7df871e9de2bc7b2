//! API keys, for keys with the master scope.

use std::collections::HashMap;

use super::keys;
use super::prelude::*;
use crate::control::store::NewApiKey;
use crate::model::{Binding, KeyScope};

endpoints!([list_api_keys, create_api_key], [revoke_api_key]);

/// What a new key is to be.
pub(super) struct Order {
    pub(super) label: String,
    pub(super) scopes: Vec<KeyScope>,
    pub(super) expires_at: Option<jiff::Timestamp>,
    pub(super) binding: Option<Binding>,
}

/// Makes a key. Its secret is beside the record and, for clients that keep only that, in it; once.
pub(super) async fn make(caller: &Caller, order: Order) -> Made {
    let Order { label, scopes, expires_at, binding } = order;
    let (secret, prefix, hash) = keys::generate();
    let new = NewApiKey { tenant: caller.tenant, label, prefix, hash, scopes, expires_at, binding };
    let key = caller.state.store.put_api_key(new).await?;
    Ok((StatusCode::CREATED, Json(shapes::MadeApiKey::of(&key, &secret).into())))
}

/// List API keys.
///
/// Revoked ones are included; secrets are not.
#[utoipa::path(get, path = "/api-keys", security(("api_key" = ["*"])), responses((status = 200, body = shapes::ApiKeyList)))]
async fn list_api_keys(caller: Caller) -> Shown {
    list(caller.state.store.api_keys(caller.tenant).await?.iter().map(shapes::ApiKey::of))
}

/// Create an API key.
///
/// Its secret is in `token`, only this once.
#[utoipa::path(post, path = "/api-keys", security(("api_key" = ["*"])), request_body = shapes::ApiKeyOrder, responses((status = 201, body = shapes::MadeApiKey)))]
async fn create_api_key(caller: Caller, mut fields: Fields) -> Made {
    let scopes = fields.list("scopes").filter(|scopes| !scopes.is_empty());
    let label = fields.text("label").flatten();
    let lifetime = fields.number("expires_in");
    fields.finish()?;
    let order = Order {
        label: label.unwrap_or_else(|| "key".into()),
        scopes: scopes.unwrap_or_else(|| vec![KeyScope::All]),
        expires_at: lifetime.and_then(|seconds| caller.state.after(seconds)),
        binding: None,
    };
    make(&caller, order).await
}

/// Revoke an API key.
///
/// It stops working at once, and so do the user-scoped tokens it created. Revoking it twice is not an error. With `?revoke_minted=true`, the
/// preview tokens and share links that it and those tokens created are revoked as well.
#[utoipa::path(delete, path = "/api-keys/{id}", security(("api_key" = ["*"])), params(shapes::RevocationQuery), responses((status = 204)))]
async fn revoke_api_key(caller: Caller, Path(key): Path<String>, Query(query): Asked) -> Done {
    let id = id(&key, "API key")?;
    let with_minted = revokes_minted(&query)?;
    caller.state.store.revoke_api_key(caller.tenant, id).await?;
    revoke_minted(&caller, &id.to_string(), with_minted).await
}

/// Whether what a key or token created is to end with it.
pub(super) fn revokes_minted(query: &HashMap<String, String>) -> Result<bool, Problem> {
    match query.get("revoke_minted").map(String::as_str) {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(_) => Err(Problem::field("revoke_minted", "must be true or false")),
    }
}

/// Ends what a key or token created, if that is wanted, and waits until visitors are served accordingly.
pub(super) async fn revoke_minted(caller: &Caller, minter: &str, wanted: bool) -> Done {
    if !wanted {
        return DONE;
    }
    caller.state.store.revoke_minted(caller.tenant, minter).await?;
    caller.done(caller.state.store.version().await?).await
}
