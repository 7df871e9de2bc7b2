//! API keys and who calls.

use jiff::Timestamp;
use uuid::Uuid;

use crate::control::api::auth::Caller;
use crate::model::{self, KeyScope, Tenant};

envelopes!(ApiKeyList(Vec<ApiKey>));

shapes! {
    /// An API key, without its secret.
    ApiKey(key: &model::ApiKey) with {
        let binding = key.binding.as_ref();
    } {
        id: Uuid = key.id,
        /// What people call it.
        label: String = key.label,
        /// The first characters of the secret.
        prefix: String [examples("msk_live_Zk3vQ1a")] = key.prefix,
        scopes: Vec<KeyScope> = key.scopes,
        /// The end user whose sandboxes it has, and no others; null = it is the tenant's own.
        external_user_id: Option<String> = binding.map(|binding| &binding.external_user_id),
        /// The workspace that a bound key stays within.
        workspace_id: Option<String> = binding.and_then(|binding| binding.workspace_id.as_ref()),
        created_at: Timestamp = key.created_at,
        /// When it stops working; null = never.
        expires_at: Option<Timestamp> = key.expires_at,
        revoked_at: Option<Timestamp> = key.revoked_at,
    }

    /// An API key with its secret.
    ShownApiKey(key: &model::ApiKey, secret: &str) {
        ..record: ApiKey = ApiKey::of(key),
        /// The key itself, for clients that keep only `data`.
        token: String = secret,
    }

    /// An API key that was just created.
    MadeApiKey(key: &model::ApiKey, secret: &str) {
        data: ShownApiKey = ShownApiKey::of(key, secret),
        /// The key itself, shown this once.
        token: String = secret,
    }

    /// What an API key is to be.
    ApiKeyOrder {
        /// What people call it.
        label: Option<String> [max_length = 200, examples("backend")] => name,
        /// What it may do; everything (`*`) when nothing is said.
        scopes: Option<Vec<KeyScope>> [min_items = 1, max_items = 64],
        /// How long it works, seconds; for ever when nothing is said.
        expires_in: Option<u64> [minimum = 1, maximum = 316224000],
    }

    /// Who calls: the key and its tenant.
    Me(caller: &Caller, tenant: &Tenant) with {
        let (key, token, binding) = (&caller.key, caller.token.as_ref(), caller.binding());
    } {
        /// `api_key` or `delegation_token`.
        r#type: String = if token.is_some() { "delegation_token" } else { "api_key" },
        tenant_id: Uuid = tenant.id,
        tenant_name: String = tenant.name,
        key_id: Uuid = key.id,
        key_label: String = key.label,
        /// The first characters of the key.
        key_prefix: String = key.prefix,
        /// The delegation token, if it is one.
        token_id: Option<Uuid> = token.map(|token| token.id),
        /// Whom the token was minted for.
        user_id: Option<String> = token.map(|token| &token.user_id),
        /// The end user that the caller is bound to.
        external_user_id: Option<String> = binding.map(|binding| &binding.external_user_id),
        /// The workspace that the caller stays within.
        workspace_id: Option<String> = binding.and_then(|binding| binding.workspace_id.as_ref()),
        /// Sandboxes that the token has besides.
        sandbox_ids: Option<Vec<Uuid>> = token.map(|token| &token.binding.sandboxes),
        scopes: Vec<KeyScope> = caller.scopes(),
        /// When the key stops working; null = never.
        expires_at: Option<Timestamp> = token.map_or(key.expires_at, |token| Some(token.expires_at)),
    }
}
