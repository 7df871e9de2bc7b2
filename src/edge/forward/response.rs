//! What an app's response looks like when it reaches the visitor: hop-by-hop fields taken out, nothing in it that speaks for
//! another host or for the whole platform, every other byte as the app sent it.

use http::header::{self, HeaderName, HeaderValue};

use super::location::{self, Here};
use super::{cookies, request};
use crate::edge::gate::{self, Grant, Isolation, Plan, Takeover};
use crate::edge::headers::Headers;
use crate::edge::message::ResponseParts;

/// Says whose response it is, on everything from 400 up: the app's own errors pass through untouched.
pub(crate) const X_PREVIEW_SOURCE: HeaderName = HeaderName::from_static("x-preview-source");

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Fields that would change how a browser treats hosts other than this one, or that belong to us. Browsers count much by the registered
/// domain, which a preview shares with all others of its zone.
fn is_not_theirs(name: &str) -> bool {
    // Nearly all names are decided by their first letter.
    match name.as_bytes().first() {
        Some(b'a') => name == "alt-svc" || name.starts_with("attribution-reporting-"),
        Some(b'n') => name == "nel",
        Some(b'p') => matches!(name, "public-key-pins" | "public-key-pins-report-only"),
        Some(b'r') => name == "report-to",
        Some(b's') => {
            name == "strict-transport-security"
                || name == "set-login"
                || name.starts_with("sec-session-")
                || name.starts_with("secure-session-")
        }
        Some(b'x') => name.starts_with("x-preview-") || name.starts_with("x-sandbox-"),
        _ => false,
    }
}

/// Fields by which caches on the way are told apart from browsers (RFC 9213), and what came before that.
fn is_for_shared_caches(name: &str) -> bool {
    name.ends_with("cdn-cache-control")
        || matches!(name, "surrogate-control" | "x-accel-expires" | "edge-control")
}

/// Rewrites a final response's headers for the visitor. `switched` keeps the protocol of a 101.
pub(super) fn finish(parts: &mut ResponseParts, plan: &Plan, here: Here<'_>, switched: bool) {
    let headers = &mut parts.headers;
    let protocol = switched.then(|| headers.get(header::UPGRADE).cloned()).flatten();
    let is_public = plan.grant == Grant::Public;
    let seen = Seen::of(headers);
    request::remove_each(headers, |name| {
        request::is_hop_by_hop(name)
            || is_not_theirs(name)
            || (!is_public && is_for_shared_caches(name))
    });
    cookies::confine(headers, !gate::keeps_bound(&here.authority.host, here.secure));
    location::rewrite(headers, here);
    if seen.clears {
        clear_own_only(headers);
    }
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
        return;
    }
    if !is_public {
        // What one visitor may see must not be kept for others by a cache on the way, whatever the app says (RFC 9111 section 3.5).
        keep_private(headers, seen);
        if !seen.resource_policy {
            isolate(headers, plan.isolation);
        }
    }
    if parts.status.is_client_error() || parts.status.is_server_error() {
        headers.insert(X_PREVIEW_SOURCE, HeaderValue::from_static("app"));
    }
}

/// Rewrites an interim response (103 Early Hints): the same removals, nothing added.
pub(super) fn finish_interim(parts: &mut ResponseParts) {
    request::remove_each(&mut parts.headers, |name| {
        request::is_hop_by_hop(name) || is_not_theirs(name) || name == "set-cookie"
    });
}

/// Which of the fields that matter here a response has, found in one pass.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    caching: bool,
    clears: bool,
    resource_policy: bool,
}

impl Seen {
    fn of(headers: &Headers) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "cache-control" => seen.caching = true,
                "clear-site-data" => seen.clears = true,
                "cross-origin-resource-policy" => seen.resource_policy = true,
                _ => {}
            }
        }
        seen
    }
}

fn keep_private(headers: &mut Headers, seen: Seen) {
    if !seen.caching {
        // An `Expires` alone lets every cache keep it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        return;
    }
    let is_shared = |directive: &[u8]| {
        let name = directive.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        [&b"public"[..], b"s-maxage", b"proxy-revalidate", b"private"]
            .iter()
            .any(|shared| name.eq_ignore_ascii_case(shared))
    };
    let forbids = |directive: &[u8]| directive.trim_ascii().eq_ignore_ascii_case(b"no-store");
    let directives = || {
        let values = headers.get_all(header::CACHE_CONTROL);
        values.flat_map(|value| value.as_bytes().split(|b| *b == b','))
    };
    // `private="field"` and a comma within quotes are not `private`: written anew, they are.
    let whole = |directive: &[u8]| directive.trim_ascii().eq_ignore_ascii_case(b"private");
    let is_private =
        || directives().any(whole) && directives().all(|one| whole(one) || !is_shared(one));
    if directives().any(forbids) || is_private() {
        return;
    }
    let rest = directives().map(<[u8]>::trim_ascii);
    let rest = rest.filter(|one| !one.is_empty() && !is_shared(one));
    let kept: Vec<&[u8]> = [&b"private"[..]].into_iter().chain(rest).collect();
    let private = HeaderValue::from_static("private");
    let value = HeaderValue::from_bytes(&kept.join(&b", "[..])).unwrap_or(private);
    headers.insert(header::CACHE_CONTROL, value);
}

