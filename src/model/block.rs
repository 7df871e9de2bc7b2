//! What an operator takes down, and what its owner may know of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BlockId, SandboxId, TenantId};

/// What a block closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockTarget {
    /// Every preview of a tenant.
    Tenant(TenantId),
    /// Every preview of a sandbox.
    Sandbox(SandboxId),
    /// One port of a sandbox.
    Port(SandboxId, u16),
}

/// An operator's takedown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its id.
    pub id: BlockId,
    /// Whose previews it closes.
    pub tenant: TenantId,
    /// What it closes.
    pub target: BlockTarget,
    /// The host that the operator named, if it was a host.
    pub host: Option<String>,
    /// Why; the owner reads it.
    pub reason: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was lifted.
    pub lifted_at: Option<Timestamp>,
}

/// What the owner of something that is blocked or suspended may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Which ports; null: all of them.
    pub ports: Option<Vec<u16>>,
}
