//! The decision. Its order is fixed, and is the whole of who may see what:
//!
//! 1. Without complete tables nothing is known, and nothing is "not found".
//! 2. A gateway host leads on to the preview host, whoever asks.
//! 3. The host must lead to a sandbox: an exact custom domain, or a label below a zone that this sandbox answers in.
//! 4. The port must be one that may be previewed.
//! 5. What is below `/.well-known/portico/` is ours and is answered here: no such request reaches an app, by whatever access.
//! 6. Access: the port is public, or a credential (a token, a share link) holds for this sandbox, port, generation and moment.
//! 7. What the access allows: methods by scope; for a cookie, that the request is not another site's doing.
//! 8. A link that is being opened becomes a session and a clean address; in a frame, only once the browser is seen to keep the session.
//! 9. Only now is the sandbox's state told; and a paused one woken, if the visit is one that is worth it.

use std::sync::Arc;

use http::{Method, header};
use jiff::Timestamp;

use super::RefusalReason;
use super::credentials::{self, Carrier, Evidence, Proof};
use super::decision::{Decision, Grant, Moved, Plan, Refusal, Strip, Subject, Wake, WokenBy};
use super::visit::{SEC_FETCH_SITE, Visit};
use crate::model::host::{Authority, PreviewLabel, SandboxName};
use crate::model::token::{Claims, TokenError};
use crate::model::{SandboxState, ShareId, ShareLink, TokenScope};
use crate::routing::{Found, Route, Routes, TenantView, resolve};

/// Settings of the gate.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Ports that are refused on every sandbox.
    pub forbidden_ports: Vec<u16>,
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
    if !routes.is_complete() {
        return unknown(RefusalReason::NotReady, None);
    }
    if let Some(moved) = gateway(visit, routes) {
        return Decision::Moved(moved);
    }
    let found = match resolve(&visit.authority, routes) {
        Ok(found) => found,
        Err(tenant) => return unknown(RefusalReason::NotFound, tenant),
    };
    let judged = Judging { visit, evidence, routes, now, found: &found };
    if rules.forbidden_ports.contains(&found.port) {
        return found.refuse(RefusalReason::PortForbidden, false);
    }
    if let Some(own) = visit.own {
        return judged.own(own);
    }
    let access = match judged.access() {
        Ok(access) => access,
        Err(reason) => return found.refuse(reason, false),
    };
    if let Err(reason) = judged.allowed(&access) {
        return found.refuse(reason, true);
    }
    if let Some(decision) = judged.sign_in(&access) {
        return decision;
    }
    if let Err(reason) = running(&found.route) {
        if judged.wakes(&access) {
            let by = judged.woken_by(&access);
            let (subject, tenant) = (found.subject(), Arc::clone(&found.tenant));
            return Decision::Wake(Box::new(Wake { subject, tenant, by }));
        }
        return match access.grant {
            // An `Origin` proves nothing: whoever sends a preflight learns nothing that a stranger would not.
            Grant::Preflight => found.refuse(RefusalReason::SignInNeeded, false),
            _ => found.refuse(reason, true),
        };
    }
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

/// Judges again what an open exchange rests on, from fresh knowledge.
pub fn still_allowed(
    grant: &Grant,
    route: &Route,
    port: u16,
    routes: &Routes,
    now: Timestamp,
) -> Result<(), RefusalReason> {
    match grant {
        Grant::Public if !route.is_public(port, now) => return Err(RefusalReason::SignInNeeded),
        Grant::Public | Grant::Preflight => {}
        Grant::Token { id, generation, expires_at, .. } => {
            if *expires_at <= now {
                return Err(RefusalReason::TokenExpired);
            }
            if *generation != route.token_generation || routes.is_revoked(*id) {
                return Err(RefusalReason::TokenRevoked);
            }
        }
        Grant::Share { id, .. } => match routes.share_by_id(*id) {
            Some(link) => stands(&link, now)?,
            None => return Err(RefusalReason::ShareRevoked),
        },
    }
    running(route)
}

/// Whether a share link opens anything at all.
fn stands(link: &ShareLink, now: Timestamp) -> Result<(), RefusalReason> {
    if link.revoked_at.is_some() {
        return Err(RefusalReason::ShareRevoked);
    }
    if link.expires_at.is_some_and(|at| at <= now) {
        return Err(RefusalReason::ShareExpired);
    }
    Ok(())
}

/// When access ends if nothing changes until then.
pub fn allowed_until(grant: &Grant, route: &Route, port: u16) -> Option<Timestamp> {
    match grant {
        Grant::Public => route.public_until(port),
        Grant::Preflight => None,
        Grant::Token { expires_at, .. } => Some(*expires_at),
        Grant::Share { expires_at, .. } => *expires_at,
    }
}

