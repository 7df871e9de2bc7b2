//! Workspaces, access for one end user, tickets and the audit log.

use jiff::Timestamp;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Object;
use crate::model::{self, KeyScope, SandboxState};

envelopes!(WorkspaceData(Workspace), PlanData(Plan));
pages!(WorkspacePage(Workspace));

/// A group of sandboxes.
#[derive(ToSchema)]
pub(in crate::control::api) struct Workspace {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    /// Unique among the tenant's workspaces.
    slug: String,
    description: Option<String>,
    metadata: Object,
    /// The tenant's own id of it.
    external_workspace_id: Option<String>,
    /// The tenant's own id of the end user whose it is.
    external_user_id: Option<String>,
    created_at: Timestamp,
    /// The same as `created_at`.
    inserted_at: Timestamp,
    updated_at: Timestamp,
}

/// A workspace as callers see it.
pub(in crate::control::api) fn workspace_shown(w: &model::Workspace) -> Value {
    json!({
        "id": w.id,
        "tenant_id": w.tenant,
        "name": w.name,
        "slug": w.slug,
        "description": w.description,
        "metadata": w.metadata,
        "external_workspace_id": w.external_workspace_id,
        "external_user_id": w.external_user_id,
        "created_at": w.created_at,
        "inserted_at": w.created_at,
        "updated_at": w.updated_at,
    })
}

/// A workspace that was just created or reused.
#[derive(ToSchema)]
pub(in crate::control::api) struct ProvidedWorkspace {
    data: Workspace,
    /// Whether it was there before.
    reused: bool,
}

/// What a workspace is to be.
#[derive(ToSchema)]
#[schema(examples(json!({"name": "@alex", "external_workspace_id": "cust_1041"})))]
pub(in crate::control::api) struct WorkspaceOrder {
    /// What people call it.
    #[schema(min_length = 1, max_length = 200, pattern = r"\S")]
    name: String,
    /// Derived from the name when it is not sent.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    slug: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    metadata: Option<Object>,
    /// The tenant's own id of it. If a workspace with this id exists, it is returned.
    #[schema(max_length = 255)]
    external_workspace_id: Option<String>,
    #[schema(max_length = 255)]
    external_user_id: Option<String>,
    /// Whether another workspace may have the same name.
    allow_duplicate_name: Option<bool>,
}

/// What is to change about a workspace.
#[derive(ToSchema)]
#[schema(examples(json!({"name": "@alex"})))]
pub(in crate::control::api) struct WorkspaceChange {
    #[schema(nullable = false, min_length = 1, max_length = 200, pattern = r"\S")]
    name: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    /// Merged into what is there; a null takes a key away.
    metadata: Option<Object>,
    allow_duplicate_name: Option<bool>,
}

/// Which workspaces to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct WorkspaceQuery {
    /// Only those of this name.
    name: Option<String>,
    /// Only the one with this slug.
    slug: Option<String>,
    /// Only the one with this id of the tenant's own.
    external_workspace_id: Option<String>,
    /// Only this end user's.
    external_user_id: Option<String>,
}

/// What a delegation token is to be.
#[derive(ToSchema)]
#[schema(examples(json!({"user_id": "user-17", "workspace_id": "cust_1041", "scopes": ["sandboxes:read"]})))]
pub(in crate::control::api) struct ScopedTokenOrder {
    /// The end user. The token has the sandboxes whose `external_user_id` this is.
    #[schema(min_length = 1, max_length = 255)]
    user_id: String,
    /// The end user's id where sandboxes carry another than `user_id`.
    #[schema(max_length = 255)]
    external_user_id: Option<String>,
    /// The token stays within this workspace; sandboxes in none are not excluded by it.
    #[schema(max_length = 255)]
    workspace_id: Option<String>,
    /// Sandboxes that it has besides.
    #[schema(max_items = 100)]
    sandbox_ids: Option<Vec<Uuid>>,
    /// What it may do, at most what its minter may; the same when nothing is said.
    #[schema(min_items = 1)]
    scopes: Option<Vec<KeyScope>>,
    /// How long it works, seconds; an hour when nothing is said.
    #[schema(minimum = 1, maximum = 86400)]
    expires_in_seconds: Option<u64>,
}

