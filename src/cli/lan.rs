//! By which address and name others on the same network reach this machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

use crate::model::host::Authority;

/// An address that is documentation's: asking the system for a route to it sends nothing, and nothing is there.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// Beginnings of names that interfaces have whose networks end on this machine.
const INNER: [&str; 8] = ["docker", "br-", "veth", "virbr", "cni", "flannel", "lxc", "vmnet"];

/// Where to listen for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On the address by which others most likely reach this machine.
    Auto,
    /// On this one.
    At(IpAddr),
}

/// What the name for others ends in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameSuffix {
    /// The address is the name.
    None,
    /// A domain whose names resolve to the address that they contain.
    Domain(String),
}

/// This machine has no address for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no network connects this machine to others; name an address of its own with --listen")]
pub struct Alone;

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let address: IpAddr = bare
            .parse()
            .map_err(|_| "must be an address of this machine, without a port, or `auto`")?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(
                "must be one address of this machine, as its name is in the link; `auto` finds one",
            );
        }
        Ok(Self::At(address))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl Listen {
    /// The address that is meant.
    pub fn address(self) -> Result<IpAddr, Alone> {
        match self {
            Self::At(address) => Ok(address),
            Self::Auto => {
                let found = if_addrs::get_if_addrs().unwrap_or_default();
                let found: Vec<_> =
                    found.into_iter().map(|one| (one.name.clone(), one.ip())).collect();
                choose(route(), &found).ok_or(Alone)
            }
        }
    }
}

/// The address of ours from which something would be sent to the rest of the world. Nothing is sent.
fn route() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The address of a network that others are in: private ones first, and of those the one that leads out.
fn choose(route: Option<IpAddr>, found: &[(String, IpAddr)]) -> Option<IpAddr> {
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    };
    let outer = |name: &str| !INNER.iter().any(|inner| name.starts_with(inner));
    let all = || found.iter().filter(|(_, ip)| usable(ip));
    let route = route.filter(usable);
    let private = |ip: &IpAddr| is_private(*ip);
    let first = |wanted: &dyn Fn(&str, &IpAddr) -> bool| {
        all().find(|(name, ip)| wanted(name, ip)).map(|(_, ip)| *ip)
    };
    route
        .filter(private)
        .or_else(|| first(&|name, ip| ip.is_ipv4() && private(ip) && outer(name)))
        .or(route)
        .or_else(|| first(&|name, ip| ip.is_ipv4() && outer(name)))
        .or_else(|| first(&|name, _| outer(name)))
        .or_else(|| first(&|_, _| true))
}

/// Whether only the same network leads to an address.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

impl FromStr for NameSuffix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "none" {
            return Ok(Self::None);
        }
        let domain = text.strip_prefix('.').unwrap_or(text);
        let read = Authority::parse(domain.as_bytes()).ok();
        let read = read.filter(|read| read.port.is_none() && !read.host.starts_with('['));
        read.map(|read| Self::Domain(read.host.to_string()))
            .ok_or("must be a domain such as sslip.io, or `none`")
    }
}

impl fmt::Display for NameSuffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Domain(domain) => domain,
        })
    }
}

impl NameSuffix {
    /// The domain that resolves to an address with all below it, if there is one.
    pub fn zone(&self, address: IpAddr) -> Option<String> {
        let Self::Domain(suffix) = self else { return None };
        let label = match address {
            IpAddr::V4(v4) => v4.to_string().replace('.', "-"),
            // Written out, as a label neither begins nor ends with a hyphen.
            IpAddr::V6(v6) => v6.segments().map(|part| format!("{part:x}")).join("-"),
        };
        Some(format!("{label}.{suffix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_address_is_the_one_that_others_reach() {
        let check = |route: Option<&str>, found: &[(&str, &str)], expected: Option<&str>| {
            let found: Vec<_> =
                found.iter().map(|(name, address)| ((*name).to_owned(), ip(address))).collect();
            assert_eq!(choose(route.map(ip), &found), expected.map(ip), "{route:?} {found:?}");
        };
        let lo = ("lo", "127.0.0.1");
        check(None, &[lo, ("lo", "::1")], None);
        check(None, &[lo, ("eth0", "169.254.1.2"), ("eth0", "fe80::1")], None);
        check(Some("192.168.1.7"), &[lo, ("docker0", "172.17.0.1")], Some("192.168.1.7"));
        check(None, &[lo, ("docker0", "172.17.0.1"), ("eth0", "10.0.0.7")], Some("10.0.0.7"));
        // On a server whose way out is public, a private network is preferred all the same.
        check(Some("203.0.113.5"), &[("eth1", "10.0.0.7")], Some("10.0.0.7"));
        check(Some("203.0.113.5"), &[("docker0", "172.17.0.1")], Some("203.0.113.5"));
        check(None, &[("docker0", "172.17.0.1")], Some("172.17.0.1"));
        check(None, &[lo, ("eth0", "fe80::1"), ("eth0", "fd00::7")], Some("fd00::7"));
        check(None, &[("eth0", "fd00::7"), ("eth0", "192.0.2.2")], Some("192.0.2.2"));
        check(Some("0.0.0.0"), &[], None);
    }

    #[test]
    fn a_name_contains_the_address_that_it_resolves_to() {
        let sslip: NameSuffix = ".SSLIP.io".parse().unwrap();
        assert_eq!(sslip.zone(ip("192.168.1.7")).as_deref(), Some("192-168-1-7.sslip.io"));
        assert_eq!(sslip.zone(ip("fd00::7")).as_deref(), Some("fd00-0-0-0-0-0-0-7.sslip.io"));
        assert_eq!("none".parse::<NameSuffix>().unwrap().zone(ip("192.168.1.7")), None);
        for bad in ["", "sslip.io:80", "a b", "[::1]", "..", "-a.example"] {
            assert!(bad.parse::<NameSuffix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn where_to_listen_is_one_address() {
        assert_eq!("auto".parse(), Ok(Listen::Auto));
        assert_eq!("192.168.1.7".parse(), Ok(Listen::At(ip("192.168.1.7"))));
        assert_eq!("[fd00::7]".parse(), Ok(Listen::At(ip("fd00::7"))));
        for bad in ["", "0.0.0.0", "::", "224.0.0.1", "192.168.1.7:80", "localhost"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
