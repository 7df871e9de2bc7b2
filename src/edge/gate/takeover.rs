//! Names that change hands. A browser that knew the former holder of a host still has what its app left there: storage, a service worker,
//! a cache, cookies. So the new holder's first response to each browser clears the origin, and brings a mark that says so; until the mark
//! comes back, no cookie goes on to the app. Cookies are ended one by one, by their names: browsers can clear them only for the whole
//! registered domain, which is all other previews.

use http::header::{self, HeaderName};
use smallvec::SmallVec;

use super::credentials::{
    MARK, PLAIN_MARK, PLAIN_SESSION_COOKIE, SESSION_COOKIE, cookie_name, cookie_pairs, is_mark,
};
use super::decision::Takeover;
use super::judging::Judging;
use super::visit::{Intent, keeps_bound};

/// How long it is kept, seconds: as long as browsers keep anything.
const KEPT: u32 = 400 * 24 * 3600;
/// Cookies that are ended at once. Those beyond are not passed on either, and end with the next response.
const MOST: usize = 64;

impl Judging<'_> {
    /// Whether this visit is a browser's first to the host's new holder, as far as it shows.
    pub(super) fn takeover(&self) -> Option<Box<Takeover>> {
        let since = self.found.route.changed_hands_at()?;
        let bound = keeps_bound(&self.visit.authority.host, self.visit.arrival.secure);
        let headers = &self.visit.parts.headers;
        let mark = if bound { MARK } else { PLAIN_MARK };
        let holder = since.as_millisecond().to_string();
        let mut names: SmallVec<[&[u8]; 8]> = SmallVec::new();
        for pair in cookie_pairs(headers) {
            let name = cookie_name(pair);
            let value = pair.trim_ascii_start().get(name.len() + 1..).unwrap_or_default();
            if name == mark.as_bytes() && value.trim_ascii_end() == holder.as_bytes() {
                return None;
            }
            let is_ours = is_mark(name)
                || name == SESSION_COOKIE.as_bytes()
                || name == PLAIN_SESSION_COOKIE.as_bytes();
            if !is_ours && names.len() < MOST && !names.contains(&name) {
                names.push(name);
            }
        }
        // A request without credentials keeps no mark, and would be told to clear again and again.
        let is_script = headers.get(SERVICE_WORKER).is_some_and(|value| value == "script");
        let clears = self.visit.intent == Intent::Navigation
            || is_script
            || headers.contains_key(header::COOKIE);
        let how = if bound { "; Secure" } else { "" };
        let mut cookies = Vec::new();
        for name in names.iter().filter_map(|name| std::str::from_utf8(name).ok()) {
            cookies.push(format!("{name}=; Path=/; Max-Age=0{how}"));
            if bound {
                cookies.push(format!(
                    "{name}=; Path=/; Max-Age=0; Secure; SameSite=None; Partitioned"
                ));
            }
        }
        cookies.push(if bound {
            format!("{MARK}={holder}; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age={KEPT}")
        } else {
            format!("{PLAIN_MARK}={holder}; Path=/; HttpOnly; SameSite=Lax; Max-Age={KEPT}")
        });
        Some(Box::new(Takeover { cookies, clears }))
    }
}

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
