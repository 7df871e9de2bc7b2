//! Who a visitor is: the one place that decides it, from the socket, from the PROXY header of a load balancer, and from the fields of
//! trusted proxies. Everything else (limits, audit, renewals, the access log, what the app is told) reads the [`Peer`] that comes out, and
//! can read nothing else: only this file makes one, and the address of a socket goes in and never comes out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::edge::headers::Headers;
use crate::model::network::contain;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whose word about visitors is taken.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Load balancers that must begin every connection with a PROXY header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are taken as true.
    pub forwarded_from: Vec<IpNet>,
    /// Whatever comes in unencrypted has been https as far as a proxy of ours.
    pub behind_https: bool,
}

/// A visitor, in the forms that every request needs.
#[derive(Debug)]
pub struct Peer {
    ip: IpAddr,
    text: HeaderValue,
}

impl Peer {
    fn at(ip: IpAddr) -> Rc<Self> {
        let ip = ip.to_canonical();
        let text = HeaderValue::try_from(ip.to_string());
        let text = text.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Rc::new(Self { ip, text })
    }

    /// The address; IPv4 addresses never look like IPv6 ones.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The same as text.
    pub fn text(&self) -> &HeaderValue {
        &self.text
    }
}

/// The other end of a connection, and what it has said of whom it speaks for.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    socket: IpAddr,
    introduced: Introduced,
}

/// What a PROXY header said.
#[derive(Clone, Copy, Debug)]
enum Introduced {
    /// There was none.
    Not,
    /// Nobody: the load balancer speaks for itself (a health check).
    Itself,
    /// Who connected to the load balancer.
    Other(IpAddr),
}

impl Caller {
    /// Whoever has connected.
    pub fn of(socket: SocketAddr) -> Self {
        Self { socket: socket.ip().to_canonical(), introduced: Introduced::Not }
    }

    /// Whether the connection begins with a PROXY header.
    pub fn owes_header(&self, trust: &Trust) -> bool {
        matches!(self.introduced, Introduced::Not)
            && contain(&trust.proxy_protocol_from, self.socket)
    }

    /// ... which said this.
    #[must_use]
    pub fn introduced(self, source: Option<SocketAddr>) -> Self {
        let introduced = source
            .map_or(Introduced::Itself, |source| Introduced::Other(source.ip().to_canonical()));
        Self { introduced, ..self }
    }

    /// Whom the connection counts for: nobody, while one connects here for many.
    pub fn counts_for(&self, trust: &Trust) -> Option<IpAddr> {
        let ip = if self.owes_header(trust) { None } else { self.speaks() };
        ip.filter(|ip| !contain(&trust.forwarded_from, *ip))
    }

    /// The visitor, as far as the connection says.
    pub fn peer(&self) -> Rc<Peer> {
        Peer::at(self.speaks().unwrap_or(self.socket))
    }

    /// Who the connection's requests are from.
    pub fn identity(&self, trust: &Trust) -> Identity {
        // Not the address of the socket, once a header has said who is behind it: what that one writes is not the load balancer's word.
        let trusted = self.speaks().is_some_and(|ip| contain(&trust.forwarded_from, ip));
        let proxies = if trusted { trust.forwarded_from.as_slice().into() } else { Rc::default() };
        Identity { peer: self.peer(), secure: trust.behind_https, proxies }
    }

    /// Who writes what comes over the connection. A load balancer that speaks for itself has no visitors to tell of.
    fn speaks(&self) -> Option<IpAddr> {
        match self.introduced {
            Introduced::Not => Some(self.socket),
            Introduced::Itself => None,
            Introduced::Other(ip) => Some(ip),
        }
    }
}

/// For the log of an operator who looks for what connects.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.introduced {
            Introduced::Other(ip) => write!(f, "{ip} behind {}", self.socket),
            Introduced::Not | Introduced::Itself => self.socket.fmt(f),
        }
    }
}

/// Who the requests of one connection are from, and how they came.
#[derive(Clone, Debug)]
pub struct Identity {
    peer: Rc<Peer>,
    secure: bool,
    /// Proxies whose word is taken; empty unless the other end is one of them.
    proxies: Rc<[IpNet]>,
}

impl Identity {
    /// The connection is encrypted here.
    #[must_use]
    pub fn encrypted(self) -> Self {
        Self { secure: true, ..self }
    }

    /// The visitor and whether it came by https, where no request has said anything.
    pub fn unread(&self) -> (&Rc<Peer>, bool) {
        (&self.peer, self.secure)
    }

