//! The outcomes of a decision's steps in words, for an operator: ids and names, never a credential.

use jiff::Timestamp;
use serde_json::Value;

use super::decision::{Decision, Grant};
use super::visit::Visit;
use super::{Carrier, RefusalReason};
use crate::model::host::PreviewLabel;
use crate::model::show_upstream;
use crate::routing::{By, Found, Routes, SlugScope};

/// Why a host leads nowhere.
pub(super) fn nothing(visit: &Visit<'_>, routes: &Routes) -> String {
    let host = &visit.authority.host;
    if routes.custom_domain(host).is_some() {
        return format!("{host} is an exact host name of a sandbox that is gone");
    }
    let Some((label, name)) = host.split_once('.') else {
        return format!("{host} is neither below a zone nor an exact host name");
    };
    let Some(zone) = routes.zone(name) else {
        return format!("{name} is no zone, and {host} no exact host name");
    };
    match (PreviewLabel::parse(label), &zone.scope) {
        (Err(error), _) => format!("below the zone {name}, but {error}"),
        (Ok(_), SlugScope::Platform) => {
            format!("below the platform's zone {name}, but no sandbox has this name there")
        }
        (Ok(_), SlugScope::Tenant(_, domain)) => {
            format!("below {name} of the domain {domain}, but no sandbox has this name there")
        }
    }
}

/// What a host leads to.
pub(super) fn found(found: &Found) -> String {
    let (route, port) = (&found.route, found.port);
    let by = match found.by {
        By::Exact => "an exact host name",
        By::Slug => "its slug",
        By::Id => "its id",
    };
    format!(
        "sandbox {} ({}) of tenant {}, port {port}, by {by}",
        route.sandbox, route.slug, route.tenant
    )
}

/// Why nobody may see it.
pub(super) fn closed(found: &Found) -> String {
    let (tenant, route) = (&found.tenant, &found.route);
    let (what, why) = match (&tenant.blocked, route.is_taken(found.port), &tenant.suspended) {
        (Some(blocked), ..) => ("its tenant is blocked", Some(blocked)),
        (None, true, _) => ("it is blocked; `portico find` says why", None),
        (None, false, suspended) => ("its tenant is suspended", suspended.as_ref()),
    };
    why.map_or_else(|| what.to_owned(), |why| format!("{what}: {}", why.reason))
}

/// What access rests on.
pub(super) fn access(on: &Grant, by: Option<Carrier>) -> String {
    let mut said = grant(on);
    if let Some(by) = by {
        said.push_str(match on {
            Grant::Public => ", and a credential that holds came",
            _ => ", which came",
        });
        said.push_str(carrier(by));
    }
    said
}

fn grant(grant: &Grant) -> String {
    let until =
        |at: Option<Timestamp>| at.map_or("no expiry".to_owned(), |at| format!("until {at}"));
    match grant {
        Grant::Public => "the port is public".to_owned(),
        Grant::Token { id, expires_at, scope, .. } => {
            format!("preview token {id} ({scope:?}, {})", until(Some(*expires_at)))
        }
        Grant::Share { id, expires_at, scope } => {
            format!("share link {id} ({scope:?}, {})", until(*expires_at))
        }
    }
}

fn carrier(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Query | Carrier::Returned => " in the URL",
        Carrier::Cookie => " as the session cookie",
        Carrier::Body => " in the body",
        Carrier::Header | Carrier::Bearer | Carrier::Subprotocol => " in a header",
    }
}

/// Why there is no access.
pub(super) fn no_access(visit: &Visit<'_>, port: u16, reason: RefusalReason) -> String {
    let private = format!("port {port} is private");
    match visit.credentials.len() {
        0 => format!("{private}, and no credential came"),
        n => format!("{private}, and none of {n} credentials holds: {reason}"),
    }
}

/// What becomes of a link that is opened.
pub(super) fn sign_in(decision: &Decision) -> String {
    match decision {
        Decision::SignIn(_) => "a link is opened: it becomes a session, and the URL loses it",
        Decision::Neutral(_) => "somebody looks ahead: the link is not used up",
        _ => "a link is opened in a frame of a browser that keeps no cookie there",
    }
    .to_owned()
}

/// Whether a sandbox serves.
pub(super) fn state(found: &Found) -> String {
    let route = &found.route;
    let state = format!("{:?}", route.state).to_lowercase();
    match &route.upstream {
        Some(upstream) if route.serves() => match show_upstream(upstream) {
            Value::String(address) => format!("{state}, at {address}"),
            mapped => format!("{state}, at {mapped}"),
        },
        None if route.driver.needs_address() => format!("{state}, without an address"),
        _ => state,
    }
}