/// A refusal that is about no sandbox.
fn unknown(reason: RefusalReason, tenant: Option<Arc<TenantView>>) -> Decision {
    Decision::Refuse(Refusal { reason, tenant, about: None, is_known: false })
}

/// Whether the sandbox can serve at all.
fn running(route: &Route) -> Result<(), RefusalReason> {
    match route.state {
        SandboxState::Creating => Err(RefusalReason::Starting),
        SandboxState::Running if !route.serves() => Err(RefusalReason::Starting),
        SandboxState::Running => Ok(()),
        SandboxState::Pausing | SandboxState::Paused => Err(RefusalReason::Paused),
        SandboxState::Resuming => Err(RefusalReason::Waking),
        SandboxState::Stopped | SandboxState::Error => Err(RefusalReason::NotRunning),
        SandboxState::Destroyed => Err(RefusalReason::NotFound),
    }
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

/// `preview.<zone>/p/{id}/…` and `preview.<zone>/{id}/…` lead to the host of that sandbox. No table but the zones is asked, so the
/// answer says nothing about which ids exist.
fn gateway(visit: &Visit<'_>, routes: &Routes) -> Option<Moved> {
    let zone = visit.authority.host.strip_prefix("preview.")?;
    let zone = routes.zone(zone).filter(|zone| zone.gateway)?;
    let target = std::str::from_utf8(&visit.head.target).ok()?;
    let (path, query) =
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = path.strip_prefix("/p/").or_else(|| path.strip_prefix('/'))?;
    let (id, rest) = path.split_once('/').map_or((path, ""), |(id, rest)| (id, rest));
    let Ok(PreviewLabel { port: None, name: SandboxName::Id(id) }) = PreviewLabel::parse(id) else {
        return None;
    };
    let scheme = if visit.arrival.secure { "https" } else { "http" };
    let port = visit.authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(Moved { location: format!("{scheme}://{id}.{}{port}/{rest}{query}", zone.name) })
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
    evidence: &'a Evidence,
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
    fn woken_by(&self, access: &Access) -> WokenBy {
        let held = access.held.as_ref().and_then(|held| self.evidence.0.get(held.index));
        match held {
            Some(Ok(Proof::Token(claims))) => WokenBy::Token(claims.id),
            Some(Ok(Proof::Share(link))) => WokenBy::Share(link.id),
            Some(Err(_)) | None => WokenBy::Anyone,
        }
    }

    /// The first explicit credential that holds; if none holds, the first one's fault. The cookie counts only where nothing
    /// explicit was sent: whoever sends a token wants that token to be judged.
    pub(super) fn by_token(&self) -> Option<Result<Access, RefusalReason>> {
        let all = || self.visit.credentials.iter().zip(&self.evidence.0).enumerate();
        let explicit =
            || all().filter(|(_, (credential, _))| credential.carrier != Carrier::Cookie);
        let mut fault = None;
        let candidates: &mut dyn Iterator<Item = _> =
            if explicit().next().is_some() { &mut explicit() } else { &mut all() };
        for (index, (credential, verdict)) in candidates {
            match self.judge(verdict) {
                Ok((grant, expires_at)) => {
                    let (carrier, share) = (credential.carrier, grant.share());
                    let held = Held { carrier, index, expires_at, share };
                    return Some(Ok(Access { grant, held: Some(held) }));
                }
                Err(reason) => fault = fault.or(Some(Err(reason))),
            }
        }
        fault
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
        match still_allowed(&grant, route, *port, self.routes, self.now) {
            Err(reason @ (RefusalReason::TokenExpired | RefusalReason::TokenRevoked)) => {
                Err(reason)
            }
            _ => Ok((grant, Some(claims.expires_at))),
        }
    }

    /// A preflight carries no credential by design; it is let through between the ports of one sandbox and from the tenant's own
    /// origins. The request that follows is judged in full, and of the answer only an approval passes, without its content: a
    /// program can claim any origin.
    fn is_friendly_preflight(&self) -> bool {
        let headers = &self.visit.head.headers;
        self.visit.head.method == Method::OPTIONS
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
        let (method, policy) = (&self.visit.head.method, &self.found.tenant.policy);
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
        if self.visit.head.headers.get_all(header::ORIGIN).count() > 1 {
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
        target: credentials::strip_query(&visit.head.target),
        authorization: visit.seen.authorization && credentials::has_our_bearer(&visit.head.headers),
        subprotocols: if visit.seen.subprotocol {
            credentials::our_subprotocols(&visit.head.headers)
        } else {
            Vec::new()
        },
    }
}
