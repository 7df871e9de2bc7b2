//! What all requests of one connection have in common, and what a trusted front says of them instead.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::edge::body::Payload;
use crate::edge::headers::Headers;
use crate::edge::message::{Framing, Interim, Peer, RequestParts};
use crate::edge::visitor::Arriving;
use crate::model::certificate::Shown;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The other end, as far as we know it.
    pub(super) peer: Rc<Peer>,
    /// Whether it is encrypted, here or by the front that made it.
    pub(super) secure: bool,
    /// What a TLS handshake showed the visitor.
    pub(super) shown: Option<Rc<Shown>>,
    /// Where a visitor of a connection that only leads on to https is sent: the port there.
    pub(super) leads_to: Option<u16>,
    /// Trusted proxies; empty unless the other end is one of them.
    pub(super) fronts: Rc<[IpNet]>,
}

impl Line {
    /// A request of this connection.
    pub(super) fn arriving(
        &self,
        parts: RequestParts,
        (framing, body): (Framing, Payload),
        interim: Interim,
    ) -> Arriving {
        let (mut peer, mut secure) = (Rc::clone(&self.peer), self.secure);
        if !self.fronts.is_empty() {
            if let Some(ip) = visitor(&parts.headers, &self.fronts) {
                peer = Rc::new(Peer::at(ip));
            }
            secure = scheme_is_https(&parts.headers).unwrap_or(secure);
        }
        Arriving { parts, framing, body, peer, secure, shown: self.shown.clone(), interim }
    }
}

/// The right-most address that is not a front's: what stands left of it, anybody may have written (RFC 7239 section 8.1).
fn visitor(headers: &Headers, fronts: &[IpNet]) -> Option<IpAddr> {
    let values: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).collect();
    let mut nearest = None;
    for value in values.into_iter().rev() {
        for item in value.as_bytes().split(|b| *b == b',').rev() {
            let Some(ip) = address(item) else { return nearest };
            nearest = Some(ip);
            if !fronts.iter().any(|front| front.contains(&ip)) {
                return nearest;
            }
        }
    }
    nearest
}

/// An address, with or without a port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(ip, _)| ip);
    let ip: IpAddr = bare
        .unwrap_or(text)
        .parse()
        .or_else(|_| text.parse().map(|socket: std::net::SocketAddr| socket.ip()))
        .ok()?;
    Some(ip.to_canonical())
}

fn scheme_is_https(headers: &Headers) -> Option<bool> {
    let last = headers.get_all(X_FORWARDED_PROTO).last()?;
    let scheme = last.as_bytes().rsplit(|b| *b == b',').next()?.trim_ascii();
    Some(scheme.eq_ignore_ascii_case(b"https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, values: &[&str]) -> Headers {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_visitor_is_the_right_most_address_that_is_no_front() {
        let fronts: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (values, expected) in [
            (&["198.51.100.7"][..], Some("198.51.100.7")),
            (&["1.2.3.4, 198.51.100.7"], Some("198.51.100.7")),
            (&["1.2.3.4, 198.51.100.7, 10.1.1.1"], Some("198.51.100.7")),
            (&["1.2.3.4", "198.51.100.7", "10.1.1.1,fd00::1"], Some("198.51.100.7")),
            (&["[2001:db8::7]:4711"], Some("2001:db8::7")),
            (&["198.51.100.7:4711"], Some("198.51.100.7")),
            (&["::ffff:198.51.100.7"], Some("198.51.100.7")),
            (&["10.9.9.9"], Some("10.9.9.9")),
            (&["198.51.100.7, unknown"], None),
            (&["198.51.100.7, unknown, 10.1.1.1"], Some("10.1.1.1")),
            (&[""], None),
            (&[], None),
        ] {
            let found = visitor(&headers(X_FORWARDED_FOR, values), &fronts);
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{values:?}");
        }
    }

    #[test]
    fn the_nearest_front_says_whether_it_was_https() {
        let of = |values: &[&str]| scheme_is_https(&headers(X_FORWARDED_PROTO, values));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["https"]), Some(true));
        assert_eq!(of(&["https, http"]), Some(false));
        assert_eq!(of(&["http", "HTTPS"]), Some(true));
    }
}
