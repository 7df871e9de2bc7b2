//! Who may do what: API keys, preview tokens and the keys that sign them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Binding, KeyId, SandboxId, ScopedTokenId, TenantId, TokenId};

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
    /// Run commands and terminals in sandboxes.
    #[serde(rename = "sandboxes:exec")]
    SandboxesExec,
    /// Read sandboxes' environments.
    #[serde(rename = "env:read")]
    EnvRead,
    /// Read what was used.
    #[serde(rename = "usage:read")]
    UsageRead,
    /// Read the audit log.
    #[serde(rename = "audit:read")]
    AuditRead,
    /// Everything about domains.
    #[serde(rename = "domains:*")]
    DomainsAll,
    /// Read domains.
    #[serde(rename = "domains:read")]
    DomainsRead,
    /// Register, verify and remove domains.
    #[serde(rename = "domains:write")]
    DomainsWrite,
    /// Read webhooks and their deliveries.
    #[serde(rename = "webhooks:read")]
    WebhooksRead,
    /// Register, change and test webhooks.
    #[serde(rename = "webhooks:write")]
    WebhooksWrite,
    /// Read quotas.
    #[serde(rename = "quotas:read")]
    QuotasRead,
    /// Set quotas.
    #[serde(rename = "quotas:write")]
    QuotasWrite,
    /// Deployments, of which there are none here: known to clients, and without effect.
    #[serde(rename = "deployments:*")]
    Deployments,
}

impl KeyScope {
    /// Whether who holds this may do what asks for the other.
    pub fn covers(self, other: Self) -> bool {
        match self {
            Self::All => true,
            Self::DomainsAll => {
                matches!(other, Self::DomainsAll | Self::DomainsRead | Self::DomainsWrite)
            }
            _ => self == other,
        }
    }

    /// Whether it is about single sandboxes. Only such a scope means something to a caller that is bound to one end user.
    pub fn is_about_sandboxes(self) -> bool {
        matches!(
            self,
            Self::SandboxesRead
                | Self::SandboxesWrite
                | Self::SandboxesCreate
                | Self::SandboxesExec
                | Self::PreviewsRead
                | Self::PreviewsWrite
                | Self::EnvRead
        )
    }
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
    /// Whom it is bound to; `None` = it is the tenant's own.
    pub binding: Option<Binding>,
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

/// A minted delegation token, remembered so that it can be listed and revoked. The token itself is not kept.
#[derive(Clone, Debug)]
pub struct ScopedToken {
    /// The `jti` claim.
    pub id: ScopedTokenId,
    /// Whose.
    pub tenant: TenantId,
    /// The key that minted it. The token ends with it.
    pub minted_by: KeyId,
    /// Whom it was minted for, in the minter's words.
    pub user_id: String,
    /// What it is bound to.
    pub binding: Binding,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// When it was minted.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_itself_and_the_wide_ones_what_is_below_them() {
        let scope = |name: &str| -> KeyScope {
            serde_json::from_value(serde_json::Value::String(name.into())).unwrap()
        };
        for (held, asked, covers) in [
            ("*", "*", true),
            ("*", "webhooks:write", true),
            ("*", "deployments:*", true),
            ("domains:*", "domains:*", true),
            ("domains:*", "domains:read", true),
            ("domains:*", "domains:write", true),
            ("domains:*", "webhooks:read", false),
            ("domains:*", "*", false),
            ("domains:write", "domains:*", false),
            ("domains:write", "domains:read", false),
            ("sandboxes:write", "sandboxes:create", false),
            ("usage:read", "usage:read", true),
        ] {
            assert_eq!(scope(held).covers(scope(asked)), covers, "{held} covers {asked}");
        }
    }
}
