//! From a token in a URL to a session in a cookie.
//!
//! A link that is opened at the top of a tab gets the cookie and a redirect to the clean address. A link that is opened in a
//! frame of another site goes one step more, because some browsers keep no cookie there at all, and what would follow then is a page that
//! asks for a link which was there a moment ago. So the first redirect leads to the same address with the token under another name, and
//! when that comes with the cookie, the second leads to the clean one. When it comes without, a page offers the ways that are left; it has
//! the token in its own address, which is no app's. Who brings a cookie along has shown already that cookies are kept, and goes straight.

use bytes::Bytes;
use http::Method;
use http::header::HeaderValue;

use super::RefusalReason;
use super::credentials::{self, Carrier, PLAIN_SESSION_COOKIE, RETURNED, SESSION_COOKIE};
use super::decision::{Decision, SignIn};
use super::doing::Doing;
use super::judging::{Access, Held, Judging};
use super::visit::{Intent, keeps_bound};
use crate::model::TokenScope;

/// How long browsers are asked to keep a session that has no end, seconds: 400 days, which is the longest that they keep a cookie.
const ENDLESS: i64 = 400 * 24 * 3600;

impl Judging<'_> {
    /// Opening a link. The clean address has no credential, and the returned one never leads to itself, so this cannot loop. HEAD and
    /// programs that look ahead get nothing: a link is not used up by being looked at.
    pub(super) fn sign_in(&self, access: &Access) -> Option<Decision> {
        let held = access.held.as_ref()?;
        if !matches!(held.carrier, Carrier::Query | Carrier::Returned) {
            return None;
        }
        match self.visit.intent {
            Intent::Prefetch => return Some(Decision::Neutral(self.found.subject())),
            Intent::Navigation if self.visit.parts.method == Method::HEAD => {
                return Some(Decision::Neutral(self.found.subject()));
            }
            Intent::Navigation => {}
            _ => return None,
        }
        let mut location = clean_location(credentials::strip_query(&self.visit.parts.target)?);
        if self.may_lose_cookies() {
            if held.carrier == Carrier::Returned {
                return Some(self.found.refuse(RefusalReason::CookiesBlocked, true));
            }
            location = returning(&location, &self.visit.credentials.get(held.index)?.token);
        }
        let subject = self.found.subject();
        let share = held.share.filter(|_| held.carrier == Carrier::Query);
        let foreign = self.visit.is_framed() || self.doing() == Doing::Foreign;
        let cookie =
            if foreign && self.keeps_session(held) { None } else { Some(self.cookie(access)?) };
        Some(Decision::SignIn(SignIn { cookie, location, subject, share }))
    }

    /// Whether it is still to be seen that the browser keeps a session where this link is opened: in a frame that another site's page
    /// or our own page about this opened, and without any cookie of ours. A public port works without a session.
    fn may_lose_cookies(&self) -> bool {
        let mut carriers = self.visit.credentials.iter().map(|credential| credential.carrier);
        let site = self.visit.seen.fetch_site.map(HeaderValue::as_bytes);
        self.visit.is_framed()
            && matches!(site, Some(b"cross-site" | b"same-origin"))
            && !carriers.any(|carrier| carrier == Carrier::Cookie)
            && !self.found.route.is_public(self.found.port, self.now)
    }

    /// A query credential on something that is no navigation: forwarded at once, and the session is set beside the response, unless
    /// somebody only looks (HEAD), or another page did it: setting a session is setting who somebody is.
    pub(super) fn cookie_without_redirect(&self, access: &Access) -> Option<String> {
        let explicit = access.came_by(Carrier::Query) && self.visit.intent == Intent::Fetch;
        if !explicit || self.visit.parts.method == Method::HEAD || self.doing() == Doing::Foreign {
            return None;
        }
        let held = access.held.as_ref()?;
        if self.keeps_session(held) { None } else { self.cookie(access) }
    }

    /// Whether the visitor has a session that holds, and that allows no less for no less time. A page of another site that opens a link
    /// must not put a worse one in its place.
    fn keeps_session(&self, new: &Held) -> bool {
        let Some(Ok((session, until))) = self.by_cookie() else { return false };
        let Some(Ok((grant, _))) = self.evidence.0.get(new.index).map(|proof| self.judge(proof))
        else {
            return false;
        };
        let allows =
            session.scope() == Some(TokenScope::Interact) || session.scope() == grant.scope();
        let lasts = match (until, new.expires_at) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(until), Some(new)) => until >= new,
        };
        allows && lasts
    }

    /// The session cookie. It is the token itself, so it keeps every restriction of it.
    pub(super) fn cookie(&self, access: &Access) -> Option<String> {
        let held = access.held.as_ref()?;
        let token = &self.visit.credentials.get(held.index)?.token;
        let left = held
            .expires_at
            .map_or(ENDLESS, |end| (end.as_second() - self.now.as_second()).clamp(1, ENDLESS));
        Some(if keeps_bound(&self.visit.authority.host, self.visit.arrival.secure) {
            format!(
                "{SESSION_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age={left}"
            )
        } else {
            // Without TLS browsers refuse `Secure`; such a preview cannot be embedded in another site.
            format!(
                "{PLAIN_SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={left}"
            )
        })
    }
}

/// A location that cannot leave this host: `//evil` and `/\evil` would be read as another authority.
fn clean_location(target: Bytes) -> Bytes {
    if matches!(target.get(1), Some(b'/' | b'\\')) {
        return [b"/.", &target[..]].concat().into();
    }
    target
}

/// The clean address with the token under the name of a link that comes back.
fn returning(clean: &Bytes, token: &str) -> Bytes {
    let separator: &[u8] = if clean.contains(&b'?') { b"&" } else { b"?" };
    [clean, separator, RETURNED.as_bytes(), b"=", token.as_bytes()].concat().into()
}