/// Keeps a response that came by session from the pages of other origins.
fn isolate(headers: &mut Headers, isolation: Isolation) {
    match isolation {
        Isolation::None => {}
        Isolation::SameOrigin => {
            headers.append(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        }
        Isolation::NoStore => {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

/// Of what an app has the browser clear, what is its own origin's. Cookies are cleared for the whole registered domain, and that is all
/// other previews.
fn clear_own_only(headers: &mut Headers) {
    const OWN: [&[u8]; 3] = [b"\"cache\"", b"\"storage\"", b"\"executionContexts\""];
    let mut own: Vec<&[u8]> = Vec::new();
    for value in headers.get_all(CLEAR_SITE_DATA) {
        for kind in value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let kinds = if kind == b"\"*\"" { &OWN[..2] } else { std::slice::from_ref(&kind) };
            for kind in kinds.iter().filter(|kind| OWN.contains(kind)) {
                if !own.contains(kind) {
                    own.push(kind);
                }
            }
        }
    }
    let value = HeaderValue::from_bytes(&own.join(&b", "[..])).ok().filter(|_| !own.is_empty());
    headers.remove(CLEAR_SITE_DATA);
    if let Some(value) = value {
        headers.append(CLEAR_SITE_DATA, value);
    }
}

/// Has a browser forget the app of a host's former holder. What the app of now sets comes after, and stays.
pub fn take_over(headers: &mut Headers, takeover: &Takeover) {
    let own: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).cloned().collect();
    headers.remove(header::SET_COOKIE);
    let ended = takeover.cookies.iter().filter_map(|cookie| HeaderValue::try_from(cookie).ok());
    for cookie in ended.chain(own) {
        headers.append(header::SET_COOKIE, cookie);
    }
    if takeover.clears {
        let all = HeaderValue::from_static("\"cache\", \"storage\"");
        headers.insert(CLEAR_SITE_DATA, all);
    }
    // What is different for who comes first must not be kept for others.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> Headers {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_came_by_access_is_private_whatever_the_app_says() {
        for (said, kept) in [
            (&["public, max-age=31536000, immutable"][..], "private, max-age=31536000, immutable"),
            (&["max-age=60"], "private, max-age=60"),
            (&["max-age=60, s-maxage=600", "proxy-revalidate"], "private, max-age=60"),
            (&["PUBLIC"], "private"),
            (&["private=\"x-field\", max-age=5"], "private, max-age=5"),
            (&["no-store"], "no-store"),
            (&["private, max-age=9"], "private, max-age=9"),
            (&["no-cache"], "private, no-cache"),
            (&[], "private"),
        ] {
            let fields: Vec<_> = said.iter().map(|value| ("cache-control", *value)).collect();
            let mut headers = headers(&fields);
            let seen = Seen::of(&headers);
            keep_private(&mut headers, seen);
            let kept_all: Vec<_> = headers.get_all(header::CACHE_CONTROL).collect();
            assert_eq!(kept_all, [kept], "{said:?}");
        }
    }

    #[test]
    fn an_app_clears_what_is_its_own() {
        for (said, kept) in [
            (&["\"cookies\""][..], None),
            (&["\"cache\", \"cookies\", \"storage\""], Some("\"cache\", \"storage\"")),
            (&["\"*\""], Some("\"cache\", \"storage\"")),
            (&["\"storage\"", "\"cookies\",\"storage\""], Some("\"storage\"")),
            (&["\"executionContexts\""], Some("\"executionContexts\"")),
            (&["cookies"], None),
        ] {
            let fields: Vec<_> = said.iter().map(|value| ("clear-site-data", *value)).collect();
            let mut headers = headers(&fields);
            clear_own_only(&mut headers);
            let value = headers.get(CLEAR_SITE_DATA).map(|value| value.to_str().unwrap());
            assert_eq!(value, kept, "{said:?}");
        }
    }
}
