//! What strangers are told where names are hidden (`preview.hide_names`): the same of a preview that is private and of one that is not
//! there. Below the platform's zones nobody learns by asking which names are taken, or whose they are; below a tenant's own domain everything
//! is the tenant's, and wears its face.
//!
//! Who has been here before is no stranger: a credential that was for this sandbox, however old, is told what became of it.

use std::sync::Arc;

use http::{Method, header};

use super::credentials::{Carrier, Evidence, Proof};
use super::decision::{Decision, Refusal, Rules, Says, Session};
use super::judging::{Judging, first};
use super::standing::{elsewhere, unknown};
use super::visit::{Own, Visit};
use super::{Intent, RefusalReason};
use crate::model::host::{Authority, PreviewLabel};
use crate::model::token::TokenError;
use crate::routing::{Nowhere, Routes};

/// The decision about a host that leads nowhere.
pub(super) fn nowhere(
    (visit, evidence): (&Visit<'_>, &Evidence),
    routes: &Routes,
    rules: &Rules,
    nowhere: Nowhere,
) -> Decision {
    let refuse = |reason| unknown(reason, nowhere.owner.clone());
    let Some(port) = nowhere.name.filter(|_| rules.only.is_none()) else {
        return refuse(RefusalReason::NotFound);
    };
    if port.is_some_and(|port| rules.forbidden_ports.contains(&port)) {
        return refuse(RefusalReason::PortForbidden);
    }
    match visit.own {
        Some(Own::Challenge) if nowhere.owner.is_some() => {}
        Some(Own::Nothing | Own::Challenge) => return refuse(RefusalReason::NotFound),
        Some(Own::Session) => {
            let says = session(visit, evidence, routes);
            let session = Session {
                subject: None,
                tenant: nowhere.owner,
                readable: false,
                says: says.unwrap_or_else(Says::Refused),
            };
            return Decision::Session(Box::new(session));
        }
        None => {}
    }
    match shown(visit, evidence, routes) {
        _ if is_preflight_of(visit, |origin| is_neighbour(visit, routes, origin)) => {
            Decision::Approve(None)
        }
        Some(reason) => refuse(reason),
        None => refuse(RefusalReason::SignInNeeded),
    }
}

/// Why what was shown does not open a sandbox that is not there; `None` when nothing was.
fn shown(visit: &Visit<'_>, evidence: &Evidence, routes: &Routes) -> Option<RefusalReason> {
    let judge = |verdict: &_| -> Result<(), RefusalReason> { Err(opens_nothing(verdict, routes)) };
    first(&visit.credentials, evidence, judge).and_then(Result::err)
}

/// Why a credential does not open a sandbox that is not there.
fn opens_nothing(verdict: &Result<Proof, TokenError>, routes: &Routes) -> RefusalReason {
    match verdict {
        Ok(Proof::Token(claims)) => elsewhere(claims.sandbox, routes),
        Ok(Proof::Share(link)) => elsewhere(link.sandbox, routes),
        Err(_) => RefusalReason::InvalidToken,
    }
}

/// What our own endpoint answers where nothing is: what it answers about a private port to somebody who brings nothing that holds.
fn session(visit: &Visit<'_>, evidence: &Evidence, routes: &Routes) -> Result<Says, RefusalReason> {
    let parts = visit.parts;
    let mut origins = parts.headers.get_all(header::ORIGIN);
    let is_own = match (origins.next(), origins.next()) {
        (None, _) => visit
            .seen
            .fetch_site
            .is_none_or(|site| matches!(site.as_bytes(), b"same-origin" | b"none")),
        (Some(origin), None) => origin.to_str().is_ok_and(|origin| visit.is_same_origin(origin)),
        _ => false,
    };
    if !is_own && parts.headers.contains_key(header::ORIGIN) {
        return Err(RefusalReason::ForeignOrigin);
    }
    let is_told = visit.seen.fetch_site.is_some() || parts.headers.contains_key(header::ORIGIN);
    let explicit = visit.credentials.iter().any(|c| c.carrier != Carrier::Cookie);
    let standing = || {
        let mut all = visit.credentials.iter().zip(&evidence.0);
        let cookie = all.find(|(found, _)| found.carrier == Carrier::Cookie);
        let cookie = cookie.map(|(_, verdict)| Err(opens_nothing(verdict, routes)));
        Says::Standing { public: false, cookie }
    };
    match parts.method {
        Method::OPTIONS if parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) => {
            Ok(Says::Approved)
        }
        Method::HEAD => Ok(standing()),
        Method::GET if !explicit || visit.intent == Intent::Prefetch => Ok(standing()),
        Method::GET | Method::POST if is_own && is_told => {
            Err(shown(visit, evidence, routes).filter(|_| explicit))
                .map_err(|reason| reason.unwrap_or(RefusalReason::SignInNeeded))
        }
        Method::GET | Method::POST => Err(RefusalReason::ForeignOrigin),
        _ => Err(RefusalReason::MethodNotAllowed),
    }
}

