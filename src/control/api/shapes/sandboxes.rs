//! Sandboxes, their lists, life and environment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{DomainSource, Object};
use crate::model::{Driver, Profile, SandboxState};

envelopes!(SandboxData(Sandbox), DestroyedData(Destroyed), EnvData(Vec<Variable>));

/// Sandboxes, whole or by the page.
#[derive(ToSchema)]
pub(in crate::control::api) struct SandboxPage {
    /// What is on this page; all there is when no paging was asked for.
    data: Vec<Sandbox>,
    meta: SandboxPageFacts,
    /// What to send as `cursor` for the next page.
    next_cursor: Option<String>,
}

/// Where a page is in a list of sandboxes.
#[derive(ToSchema)]
pub(in crate::control::api) struct SandboxPageFacts {
    /// The page's number, from 1.
    page: u64,
    /// The longest a page is.
    limit: u64,
    /// How many there are in all.
    total: u64,
    total_pages: u64,
    has_next_page: bool,
    /// How many of them there are in each state.
    state_counts: BTreeMap<String, u64>,
}

/// A sandbox.
#[derive(ToSchema)]
pub(in crate::control::api) struct Sandbox {
    id: Uuid,
    tenant_id: Uuid,
    /// The same as `tenant_id`.
    owner_id: Uuid,
    state: SandboxState,
    /// Whether it serves.
    ready: bool,
    name: Option<String>,
    /// Its name in preview URLs.
    slug: String,
    template_id: String,
    /// The same as `template_id`.
    image_id: String,
    size: Option<String>,
    cpu_count: Option<u32>,
    /// MiB.
    memory_mb: Option<u32>,
    /// MiB.
    disk_size_mb: Option<u32>,
    timeout_sec: Option<u64>,
    timeout_remaining_ms: Option<u64>,
    /// When its lifetime ends, if it has one and runs.
    expires_at: Option<Timestamp>,
    /// Why it is in state `error`.
    error: Option<String>,
    idle_timeout_sec: Option<u64>,
    always_on: bool,
    persistent: bool,
    workspace_id: Option<String>,
    /// Null where `workspace_id` names none of the tenant's workspaces.
    workspace_name: Option<String>,
    workspace_slug: Option<String>,
    project_id: Option<String>,
    external_user_id: Option<String>,
    external_project_id: Option<String>,
    external_workspace_id: Option<String>,
    metadata: Object,
    tags: Vec<String>,
    /// Where its `default_port` is opened.
    preview_url: String,
    /// The zone of its links.
    preview_domain: String,
    /// Whose domain that zone belongs to.
    preview_domain_source: DomainSource,
    url_info: UrlInfo,
    url_class: String,
    stable_for_embedding: bool,
    recommended_next_action: Option<String>,
    /// The port of a host that names none.
    default_port: u16,
    origin_profile: Profile,
    upstream: Option<Upstream>,
    driver: Driver,
    /// Counts changes of the address.
    address_generation: u64,
    /// Counts revocations of all tokens.
    token_generation: u64,
    created_at: Timestamp,
    /// The same as `created_at`.
    inserted_at: Timestamp,
    updated_at: Timestamp,
    started_at: Option<Timestamp>,
    /// The same as `started_at`.
    ready_at: Option<Timestamp>,
    destroyed_at: Option<Timestamp>,
    total_runtime_sec: u64,
}

/// What may be expected of a preview URL.
#[derive(ToSchema)]
pub(in crate::control::api) struct UrlInfo {
    url: String,
    url_class: String,
    stable_for_embedding: bool,
}

/// Where a sandbox is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase", examples("10.0.3.7", json!({"host": "10.0.3.7", "ports": {"3000": 9000}})))]
#[serde(untagged)]
pub(in crate::control::api) enum Upstream {
    /// An address or a host name, with `:port` if every port of the sandbox is that one.
    Text(String),
    Mapped(MappedUpstream),
}

/// A host whose ports have other numbers than the sandbox's.
#[derive(ToSchema)]
pub(in crate::control::api) struct MappedUpstream {
    host: String,
    /// Ports of the host by ports of the sandbox, at most 64; the others are as they are.
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    ports: Option<BTreeMap<String, u16>>,
}

/// The named sizes: virtual CPUs, memory and disk.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum Size {
    Xs,
    Small,
    Medium,
    Large,
    Xl,
}

/// What a sandbox is to be.
#[derive(ToSchema)]
#[schema(examples(json!({"name": "Brand refresh", "slug": "brand-refresh-2026", "external_user_id": "user-17", "size": "small"})))]
pub(in crate::control::api) struct SandboxOrder {
    #[schema(inline)]
    #[serde(flatten)]
    common: SandboxFields,
    /// Environment variables, at most 64 KiB; `/env` changes them later.
    env: Option<Object>,
}

/// What is to change about a sandbox. What is not named stays.
#[derive(ToSchema)]
#[schema(examples(json!({"slug": "brand-refresh", "metadata": {"plan": "pro", "trial": null}})))]
pub(in crate::control::api) struct SandboxChange {
    #[schema(inline)]
    #[serde(flatten)]
    common: SandboxFields,
}

