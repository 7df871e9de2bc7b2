//! A request as the gate sees it.

use std::net::IpAddr;

use base64::Engine as _;
use http::header::{self, HeaderName};
use http::{Method, header::HeaderValue};

use super::credentials;
use super::seen::Seen;
use super::{Carrier, Credential, Credentials, RefusalReason};
use crate::edge::headers::Headers;
use crate::edge::message::{Minor, RequestParts};
use crate::model::host::Authority;

const PURPOSE: [HeaderName; 3] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
];

/// Programs that fetch a link to show a card of it. They must not use a link up, and have no business inside a preview.
const UNFURLERS: [&str; 11] = [
    "slackbot",
    "twitterbot",
    "facebookexternalhit",
    "whatsapp",
    "discordbot",
    "telegrambot",
    "linkedinbot",
    "skypeuripreview",
    "googlebot",
    "bingbot",
    "applebot",
];

/// Facts about how a request arrived that are not in its headers.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The visitor's address.
    pub peer: IpAddr,
    /// Whether it came by TLS (or a trusted front said so).
    pub secure: bool,
    /// Whether the request has a body.
    pub has_body: bool,
}

/// What a request is for, from `Sec-Fetch-*`, `Accept`, `Purpose`, `Upgrade`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A document is being opened, at the top or in a frame.
    Navigation,
    /// A browser fetches ahead of the visitor, or a program makes a link preview.
    Prefetch,
    /// A protocol switch that is a WebSocket handshake.
    WebSocket,
    /// Any other protocol switch.
    OtherUpgrade,
    /// Anything else.
    Fetch,
}

impl Intent {
    /// Whether the request asks to switch protocols.
    pub fn is_upgrade(self) -> bool {
        matches!(self, Self::WebSocket | Self::OtherUpgrade)
    }
}

/// What is ours on every preview host, below [`Own::FOLDER`], and never reaches an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// `session`: renews a session, or tells of it.
    Session,
    /// Any other name: nothing is there.
    Nothing,
    /// Where certificate authorities look for proof of who has a host (RFC 8555 section 8.3). Below the platform's zones it is the
    /// platform's: an app that could write it would have certificates for a host that is not its own for long.
    Challenge,
}

impl Own {
    /// The folder, without the slash that ends it.
    const FOLDER: &[u8] = b"/.well-known/portico";
    /// Where challenges are, without the slash that ends it.
    const CHALLENGES: &[u8] = b"/.well-known/acme-challenge";

    fn of(target: &[u8]) -> Option<Self> {
        if let Some(challenge) = target.strip_prefix(Self::CHALLENGES) {
            return matches!(challenge, [] | [b'/' | b'?', ..]).then_some(Self::Challenge);
        }
        let rest = target.strip_prefix(Self::FOLDER)?;
        let path = rest.get(..memchr::memchr(b'?', rest).unwrap_or(rest.len()))?;
        match path {
            b"/session" => Some(Self::Session),
            [] | [b'/', ..] => Some(Self::Nothing),
            _ => None,
        }
    }
}

/// A request, read.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The headers.
    pub parts: &'a RequestParts,
    /// How it arrived.
    pub arrival: Arrival,
    /// The host asked for, well formed, lower case.
    pub authority: Authority,
    /// What it is for.
    pub intent: Intent,
    /// What of our own it asks for.
    pub own: Option<Own>,
    /// The credentials found, explicit ones (query, header, subprotocol) before the cookie.
    pub credentials: Credentials,
    pub(super) seen: Seen<'a>,
}

impl<'a> Visit<'a> {
    /// Reads request headers. Refuses what is malformed in itself: host, methods, upgrades, doubled credentials.
    pub fn read(parts: &'a RequestParts, arrival: Arrival) -> Result<Self, RefusalReason> {
        let authority = Authority::parse(&parts.authority).map_err(|_| RefusalReason::BadHost)?;
        if matches!(parts.method, Method::TRACE | Method::CONNECT) {
            return Err(RefusalReason::MethodNotAllowed);
        }
        let seen = Seen::of(&parts.headers);
        let switch = if seen.upgrade { upgrade(parts, arrival)? } else { None };
        let intent = switch.unwrap_or_else(|| intent(parts, &seen));
        let bound = keeps_bound(&authority.host, arrival.secure);
        let credentials = credentials::find(&parts.target, &parts.headers, &seen, bound)?;
        let own = Own::of(&parts.target);
        Ok(Self { parts, arrival, authority, intent, own, credentials, seen })
    }

    /// The mark of a process that has passed the request on already.
    pub fn hop(&self) -> Option<&HeaderValue> {
        self.seen.hop
    }

