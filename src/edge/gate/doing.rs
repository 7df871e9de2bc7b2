//! Whose doing a request is. A browser sends the session cookie with requests that any page makes, and all previews below one zone are one
//! site to it: the page of a sibling is as near as a page can be. So what a cookie opens is told by who asked.
//!
//! What browsers say: `Origin` with every request that can change something and with scripts' own (CORS, `WebSockets`), `Sec-Fetch-*`
//! where they came by https or from this machine, `Referer` unless the page that asks keeps it back. None of them can be forged by a page.

use http::header::{self, HeaderValue};

use super::judging::{Judging, Reader};
use crate::model::SandboxId;
use crate::model::host::Authority;
use crate::routing::resolve;

/// Whose doing a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// The preview's own pages', or the visitor's own.
    Own,
    /// A page's that may embed the preview.
    Embedder,
    /// Another page's.
    Foreign,
    /// Nobody says: no browser, or one that says nothing about such requests.
    Unknown,
}

/// Where a request that asks for a document wants to show it.
const FRAMES: [&[u8]; 5] = [b"iframe", b"frame", b"embed", b"object", b"fencedframe"];

impl Judging<'_> {
    /// Whose doing it is that a session is set or asked for.
    pub(super) fn doing(&self) -> Doing {
        let mut origins = self.visit.parts.headers.get_all(header::ORIGIN);
        match (origins.next(), origins.next()) {
            (None, _) => match self.site() {
                Some(b"same-origin" | b"none") => Doing::Own,
                Some(_) => Doing::Foreign,
                None => Doing::Unknown,
            },
            (Some(origin), None) => match origin.to_str() {
                Ok(origin) if self.is_same_origin(origin) => Doing::Own,
                Ok(origin) if self.is_embedder(origin) => Doing::Embedder,
                _ => Doing::Foreign,
            },
            (Some(_), Some(_)) => Doing::Foreign,
        }
    }

    /// Whether what can change something, or stays open, is this host's own doing or the tenant's.
    pub(super) fn is_own_doing(&self, upgrade: bool) -> bool {
        if self.visit.parts.headers.get_all(header::ORIGIN).nth(1).is_some() {
            return false;
        }
        match self.visit.field(&header::ORIGIN) {
            Some(origin) => self.is_tenant_origin(origin) || self.is_same_origin(origin),
            None if upgrade => false,
            None => matches!(self.site(), Some(b"same-origin" | b"none")),
        }
    }

    /// Who asks to see something by the session cookie alone.
    pub(super) fn reader(&self) -> Reader {
        let mut origins = self.visit.parts.headers.get_all(header::ORIGIN);
        if let Some(origin) = origins.next() {
            let origin = origin.to_str().ok().filter(|_| origins.next().is_none());
            return origin.map_or(Reader::Foreign, |origin| self.reader_at(origin));
        }
        match self.site() {
            Some(b"same-origin" | b"none") => Reader::Own,
            // A link that somebody follows: the page it was on is left, and reads nothing.
            Some(_) if self.is_opened_at_the_top() => Reader::Own,
            Some(_) if self.visit.is_framed() => match self.referrer() {
                // Who may show the page says its own policy, and it is loaded as any link would be.
                None => Reader::Own,
                Some(origin) if self.is_embedder(origin) => Reader::Own,
                // Nor is a page that leads back here, as an identity provider does, one that could keep its name to itself.
                Some(origin) if self.sandbox_of(origin).is_none() => Reader::Own,
                Some(origin) => self.reader_at(origin),
            },
            Some(_) => self.referrer().map_or(Reader::Foreign, |origin| self.reader_at(origin)),
            None => match self.referrer() {
                Some(origin) if !self.visit.navigates() => self.reader_at(origin),
                _ => Reader::Own,
            },
        }
    }

    fn reader_at(&self, origin: &str) -> Reader {
        if self.is_same_origin(origin) && self.site() != Some(b"cross-site") {
            Reader::Own
        } else if self.is_friend(origin) {
            Reader::Friend
        } else {
            Reader::Foreign
        }
    }

    /// Whether an origin's pages may read by the visitor's session: other ports of the sandbox, the tenant's own pages, and embedders that
    /// have a name. That everybody may embed is no leave to read.
    fn is_friend(&self, origin: &str) -> bool {
        self.is_same_origin(origin)
            || self.is_tenant_origin(origin)
            || self.sandbox_of(origin) == Some(self.found.route.sandbox)
            || (self.is_embedder(origin) && !self.found.tenant.framing.is_open())
    }

    fn is_opened_at_the_top(&self) -> bool {
        self.visit.navigates() && !self.visit.is_framed()
    }

    /// Whether nobody may embed the response just for being below the tenant's domain: previews of other sandboxes are there too, and a
    /// policy has no word for "all but these". Whose page asks is known, so an embedder that is none of them has the wide policy.
    pub(super) fn frames_narrowly(&self) -> bool {
        if !self.found.tenant.framing.has_own_domain() || self.visit.seen.fetch_dest.is_none() {
            return false;
        }
        let may_embed = self.visit.is_framed()
            && (self.site() == Some(b"same-origin")
                || self.referrer().is_some_and(|origin| self.is_embedder(origin)));
        !may_embed
    }

    /// Whether an origin may embed the preview, and is no other sandbox's preview that is embedded just because of its name.
    pub(super) fn is_embedder(&self, origin: &str) -> bool {
        self.found.tenant.framing.admits(origin)
            && (self.is_tenant_origin(origin)
                || self.sandbox_of(origin).is_none_or(|other| other == self.found.route.sandbox))
    }

    pub(super) fn is_tenant_origin(&self, origin: &str) -> bool {
        self.found.tenant.policy.allowed_origins.iter().any(|allowed| allowed == origin)
    }

    pub(super) fn is_same_origin(&self, origin: &str) -> bool {
        self.visit.is_same_origin(origin)
    }

    /// The sandbox whose preview an origin is.
    pub(super) fn sandbox_of(&self, origin: &str) -> Option<SandboxId> {
        let authority = Authority::parse(origin.split_once("://")?.1.as_bytes()).ok()?;
        resolve(&authority, self.routes).ok().map(|found| found.route.sandbox)
    }

    /// The origin of the page that asks, if the browser says it.
    pub(super) fn referrer(&self) -> Option<&str> {
        let url = self.visit.seen.referer?.to_str().ok()?;
        let scheme = url.find("://")? + 3;
        let rest = url.get(scheme..)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        url.get(..scheme + end)
    }

    fn site(&self) -> Option<&[u8]> {
        self.visit.seen.fetch_site.map(HeaderValue::as_bytes)
    }
}

impl super::Visit<'_> {
    /// Whether a document is asked for, as far as anybody can tell.
    pub(super) fn navigates(&self) -> bool {
        match self.seen.fetch_mode {
            Some(mode) => mode.as_bytes() == b"navigate",
            None => self.intent == super::Intent::Navigation,
        }
    }

    /// Whether an origin is this host's own.
    pub(super) fn is_same_origin(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let (same_scheme, default) =
            if self.arrival.secure { ("https", 443) } else { ("http", 80) };
        let Ok(authority) = Authority::parse(authority.as_bytes()) else { return false };
        let here = &self.authority;
        scheme == same_scheme
            && authority.host == here.host
            && authority.port.unwrap_or(default) == here.port.unwrap_or(default)
    }

    /// Whether it is to be shown in a frame of another page.
    pub(in crate::edge) fn is_framed(&self) -> bool {
        self.seen.fetch_dest.is_some_and(|dest| FRAMES.contains(&dest.as_bytes()))
    }
}
