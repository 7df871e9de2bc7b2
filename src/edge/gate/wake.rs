//! Which visits wake a paused sandbox. Starting a machine costs its tenant money, so it takes more than a request: somebody with access
//! who wants to see something now. What comes by itself, from a tab that nobody looks at or from a program that looks ahead, does not.

use http::header::{self, HeaderName};
use http::{Method, header::HeaderValue};

use super::decision::WokenBy;
use super::judging::{Access, Judging};
use super::visit::Intent;
use crate::model::{Driver, SandboxState, WakePolicy};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What browsers and crawlers ask every host for, whether anybody wants it or not.
const ROUTINE: [&str; 6] = [
    "/favicon.ico",
    "/robots.txt",
    "/sitemap.xml",
    "/manifest.json",
    "/manifest.webmanifest",
    "/site.webmanifest",
];
/// Beginnings of such paths.
const ROUTINE_BELOW: [&str; 2] = ["/apple-touch-icon", "/.well-known/"];
/// What programs call themselves that wander about on their own.
const WANDERERS: [&str; 4] = ["bot", "crawl", "spider", "headless"];

impl Judging<'_> {
    /// Whether this visit wakes the sandbox, given that its access holds and that the sandbox does not run.
    pub(super) fn wakes(&self, access: &Access) -> bool {
        let (route, policy) = (&self.found.route, &self.found.tenant.policy);
        let sleeps = matches!(
            route.state,
            SandboxState::Pausing | SandboxState::Paused | SandboxState::Resuming
        );
        let can_be_woken = route.driver == Driver::Command || policy.wake_registered;
        let may_wake = match policy.wake {
            WakePolicy::Never => false,
            WakePolicy::Credential => access.held.is_some(),
            // Without a credential only a page that is being opened counts.
            WakePolicy::Anyone => access.held.is_some() || self.visit.intent == Intent::Navigation,
        };
        sleeps && can_be_woken && may_wake && self.is_wanted(access)
    }

    /// Whether somebody is waiting for the response.
    fn is_wanted(&self, access: &Access) -> bool {
        let parts = self.visit.parts;
        if matches!(parts.method, Method::HEAD | Method::OPTIONS) || self.is_routine() {
            return false;
        }
        // Who was given a token of its own was sent here, such as a browser that takes thumbnails. A share link may be found by anybody.
        let was_sent = matches!(self.woken_by(access), WokenBy::Token(_));
        if !was_sent && self.wanders_about() {
            return false;
        }
        match self.visit.intent {
            Intent::Navigation => true,
            // A page is open already, and its script connects again and again.
            Intent::WebSocket | Intent::OtherUpgrade | Intent::Prefetch => false,
            Intent::Fetch => !self.is_event_stream() && self.is_by_script_or_program(),
        }
    }

    fn wanders_about(&self) -> bool {
        let agent = self.visit.parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
        let agent = agent.unwrap_or_default().to_ascii_lowercase();
        WANDERERS.iter().any(|name| memchr::memmem::find(&agent, name.as_bytes()).is_some())
    }

    fn is_routine(&self) -> bool {
        let path = self.visit.parts.target.split(|b| *b == b'?').next().unwrap_or_default();
        ROUTINE.iter().any(|routine| path == routine.as_bytes())
            || ROUTINE_BELOW.iter().any(|below| path.starts_with(below.as_bytes()))
    }

    /// Event streams connect again by themselves, like `WebSockets`.
    fn is_event_stream(&self) -> bool {
        let accepts = self.visit.field(&header::ACCEPT);
        accepts.is_some_and(|accepts| accepts.contains("text/event-stream"))
            || self.visit.parts.headers.contains_key(LAST_EVENT_ID)
    }

    /// A program, a script or a form; not an image, script or style that belongs to a page: the page itself is not here.
    fn is_by_script_or_program(&self) -> bool {
        let wanted: [&[u8]; 4] = [b"empty", b"document", b"iframe", b"frame"];
        let dest = self.visit.seen.fetch_dest.map(HeaderValue::as_bytes);
        dest.is_none_or(|dest| wanted.contains(&dest))
    }
}
