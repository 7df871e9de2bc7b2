//! The store: business verbs over SQL. Every write appends to `changes` in the same transaction and returns its version.
//!
//! No visitor's request ever waits for this part.

mod actor;
mod audit;
mod backup;
mod blocks;
mod changes;
mod checks;
mod custom_domains;
mod delegation;
mod deliveries;
mod delivery_log;
mod directory;
mod domains;
mod emptying;
mod error;
mod events;
mod examine;
mod find;
mod former;
mod health;
mod idempotency;
mod jobs;
mod keys;
mod lifecycle;
mod local_secrets;
mod migrations;
mod minted;
mod open;
mod previews;
mod prune;
mod quotas;
mod restore;
mod rows;
mod sandboxes;
mod sealing;
mod secrets;
mod serving;
mod shares;
mod slugs;
mod snapshot;
mod spans;
mod tenants;
mod tokens;
mod usage;
mod usage_reports;
mod webhooks;
mod workspaces;
mod writes;

pub use actor::{Actor, ActorKind};
pub use audit::{AuditFilter, AuditRow};
pub use backup::{BackupError, BackupOrder, back_up};
pub use blocks::NewBlock;
pub use checks::{Check, Checked};
pub use deliveries::{Backlog, Busy, Claim, Room, Settlement, Verdict};
pub use directory::DirectoryError;
pub use domains::{Registered, Rival};
pub use emptying::Emptied;
pub use error::{QuotaExceeded, StoreError};
pub use examine::{Schema, examine, is_in_use};
pub use jobs::{Job, JobTarget};
pub use lifecycle::{CommandEnd, Due};
pub use open::Store;
pub use quotas::QuotaUsage;
pub use restore::{RestoreOrder, Restored, restore};
pub use serving::Serving;
pub use shares::{NewShare, PreviewShare};
pub use snapshot::Sandboxes;
pub use webhooks::{NewWebhook, WebhookPatch};
pub use workspaces::{NewWorkspace, WorkspaceKey, WorkspacePatch};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::model::host::Slug;
use crate::model::{
    Attributes, Binding, Blocked, CustomDomain, Driver, KeyScope, Profile, Protocol, Sandbox,
    SandboxId, SandboxState, ShareLink, SigningKeyRecord, Tenant, TenantDomain, TenantId, TokenId,
    Upstream, Version, Visibility,
};

/// What a new sandbox is made of. `slug: None` = the first free of 8, 12, 16 hex digits of the id.
#[derive(Clone, Debug)]
pub struct NewSandbox {
    /// Its id (made by the caller, so that a retry can be recognised).
    pub id: SandboxId,
    /// Its slug, if the caller chose one.
    pub slug: Option<Slug>,
    /// What people call it.
    pub name: Option<String>,
    /// Its first state.
    pub state: SandboxState,
    /// Who knows its address.
    pub driver: Driver,
    /// Its address.
    pub upstream: Option<Upstream>,
    /// The port of a host that names none.
    pub default_port: u16,
    /// Its origin profile.
    pub profile: Profile,
    /// External ids.
    pub external_user_id: Option<String>,
    /// External ids.
    pub external_project_id: Option<String>,
    /// External ids.
    pub external_workspace_id: Option<String>,
    /// Free-form data.
    pub metadata: Map<String, Value>,
    /// Labels.
    pub tags: Vec<String>,
    /// The rest.
    pub attributes: Attributes,
}

/// A remembered create: the key, scoped by the caller to (tenant, method, path), and a hash of the payload.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// `<method> <path> <key>`.
    pub key: String,
    /// SHA-256 of the payload.
    pub fingerprint: [u8; 32],
}

/// What a create did.
#[derive(Debug)]
pub enum Created {
    /// It was made now.
    Fresh(Sandbox, Version),
    /// The same key made it before (within 24 hours).
    Replayed(Sandbox),
}

/// A change to a sandbox: `None` leaves a field alone; inner `None` clears it.
#[derive(Clone, Debug, Default)]
pub struct SandboxPatch {
    /// New slug.
    pub slug: Option<Slug>,
    /// New name.
    pub name: Option<Option<String>>,
    /// New state. Moving to `Running` for the first time sets `started_at`.
    pub state: Option<SandboxState>,
    /// Who knows its address from now on.
    pub driver: Option<Driver>,
    /// New address; a different one bumps the address generation.
    pub upstream: Option<Option<Upstream>>,
    /// New default port.
    pub default_port: Option<u16>,
    /// New origin profile.
    pub profile: Option<Profile>,
    /// External ids.
    pub external_user_id: Option<Option<String>>,
    /// External ids.
    pub external_project_id: Option<Option<String>>,
    /// External ids.
    pub external_workspace_id: Option<Option<String>>,
    /// Shallow merge; a JSON null deletes its key.
    pub metadata: Option<Map<String, Value>>,
    /// Replaces the tags.
    pub tags: Option<Vec<String>>,
    /// Replaces the attributes.
    pub attributes: Option<Attributes>,
}