/// Whether a request is a preflight that is approved here. It carries no credential by design, and asks only whether a request may be
/// made; so it is answered without asking the app, which would let strangers keep a machine busy. The request that follows is judged in
/// full, and what its page may read of the response says the app.
pub(super) fn is_preflight_of(visit: &Visit<'_>, is_friend: impl Fn(&str) -> bool) -> bool {
    let headers = &visit.parts.headers;
    visit.parts.method == Method::OPTIONS
        && !visit.arrival.has_body
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && visit.field(&header::ORIGIN).is_some_and(is_friend)
}

/// Whether an origin is another port of the same name, or one that some tenant allows. Neither says whether the name is taken.
pub(super) fn is_neighbour(visit: &Visit<'_>, routes: &Routes, origin: &str) -> bool {
    routes.is_allowed_origin(origin) || is_same_name(&visit.authority, routes, origin)
}

fn is_same_name(here: &Authority, routes: &Routes, origin: &str) -> bool {
    let Some((_, there)) = origin.split_once("://") else { return false };
    let Ok(there) = Authority::parse(there.as_bytes()) else { return false };
    let (Some((label, zone)), Some((other, other_zone))) =
        (here.host.split_once('.'), there.host.split_once('.'))
    else {
        return false;
    };
    let (Ok(label), Ok(other)) = (PreviewLabel::parse(label), PreviewLabel::parse(other)) else {
        return false;
    };
    let scope = |zone: &str| routes.zone(zone).map(|zone| zone.scope.clone());
    let same_scope =
        zone == other_zone || (scope(zone).is_some() && scope(zone) == scope(other_zone));
    label.name == other.name && same_scope
}

impl Judging<'_> {
    pub(super) fn is_friendly_preflight(&self) -> bool {
        is_preflight_of(self.visit, |origin| {
            is_neighbour(self.visit, self.routes, origin)
                || ((self.found.own_name || !self.rules.hide_names)
                    && self.sandbox_of(origin) == Some(self.found.route.sandbox))
        })
    }

    /// A refusal of somebody without access. Where names are hidden it wears nobody's face, unless what came says that it is no stranger who
    /// asks: a credential that was for this sandbox, or a page that may embed it.
    pub(super) fn refuse_stranger(&self, reason: RefusalReason) -> Decision {
        let was_here = matches!(
            reason,
            RefusalReason::TokenExpired
                | RefusalReason::TokenRevoked
                | RefusalReason::ShareExpired
                | RefusalReason::ShareRevoked
        );
        let is_embedded = || {
            self.visit.is_framed() && self.referrer().is_some_and(|origin| self.is_embedder(origin))
        };
        self.refuse(reason, was_here || is_embedded())
    }

    /// A refusal that says nothing of the sandbox, but perhaps whose it is.
    pub(super) fn refuse(&self, reason: RefusalReason, may_know: bool) -> Decision {
        let tenant = self.wears_face(may_know).then(|| Arc::clone(&self.found.tenant));
        Decision::Refuse(Refusal {
            reason,
            tenant,
            about: Some(self.found.subject()),
            is_known: false,
        })
    }

    /// Whether a response shows whose the sandbox is.
    pub(super) fn wears_face(&self, may_know: bool) -> bool {
        may_know || self.found.own_name || !self.rules.hide_names
    }
}
