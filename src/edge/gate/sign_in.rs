//! From a token in a URL to a session in a cookie.
//!
//! A link that is opened at the top of a tab gets the cookie and a redirect to the clean address. A link that is opened in a
//! frame of another site goes one step more, because some browsers keep no cookie there at all, and what would follow then is a page that
//! asks for a link which was there a moment ago. So the first redirect leads to the same address with the token under another name, and
//! when that comes with the cookie, the second leads to the clean one. When it comes without, a page offers the ways that are left; it has
//! the token in its own address, which is no app's. Who brings a cookie along has shown already that cookies are kept, and goes straight.

use bytes::Bytes;
use http::{HeaderName, Method};

use super::RefusalReason;
use super::credentials::{self, Carrier, PLAIN_SESSION_COOKIE, RETURNED, SESSION_COOKIE};
use super::decide::{Access, Judging};
use super::decision::{Decision, SignIn};
use super::visit::{Intent, SEC_FETCH_DEST, SEC_FETCH_SITE, keeps_bound};

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
        Some(Decision::SignIn(SignIn { cookie: self.cookie(access)?, location, subject, share }))
    }

    /// Whether it is still to be seen that the browser keeps a session where this link is opened: in a frame that another site's page
    /// or our own page about this opened, and without any cookie of ours. A public port works without a session.
    fn may_lose_cookies(&self) -> bool {
        let frames = ["iframe", "frame", "embed", "object", "fencedframe"];
        let is = |name: HeaderName, of: &[&str]| {
            self.visit.field(&name).is_some_and(|value| of.contains(&value))
        };
        let mut carriers = self.visit.credentials.iter().map(|credential| credential.carrier);
        is(SEC_FETCH_DEST, &frames)
            && is(SEC_FETCH_SITE, &["cross-site", "same-origin"])
            && !carriers.any(|carrier| carrier == Carrier::Cookie)
            && !self.found.route.is_public(self.found.port, self.now)
    }

    /// A query credential on something that is no navigation: forwarded at once, and the session is set beside the response,
    /// unless another site's page merely embeds an image or script of ours, or somebody only looks (HEAD).
    pub(super) fn cookie_without_redirect(&self, access: &Access) -> Option<String> {
        let explicit = access.came_by(Carrier::Query) && self.visit.intent == Intent::Fetch;
        if !explicit || self.visit.parts.method == Method::HEAD {
            return None;
        }
        let cross_site = self.visit.field(&SEC_FETCH_SITE) == Some("cross-site");
        let embedded = self.visit.field(&SEC_FETCH_DEST).is_some_and(|dest| dest != "empty");
        if cross_site && embedded { None } else { self.cookie(access) }
    }

    /// The session cookie. It is the token itself, so it keeps every restriction of it.
    pub(super) fn cookie(&self, access: &Access) -> Option<String> {
        let held = access.held.as_ref()?;
        let token = &self.visit.credentials.get(held.index)?.token;
        let left =
            held.expires_at.map_or(ENDLESS, |end| end.as_second() - self.now.as_second()).max(1);
        Some(if keeps_bound(&self.visit.authority.host, self.visit.arrival) {
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
