//! What `portico sandbox list` and `portico audit` show.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::print::{Listing, Output};
use crate::control::store::{AuditFilter, SandboxFilter, Store};
use crate::model::{Links, Sandbox, Tenant, show_upstream};

/// A tenant's sandboxes.
pub(super) async fn sandboxes(store: &Store, tenant: &Tenant) -> Result<Listing> {
    let mut listing = Listing::new(&[
        ("SANDBOX", "/id"),
        ("SLUG", "/slug"),
        ("STATE", "/shown_state"),
        ("DRIVER", "/driver"),
        ("ADDRESS", "/address"),
        ("URL", "/url"),
        ("NAME", "/name"),
        ("ERROR", "/error"),
    ]);
    let sandboxes = store.sandboxes(tenant.id, &SandboxFilter::default()).await?;
    // Without it there are no links: no server has been started yet.
    let serving = store.serving().await?;
    let hosts = store.hosts_of(&sandboxes).await?;
    for (sandbox, (label, zone)) in sandboxes.iter().zip(hosts) {
        let url = serving.as_ref().map(|serving| {
            let zone = zone.as_deref().or(serving.zones.first().map(String::as_str));
            let label = format!("{}-{label}", sandbox.default_port);
            Links::link((&serving.scheme, serving.port), &label, zone.unwrap_or_default())
        });
        listing.push(listed(sandbox, url));
    }
    Ok(listing)
}

fn listed(sandbox: &Sandbox, url: Option<String>) -> Value {
    let state = json!(sandbox.state);
    let blocked = sandbox.blocked.as_ref().map(|blocked| match &blocked.ports {
        None => "blocked".to_owned(),
        Some(ports) => format!("blocked:{}", json!(ports).to_string().trim_matches(['[', ']'])),
    });
    let plain = state.as_str().unwrap_or_default();
    let shown = blocked.map_or(plain.to_owned(), |blocked| format!("{plain},{blocked}"));
    json!({
        "id": sandbox.id,
        "slug": sandbox.slug,
        "name": sandbox.name,
        "state": state,
        "shown_state": shown,
        "driver": sandbox.driver,
        "address": sandbox.upstream.as_ref().map(show_upstream),
        "url": url,
        "error": sandbox.life.error,
        "blocked": sandbox.blocked,
        "external_user_id": sandbox.external_user_id,
        "created_at": sandbox.created_at,
    })
}

/// The newest changes, the last of them at the end.
pub(super) async fn audit(store: &Store, filter: AuditFilter, as_json: bool) -> Result<Output> {
    let mut rows = store.audit_log(AuditFilter { newest_first: true, ..filter }).await?;
    rows.reverse();
    let mut listing = Listing::new(&[
        ("AT", "/at"),
        ("ACTION", "/action"),
        ("SUBJECT", "/what"),
        ("BY", "/who"),
        ("FROM", "/peer"),
    ]);
    for row in rows {
        let who = row.actor_label.as_deref().unwrap_or(&row.actor);
        let user = row.external_user_id.as_deref();
        let user = user.map(|user| format!(" for {user}")).unwrap_or_default();
        let kind = json!(row.actor_kind);
        listing.push(json!({
            "at": row.at,
            "tenant_id": row.tenant,
            "action": row.action,
            "subject_kind": row.subject_kind,
            "subject": row.subject,
            "what": format!("{} {}", row.subject_kind, row.subject),
            "actor_kind": kind,
            "actor": row.actor,
            "actor_label": row.actor_label,
            "external_user_id": row.external_user_id,
            "who": format!("{} {who}{user}", kind.as_str().unwrap_or_default()),
            "peer": row.peer,
            "request_id": row.request_id,
            "changes": row.changes,
        }));
    }
    Ok(listing.show(as_json))
}
