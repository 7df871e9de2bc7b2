//! What a request looks like when it reaches the app: ours taken out, hop-by-hop fields taken out, one coherent story
//! about where it came from.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::base::request_id::RequestId;
use crate::edge::gate::{self, Strip};
use crate::edge::headers::{Headers, is_untrusted};
use crate::edge::identity::Peer;
use crate::edge::message::RequestParts;
use crate::model::Profile;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Facts about a request that its headers do not hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Provenance<'a> {
    /// The visitor's address.
    pub(super) peer: &'a Peer,
    /// Whether the visitor came by https.
    pub(super) secure: bool,
    /// The port of the sandbox.
    pub(super) port: u16,
    /// The request id, handed to the app as `X-Request-Id`.
    pub(super) request_id: &'a RequestId,
    /// What marks it as having been here.
    pub(super) hop: &'a HeaderValue,
}

/// The field of the mark: what comes back with it is refused, so that a loop ends at its first turn. Whoever else says it is not believed.
const X_PREVIEW_HOP: HeaderName = HeaderName::from_static("x-preview-hop");

/// Rewrites request headers for the app. `upgrade` keeps the one protocol the visitor asked to switch to.
pub(super) fn prepare(
    parts: &mut RequestParts,
    strip: &Strip,
    profile: Profile,
    upgrade: bool,
    from: Provenance<'_>,
) {
    let visitor_authority = parts.authority.clone();
    let seen = Seen::of(&parts.headers);
    let protocol = upgrade.then(|| parts.headers.get(header::UPGRADE).cloned()).flatten();
    let wants_trailers = seen.te && accepts_trailers(&parts.headers);
    remove_each(&mut parts.headers, |name| is_hop_by_hop(name) || is_untrusted(name));
    remove_ours(parts, strip, seen);
    if let Some(protocol) = protocol {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    } else if wants_trailers {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    apply_profile(parts, profile, &visitor_authority, from);
    parts.headers.append(crate::base::request_id::X_REQUEST_ID, from.request_id.header());
    parts.headers.append(X_PREVIEW_HOP, from.hop.clone());
}

fn accepts_trailers(headers: &Headers) -> bool {
    headers.get_all(header::TE).any(|value| {
        let items = value.as_bytes().split(|b| *b == b',');
        items.into_iter().any(|item| item.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Which of the fields that take more to remove than the others.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
struct Seen {
    cookie: bool,
    referer: bool,
    te: bool,
    /// A field is a credential of ours as a whole, where none of them belongs.
    stray: bool,
}

impl Seen {
    fn of(headers: &Headers) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers.iter() {
            seen.stray |= gate::is_credential(value.as_bytes());
            match name.as_str() {
                "cookie" => seen.cookie = true,
                "referer" => seen.referer = true,
                "te" => seen.te = true,
                _ => {}
            }
        }
        seen
    }
}

/// Removes the fields that `goes` says, and those that `Connection` names. What routes, frames or authenticates cannot be named away by a
/// visitor: it is either not in the list (`Host`, the framing fields) or set anew after this.
pub(super) fn remove_each(headers: &mut Headers, goes: impl Fn(&str) -> bool) {
    let named: SmallVec<[HeaderName; 4]> = headers
        .get_all(header::CONNECTION)
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    headers.retain(|name, _| !goes(name.as_str()) && !named.contains(name));
}

/// Fields that end at this hop whether or not `Connection` names them (RFC 9110 section 7.6.1 and its predecessors).
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
    )
}

/// Fields an intermediary must not lose because somebody lists them in `Connection`.
fn is_end_to_end(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::COOKIE
            | header::SET_COOKIE
            | header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONTENT_TYPE
            | header::CONTENT_ENCODING
            | header::ORIGIN
            | header::LOCATION
    ) || name.as_str().starts_with("sec-")
}

fn remove_ours(parts: &mut RequestParts, strip: &Strip, seen: Seen) {
    if let Some(target) = &strip.target {
        parts.target = target.clone();
    }
    let headers = &mut parts.headers;
    if strip.authorization {
        headers.remove(header::AUTHORIZATION);
    }
    if seen.stray {
        headers.retain(|_, value| !gate::is_credential(value.as_bytes()));
    }
    if strip.cookies {
        headers.remove(header::COOKIE);
    } else if seen.cookie {
        let rest = gate::strip_cookie(headers.get_all(header::COOKIE).map(HeaderValue::as_bytes));
        replace(headers, header::COOKIE, rest);
    }
    if !strip.subprotocols.is_empty() {
        let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        let rest = gate::strip_subprotocols(values.map(HeaderValue::as_bytes), &strip.subprotocols);
        replace(headers, header::SEC_WEBSOCKET_PROTOCOL, rest);
    }
    if seen.referer {
        clean_referer(headers);
    }
}

/// Takes our credential out of the Referer. Of several, which no browser sends, the first is kept.
fn clean_referer(headers: &mut Headers) {
    let Some(first) = headers.get(header::REFERER) else { return };
    if let Some(clean) = gate::strip_referer(first.as_bytes()) {
        replace(headers, header::REFERER, Some(clean));
    } else if headers.get_all(header::REFERER).nth(1).is_some() {
        let first = first.clone();
        headers.insert(header::REFERER, first);
    }
}

/// Sets one field to a value made of bytes that were in the request before, or removes it.
fn replace(headers: &mut Headers, name: HeaderName, value: Option<Bytes>) {
    match value.and_then(|bytes| HeaderValue::from_maybe_shared(bytes).ok()) {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    }
}

fn apply_profile(
    parts: &mut RequestParts,
    profile: Profile,
    visitor: &Bytes,
    from: Provenance<'_>,
) {
    let local = || {
        const HOST: &[u8] = b"localhost:";
        let mut port = itoa::Buffer::new();
        let port = port.format(from.port).as_bytes();
        let mut local = BytesMut::with_capacity(HOST.len() + port.len());
        local.extend_from_slice(HOST);
        local.extend_from_slice(port);
        local.freeze()
    };
    if profile != Profile::Public {
        parts.authority = local();
    }
    if profile == Profile::Local {
        rewrite_own_origin(parts, visitor, from);
        return;
    }
    // Whatever the visitor said under these names is gone.
    parts.headers.append(X_FORWARDED_FOR, from.peer.text().clone());
    if let Ok(host) = HeaderValue::from_maybe_shared(visitor.clone()) {
        parts.headers.append(X_FORWARDED_HOST, host);
    }
    let scheme = HeaderValue::from_static(if from.secure { "https" } else { "http" });
    parts.headers.append(X_FORWARDED_PROTO, scheme);
}

/// Under the `local` profile an Origin or Referer that names the preview itself names the local app instead. Foreign ones are
/// left alone, so that the app can still tell them apart.
fn rewrite_own_origin(parts: &mut RequestParts, visitor: &Bytes, from: Provenance<'_>) {
    for name in [header::ORIGIN, header::REFERER] {
        let Some(value) = parts.headers.get(&name) else { continue };
        let bytes = value.as_bytes();
        let rest = strip_prefix_ignore_case(bytes, b"http://")
            .or_else(|| strip_prefix_ignore_case(bytes, b"https://"))
            .and_then(|rest| strip_prefix_ignore_case(rest, visitor));
        let Some(rest) =
            rest.filter(|rest| matches!(rest.first(), None | Some(b'/' | b'?' | b'#')))
        else {
            continue;
        };
        let mut local = format!("http://localhost:{}", from.port).into_bytes();
        local.extend_from_slice(rest);
        replace(&mut parts.headers, name, Some(local.into()));
    }
}

fn strip_prefix_ignore_case<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = bytes.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
