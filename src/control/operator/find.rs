//! Whose is a host, and how is it?

use serde_json::{Value, json};

use super::blocks::show_block;
use super::what::lookup;
use super::{Operator, OperatorError};
use crate::model::{BlockTarget, show_upstream};
use crate::routing::{By, SlugScope, closed};

/// What is served at a host or URL, who owns it, and what an operator needs to know of it.
pub async fn find(operator: &Operator, text: &str) -> Result<Value, OperatorError> {
    let (host, found) = lookup(operator, text)?;
    let (store, route, port, now) =
        (&operator.store, &found.route, found.port, operator.clock.now());
    let sandbox = store.sandbox_by_id(route.sandbox).await?;
    let sandbox = sandbox
        .ok_or_else(|| OperatorError::NotFound(format!("what was at {host} no longer exists")))?;
    let tenant = store.tenant(route.tenant).await?;
    let blocks = store.blocks(Some(route.tenant), false).await?;
    let concerns = |target: BlockTarget| match target {
        BlockTarget::Tenant(_) => true,
        BlockTarget::Sandbox(id) => id == sandbox.id,
        BlockTarget::Port(id, closed) => id == sandbox.id && closed == port,
    };
    let blocks: Vec<Value> =
        blocks.iter().filter(|block| concerns(block.target)).map(show_block).collect();
    let visibility = if route.is_public(port, now) { "public" } else { "private" };
    let zone = host.split_once('.').and_then(|(_, zone)| operator.routes.zone(zone));
    let domain = zone.as_ref().and_then(|zone| match &zone.scope {
        SlugScope::Platform => None,
        SlugScope::Tenant(_, domain) => Some(domain.to_string()),
    });
    let matched = match found.by {
        By::Exact => "exact_host",
        By::Slug => "slug",
        By::Id => "id",
    };
    Ok(json!({
        "host": &*host,
        "matched_by": matched,
        "zone": zone.filter(|_| found.by != By::Exact).map(|zone| zone.name.to_string()),
        "domain": domain.filter(|_| found.by != By::Exact),
        "port": port,
        "visibility": visibility,
        "open": closed(&found.tenant, route, port).is_none(),
        "sandbox": {
            "id": sandbox.id,
            "slug": sandbox.slug,
            "name": sandbox.name,
            "state": sandbox.state,
            "error": sandbox.life.error,
            "driver": sandbox.driver,
            "address": sandbox.upstream.as_ref().map(show_upstream),
            "default_port": sandbox.default_port,
            "created_at": sandbox.created_at,
            "external_user_id": sandbox.external_user_id,
            "workspace_id": sandbox.attributes.workspace_id,
            "project_id": sandbox.attributes.project_id,
        },
        "tenant": {
            "id": route.tenant,
            "name": tenant.as_ref().map(|tenant| &tenant.name),
            "suspended": tenant.as_ref().and_then(|tenant| tenant.suspended.as_ref()),
        },
        "blocks": blocks,
    }))
}