/// Which sandboxes to list. Destroyed ones only when `state` says so.
#[derive(Clone, Debug, Default)]
pub struct SandboxFilter {
    /// Only this state.
    pub state: Option<SandboxState>,
    /// Only those that carry all of these.
    pub tags: Vec<String>,
    /// Only this end user's.
    pub external_user_id: Option<String>,
    /// Only this project's.
    pub external_project_id: Option<String>,
    /// Only this workspace's.
    pub external_workspace_id: Option<String>,
    /// Only this workspace's, by the id that its sandboxes carry.
    pub workspace_id: Option<String>,
    /// Only those with this attribute.
    pub project_id: Option<String>,
    /// Only what exists for a delegated caller.
    pub within: Option<Binding>,
    /// Only those after this one, in the order of lists.
    pub after: Option<(Timestamp, SandboxId)>,
    /// Skip this many.
    pub offset: u64,
    /// At most this many; `None` = all.
    pub limit: Option<u64>,
}

/// Which of what was used is asked for: a window of time, and of whom.
#[derive(Clone, Debug)]
pub struct UsageFilter {
    /// Whose.
    pub tenant: TenantId,
    /// Only this end user's.
    pub external_user_id: Option<String>,
    /// Only this project's.
    pub external_project_id: Option<String>,
    /// Only this workspace's, by the tenant's own id.
    pub external_workspace_id: Option<String>,
    /// Only this workspace's.
    pub workspace_id: Option<String>,
    /// Only this sandbox's.
    pub sandbox: Option<SandboxId>,
    /// From when on.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
}

/// What tells the groups of a report apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageGroup {
    /// The end user.
    ExternalUser,
    /// The project.
    ExternalProject,
    /// The workspace, by the tenant's own id.
    ExternalWorkspace,
    /// The workspace.
    Workspace,
    /// The sandbox.
    Sandbox,
}

/// A new or replaced preview of a port.
#[derive(Clone, Debug)]
pub struct NewPreview {
    /// The port.
    pub port: u16,
    /// What people call it.
    pub name: Option<String>,
    /// Who may open it.
    pub visibility: Visibility,
    /// Its origin profile.
    pub profile: Option<Profile>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Free-form data.
    pub metadata: Map<String, Value>,
    /// After this the port is private again.
    pub expires_at: Option<Timestamp>,
}

/// A new API key; the caller made the secret and hashed it.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Whose.
    pub tenant: TenantId,
    /// What people call it.
    pub label: String,
    /// First characters of the secret.
    pub prefix: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Whom it is bound to, if anybody.
    pub binding: Option<Binding>,
}

/// Everything the follower needs to start but the sandboxes, read in one transaction at `version`.
#[derive(Debug)]
pub struct Snapshot {
    /// The log's position.
    pub version: Version,
    /// How many sandboxes there are; they follow in batches.
    pub sandboxes: usize,
    /// All tenants.
    pub tenants: Vec<Tenant>,
    /// All tenants' domains.
    pub domains: Vec<TenantDomain>,
    /// All exact custom domains.
    pub custom_domains: Vec<CustomDomain>,
    /// Tokens revoked one by one that have not expired yet, and when they will.
    pub revoked_tokens: Vec<(TokenId, Timestamp)>,
    /// All share links that open something, and those that did until lately.
    pub shares: Vec<ShareLink>,
    /// The active signing keys.
    pub signing_keys: Vec<SigningKeyRecord>,
}

/// A sandbox as the follower loads it: what routing needs, and no more.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutedSandbox {
    /// Its id.
    pub id: SandboxId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its slug.
    pub slug: Slug,
    /// Where it is in its life.
    pub state: SandboxState,
    /// Who knows its address.
    pub driver: Driver,
    /// Its address.
    pub upstream: Option<Upstream>,
    /// Counts changes of the address.
    pub address_generation: u64,
    /// Counts "revoke all tokens".
    pub token_generation: u64,
    /// The port of a host that names none.
    pub default_port: u16,
    /// Its origin profile.
    pub profile: Profile,
    /// The tenant's own id of the end user.
    pub external_user_id: Option<String>,
    /// The workspace it belongs to.
    pub workspace: Option<String>,
    /// The project it belongs to.
    pub project: Option<String>,
    /// Its published ports.
    pub ports: Vec<RoutedPort>,
    /// Whether it ends when nobody visits it for long enough.
    pub idles: bool,
    /// What the operator has taken down of it.
    pub blocked: Option<Blocked>,
    /// Since when it has a name, or an owner, that was somebody else's before: visitors' browsers may hold what the one before stored.
    pub changed_hands_at: Option<Timestamp>,
    /// Where its slug leads to it: an empty text is the platform's zones, any other a tenant's domain.
    pub slug_scopes: Vec<String>,
}

/// A published port as the follower loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedPort {
    /// The port.
    pub port: u16,
    /// Who may open it.
    pub visibility: Visibility,
    /// Its origin profile.
    pub profile: Option<Profile>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// After this it is private again.
    pub expires_at: Option<Timestamp>,
}