/// A delegation token, without the token itself.
#[derive(ToSchema)]
pub(in crate::control::api) struct ScopedToken {
    id: Uuid,
    user_id: String,
    external_user_id: String,
    workspace_id: Option<String>,
    sandbox_ids: Vec<Uuid>,
    scopes: Vec<KeyScope>,
    created_at: Timestamp,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

/// A delegation token that was just minted.
#[derive(ToSchema)]
pub(in crate::control::api) struct MintedScopedToken {
    #[serde(flatten)]
    #[schema(inline)]
    record: ScopedToken,
    /// The token, shown this once: a JWT.
    token: String,
    /// How long it works, seconds.
    expires_in: u64,
}

/// Delegation tokens, newest first.
#[derive(ToSchema)]
pub(in crate::control::api) struct ScopedTokenPage {
    data: Vec<ScopedToken>,
    /// What to send as `before` for the next page.
    next_cursor: Option<Uuid>,
}

/// That a token was revoked.
#[derive(ToSchema)]
pub(in crate::control::api) struct Revoked {
    #[schema(examples(true))]
    revoked: bool,
}

/// Which delegation tokens to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct ScopedTokenQuery {
    /// The `next_cursor` of the page before.
    #[param(pattern = "^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$")]
    before: Option<String>,
    /// The length of a page; 100 when nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What a key for one end user is to be.
#[derive(ToSchema)]
#[schema(examples(json!({"external_user_id": "user-17", "scopes": ["sandboxes:read"], "label": "phone"})))]
pub(in crate::control::api) struct ScopedKeyOrder {
    /// The end user whose sandboxes it has.
    #[schema(min_length = 1, max_length = 255)]
    external_user_id: String,
    #[schema(min_items = 1)]
    scopes: Vec<KeyScope>,
    /// What people call it; the end user's id when nothing is said.
    #[schema(max_length = 200)]
    label: Option<String>,
    /// Another name of `label`.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// It stays within this workspace.
    #[schema(max_length = 255)]
    workspace_id: Option<String>,
    /// When it stops working, a moment in the future; never when nothing is said.
    #[schema(examples("2099-01-01T00:00:00Z"))]
    expires_at: Option<Timestamp>,
    /// The same as a number of seconds from now.
    #[schema(minimum = 1, maximum = 316224000)]
    expires_in: Option<u64>,
}

/// What opens one stream in place of an `Authorization` field.
#[derive(ToSchema)]
pub(in crate::control::api) struct Ticket {
    #[schema(pattern = "^sset_")]
    ticket: String,
    /// How long it is good for, seconds.
    #[schema(examples(60))]
    expires_in: u64,
}

/// What a tenant has and may have.
#[derive(ToSchema)]
pub(in crate::control::api) struct Plan {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    #[schema(examples("self-hosted"))]
    plan: String,
    created_at: Timestamp,
    limits: PlanLimits,
    usage: PlanUsage,
}

/// What a tenant may have.
#[derive(ToSchema)]
pub(in crate::control::api) struct PlanLimits {
    /// The longest a preview token may live.
    preview_token_max_seconds: u64,
}

/// What a tenant has at the moment.
#[derive(ToSchema)]
pub(in crate::control::api) struct PlanUsage {
    sandboxes: u64,
    running_sandboxes: u64,
    sandboxes_by_state: std::collections::BTreeMap<SandboxState, u64>,
}

/// Who changed what, when and from where; oldest first, unless the order is turned.
#[derive(ToSchema)]
pub(in crate::control::api) struct AuditPage {
    data: Vec<AuditRow>,
    /// What to send as `after` for the next page.
    next_cursor: Option<String>,
}

/// One change.
#[derive(ToSchema)]
pub(in crate::control::api) struct AuditRow {
    id: String,
    at: Timestamp,
    /// The same as `at`.
    created_at: Timestamp,
    tenant_id: Option<Uuid>,
    actor: AuditActor,
    actor_id: String,
    /// `api_key`, `delegation_token`, `operator` or `system`.
    actor_type: String,
    /// What was done.
    #[schema(examples("sandbox.create"))]
    action: String,
    /// The same as `action`.
    r#type: String,
    subject: AuditSubject,
    resource_type: String,
    resource_id: String,
    /// As in `X-Request-Id`.
    request_id: Option<String>,
    /// The address that the API was called from.
    ip: Option<String>,
    user_agent: Option<String>,
    /// The path that was called, without its query.
    path: Option<String>,
    /// What the body asked for. Values that may be secret are not kept.
    changes: Object,
}

/// Who did it.
#[derive(ToSchema)]
pub(in crate::control::api) struct AuditActor {
    r#type: String,
    id: String,
    label: Option<String>,
    /// The end user that it acted for.
    external_user_id: Option<String>,
}

/// What it was done to.
#[derive(ToSchema)]
pub(in crate::control::api) struct AuditSubject {
    r#type: String,
    id: String,
}

/// Which changes to list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct AuditQuery {
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{0,18}$")]
    after: Option<String>,
    /// The length of a page; 100 when nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `asc`, oldest first, which is usual, or `desc`.
    #[param(pattern = "^(asc|desc)$")]
    order: Option<String>,
    /// Only of this key or token, or on behalf of this end user.
    actor: Option<String>,
    /// Another name of `actor`.
    actor_id: Option<String>,
    /// Only this action, such as `sandbox.create`.
    action: Option<String>,
    /// Another name of `action`.
    r#type: Option<String>,
    /// Only about the thing with this id.
    subject: Option<String>,
    /// Another name of `subject`.
    resource_id: Option<String>,
    /// Only about things of this kind, such as `sandbox`.
    subject_type: Option<String>,
    /// Another name of `subject_type`.
    resource_type: Option<String>,
    /// Not before this moment.
    start: Option<Timestamp>,
    /// Before this moment.
    end: Option<Timestamp>,
}
