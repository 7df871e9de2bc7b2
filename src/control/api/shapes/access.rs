//! Workspaces, access for one end user, tickets and the audit log.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::Object;
use crate::control::store;
use crate::model::{self, KeyScope, SandboxState, Tenant};

envelopes!(WorkspaceData(Workspace), PlanData(Plan));
pages!(WorkspacePage(Workspace));

shapes! {
    /// A group of sandboxes.
    Workspace(w: &model::Workspace) {
        id: Uuid = w.id,
        tenant_id: Uuid = w.tenant,
        name: String = w.name,
        /// Unique among the tenant's workspaces.
        slug: String = w.slug,
        description: Option<String> = w.description,
        metadata: Object = w.metadata,
        /// The tenant's own id of it.
        external_workspace_id: Option<String> = w.external_workspace_id,
        /// The tenant's own id of the end user whose it is.
        external_user_id: Option<String> = w.external_user_id,
        created_at: Timestamp = w.created_at => inserted_at,
        updated_at: Timestamp = w.updated_at,
    }

    /// A workspace that was just created or reused.
    ProvidedWorkspace(workspace: &model::Workspace, was_there: bool) {
        data: Workspace = Workspace::of(workspace),
        /// Whether it was there before.
        reused: bool = was_there,
    }

    /// What a workspace is to be.
    #[schema(examples(json!({"name": "@alex", "external_workspace_id": "cust_1041"})))]
    WorkspaceOrder {
        /// What people call it.
        name: String [min_length = 1, max_length = 200, pattern = r"\S"],
        /// Derived from the name when it is not sent.
        slug: Option<String> [pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"],
        description: Option<String> [max_length = 2000],
        metadata: Option<Object>,
        /// The tenant's own id of it. If a workspace with this id exists, it is returned.
        external_workspace_id: Option<String> [max_length = 255],
        external_user_id: Option<String> [max_length = 255],
        /// Whether another workspace may have the same name.
        allow_duplicate_name: Option<bool>,
    }

    /// What is to change about a workspace.
    #[schema(examples(json!({"name": "@alex"})))]
    WorkspaceChange {
        name: Option<String> [nullable = false, min_length = 1, max_length = 200, pattern = r"\S"],
        description: Option<String> [max_length = 2000],
        /// Merged into what is there; a null takes a key away.
        metadata: Option<Object>,
        allow_duplicate_name: Option<bool>,
    }

    /// Which workspaces to list.
    in Query WorkspaceQuery {
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
    #[schema(examples(json!({"user_id": "user-17", "workspace_id": "cust_1041", "scopes": ["sandboxes:read"]})))]
    ScopedTokenOrder {
        /// The end user. The token has the sandboxes whose `external_user_id` this is.
        user_id: String [min_length = 1, max_length = 255],
        /// The end user's id where sandboxes carry another than `user_id`.
        external_user_id: Option<String> [max_length = 255],
        /// The token stays within this workspace; sandboxes in none are not excluded by it.
        workspace_id: Option<String> [max_length = 255],
        /// Sandboxes that it has besides.
        sandbox_ids: Option<Vec<Uuid>> [max_items = 100],
        /// What it may do, at most what its minter may; the same when nothing is said.
        scopes: Option<Vec<KeyScope>> [min_items = 1, max_items = 64],
        /// How long it works, seconds; an hour when nothing is said.
        expires_in_seconds: Option<u64> [minimum = 1, maximum = 86400],
    }

    /// A delegation token, without the token itself.
    ScopedToken(token: &model::ScopedToken) {
        id: Uuid = token.id,
        user_id: String = token.user_id,
        external_user_id: String = token.binding.external_user_id,
        workspace_id: Option<String> = token.binding.workspace_id,
        sandbox_ids: Vec<Uuid> = token.binding.sandboxes,
        scopes: Vec<KeyScope> = token.scopes,
        created_at: Timestamp = token.created_at,
        expires_at: Timestamp = token.expires_at,
        revoked_at: Option<Timestamp> = token.revoked_at,
    }

    /// A delegation token that was just minted.
    MintedScopedToken(token: &model::ScopedToken, signed: String, lifetime: u64) {
        ..record: ScopedToken = ScopedToken::of(token),
        /// The token, shown this once: a JWT.
        token: String = signed,
        /// How long it works, seconds.
        expires_in: u64 = lifetime,
    }

    /// Delegation tokens, newest first.
    ScopedTokenPage {
        data: Vec<ScopedToken>,
        /// What to send as `before` for the next page.
        next_cursor: Option<Uuid>,
    }

    /// That a token was revoked.
    Revoked {
        revoked: bool [examples(true)],
    }

    /// Which delegation tokens to list.
    in Query ScopedTokenQuery {
        /// The `next_cursor` of the page before.
        before: Option<String> [pattern = "^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$"],
        /// The length of a page; 100 when nothing is said.
        limit: Option<u32> [minimum = 1, maximum = 1000],
    }

    /// How a key or token is to be revoked.
    in Query RevocationQuery {
        /// Whether the preview tokens and share links that it created end with it.
        revoke_minted: Option<bool>,
    }

    /// What a key for one end user is to be.
    #[schema(examples(json!({"external_user_id": "user-17", "scopes": ["sandboxes:read"], "label": "phone"})))]
    ScopedKeyOrder {
        /// The end user whose sandboxes it has.
        external_user_id: String [min_length = 1, max_length = 255],
        scopes: Vec<KeyScope> [min_items = 1, max_items = 64],
        /// What people call it; the end user's id when nothing is said.
        label: Option<String> [max_length = 200] => name,
        /// It stays within this workspace.
        workspace_id: Option<String> [max_length = 255],
        /// When it stops working, a moment in the future; never when nothing is said.
        expires_at: Option<Timestamp> [examples("2099-01-01T00:00:00Z")],
        /// The same as a number of seconds from now.
        expires_in: Option<u64> [minimum = 1, maximum = 316224000],
    }

    /// What opens one stream in place of an `Authorization` field.
    Ticket {
        ticket: String [pattern = "^sset_"],
        /// How long it is good for, seconds.
        expires_in: u64 [examples(60)],
    }

    /// What a tenant has and may have.
    Plan(tenant: &Tenant, limits: Object, usage: Object) {
        id: Uuid = tenant.id,
        tenant_id: Uuid = tenant.id,
        name: String = tenant.name,
        plan: String [examples("self-hosted")] = "self-hosted",
        created_at: Timestamp = tenant.created_at,
        limits: PlanLimits = limits,
        usage: PlanUsage = usage,
    }

    /// What a tenant may have.
    PlanLimits(token_seconds: u64) {
        /// The longest a preview token may live.
        preview_token_max_seconds: u64 = token_seconds,
    }

    /// What a tenant has at the moment.
    PlanUsage(counts: &BTreeMap<SandboxState, u64>) {
        sandboxes: u64 = counts.values().sum::<u64>(),
        running_sandboxes: u64 = counts.get(&SandboxState::Running).copied().unwrap_or_default(),
        sandboxes_by_state: BTreeMap<SandboxState, u64> = counts,
    }

    /// Who changed what, when and from where; oldest first, unless the order is turned.
    AuditPage {
        data: Vec<AuditRow>,
        /// What to send as `after` for the next page.
        next_cursor: Option<String>,
    }

    /// One change.
    AuditRow(row: &store::AuditRow) {
        id: String = row.id.to_string(),
        at: Timestamp = row.at => created_at,
        tenant_id: Option<Uuid> = row.tenant,
        actor: AuditActor = AuditActor::of(row),
        actor_id: String = row.actor,
        /// `api_key`, `delegation_token`, `operator` or `system`.
        actor_type: String = row.actor_kind,
        /// What was done.
        action: String [examples("sandbox.create")] = row.action => r#type,
        subject: AuditSubject = AuditSubject::of(row),
        resource_type: String = row.subject_kind,
        resource_id: String = row.subject,
        /// As in `X-Request-Id`.
        request_id: Option<String> = row.request_id,
        /// The address that the API was called from.
        ip: Option<String> = row.peer,
        user_agent: Option<String> = row.user_agent,
        /// The path that was called, without its query.
        path: Option<String> = row.path,
        /// What the body asked for. Values that may be secret are not kept.
        changes: Object = row.changes,
    }

    /// Who did it.
    AuditActor(row: &store::AuditRow) {
        r#type: String = row.actor_kind,
        id: String = row.actor,
        label: Option<String> = row.actor_label,
        /// The end user that it acted for.
        external_user_id: Option<String> = row.external_user_id,
    }

    /// What it was done to.
    AuditSubject(row: &store::AuditRow) {
        r#type: String = row.subject_kind,
        id: String = row.subject,
    }

    /// Which changes to list.
    in Query AuditQuery {
        /// The `next_cursor` of the page before.
        after: Option<String> [pattern = "^[0-9]{0,18}$"],
        /// The length of a page; 100 when nothing is said.
        limit: Option<u32> [minimum = 1, maximum = 1000],
        /// `asc`, oldest first, which is usual, or `desc`.
        order: Option<String> [pattern = "^(asc|desc)$"],
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
}
