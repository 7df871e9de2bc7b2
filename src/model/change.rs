//! An entry of the `changes` log: what was written, never how. The follower re-reads the subject.

use super::{SandboxId, ShareId, TenantId, TokenId};

/// The position of a write in the log; grows by one a change.
pub type Version = i64;

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A tenant: name, branding or policy.
    Tenant(TenantId),
    /// A tenant's preview domain was added, verified or removed (the domain name).
    Domain(String),
    /// An exact custom domain was added or removed (the fully qualified name).
    CustomDomain(String),
    /// A sandbox or any of its previews: state, slug, address, generations, ports.
    Sandbox(SandboxId),
    /// One preview token was revoked.
    Token(TokenId),
    /// A share link was made or revoked.
    Share(ShareId),
    /// The signing keys.
    SigningKeys,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its position.
    pub version: Version,
    /// What it is about.
    pub subject: Subject,
}
