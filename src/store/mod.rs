//! The store: business verbs over SQL. Every write appends to `changes` in the same transaction and returns its version.
//!
//! No visitor's request ever waits for this part.

mod verbs;

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::host::Slug;
use crate::model::{
    ApiKey, Attributes, Branding, Change, CustomDomain, Driver, KeyId, KeyScope, Preview,
    PreviewId, PreviewTokenRecord, Profile, Sandbox, SandboxId, SandboxState, SigningKeyRecord,
    Tenant, TenantDomain, TenantId, TenantPolicy, TokenId, TokenScope, Upstream, Version,
    Visibility,
};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The thing named does not exist (or is another tenant's).
    #[error("not found")]
    NotFound,
    /// The slug is held by another sandbox in one of the zones it would live in.
    #[error("slug taken")]
    SlugTaken,
    /// The domain is registered to another tenant.
    #[error("domain taken")]
    DomainTaken,
    /// The same idempotency key was used with another payload.
    #[error("idempotency key reused with another payload")]
    IdempotencyMismatch,
    /// A stored secret cannot be decrypted with the key we were given.
    #[error("the stored secrets were encrypted with another key")]
    WrongSecretKey,
    /// The database.
    #[error("database")]
    Database(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A stored value does not parse: the file was written by something else.
    #[error("a stored value is not valid: {0}")]
    Corrupt(&'static str),
    /// The data directory or key file.
    #[error("{1}")]
    Io(#[source] std::io::Error, String),
}

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
    /// Skip this many.
    pub offset: u64,
    /// At most this many; `None` = all.
    pub limit: Option<u64>,
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
}

/// Everything the follower needs to start, read in one transaction at `version`.
#[derive(Debug)]
pub struct Snapshot {
    /// The log's position.
    pub version: Version,
    /// All tenants.
    pub tenants: Vec<Tenant>,
    /// All tenants' domains.
    pub domains: Vec<TenantDomain>,
    /// All exact custom domains.
    pub custom_domains: Vec<CustomDomain>,
    /// All sandboxes that are not destroyed, with their active previews and the scopes their slug is held in.
    pub sandboxes: Vec<RoutedSandbox>,
    /// Tokens revoked one by one that have not expired yet.
    pub revoked_tokens: Vec<TokenId>,
    /// The active signing keys.
    pub signing_keys: Vec<SigningKeyRecord>,
}

/// A sandbox as the follower loads it.
#[derive(Debug)]
pub struct RoutedSandbox {
    /// The sandbox.
    pub sandbox: Sandbox,
    /// Its published ports.
    pub previews: Vec<Preview>,
    /// The scopes in which its slug leads to it: `None` = the platform zones, `Some(domain)` = a tenant's domain.
    pub slug_scopes: Vec<Option<String>>,
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: verbs::Inner,
}

// store helper: the face to implement in `verbs.rs` and its neighbours, as `impl Store`:
//
//   async fn open(data: &Path, clock: Clock) -> Result<Store>          SQLite file `portico.db` (WAL, busy_timeout 5 s) and key file `secret.key` (0600) in `data`
//   fn write_hint(&self) -> tokio::sync::watch::Receiver<Version>       woken after every local write
//   async fn version(&self) -> Result<Version>                          newest in `changes`
//   async fn snapshot(&self) -> Result<Snapshot>
//   async fn changes_since(&self, Version, limit) -> Result<Vec<Change>>
//   async fn routed_sandbox(&self, SandboxId) -> Result<Option<RoutedSandbox>>     for the follower
//   async fn create_tenant(&self, name) -> Result<(Tenant, Version)>
//   async fn tenants(&self) / tenant(&self, TenantId) -> Result<Option<Tenant>>
//   async fn set_branding(&self, TenantId, Option<Branding>) -> Result<Version>
//   async fn set_policy(&self, TenantId, TenantPolicy) -> Result<Version>
//   async fn put_domain(&self, domain, TenantId, verified_at: Option<Timestamp>) -> Result<Version>      domains(&self, TenantId), domain(&self, &str), delete_domain
//   async fn put_custom_domain(&self, CustomDomain) -> Result<Version>  custom_domain(&self,&str), delete_custom_domain
//   async fn put_api_key(&self, NewApiKey) -> Result<ApiKey>            api_key_by_hash(&[u8;32]) -> Option<ApiKey>, api_keys(TenantId), revoke_api_key(TenantId, KeyId)
//   async fn create_sandbox(&self, TenantId, NewSandbox, Option<Idempotency>) -> Result<Created>
//   async fn sandbox(&self, TenantId, SandboxId) -> Result<Sandbox>     NotFound when another tenant's; destroyed ones are found
//   async fn sandbox_by_name(&self, TenantId, &str) -> Result<Sandbox>  newest live one whose name, else whose slug, equals it
//   async fn sandboxes(&self, TenantId, SandboxFilter) -> Result<(Vec<Sandbox>, total: u64)>       oldest first
//   async fn update_sandbox(&self, TenantId, SandboxId, SandboxPatch) -> Result<(Sandbox, Version)>
//   async fn destroy_sandbox(&self, TenantId, SandboxId) -> Result<(Sandbox, Version)>       idempotent; frees the slug's route, never the id
//   async fn put_preview(&self, TenantId, SandboxId, NewPreview) -> Result<(Preview, Version)>     replaces the active record of the port
//   async fn previews(&self, TenantId, SandboxId) -> Result<Vec<Preview>>    delete_preview(TenantId, SandboxId, PreviewId) -> Result<Version>, preview(TenantId, SandboxId, PreviewId)
//   async fn record_token(&self, TenantId, PreviewTokenRecord) -> Result<()>         no change row: nobody needs to know of a token that is not revoked
//   async fn tokens(&self, TenantId, SandboxId) -> Result<Vec<PreviewTokenRecord>>   newest first
//   async fn revoke_token(&self, TenantId, SandboxId, TokenId) -> Result<Version>    idempotent
//   async fn revoke_all_tokens(&self, TenantId, SandboxId) -> Result<Version>        bumps token_generation
//   async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>>       rotate_signing_key() -> Result<(SigningKeyRecord, Version)>: keeps the two newest
//   async fn set_state_file / local secrets: `local_secret(name) -> Result<Option<String>>`, `put_local_secret(name, value)`: encrypted small values (dev keeps its API key in clear for printing)
