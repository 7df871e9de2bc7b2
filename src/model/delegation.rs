//! Access for one end user: what a delegated key or token is bound to.

use jiff::Timestamp;

use super::{KeyId, KeyScope, Sandbox, SandboxId, ScopedTokenId, TenantId};

/// Whom a delegated caller acts for. Everything else of the tenant's does not exist for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The end user. Only sandboxes with this `external_user_id` are its.
    pub external_user_id: String,
    /// The workspace it stays within. Sandboxes that are in none are not excluded by it.
    pub workspace_id: Option<String>,
    /// Sandboxes that it may use besides, whoever's they are.
    pub sandboxes: Vec<SandboxId>,
}

impl Binding {
    /// Whether a sandbox exists for this caller.
    pub fn admits(&self, sandbox: &Sandbox) -> bool {
        let own = sandbox.external_user_id.as_ref() == Some(&self.external_user_id);
        let within = match (&self.workspace_id, &sandbox.attributes.workspace_id) {
            (Some(own), Some(other)) => own == other,
            (None, _) | (_, None) => true,
        };
        (own || self.sandboxes.contains(&sandbox.id)) && within
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
