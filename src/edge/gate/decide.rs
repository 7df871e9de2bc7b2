//! The decision. Its order is fixed, and is the whole of who may see what:
//!
//! 1. Without complete tables nothing is known, and nothing is "not found".
//! 2. A gateway host leads on to the preview host, whoever asks.
//! 3. The host must lead to a sandbox: an exact custom domain, or a label below a zone that this sandbox is served in. Where only one port
//!    of one sandbox is served, it must lead there.
//! 4. What the operator has closed is closed for everybody, whatever they show: nothing below is looked at.
//! 5. The port must be one that may be previewed.
//! 6. What is below `/.well-known/portico/` is ours and is handled here: no such request reaches an app, by whatever access. So are
//!    challenges of certificate authorities below the platform's zones, where no certificate is an app's to have.
//! 7. Access: the port is public, or a credential (a token, a share link) holds for this sandbox, port, generation and moment.
//! 8. What the access allows: methods by scope; for a cookie, that the request is not another site's doing.
//! 9. A link that is being opened becomes a session and a clean address; in a frame, only once the browser is seen to keep the session.
//! 10. Only now is the sandbox's state told; and a paused one woken, if the visit is one that is worth it.

use std::sync::Arc;

use jiff::Timestamp;

use super::RefusalReason;
use super::credentials::{self, Carrier, Evidence};
use super::decision::{Decision, Plan, Rules, Strip, Wake};
use super::gateway::gateway;
use super::judging::Judging;
use super::standing::{open, running, unknown};
use super::stranger;
use super::told;
use super::trace::{Step, Trace};
use super::visit::{Own, Visit};
use crate::routing::{Routes, resolve};

/// Judges a visit.
pub fn decide(
    visit: &Visit<'_>,
    evidence: &Evidence,
    routes: &Routes,
    rules: &Rules,
    now: Timestamp,
) -> Decision {
    explain((visit, evidence), routes, rules, now, &mut ())
}

/// Judges a visit and says step by step how.
#[expect(clippy::too_many_lines, reason = "the steps, in their order")]
pub fn explain(
    (visit, evidence): (&Visit<'_>, &Evidence),
    routes: &Routes,
    rules: &Rules,
    now: Timestamp,
    trace: &mut impl Trace,
) -> Decision {
    if !routes.is_complete() {
        trace.note(Step::Tables, || "not loaded yet".to_owned());
        return unknown(RefusalReason::NotReady, None);
    }
    trace.note(Step::Tables, || format!("complete up to change {}", routes.version()));
    if let Some(decision) = gateway(visit, routes) {
        trace.note(Step::Gateway, || "yes: leads to the host of the sandbox".to_owned());
        return decision;
    }
    trace.note(Step::Gateway, || "no".to_owned());
    let found = match resolve(&visit.authority, routes) {
        Ok(found) => found,
        Err(nowhere) => {
            trace.note(Step::Host, || told::nothing(visit, routes));
            if !rules.hide_names {
                return unknown(RefusalReason::NotFound, nowhere.owner);
            }
            return stranger::nowhere((visit, evidence), routes, rules, nowhere);
        }
    };
    if rules.only.is_some_and(|only| only != (found.route.sandbox, found.port)) {
        trace.note(Step::Host, || told::nothing(visit, routes));
        return unknown(RefusalReason::NotFound, None);
    }
    trace.note(Step::Host, || told::found(&found));
    if let Err(reason) = open(&found.tenant, &found.route, found.port) {
        trace.note(Step::Block, || told::closed(&found));
        return found.refuse(reason, false);
    }
    trace.note(Step::Block, || "none".to_owned());
    let judged = Judging { visit, evidence, routes, rules, now, found: &found };
    if rules.forbidden_ports.contains(&found.port) {
        trace.note(Step::Port, || format!("{} is never previewed", found.port));
        return judged.refuse(RefusalReason::PortForbidden, false);
    }
    trace.note(Step::Port, || format!("{} may be previewed", found.port));
    if let Some(own) = visit.own.filter(|own| *own != Own::Challenge || !found.own_name) {
        trace.note(Step::Own, || "yes: the app does not see this request".to_owned());
        return judged.own(own);
    }
    trace.note(Step::Own, || "no".to_owned());
    let access = match judged.access() {
        Ok(access) => access,
        Err(_) if judged.is_friendly_preflight() => {
            trace.note(Step::Access, || "a preflight from an allowed origin".to_owned());
            return Decision::Approve(Some(found.subject()));
        }
        Err(reason) => {
            trace.note(Step::Access, || told::no_access(visit, found.port, reason));
            return judged.refuse_stranger(reason);
        }
    };
    let carrier = access.held.as_ref().map(|held| held.carrier);
    trace.note(Step::Access, || told::access(&access.grant, carrier));
    let isolation = match judged.allowed(&access) {
        Ok(isolation) => isolation,
        Err(reason) => {
            trace.note(Step::Allowed, || format!("not this: {reason}"));
            return match reason {
                RefusalReason::SignInNeeded => judged.refuse_stranger(reason),
                _ => found.refuse(reason, true),
            };
        }
    };
    trace.note(Step::Allowed, || format!("{} is allowed", visit.parts.method));
    if let Some(decision) = judged.sign_in(&access) {
        trace.note(Step::SignIn, || told::sign_in(&decision));
        return decision;
    }
    trace.note(Step::SignIn, || "no link is being opened".to_owned());
    if let Err(reason) = running(&found.route) {
        if judged.wakes(&access) {
            trace.note(Step::State, || format!("{}; this visit resumes it", told::state(&found)));
            let by = judged.woken_by(&access);
            let (subject, tenant) = (found.subject(), Arc::clone(&found.tenant));
            return Decision::Wake(Box::new(Wake { subject, tenant, by }));
        }
        trace.note(Step::State, || told::state(&found));
        return found.refuse(reason, true);
    }
    trace.note(Step::State, || told::state(&found));
    let session_cookie = judged.cookie_without_redirect(&access);
    let takeover = judged.takeover();
    Decision::Forward(Box::new(Plan {
        profile: found.route.profile(found.port, now),
        protocol: found.route.protocol(found.port, now),
        strip: Strip { cookies: takeover.is_some(), ..strip(visit, routes) },
        narrow_framing: judged.frames_narrowly(),
        takeover,
        upgrade: visit.intent.is_upgrade(),
        isolation,
        port: found.port,
        by_credential: access.held.is_some(),
        share: access.share(),
        opens_link: access.share().is_some() && access.came_by(Carrier::Query),
        grant: access.grant,
        session_cookie,
        tenant: found.tenant,
        route: found.route,
    }))
}

fn strip(visit: &Visit<'_>, routes: &Routes) -> Strip {
    Strip {
        target: credentials::strip_query(&visit.parts.target),
        authorization: visit.seen.authorization
            && credentials::has_our_bearer(&visit.parts.headers, &routes.key_ring()),
        cookies: false,
        subprotocols: if visit.seen.subprotocol {
            credentials::our_subprotocols(&visit.parts.headers)
        } else {
            Vec::new()
        },
    }
}
