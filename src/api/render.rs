//! Sandboxes and previews as callers see them.

use serde_json::{Value, json};

use super::{ApiState, Problem, upstream};
use crate::model::{Preview, Sandbox, TenantId};
use crate::store::PreviewShare;

/// The zone a tenant's links are minted in: its own verified domain, else the platform's.
pub(super) async fn zone(state: &ApiState, tenant: TenantId) -> Result<String, Problem> {
    let domains = state.store.domains(tenant).await?;
    let own = domains.into_iter().find(|domain| domain.verified_at.is_some());
    Ok(own.map_or_else(
        || state.settings.platform_zone.clone(),
        |own| format!("sandbox.{}", own.domain),
    ))
}

/// The URL of a port, without a path.
pub(super) fn preview_url(state: &ApiState, zone: &str, sandbox: &Sandbox, port: u16) -> String {
    state.settings.url(&format!("{port}-{}", sandbox.slug), zone)
}

/// Whether a sandbox serves.
pub(super) fn is_ready(sandbox: &Sandbox) -> bool {
    sandbox.is_ready()
}

/// A sandbox.
#[expect(clippy::too_many_lines, reason = "a table: one line a field")]
pub(super) fn sandbox(state: &ApiState, zone: &str, s: &Sandbox) -> Value {
    let (a, now) = (&s.attributes, state.clock.now());
    let url = preview_url(state, zone, s, s.default_port);
    let end = s.destroyed_at.unwrap_or(now);
    let runtime = s.started_at.map_or(0, |started| (end.as_second() - started.as_second()).max(0));
    let remaining = a.timeout_sec.map(|timeout| {
        let since = s.started_at.unwrap_or(s.created_at);
        let left = since.as_millisecond()
            + i64::try_from(timeout).unwrap_or(i64::MAX / 2000) * 1000
            - now.as_millisecond();
        left.max(0)
    });
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
        "url_info": { "url": url, "url_class": "stable_sandbox_embed", "stable_for_embedding": true },
        "url_class": "stable_sandbox_embed",
        "stable_for_embedding": true,
        "recommended_next_action": null,
        "default_port": s.default_port,
        "origin_profile": s.profile,
        "upstream": s.upstream.as_ref().map(upstream::show),
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

/// A preview record, and the newest link to it.
pub(super) fn preview(
    state: &ApiState,
    zone: &str,
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
        "url": preview_url(state, zone, sandbox, p.port),
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
