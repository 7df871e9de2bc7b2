//! Sandboxes and previews as callers see them.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{ApiState, Problem};
use crate::control::store::{PreviewShare, StoreError};
use crate::model::{
    Preview, Sandbox, SandboxState, TenantDomain, TenantId, Workspace, WorkspaceId, show_upstream,
};

/// Where a tenant's links are minted: for each sandbox in the most specific verified domain there is, else in the platform's zone.
#[derive(Debug, Default)]
pub(super) struct Zones {
    domains: Vec<TenantDomain>,
    platform: String,
}

impl Zones {
    /// The zone of a sandbox's links, and the level of the domain that it comes from.
    pub(super) fn of(&self, sandbox: &Sandbox) -> (String, &'static str) {
        let a = &sandbox.attributes;
        self.resolve(a.workspace_id.as_deref(), a.project_id.as_deref())
    }

    /// The same for a workspace and project.
    pub(super) fn resolve(
        &self,
        workspace: Option<&str>,
        project: Option<&str>,
    ) -> (String, &'static str) {
        let admitted = |level: &str| {
            let of_level = self.domains.iter().filter(|d| d.audience.level() == level);
            of_level.into_iter().find(|domain| domain.audience.admits(workspace, project))
        };
        let own = ["project", "workspace", "tenant"].into_iter().find_map(admitted);
        match own {
            Some(own) => (format!("sandbox.{}", own.domain), own.audience.level()),
            None => (self.platform.clone(), "platform"),
        }
    }
}

/// Where a tenant's links are minted.
pub(super) async fn zone(state: &ApiState, tenant: TenantId) -> Result<Zones, Problem> {
    let domains = state.store.domains(tenant).await?.into_iter().map(|domain| domain.route);
    let domains = domains.filter(|domain| domain.verified_at.is_some()).collect();
    Ok(Zones { domains, platform: state.settings.platform_zone.clone() })
}

/// The URL of a port, without a path. Where another sandbox has the slug it is made of the id, which answers everywhere.
pub(super) fn preview_url(state: &ApiState, zones: &Zones, sandbox: &Sandbox, port: u16) -> String {
    let (zone, _) = zones.of(sandbox);
    let scope = state.routes.zone(&zone).map(|zone| zone.scope.clone());
    let holder = scope.and_then(|scope| state.routes.by_slug(&scope, sandbox.slug.as_str()));
    let is_its_own = holder.is_some_and(|holder| holder.sandbox == sandbox.id);
    if is_its_own || sandbox.state == SandboxState::Destroyed {
        return state.settings.url(&format!("{port}-{}", sandbox.slug), &zone);
    }
    state.settings.url(&format!("{port}-{}", sandbox.id), &zone)
}

/// Whether a sandbox serves.
pub(super) fn is_ready(sandbox: &Sandbox) -> bool {
    sandbox.is_ready()
}

