//! Registered names as callers see them.

use axum::http::StatusCode;
use serde_json::{Map, json};

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{self, DnsRecord, Object, Told};
use super::{ApiState, Problem};
use crate::control::dns::{self, Finding, Record};
use crate::control::store::{Rival, StoreError};
use crate::control::verify::{self, Dispute};
use crate::model::registrable::registrable;
use crate::model::{Audience, ExactDomain, PreviewDomain, SandboxState, TenantId};

/// Names that one tenant may have registered at a time, of each kind.
const MOST_NAMES: usize = 1000;

/// Reads a name that a caller wants to register. One that cannot be is empty, and an error.
pub(super) fn name(state: &ApiState, fields: &mut Fields, field: &str) -> String {
    let own: Vec<&str> = state.settings.own_names.iter().map(String::as_str).collect();
    let read = match fields.text(field) {
        Some(Some(sent)) => registrable(&sent, &own).map_err(|error| error.to_string()),
        // What is no text is an error already.
        None if fields.has(field) => Ok(String::new()),
        Some(None) | None => Err("is required".to_owned()),
    };
    read.unwrap_or_else(|error| {
        fields.error(field, &error);
        String::new()
    })
}

/// Those who have to make room for a name that a caller registers.
pub(super) async fn settle(caller: &Caller, name: &str) -> Result<Vec<Rival>, Problem> {
    match caller.state.verifier.settle(&caller.state.store, name, caller.tenant).await? {
        Dispute::Won(rivals) => Ok(rivals),
        Dispute::Lost(proof) => Err(taken(&proof)),
    }
}

/// Refuses a name that another tenant keeps, and says how the dispute could be settled.
fn taken(proof: &Record) -> Problem {
    let details = Map::from_iter([
        ("domain".to_owned(), json!(["is registered to another tenant"])),
        ("challenge".to_owned(), json!(record(proof, false))),
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
    caller: &Caller,
    audience: &Audience,
    (domain, resolved): (Option<&PreviewDomain>, (String, &str)),
) -> Object {
    let (target, tenant) = (caller.state.verifier.target(), caller.tenant);
    let with_told = |domain: &PreviewDomain| {
        let report = domain.record.report.as_ref().and_then(verify::read_report);
        let name = &domain.route.domain;
        let [below, short] = [format!("*.sandbox.{name}"), format!("*.{name}")];
        match &report {
            Some(report) => Told {
                records: vec![record(&report.bare, false), record(&report.sandbox, true)],
                challenge: record(&report.proof, domain.record.must_prove),
            },
            None => Told {
                records: vec![
                    unasked("CNAME", &short, target, false),
                    unasked("CNAME", &below, target, true),
                ],
                challenge: unasked_challenge(name, tenant, domain.record.must_prove),
            },
        }
    };
    let covered = domain.and_then(|domain| {
        caller.state.store.is_covered(&format!("sandbox.{}", domain.route.domain))
    });
    let domain = domain.map(|domain| (domain, with_told(domain)));
    let settings = &caller.state.settings;
    shapes::PreviewDomain::of(settings, target, audience, domain, (resolved, covered))
}

/// An exact host name.
pub(super) fn exact(state: &ApiState, exact: &ExactDomain) -> Object {
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
    let told = match &report {
        Some(report) => Told {
            records: vec![record(&report.host, true)],
            challenge: record(&report.proof, exact.record.must_prove),
        },
        None => Told {
            records: vec![unasked("CNAME", fqdn, target, true)],
            challenge: unasked_challenge(fqdn, exact.tenant, exact.record.must_prove),
        },
    };
    shapes::CustomDomain::of(exact, target, status, told)
}

/// A record that has been looked at.
fn record(record: &Record, required: bool) -> Object {
    let status = match record.finding {
        Finding::Verified => "verified",
        Finding::Missing => "missing",
        Finding::Wrong => "wrong",
        Finding::Unknown => "unknown",
    };
    DnsRecord::of(record, required, status)
}

/// A record that nobody has looked at yet.
fn unasked(kind: &str, name: &str, value: &str, required: bool) -> Object {
    let record = Record {
        kind: kind.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
        finding: Finding::Unknown,
        found: Vec::new(),
        message: format!("Add a {kind} record at {name} with the value {value}."),
    };
    DnsRecord::of(&record, required, "pending")
}

fn unasked_challenge(name: &str, tenant: TenantId, required: bool) -> Object {
    let value = dns::challenge(&tenant.to_string());
    unasked("TXT", &dns::challenge_name(name), &value, required)
}
