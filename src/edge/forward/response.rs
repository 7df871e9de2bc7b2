//! What an app's response looks like when it reaches the visitor: hop-by-hop fields taken out, nothing in it that speaks for
//! another host or for the whole platform, every other byte as the app sent it.

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use super::location::{self, Here};
use super::{cookies, request};
use crate::edge::gate::Grant;
use crate::edge::headers::Headers;
use crate::edge::message::ResponseParts;

/// Says whose response it is, on everything from 400 up: the app's own errors pass through untouched.
pub(crate) const X_PREVIEW_SOURCE: HeaderName = HeaderName::from_static("x-preview-source");

/// Fields that would change how a browser treats hosts other than this one, or that belong to us.
fn is_not_theirs(name: &str) -> bool {
    let ours = name.starts_with("x-preview-") || name.starts_with("x-sandbox-");
    ours || matches!(
        name,
        "alt-svc"
            | "nel"
            | "public-key-pins"
            | "public-key-pins-report-only"
            | "report-to"
            | "strict-transport-security"
    )
}

/// Rewrites a final response's headers for the visitor. `switched` keeps the protocol of a 101.
pub(super) fn finish(parts: &mut ResponseParts, grant: &Grant, here: Here<'_>, switched: bool) {
    let headers = &mut parts.headers;
    let protocol = switched.then(|| headers.get(header::UPGRADE).cloned()).flatten();
    request::remove_each(headers, |name| request::is_hop_by_hop(name) || is_not_theirs(name));
    cookies::confine(headers);
    location::rewrite(headers, here);
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol);
        return;
    }
    if *grant != Grant::Public && says_nothing_of_caching(headers) {
        // What one visitor may see must not be kept for others by a cache on the way (RFC 9111 section 3.5).
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
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

/// What passes of the app's response to a preflight that came without a credential: that it approves, and of what (Fetch standard,
/// "CORS-preflight fetch"). Whoever asks may claim any origin, so nothing else of the app is shown.
pub(super) fn approval(parts: &ResponseParts) -> Option<ResponseParts> {
    let approves = parts.status.is_success()
        && parts.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    approves.then(|| {
        let mut approval = ResponseParts::new(StatusCode::NO_CONTENT);
        approval.headers = parts
            .headers
            .iter()
            .filter(|(name, _)| {
                **name == header::VARY || name.as_str().starts_with("access-control-")
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        approval
    })
}

fn says_nothing_of_caching(headers: &Headers) -> bool {
    !headers.contains_key(header::CACHE_CONTROL) && !headers.contains_key(header::EXPIRES)
}