/// A sandbox.
#[expect(clippy::too_many_lines, reason = "a table: one line a field")]
pub(super) fn sandbox(state: &ApiState, zones: &Zones, s: &Sandbox) -> Value {
    let (a, now) = (&s.attributes, state.clock.now());
    let url = preview_url(state, zones, s, s.default_port);
    let (zone, source) = zones.of(s);
    let end = s.destroyed_at.unwrap_or(now);
    let runtime = s.started_at.map_or(0, |started| (end.as_second() - started.as_second()).max(0));
    let expires_at = s.expires_at();
    let remaining = expires_at.map(|at| (at.as_millisecond() - now.as_millisecond()).max(0));
    let mut shown = json!({
        "id": s.id,
        "tenant_id": s.tenant,
        "owner_id": s.tenant,
        "state": s.state,
        "ready": is_ready(s),
        "name": s.name,
        "slug": s.slug,
        "template_id": a.template_id,
        "image_id": a.template_id,
        "size": a.size,
        "cpu_count": a.cpu_count,
        "memory_mb": a.memory_mb,
        "disk_size_mb": a.disk_size_mb,
        "timeout_sec": a.timeout_sec,
        "timeout_remaining_ms": remaining,
        "expires_at": expires_at,
        "error": s.life.error,
        "idle_timeout_sec": a.idle_timeout_sec,
        "always_on": a.always_on,
        "persistent": a.persistent,
        "workspace_id": a.workspace_id,
        "workspace_name": null,
        "workspace_slug": null,
        "project_id": a.project_id,
        "external_user_id": s.external_user_id,
        "external_project_id": s.external_project_id,
        "external_workspace_id": s.external_workspace_id,
        "metadata": s.metadata,
        "tags": s.tags,
    });
    let more = json!({
        "preview_url": url,
        "preview_domain": zone,
        "preview_domain_source": source,
        "url_info": { "url": url, "url_class": "stable_sandbox_embed", "stable_for_embedding": true },
        "url_class": "stable_sandbox_embed",
        "stable_for_embedding": true,
        "recommended_next_action": null,
        "default_port": s.default_port,
        "origin_profile": s.profile,
        "upstream": s.upstream.as_ref().map(show_upstream),
        "driver": s.driver,
        "address_generation": s.address_generation,
        "token_generation": s.token_generation,
        "created_at": s.created_at,
        "inserted_at": s.created_at,
        "updated_at": s.updated_at,
        "started_at": s.started_at,
        "ready_at": s.started_at,
        "destroyed_at": s.destroyed_at,
        "total_runtime_sec": runtime,
    });
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    shown
}

/// Says the names of the workspaces that sandboxes are in.
pub(super) async fn name_workspaces(
    state: &ApiState,
    tenant: TenantId,
    sandboxes: &mut [Value],
) -> Result<(), Problem> {
    // Most tenants with many sandboxes have few workspaces; one sandbox needs one.
    let ids = sandboxes.iter().filter_map(|sandbox| sandbox.get("workspace_id")?.as_str());
    let mut ids: Vec<WorkspaceId> = ids.filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    let known = match ids.as_slice() {
        [] => return Ok(()),
        [one] => match state.store.workspace(tenant, *one).await {
            Ok(workspace) => vec![workspace],
            Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        },
        _ => state.store.workspaces(tenant).await?,
    };
    let known: HashMap<String, &Workspace> =
        known.iter().map(|workspace| (workspace.id.to_string(), workspace)).collect();
    for sandbox in sandboxes.iter_mut().filter_map(Value::as_object_mut) {
        let id = sandbox.get("workspace_id").and_then(Value::as_str);
        if let Some(workspace) = id.and_then(|id| known.get(id)) {
            sandbox.insert("workspace_name".to_owned(), workspace.name.clone().into());
            sandbox.insert("workspace_slug".to_owned(), workspace.slug.clone().into());
        }
    }
    Ok(())
}

/// A preview record, and the newest link to it.
pub(super) fn preview(
    state: &ApiState,
    zones: &Zones,
    sandbox: &Sandbox,
    (p, share): (&Preview, Option<&PreviewShare>),
) -> Value {
    let now = state.clock.now();
    let expired = p.expires_at.is_some_and(|at| at <= now);
    let standing = match (p.deleted_at, expired) {
        (Some(_), _) => "deleted",
        (None, true) => "expired",
        (None, false) => "active",
    };
    json!({
        "id": p.id,
        "sandbox_id": p.sandbox,
        "tenant_id": sandbox.tenant,
        "owner_id": sandbox.tenant,
        "name": p.name,
        "label": p.name,
        "port": p.port,
        "visibility": p.visibility,
        "profile": p.profile,
        "protocol": p.protocol,
        "state": standing,
        "url": preview_url(state, zones, sandbox, p.port),
        "expires_at": p.expires_at,
        "deleted_at": p.deleted_at,
        "share_token_prefix": share.map(|share| &share.prefix),
        "share_token_expires_at": share.and_then(|share| share.expires_at),
        "metadata": p.metadata,
        "external_user_id": sandbox.external_user_id,
        "external_project_id": sandbox.external_project_id,
        "external_workspace_id": sandbox.external_workspace_id,
        "created_at": p.created_at,
        "updated_at": p.updated_at,
    })
}