    /// Whether a token may come in the body: nothing of an app's request is ever read here.
    pub fn takes_token(&self) -> bool {
        self.own == Some(Own::Session) && self.parts.method == Method::POST && self.arrival.has_body
    }

    /// Adds the token that a body holds, if it holds one, as the first credential.
    pub fn take_token(&mut self, body: &[u8]) {
        if let Some(token) = credentials::in_body(body) {
            self.credentials.insert(0, Credential { carrier: Carrier::Body, token });
        }
    }

    /// A field's value, if it is there and plain text.
    pub(super) fn field(&self, name: &HeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Whether browsers keep cookies that are bound to their host by the prefix of their name: by https, and on this machine.
pub fn keeps_bound(host: &str, secure: bool) -> bool {
    secure || host == "localhost" || host.ends_with(".localhost")
}

/// The protocol switch that is asked for, if any, judged by form (RFC 9110 section 7.8, RFC 6455 section 4.2.1).
fn upgrade(parts: &RequestParts, arrival: Arrival) -> Result<Option<Intent>, RefusalReason> {
    let headers = &parts.headers;
    if !connection_names_upgrade(headers) {
        // An `Upgrade` that `Connection` does not name ends at this hop.
        return Ok(None);
    }
    let mut protocols = headers.get_all(header::UPGRADE);
    let (Some(protocol), None) = (protocols.next(), protocols.next()) else {
        return Err(RefusalReason::BadUpgrade);
    };
    let protocol = protocol.as_bytes().to_ascii_lowercase();
    let other_http =
        [&b"h2"[..], b"http", b"tls"].iter().any(|prefix| protocol.starts_with(prefix));
    if other_http {
        // Never forwarded, and not needed: the request is served as it is (RFC 9113 section 3.1 took h2c away).
        return Ok(None);
    }
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(b);
    let form = parts.method == Method::GET && parts.minor == Minor::One && !arrival.has_body;
    if !form || protocol.is_empty() || !protocol.iter().all(token) {
        return Err(RefusalReason::BadUpgrade);
    }
    if protocol != b"websocket" {
        return Ok(Some(Intent::OtherUpgrade));
    }
    let single = |name| {
        let mut values = headers.get_all(name);
        values.next().filter(|_| values.next().is_none())
    };
    let version = single(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    let key = single(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let key = key.and_then(|key| base64::engine::general_purpose::STANDARD.decode(key).ok());
    if version != Some(b"13") || key.is_none_or(|key| key.len() != 16) {
        return Err(RefusalReason::BadUpgrade);
    }
    Ok(Some(Intent::WebSocket))
}

fn connection_names_upgrade(headers: &Headers) -> bool {
    headers.get_all(header::CONNECTION).any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    })
}

fn intent(parts: &RequestParts, seen: &Seen<'_>) -> Intent {
    let headers = &parts.headers;
    let text = |name: &HeaderName| plain(headers.get(name));
    let says_prefetch = |name| text(name).is_some_and(|value| value.contains("prefetch"));
    if seen.purpose && PURPOSE.iter().any(says_prefetch) {
        return Intent::Prefetch;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Intent::Fetch;
    }
    let navigates = match plain(seen.fetch_mode) {
        Some(mode) => mode.eq_ignore_ascii_case("navigate"),
        // Browsers send Sec-Fetch fields; programs that make link cards do not.
        None if text(&header::USER_AGENT).is_some_and(is_unfurler) => return Intent::Prefetch,
        None => plain(seen.accept).is_some_and(|accept| accept.contains("text/html")),
    };
    if navigates { Intent::Navigation } else { Intent::Fetch }
}

fn plain(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

fn is_unfurler(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    UNFURLERS.iter().any(|name| agent.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_told_from_what_is_the_apps() {
        for (target, own) in [
            ("/.well-known/portico/session", Some(Own::Session)),
            ("/.well-known/portico/session?mt=x", Some(Own::Session)),
            ("/.well-known/portico/session/", Some(Own::Nothing)),
            ("/.well-known/portico/other", Some(Own::Nothing)),
            ("/.well-known/portico/", Some(Own::Nothing)),
            ("/.well-known/portico?x", Some(Own::Nothing)),
            ("/.well-known/portico-of-the-app", None),
            ("/.well-known/acme-challenge/x", Some(Own::Challenge)),
            ("/.well-known/acme-challenge", Some(Own::Challenge)),
            ("/.well-known/acme-challenges", None),
            ("/.well-known/other", None),
            ("/.Well-Known/portico/session", None),
            ("/", None),
        ] {
            assert_eq!(Own::of(target.as_bytes()), own, "{target}");
        }
    }
}