/// What may be said about a sandbox at its creation and later.
#[derive(ToSchema)]
pub(in crate::control::api) struct SandboxFields {
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Its name in preview URLs. Not starting with a number and a hyphen, `xn--` or `cdp-`, and no reserved word. The first 8 digits of
    /// the id when nothing is said.
    #[schema(max_length = 57, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    slug: Option<String>,
    /// The port of a host that names none; 3000 when nothing is said.
    #[schema(minimum = 1, maximum = 65535)]
    default_port: Option<u16>,
    /// How requests are presented to the app.
    origin_profile: Option<Profile>,
    /// Where it is; null takes the address away.
    upstream: Option<Upstream>,
    size: Option<Size>,
    /// Overrides the size's.
    #[schema(minimum = 1, maximum = 16777216)]
    cpu_count: Option<u32>,
    /// MiB; overrides the size's.
    #[schema(minimum = 1, maximum = 16777216)]
    memory_mb: Option<u32>,
    /// MiB; overrides the size's.
    #[schema(minimum = 1, maximum = 16777216)]
    disk_size_mb: Option<u32>,
    /// Another name of `disk_size_mb`.
    #[schema(minimum = 1, maximum = 16777216)]
    disk_mb: Option<u32>,
    #[schema(minimum = 1, maximum = 31622400)]
    timeout_sec: Option<u64>,
    #[schema(minimum = 0, maximum = 31622400)]
    idle_timeout_sec: Option<u64>,
    always_on: Option<bool>,
    persistent: Option<bool>,
    #[schema(max_length = 200)]
    template_id: Option<String>,
    /// A workspace's id, or any other text that means something to the tenant.
    #[schema(max_length = 255)]
    workspace_id: Option<String>,
    /// The workspace with this slug, where `workspace_id` is not sent.
    #[schema(max_length = 200)]
    workspace_slug: Option<String>,
    /// The newest workspace of this name, where neither of the two is sent.
    #[schema(max_length = 200)]
    workspace_name: Option<String>,
    #[schema(max_length = 255)]
    project_id: Option<String>,
    /// The tenant's own id of the end user.
    #[schema(max_length = 255)]
    external_user_id: Option<String>,
    /// The tenant's own id of the project.
    #[schema(max_length = 255)]
    external_project_id: Option<String>,
    /// The tenant's own id of the workspace.
    #[schema(max_length = 255)]
    external_workspace_id: Option<String>,
    /// At most 64 KiB. A change is merged into what is there, and a null takes a key away.
    metadata: Option<Object>,
    /// At most 64 of 100 characters. A change replaces them.
    #[schema(max_items = 64)]
    tags: Option<Vec<String>>,
}

/// A sandbox that is gone.
#[derive(ToSchema)]
pub(in crate::control::api) struct Destroyed {
    id: Uuid,
    state: SandboxState,
}

/// How long a sandbox is to live from now on.
#[derive(ToSchema)]
#[schema(examples(json!({"timeout_sec": 3600})))]
pub(in crate::control::api) struct ExtendOrder {
    /// Seconds; the lifetime it has when nothing is said.
    #[schema(minimum = 1, maximum = 31622400)]
    timeout_sec: Option<u64>,
}

/// A variable of a sandbox's environment.
#[derive(ToSchema)]
pub(in crate::control::api) struct Variable {
    key: String,
    value: Value,
}

/// Variables to be set; others stay as they are.
#[derive(ToSchema)]
#[schema(examples(json!({"vars": [{"key": "NODE_ENV", "value": "production"}]})))]
pub(in crate::control::api) struct EnvOrder {
    /// At most 64 KiB in all.
    vars: Option<Vec<Variable>>,
}

/// Whether a sandbox is ready.
#[derive(ToSchema)]
pub(in crate::control::api) struct Readiness {
    ready: bool,
    state: SandboxState,
    /// `ready` or `pending`, by component.
    components: BTreeMap<String, String>,
}

/// How long a create may wait.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct WaitQuery {
    /// Waits up to so many seconds, and no longer than 45, until the sandbox is ready.
    wait: Option<u32>,
}

/// A create that may be repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::control::api) struct IdempotencyHeader {
    /// The same key with the same body returns the sandbox that was created first.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// Which sandboxes are listed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct SandboxQuery {
    /// Only those in this state. Destroyed ones are listed only when they are asked for. `provisioning` is another word for `creating`;
    /// nothing is ever found `destroying`.
    #[param(inline)]
    state: Option<SandboxStateQuery>,
    /// Only those with all of these tags, separated by commas. `tags[key]=value` asks for the tag `key=value`.
    tags: Option<String>,
    /// Only those of this end user.
    external_user_id: Option<String>,
    /// Only those of this project.
    external_project_id: Option<String>,
    /// Only those of this workspace, by the tenant's own id of it.
    external_workspace_id: Option<String>,
    /// Only those with this `workspace_id`.
    workspace_id: Option<String>,
    /// Only those with this `project_id`.
    project_id: Option<String>,
}

/// The states that may be asked for.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum SandboxStateQuery {
    Creating,
    Provisioning,
    Running,
    Pausing,
    Paused,
    Resuming,
    Stopped,
    Error,
    Destroying,
    Destroyed,
}

/// Which part of a list is asked for, in the way the client prefers; all of it when nothing is said.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct PageQuery {
    /// The page's number, from 1.
    #[param(minimum = 1, maximum = 2147483647)]
    page: Option<u64>,
    /// The length of a page.
    #[param(minimum = 1, maximum = 1000)]
    page_size: Option<u64>,
    /// Another name of `page_size`.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
    /// How many to leave out.
    #[param(minimum = 0, maximum = 2147483647)]
    offset: Option<u64>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{1,9}$")]
    cursor: Option<String>,
}
