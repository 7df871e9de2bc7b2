//! Protocol switches: judging the sandbox's 101, and refusing a WebSocket in a way that a browser's script can read.

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderValue};
use tungstenite::handshake::derive_accept_key;

use crate::edge::headers::Headers;
use crate::edge::message::{RequestParts, ResponseParts};

/// The longest reason that fits a close frame beside its code (RFC 6455 section 5.5: 125 bytes in all).
const MAX_REASON: usize = 123;

/// What a sandbox's 101 must look like, remembered before the request is rewritten.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    protocol: HeaderValue,
    accept: Option<String>,
    /// An offered subprotocol that only we understand, when no other was offered: a browser fails a connection that agrees to
    /// none of what it offered, so we agree to this one.
    echo: Option<HeaderValue>,
}

impl Expectation {
    /// What the request asks for. `ours` are the subprotocols that will not reach the app.
    pub(super) fn of(parts: &RequestParts, ours: &[String]) -> Option<Self> {
        let protocol = parts.headers.get(header::UPGRADE)?.clone();
        let is_websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_websocket);
        let accept = key.map(|key| derive_accept_key(key.as_bytes()));
        let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        let others =
            crate::edge::gate::strip_subprotocols(offered.map(HeaderValue::as_bytes), ours);
        let echo = ours
            .first()
            .filter(|_| others.is_none())
            .and_then(|own| HeaderValue::try_from(own).ok());
        Some(Self { protocol, accept, echo })
    }

    /// Adds what the app could not say.
    pub(super) fn complete(self, headers: &mut Headers) {
        if let Some(echo) = self.echo
            && !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL)
        {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, echo);
        }
    }

    /// Whether the tunnel that opens will carry WebSocket frames.
    pub(super) fn is_websocket(&self) -> bool {
        self.accept.is_some()
    }

    /// Whether the sandbox agrees to exactly what was asked for (RFC 9110 section 7.8, RFC 6455 section 4.1).
    pub(super) fn is_met_by(&self, headers: &Headers) -> bool {
        let mut protocols = headers.get_all(header::UPGRADE);
        let same = protocols
            .next()
            .is_some_and(|theirs| theirs.as_bytes().eq_ignore_ascii_case(self.protocol.as_bytes()))
            && protocols.next().is_none();
        let connection = headers.get_all(header::CONNECTION).any(|value| {
            value
                .as_bytes()
                .split(|b| *b == b',')
                .any(|o| o.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        });
        let accepted = self.accept.as_ref().is_none_or(|accept| {
            headers
                .get(header::SEC_WEBSOCKET_ACCEPT)
                .is_some_and(|v| v.as_bytes() == accept.as_bytes())
        });
        same && connection && accepted
    }
}

/// `Sec-WebSocket-Accept` for a key.
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// Completes a handshake that is going to be refused: a script can read the close code that follows, and cannot read a
/// failed handshake. An offered subprotocol is agreed to, because browsers fail the connection otherwise.
pub fn refusal_response(request: &RequestParts) -> Option<ResponseParts> {
    let key = request.headers.get(header::SEC_WEBSOCKET_KEY)?;
    let mut parts = ResponseParts::new(StatusCode::SWITCHING_PROTOCOLS);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
    parts.headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let offered = request.headers.get(header::SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
    let first = offered.and_then(|list| list.split(|b| *b == b',').next()).map(<[u8]>::trim_ascii);
    if let Some(protocol) = first.and_then(|name| HeaderValue::from_bytes(name).ok()) {
        parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Some(parts)
}

/// An unmasked close frame with a code and a reason (RFC 6455 section 5.5.1).
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut cut = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let reason = reason.get(..cut).unwrap_or_default();
    let mut frame = BytesMut::with_capacity(4 + reason.len());
    frame.put_u8(0x88);
    frame.put_u8(u8::try_from(2 + reason.len()).unwrap_or(2));
    frame.put_u16(code);
    frame.put_slice(reason.as_bytes());
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_carries_code_and_reason_and_stays_within_its_limit() {
        assert_eq!(&close_frame(4401, "ended")[..], b"\x88\x07\x11\x31ended");
        let long = close_frame(4401, &"ä".repeat(100));
        assert!(long.len() <= 2 + 125);
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }

    #[test]
    fn a_switch_must_be_exactly_the_one_asked_for() {
        let expectation = Expectation {
            protocol: HeaderValue::from_static("websocket"),
            accept: Some(derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ==")),
            echo: None,
        };
        let check = |fields: &[(&'static str, &'static str)], met: bool| {
            let headers: Headers = fields
                .iter()
                .map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v)))
                .collect();
            assert_eq!(expectation.is_met_by(&headers), met, "{fields:?}");
        };
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        check(&[("connection", "Upgrade"), ("upgrade", "websocket"), accept], true);
        check(&[("connection", "keep-alive, upgrade"), ("upgrade", "WebSocket"), accept], true);
        check(&[("connection", "Upgrade"), ("upgrade", "websocket")], false);
        check(&[("upgrade", "websocket"), accept], false);
        check(&[("connection", "Upgrade"), accept], false);
        check(&[("connection", "Upgrade"), ("upgrade", "other"), accept], false);
        let wrong = ("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        check(&[("connection", "Upgrade"), ("upgrade", "websocket"), wrong], false);
    }
}
