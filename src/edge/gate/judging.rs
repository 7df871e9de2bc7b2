//! What a visit's access rests on, and what that allows.

use jiff::Timestamp;

use http::Method;

use super::RefusalReason;
use super::credentials::{Carrier, Credential, Evidence, Proof};
use super::decision::{Grant, Isolation, Rules, WokenBy};
use super::standing::{elsewhere, holds, stands};
use super::visit::Visit;
use crate::model::token::{Claims, TokenError};
use crate::model::{SandboxId, ShareId, ShareLink, TokenScope};
use crate::routing::{Found, Routes};

/// How far `iat` may lie ahead of our clock, seconds.
const CLOCK_SKEW: i64 = 60;

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

/// The first explicit credential that holds; if none holds, the first one's error. The cookie counts only where nothing explicit was
/// sent: whoever sends a token wants that token to be judged.
pub(super) fn first<T>(
    credentials: &[Credential],
    evidence: &Evidence,
    judge: impl Fn(&Result<Proof, TokenError>) -> Result<T, RefusalReason>,
) -> Option<Result<(usize, T), RefusalReason>> {
    let is_explicit = |credential: &Credential| credential.carrier != Carrier::Cookie;
    let only_explicit = credentials.iter().any(is_explicit);
    let mut error = None;
    for (index, (credential, verdict)) in credentials.iter().zip(&evidence.0).enumerate() {
        if only_explicit && !is_explicit(credential) {
            continue;
        }
        match judge(verdict) {
            Ok(standing) => return Some(Ok((index, standing))),
            Err(reason) => error = error.or(Some(Err(reason))),
        }
    }
    error
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
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
    pub(super) found: &'a Found,
}

impl Judging<'_> {
    pub(super) fn access(&self) -> Result<Access, RefusalReason> {
        let by_token = self.by_token();
        if self.found.route.is_public(self.found.port, self.now) {
            // Nobody gets less for having a token, and a stale link is only a link.
            let held = by_token.and_then(Result::ok).and_then(|access| access.held);
            return Ok(Access { grant: Grant::Public, held });
        }
        match by_token {
            Some(Ok(access)) => Ok(access),
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

    /// The credential that access rests on; if none holds, why the first one does not.
    pub(super) fn by_token(&self) -> Option<Result<Access, RefusalReason>> {
        let judged = first(&self.visit.credentials, self.evidence, |verdict| self.judge(verdict))?;
        Some(judged.map(|(index, (grant, expires_at))| {
            let carrier = self.visit.credentials.get(index).map_or(Carrier::Cookie, |c| c.carrier);
            let held = Held { carrier, index, expires_at, share: grant.share() };
            Access { grant, held: Some(held) }
        }))
    }

    /// What the session cookie is worth; `None` when there is none.
    pub(super) fn by_cookie(&self) -> Option<Result<Standing, RefusalReason>> {
        let mut all = self.visit.credentials.iter().zip(&self.evidence.0);
        let (_, verdict) = all.find(|(found, _)| found.carrier == Carrier::Cookie)?;
        Some(self.judge(verdict))
    }

    pub(super) fn judge(
        &self,
        verdict: &Result<Proof, TokenError>,
    ) -> Result<Standing, RefusalReason> {
        match verdict {
            Ok(Proof::Token(claims)) => self.judge_token(claims),
            Ok(Proof::Share(link)) => self.judge_share(link),
            Err(_) => Err(RefusalReason::InvalidToken),
        }
    }

    fn judge_share(&self, link: &ShareLink) -> Result<Standing, RefusalReason> {
        let Found { route, port, .. } = self.found;
        if link.sandbox != route.sandbox || link.port.is_some_and(|only| only != *port) {
            return Err(self.elsewhere(link.sandbox));
        }
        stands(link, self.now)?;
        let expires_at = link.expires_at;
        Ok((Grant::Share { id: link.id, expires_at, scope: link.scope }, expires_at))
    }

    fn elsewhere(&self, sandbox: SandboxId) -> RefusalReason {
        elsewhere(sandbox, self.routes)
    }

    fn judge_token(&self, claims: &Claims) -> Result<Standing, RefusalReason> {
        let Found { route, port, .. } = self.found;
        if claims.sandbox != route.sandbox || claims.tenant != route.tenant {
            return Err(self.elsewhere(claims.sandbox));
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

    /// What the access allows: methods by scope, then, for a cookie, the origin.
    pub(super) fn allowed(&self, access: &Access) -> Result<Isolation, RefusalReason> {
        let Some(scope) = access.grant.scope() else { return Ok(Isolation::None) };
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
        // A browser sends the cookie with requests that any page makes (SameSite=None): what can change something must come from this
        // host's own pages or the tenant's, and what shows something must not be another page's to read.
        if !access.came_by(Carrier::Cookie) {
            return Ok(Isolation::None);
        }
        if upgrade || !is_safe {
            let own = self.is_own_doing(upgrade).then_some(Isolation::SameOrigin);
            return own.ok_or(RefusalReason::ForeignOrigin);
        }
        match self.reader() {
            Reader::Own => Ok(Isolation::SameOrigin),
            Reader::Friend => Ok(Isolation::NoStore),
            // ... nor may it learn whether the visitor has access.
            Reader::Foreign => Err(RefusalReason::SignInNeeded),
        }
    }
}

/// Who asks to see something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The preview itself, the visitor, or no browser.
    Own,
    /// A page of another origin that may.
    Friend,
    /// A page that may not.
    Foreign,
}
