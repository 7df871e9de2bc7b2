//! The decision. Its order is fixed, and is the whole of who may see what:
//!
//! 1. Without complete tables nothing is known, and nothing is "not found".
//! 2. A gateway host leads on to the preview host, whoever asks.
//! 3. The host must lead to a sandbox: an exact custom domain, or a label below a zone that this sandbox is served in. Where only one port
//!    of one sandbox is served, it must lead there.
//! 4. What the operator has closed is closed for everybody, whatever they show: nothing below is looked at.
//! 5. The port must be one that may be previewed.
//! 6. What is below `/.well-known/portico/` is ours and is handled here: no such request reaches an app, by whatever access.
//! 7. Access: the port is public, or a credential (a token, a share link) holds for this sandbox, port, generation and moment.
//! 8. What the access allows: methods by scope; for a cookie, that the request is not another site's doing.
//! 9. A link that is being opened becomes a session and a clean address; in a frame, only once the browser is seen to keep the session.
//! 10. Only now is the sandbox's state told; and a paused one woken, if the visit is one that is worth it.

use std::sync::Arc;

use http::{Method, header};
use jiff::Timestamp;

use super::RefusalReason;
use super::credentials::{self, Carrier, Evidence, Proof};
use super::decision::{Decision, Grant, Plan, Refusal, Strip, Subject, Wake, WokenBy};
use super::gateway::gateway;
use super::standing::{holds, open, running, stands, unknown};
use super::told;
use super::trace::{Step, Trace};
use super::visit::{SEC_FETCH_SITE, Visit};
use crate::model::host::Authority;
use crate::model::token::{Claims, TokenError};
use crate::model::{SandboxId, ShareId, ShareLink, TokenScope};
use crate::routing::{Found, Routes, resolve};

/// Settings of the gate.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Ports that are refused on every sandbox.
    pub forbidden_ports: Vec<u16>,
    /// All that is served, where that is one port of one sandbox: everything else is not found, whatever it is.
    pub only: Option<(SandboxId, u16)>,
}

