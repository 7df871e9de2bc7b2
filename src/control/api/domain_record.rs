//! Registered names as callers see them.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{ApiState, Problem};
use crate::control::dns::{self, Finding, Record};
use crate::control::store::StoreError;
use crate::control::verify;
use crate::model::registrable::registrable;
use crate::model::{Audience, ExactDomain, PreviewDomain, SandboxState, TenantId};

/// Names that one tenant may have registered at a time, of each kind.
pub(super) const MOST_NAMES: usize = 1000;

/// Reads a name that a caller wants to register.
pub(super) fn name(state: &ApiState, field: &str, sent: Option<&str>) -> Result<String, Problem> {
    let sent = sent.ok_or_else(|| Problem::field(field, "is required"))?;
    let own: Vec<&str> = state.settings.own_names.iter().map(String::as_str).collect();
    registrable(sent, &own).map_err(|error| Problem::field(field, &error.to_string()))
}

/// Refuses a name that another tenant keeps, and says how the dispute could be settled.
pub(super) fn taken(proof: &Record) -> Problem {
    let details = Map::from_iter([
        ("domain".to_owned(), json!(["is registered to another tenant"])),
        ("challenge".to_owned(), record(proof, false)),
    ]);
    Problem::from(StoreError::DomainTaken).with_details(details)
}

/// Refuses one name too many.
pub(super) fn bounded(registered: usize) -> Result<(), Problem> {
    if registered < MOST_NAMES {
        return Ok(());
    }
    let details = Map::from_iter([
        ("quota".to_owned(), json!("domains")),
        ("limit".to_owned(), json!(MOST_NAMES)),
        ("used".to_owned(), json!(registered)),
    ]);
    let message = "This tenant has the maximum number of domains.";
    Err(Problem::new(StatusCode::FORBIDDEN, "QUOTA_EXCEEDED", message).with_details(details))
}

/// A preview domain, or that there is none, and what its sandboxes' links are made of.
pub(super) fn preview_domain(
    state: &ApiState,
    tenant: TenantId,
    audience: &Audience,
    (domain, resolved): (Option<&PreviewDomain>, (String, &str)),
) -> Value {
    let target = state.verifier.target();
    let (zone, source) = resolved;
    let of = |level: &str| (audience.level() == level).then(|| audience.owner());
    let mut shown = json!({
        "default_domain": state.settings.platform_zone,
        "cname_target": target,
        "target": target,
        "level": audience.level(),
        "workspace_id": of("workspace"),
        "project_id": of("project"),
        "resolved_domain": zone,
        "source": source,
        "verified": false,
        "dns_status": "pending",
    });
    let more = match domain {
        Some(domain) => configured(domain, target, &dns::challenge(&tenant.to_string())),
        None => json!({
            "preview_domain": null, "domain": null, "status": "not_configured", "verified_at": null,
            "short_hosts": false, "dns_instructions": null, "records": [], "challenge": null,
            "owner_proved_at": null, "vouched": false, "checked_at": null, "failing_since": null,
            "created_at": null,
        }),
    };
    merge(&mut shown, more);
    shown
}

fn configured(domain: &PreviewDomain, target: &str, challenge: &str) -> Value {
    let (route, standing) = (&domain.route, &domain.record.standing);
    let verified = route.verified_at.is_some();
    let report = domain.record.report.as_ref().and_then(verify::read_report);
    let [below, short] = [format!("*.sandbox.{}", route.domain), format!("*.{}", route.domain)];
    let (records, proof) = match &report {
        Some(report) => (
            [record(&report.bare, false), record(&report.sandbox, true)],
            record(&report.proof, false),
        ),
        None => (
            [unasked("CNAME", &short, target, false), unasked("CNAME", &below, target, true)],
            unasked("TXT", &dns::challenge_name(&route.domain), challenge, false),
        ),
    };
    json!({
        "preview_domain": route.domain,
        "domain": route.domain,
        "status": if verified { "configured" } else { "pending_dns" },
        "dns_status": if verified { "verified" } else { "pending" },
        "verified": verified,
        "verified_at": route.verified_at,
        "short_hosts": verified && route.bare,
        "dns_instructions": { "type": "CNAME", "name": below, "value": target },
        "records": records,
        "challenge": proof,
        "owner_proved_at": standing.proved_at,
        "vouched": domain.record.vouched,
        "checked_at": standing.checked_at,
        "failing_since": standing.failing_since,
        "created_at": domain.record.created_at,
    })
}

/// An exact host name.
pub(super) fn exact(state: &ApiState, exact: &ExactDomain) -> Value {
    let (target, fqdn) = (state.verifier.target(), &exact.route.fqdn);
    let route = state.routes.by_id(exact.route.sandbox);
    let serves = route.as_ref().is_some_and(|route| route.state == SandboxState::Running);
    let status = match exact.verified_at {
        None => "pending",
        Some(_) if serves => "active",
        Some(_) => "verified",
    };
    let report = exact.record.report.clone();
    let report = report.and_then(|report| serde_json::from_value::<dns::HostReport>(report).ok());
    let challenge = dns::challenge(&exact.tenant.to_string());
    let (host, proof) = match &report {
        Some(report) => (record(&report.host, true), record(&report.proof, false)),
        None => (
            unasked("CNAME", fqdn, target, true),
            unasked("TXT", &dns::challenge_name(fqdn), &challenge, false),
        ),
    };
    let standing = &exact.record.standing;
    json!({
        "id": exact.id,
        "fqdn": fqdn,
        "domain": fqdn,
        "hostname": fqdn,
        "tenant_id": exact.tenant,
        "sandbox_id": exact.route.sandbox,
        "computer_id": exact.route.sandbox,
        "port": exact.route.port,
        "status": status,
        "verified": exact.verified_at.is_some(),
        "verified_at": exact.verified_at,
        "verification_target": target,
        "cname_target": target,
        "target": target,
        "instructions": format!("Add a CNAME record at {fqdn} with the value {target}, or the same A and AAAA records."),
        "dns_instructions": { "type": "CNAME", "name": fqdn, "value": target },
        "records": [host],
        "dns_records": [host],
        "challenge": proof,
        "owner_proved_at": standing.proved_at,
        "vouched": exact.record.vouched,
        "checked_at": standing.checked_at,
        "failing_since": standing.failing_since,
        "tls_issued_at": null,
        "created_at": exact.record.created_at,
        "inserted_at": exact.record.created_at,
    })
}

/// A record that has been looked at.
fn record(record: &Record, required: bool) -> Value {
    json!({
        "type": record.kind,
        "name": record.name,
        "value": record.value,
        "required": required,
        "status": status(record.finding),
        "found": record.found,
        "message": record.message,
    })
}

/// A record that nobody has looked at yet.
fn unasked(kind: &str, name: &str, value: &str, required: bool) -> Value {
    json!({
        "type": kind,
        "name": name,
        "value": value,
        "required": required,
        "status": "pending",
        "found": [],
        "message": format!("Add a {kind} record at {name} with the value {value}."),
    })
}

fn status(finding: Finding) -> &'static str {
    match finding {
        Finding::Verified => "verified",
        Finding::Missing => "missing",
        Finding::Wrong => "wrong",
        Finding::Unknown => "unknown",
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