    /// The same for one request.
    pub fn of_request(&self, headers: &Headers) -> (Rc<Peer>, bool) {
        if self.proxies.is_empty() {
            return (Rc::clone(&self.peer), self.secure);
        }
        let visitor = visitor(headers, &self.proxies);
        let peer = visitor.map_or_else(|| Rc::clone(&self.peer), Peer::at);
        (peer, scheme_is_https(headers).unwrap_or(self.secure))
    }
}

/// The right-most address that is no proxy's: what stands left of it, anybody may have written (RFC 7239 section 8.1).
fn visitor(headers: &Headers, proxies: &[IpNet]) -> Option<IpAddr> {
    let values: Vec<&HeaderValue> = headers.get_all(X_FORWARDED_FOR).collect();
    let mut nearest = None;
    for value in values.into_iter().rev() {
        for item in value.as_bytes().split(|b| *b == b',').rev() {
            let Some(ip) = address(item) else { return nearest };
            nearest = Some(ip);
            if !contain(proxies, ip) {
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
        .or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()))
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

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn headers(name: HeaderName, values: &[&str]) -> Headers {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_visitor_is_the_right_most_address_that_is_no_proxy() {
        let proxies = nets(&["10.0.0.0/8", "fd00::/8"]);
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
            let found = visitor(&headers(X_FORWARDED_FOR, values), &proxies);
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{values:?}");
        }
    }

    #[test]
    fn the_nearest_proxy_says_whether_it_was_https() {
        let of = |values: &[&str]| scheme_is_https(&headers(X_FORWARDED_PROTO, values));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["https"]), Some(true));
        assert_eq!(of(&["https, http"]), Some(false));
        assert_eq!(of(&["http", "HTTPS"]), Some(true));
    }

    /// Whom a request is from that says it is from `claimed`, on a connection of `socket` that a header said is from `source`.
    fn who(trust: &Trust, socket: &str, source: Option<Option<&str>>, claimed: &str) -> String {
        let mut caller = Caller::of(format!("{socket}:9").parse().unwrap());
        if let Some(source) = source {
            assert!(caller.owes_header(trust));
            caller = caller.introduced(source.map(|ip| format!("{ip}:9").parse().unwrap()));
        }
        let (peer, _) = caller.identity(trust).of_request(&headers(X_FORWARDED_FOR, &[claimed]));
        peer.text().to_str().unwrap().to_owned()
    }

    #[test]
    fn whoever_the_header_names_is_believed_only_if_it_is_trusted_itself() {
        let trust = Trust {
            proxy_protocol_from: nets(&["10.0.0.0/8"]),
            forwarded_from: nets(&["10.0.0.0/8", "192.0.2.0/24"]),
            behind_https: false,
        };
        let of = |source| who(&trust, "10.0.0.1", source, "6.6.6.6");
        assert_eq!(of(Some(Some("203.0.113.9"))), "203.0.113.9", "a visitor speaks for itself");
        assert_eq!(of(Some(Some("192.0.2.7"))), "6.6.6.6", "a proxy behind a load balancer");
        assert_eq!(of(Some(None)), "10.0.0.1", "a load balancer that speaks for itself");
        assert_eq!(who(&trust, "192.0.2.7", None, "6.6.6.6"), "6.6.6.6");
        assert_eq!(who(&trust, "203.0.113.9", None, "6.6.6.6"), "203.0.113.9");
    }

    #[test]
    fn a_connection_for_many_counts_for_nobody() {
        let trust = Trust {
            proxy_protocol_from: nets(&["10.0.0.0/8"]),
            forwarded_from: nets(&["192.0.2.0/24"]),
            behind_https: false,
        };
        let counts = |socket: &str, source: Option<&str>| {
            let mut caller = Caller::of(format!("{socket}:9").parse().unwrap());
            if let Some(source) = source {
                caller = caller.introduced(Some(format!("{source}:9").parse().unwrap()));
            }
            caller.counts_for(&trust).map(|ip| ip.to_string())
        };
        assert_eq!(counts("10.0.0.1", None), None);
        assert_eq!(counts("10.0.0.1", Some("203.0.113.9")).as_deref(), Some("203.0.113.9"));
        assert_eq!(counts("10.0.0.1", Some("192.0.2.7")), None);
        assert_eq!(counts("192.0.2.7", None), None);
        assert_eq!(counts("203.0.113.9", None).as_deref(), Some("203.0.113.9"));
    }
}