/// How far `iat` may lie ahead of our clock, seconds.
const CLOCK_SKEW: i64 = 60;

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
        Err(tenant) => {
            trace.note(Step::Host, || told::nothing(visit, routes));
            return unknown(RefusalReason::NotFound, tenant);
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
    let judged = Judging { visit, evidence, routes, now, found: &found };
    if rules.forbidden_ports.contains(&found.port) {
        trace.note(Step::Port, || format!("{} is never previewed", found.port));
        return found.refuse(RefusalReason::PortForbidden, false);
    }
    trace.note(Step::Port, || format!("{} may be previewed", found.port));
    if let Some(own) = visit.own {
        trace.note(Step::Own, || "yes: the app does not see this request".to_owned());
        return judged.own(own);
    }
    trace.note(Step::Own, || "no".to_owned());
    let access = match judged.access() {
        Ok(access) => access,
        Err(reason) => {
            trace.note(Step::Access, || told::no_access(visit, found.port, reason));
            return found.refuse(reason, false);
        }
    };
    let carrier = access.held.as_ref().map(|held| held.carrier);
    trace.note(Step::Access, || told::access(&access.grant, carrier));
    if let Err(reason) = judged.allowed(&access) {
        trace.note(Step::Allowed, || format!("not this: {reason}"));
        return found.refuse(reason, true);
    }
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
        return match access.grant {
            // An `Origin` proves nothing: whoever sends a preflight learns nothing that a stranger would not.
            Grant::Preflight => found.refuse(RefusalReason::SignInNeeded, false),
            _ => found.refuse(reason, true),
        };
    }
    trace.note(Step::State, || told::state(&found));
    let session_cookie = judged.cookie_without_redirect(&access);
    Decision::Forward(Box::new(Plan {
        profile: found.route.profile(found.port, now),
        protocol: found.route.protocol(found.port, now),
        strip: strip(visit),
        upgrade: visit.intent.is_upgrade(),
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

impl Found {
    pub(super) fn subject(&self) -> Subject {
        Subject { route: Arc::clone(&self.route), port: self.port }
    }

    /// A refusal. Only where `is_known` may the visitor learn what it was about.
    pub(super) fn refuse(&self, reason: RefusalReason, is_known: bool) -> Decision {
        let tenant = Some(Arc::clone(&self.tenant));
        Decision::Refuse(Refusal { reason, tenant, about: Some(self.subject()), is_known })
    }
}

/// What access rests on, and the credential that holds, if there is one. On a public port access does not rest on it: it only
/// makes a session.
pub(super) struct Access {
    pub(super) grant: Grant,
    pub(super) held: Option<Held>,
}

/// What a credential that holds grants, and until when.
pub(super) type Standing = (Grant, Option<Timestamp>);

/// A credential that holds.
pub(super) struct Held {
    pub(super) carrier: Carrier,
    /// Its place among the visit's credentials.
    pub(super) index: usize,
    pub(super) expires_at: Option<Timestamp>,
    /// The share link that it is.
    pub(super) share: Option<ShareId>,
}

impl Access {
    pub(super) fn came_by(&self, carrier: Carrier) -> bool {
        self.held.as_ref().is_some_and(|held| held.carrier == carrier)
    }

    /// The share link that came, whether or not access rests on it.
    pub(super) fn share(&self) -> Option<ShareId> {
        self.held.as_ref().and_then(|held| held.share)
    }
}

pub(super) struct Judging<'a> {
    pub(super) visit: &'a Visit<'a>,
    pub(super) evidence: &'a Evidence,
    pub(super) routes: &'a Routes,
    pub(super) now: Timestamp,
    pub(super) found: &'a Found,
}

impl Judging<'_> {
    fn access(&self) -> Result<Access, RefusalReason> {
        let by_token = self.by_token();
        if self.found.route.is_public(self.found.port, self.now) {
            // Nobody gets less for having a token, and a stale link is only a link.
            let held = by_token.and_then(Result::ok).and_then(|access| access.held);
            return Ok(Access { grant: Grant::Public, held });
        }
        match by_token {
            Some(Ok(access)) => Ok(access),
            _ if self.is_friendly_preflight() => Ok(Access { grant: Grant::Preflight, held: None }),
            Some(Err(reason)) => Err(reason),
            None => Err(RefusalReason::SignInNeeded),
        }
    }

    /// What a visitor shows who wakes the sandbox.
    pub(super) fn woken_by(&self, access: &Access) -> WokenBy {
        let held = access.held.as_ref().and_then(|held| self.evidence.0.get(held.index));
        match held {
            Some(Ok(Proof::Token(claims))) => WokenBy::Token(claims.id),
            Some(Ok(Proof::Share(link))) => WokenBy::Share(link.id),
            Some(Err(_)) | None => WokenBy::Anyone,
        }
    }

    /// The first explicit credential that holds; if none holds, the first one's error. The cookie counts only where nothing
    /// explicit was sent: whoever sends a token wants that token to be judged.
    pub(super) fn by_token(&self) -> Option<Result<Access, RefusalReason>> {
        let all = || self.visit.credentials.iter().zip(&self.evidence.0).enumerate();
        let explicit =
            || all().filter(|(_, (credential, _))| credential.carrier != Carrier::Cookie);
        let mut error = None;
        let candidates: &mut dyn Iterator<Item = _> =
            if explicit().next().is_some() { &mut explicit() } else { &mut all() };
        for (index, (credential, verdict)) in candidates {
            match self.judge(verdict) {
                Ok((grant, expires_at)) => {
                    let (carrier, share) = (credential.carrier, grant.share());
                    let held = Held { carrier, index, expires_at, share };
                    return Some(Ok(Access { grant, held: Some(held) }));
                }
                Err(reason) => error = error.or(Some(Err(reason))),
            }
        }
        error
    }

    /// What the session cookie is worth; `None` when there is none.
    pub(super) fn by_cookie(&self) -> Option<Result<Standing, RefusalReason>> {
        let mut all = self.visit.credentials.iter().zip(&self.evidence.0);
        let (_, verdict) = all.find(|(found, _)| found.carrier == Carrier::Cookie)?;
        Some(self.judge(verdict))
    }

    fn judge(&self, verdict: &Result<Proof, TokenError>) -> Result<Standing, RefusalReason> {
        match verdict {
            Ok(Proof::Token(claims)) => self.judge_token(claims),
            Ok(Proof::Share(link)) => self.judge_share(link),
            Err(_) => Err(RefusalReason::InvalidToken),
        }
    }

    fn judge_share(&self, link: &ShareLink) -> Result<Standing, RefusalReason> {
        let Found { route, port, .. } = self.found;
        if link.sandbox != route.sandbox || link.port.is_some_and(|only| only != *port) {
            return Err(RefusalReason::WrongSubject);
        }
        stands(link, self.now)?;
        let expires_at = link.expires_at;
        Ok((Grant::Share { id: link.id, expires_at, scope: link.scope }, expires_at))
    }

    fn judge_token(&self, claims: &Claims) -> Result<Standing, RefusalReason> {
        let Found { route, port, .. } = self.found;
        if claims.sandbox != route.sandbox || claims.tenant != route.tenant {
            return Err(RefusalReason::WrongSubject);
        }
        if claims.port.is_some_and(|only| only != *port) {
            return Err(RefusalReason::WrongSubject);
        }
        if claims.issued_at.as_second() > self.now.as_second() + CLOCK_SKEW {
            return Err(RefusalReason::InvalidToken);
        }
        let grant = Grant::Token {
            id: claims.id,
            generation: claims.generation,
            expires_at: claims.expires_at,
            scope: claims.scope,
        };
        // The state is judged later: whoever has access may know it.
        holds(&grant, route, *port, self.routes, self.now)?;
        Ok((grant, Some(claims.expires_at)))
    }

    /// A preflight carries no credential by design; it is let through between the ports of one sandbox and from the tenant's own
    /// origins. The request that follows is judged in full, and of the response only an approval passes, without its content: a
    /// program can claim any origin.
    fn is_friendly_preflight(&self) -> bool {
        let headers = &self.visit.parts.headers;
        self.visit.parts.method == Method::OPTIONS
            && !self.visit.arrival.has_body
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && self
                .visit
                .field(&header::ORIGIN)
                .is_some_and(|origin| self.is_tenant_origin(origin) || self.is_same_sandbox(origin))
    }

    pub(super) fn is_tenant_origin(&self, origin: &str) -> bool {
        self.found.tenant.policy.allowed_origins.iter().any(|allowed| allowed == origin)
    }

    fn is_same_sandbox(&self, origin: &str) -> bool {
        self.sandbox_of(origin) == Some(self.found.route.sandbox)
    }

    /// What the access allows: methods by scope, then, for a cookie, the origin.
    fn allowed(&self, access: &Access) -> Result<(), RefusalReason> {
        let Some(scope) = access.grant.scope() else { return Ok(()) };
        let (method, policy) = (&self.visit.parts.method, &self.found.tenant.policy);
        let is_safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let upgrade = self.visit.intent.is_upgrade();
        let in_scope = match scope {
            TokenScope::Interact => true,
            TokenScope::Terminal => false,
            TokenScope::Read if upgrade => policy.read_allows_upgrade,
            TokenScope::Read => {
                is_safe || policy.read_methods.iter().any(|allowed| allowed == method.as_str())
            }
        };
        if !in_scope {
            return Err(RefusalReason::InsufficientScope);
        }
        // A browser sends the cookie with requests that any site makes (SameSite=None): what can change something must come from
        // this host's own pages or the tenant's.
        let by_cookie = access.came_by(Carrier::Cookie);
        if by_cookie && (upgrade || !is_safe) && !self.is_own_doing(upgrade) {
            return Err(RefusalReason::ForeignOrigin);
        }
        Ok(())
    }

    fn is_own_doing(&self, upgrade: bool) -> bool {
        if self.visit.parts.headers.get_all(header::ORIGIN).count() > 1 {
            return false;
        }
        match self.visit.field(&header::ORIGIN) {
            Some(origin) => self.is_tenant_origin(origin) || self.is_same_origin(origin),
            None if upgrade => false,
            None => matches!(self.visit.field(&SEC_FETCH_SITE), Some("same-origin" | "none")),
        }
    }

    pub(super) fn is_same_origin(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let (same_scheme, default) =
            if self.visit.arrival.secure { ("https", 443) } else { ("http", 80) };
        let Ok(authority) = Authority::parse(authority.as_bytes()) else { return false };
        let here = &self.visit.authority;
        scheme == same_scheme
            && authority.host == here.host
            && authority.port.unwrap_or(default) == here.port.unwrap_or(default)
    }
}

fn strip(visit: &Visit<'_>) -> Strip {
    Strip {
        target: credentials::strip_query(&visit.parts.target),
        authorization: visit.seen.authorization
            && credentials::has_our_bearer(&visit.parts.headers),
        subprotocols: if visit.seen.subprotocol {
            credentials::our_subprotocols(&visit.parts.headers)
        } else {
            Vec::new()
        },
    }
}
