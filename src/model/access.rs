//! Who may do what: API keys, preview tokens and the keys that sign them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{KeyId, SandboxId, TenantId, TokenId};

/// What an API key may do. `All` (`*`) is the master scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum KeyScope {
    /// Everything within the tenant.
    #[serde(rename = "*")]
    All,
    /// Read sandboxes.
    #[serde(rename = "sandboxes:read")]
    SandboxesRead,
    /// Change and destroy sandboxes.
    #[serde(rename = "sandboxes:write")]
    SandboxesWrite,
    /// Create sandboxes.
    #[serde(rename = "sandboxes:create")]
    SandboxesCreate,
    /// List previews, tokens and shares.
    #[serde(rename = "previews:read")]
    PreviewsRead,
    /// Publish previews, mint and revoke tokens.
    #[serde(rename = "previews:write")]
    PreviewsWrite,
    /// Read branding and tenant settings.
    #[serde(rename = "tenant:read")]
    TenantRead,
    /// Change branding and tenant settings.
    #[serde(rename = "tenant:write")]
    TenantWrite,
}

/// An API key as stored: the secret itself is never kept, only its SHA-256.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Whom it belongs to.
    pub tenant: TenantId,
    /// What people call it.
    pub label: String,
    /// The first characters of the secret, for recognising it in a list.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; `None` = never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What a preview token allows (read = look, interact = everything, terminal = the terminal socket only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenScope {
    /// GET, HEAD, OPTIONS and WebSocket upgrades.
    Read,
    /// Every method.
    Interact,
    /// Only the terminal socket; opens no preview.
    Terminal,
}

/// A minted `mp_` token, remembered so that it can be listed and revoked. The token itself is not kept.
#[derive(Clone, Debug)]
pub struct PreviewTokenRecord {
    /// The `jti` claim.
    pub id: TokenId,
    /// The sandbox it opens.
    pub sandbox: SandboxId,
    /// The only port it opens, or any.
    pub port: Option<u16>,
    /// What it allows.
    pub scope: TokenScope,
    /// When it was minted.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A signing key, decrypted. Two may be active at once: the newest signs, all verify.
#[derive(Clone)]
pub struct SigningKeyRecord {
    /// `kid` in the token's header.
    pub kid: String,
    /// HS256 secret, 32 random bytes.
    pub secret: Vec<u8>,
    /// When it was made; the newest signs.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for SigningKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeyRecord").field("kid", &self.kid).finish_non_exhaustive()
    }
}
