//! API keys and who calls.

use jiff::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::KeyScope;

envelopes!(ApiKeyList(Vec<ApiKey>));

/// An API key, without its secret.
#[derive(ToSchema)]
pub(in crate::control::api) struct ApiKey {
    id: Uuid,
    /// What people call it.
    label: String,
    /// The first characters of the secret.
    #[schema(examples("msk_live_Zk3vQ1a"))]
    prefix: String,
    scopes: Vec<KeyScope>,
    /// The end user whose sandboxes it has, and no others; null = it is the tenant's own.
    external_user_id: Option<String>,
    /// The workspace that a bound key stays within.
    workspace_id: Option<String>,
    created_at: Timestamp,
    /// When it stops working; null = never.
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

/// An API key that was just created.
#[derive(ToSchema)]
pub(in crate::control::api) struct MadeApiKey {
    data: ShownApiKey,
    /// The key itself, shown this once.
    token: String,
}

/// An API key with its secret.
#[derive(ToSchema)]
pub(in crate::control::api) struct ShownApiKey {
    #[serde(flatten)]
    #[schema(inline)]
    record: ApiKey,
    /// The key itself, for clients that keep only `data`.
    token: String,
}

/// What an API key is to be.
#[derive(ToSchema)]
pub(in crate::control::api) struct ApiKeyOrder {
    /// What people call it.
    #[schema(max_length = 200, examples("backend"))]
    label: Option<String>,
    /// Another name of `label`.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// What it may do; everything (`*`) when nothing is said.
    #[schema(min_items = 1)]
    scopes: Option<Vec<KeyScope>>,
    /// How long it works, seconds; for ever when nothing is said.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in: Option<u64>,
}

/// Who calls: the key and its tenant.
#[derive(ToSchema)]
pub(in crate::control::api) struct Me {
    /// `api_key` or `delegation_token`.
    r#type: String,
    tenant_id: Uuid,
    tenant_name: String,
    key_id: Uuid,
    key_label: String,
    /// The first characters of the key.
    key_prefix: String,
    /// The delegation token, if it is one.
    token_id: Option<Uuid>,
    /// Whom the token was minted for.
    user_id: Option<String>,
    /// The end user that the caller is bound to.
    external_user_id: Option<String>,
    /// The workspace that the caller stays within.
    workspace_id: Option<String>,
    /// Sandboxes that the token has besides.
    sandbox_ids: Option<Vec<Uuid>>,
    scopes: Vec<KeyScope>,
    /// When the key stops working; null = never.
    expires_at: Option<Timestamp>,
}
