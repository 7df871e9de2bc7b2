//! Which network addresses may be dialled on behalf of a tenant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Rules for addresses of sandboxes. Denied beats allowed; what is special (loopback, link-local with the metadata services,
/// multicast, unspecified, broadcast) is refused unless a network in `allow` names it.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    /// Networks that may be dialled. Empty: every address that is not special.
    pub allow: Vec<IpNet>,
    /// Networks that may never be dialled.
    pub deny: Vec<IpNet>,
    /// Sockets of our own that may never be dialled, whatever `allow` says.
    pub own: Vec<SocketAddr>,
}

impl AddressRules {
    /// Whether an address may be dialled on some port.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.deny.iter().any(|net| net.contains(&address)) {
            return false;
        }
        if self.allow.iter().any(|net| net.contains(&address)) {
            return true;
        }
        self.allow.is_empty() && !is_special(address)
    }

    /// Whether a socket address may be dialled.
    pub fn permits_socket(&self, socket: SocketAddr) -> bool {
        self.permits(socket.ip()) && !self.is_own(socket)
    }

    /// Whether a socket address is one that we listen on ourselves.
    pub fn is_own(&self, socket: SocketAddr) -> bool {
        is_among(&self.own, socket)
    }
}

fn is_among(own: &[SocketAddr], socket: SocketAddr) -> bool {
    let ip = socket.ip().to_canonical();
    own.iter().any(|own| {
        let same_host = own.ip().to_canonical() == ip
            || (own.ip().is_unspecified() && ip.is_loopback())
            || (own.ip().is_loopback() && ip.is_loopback());
        own.port() == socket.port() && same_host
    })
}

/// Rules for addresses that tenants name and that are none of ours: only what is public, unless a network in `allow` names it.
#[derive(Clone, Debug, Default)]
pub struct PublicRules {
    /// Networks that may be dialled although they are not public.
    pub allow: Vec<IpNet>,
    /// Networks that may not be dialled although they are: where sandboxes are.
    pub deny: Vec<IpNet>,
    /// Sockets of our own that may never be dialled, whatever `allow` says.
    pub own: Vec<SocketAddr>,
}

impl PublicRules {
    /// Whether an address may be dialled on some port.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.allow.iter().any(|net| net.contains(&address)) {
            return true;
        }
        is_public(address) && !self.deny.iter().any(|net| net.contains(&address))
    }

    /// Whether a socket address may be dialled.
    pub fn permits_socket(&self, socket: SocketAddr) -> bool {
        self.permits(socket.ip()) && !is_among(&self.own, socket)
    }
}

/// Whether an address is one of the public internet, and not a disguise of another one.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.segments() {
            // NAT64 leads to the IPv4 address in it.
            [0x64, 0xff9b, 0, 0, 0, 0, a, b] => {
                is_public_v4(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)))
            }
            // Special purposes with Teredo, 6to4, and documentation, all within what is otherwise public.
            [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
            [first, ..] => first & 0xe000 == 0x2000,
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let shared_or_reserved = match v4.octets() {
        // Carriers' own, protocol assignments, 6to4 relays, benchmarks.
        [100, 64..=127, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => true,
        _ => v4.is_documentation(),
    };
    !is_special_v4(v4) && !v4.is_private() && !shared_or_reserved
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_special_v4(v4),
        IpAddr::V6(v6) => is_special_v6(v6),
    }
}

fn is_special_v4(v4: Ipv4Addr) -> bool {
    v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || matches!(v4.octets(), [0 | 240..=255, ..])
}

fn is_special_v6(v6: Ipv6Addr) -> bool {
    let embedded = match v6.segments() {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address that must be judged as well.
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => {
            Some(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)))
        }
        _ => None,
    };
    v6.is_loopback()
        || v6.is_unspecified()
        || v6.is_multicast()
        || v6.is_unicast_link_local()
        || embedded.is_some_and(is_special_v4)
}

/// Whom an address counts for: with IPv6 whoever has one address has the other 2^64 of its network as well.
pub fn holder(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &AddressRules, address: &str, permitted: bool) {
        assert_eq!(rules.permits(address.parse().unwrap()), permitted, "{address}");
    }

    #[test]
    fn special_addresses_are_refused_by_default_in_every_disguise() {
        let rules = AddressRules::default();
        for special in [
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "250.1.1.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            check(&rules, special, false);
        }
        for plain in [
            "10.0.3.7",
            "192.168.1.2",
            "172.16.0.9",
            "203.0.113.5",
            "fd00::7",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            check(&rules, plain, true);
        }
    }

    #[test]
    fn allowing_networks_shuts_out_all_others_and_denying_beats_allowing() {
        let rules = AddressRules {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()],
            deny: vec!["10.9.0.0/16".parse().unwrap()],
            own: vec!["0.0.0.0:8081".parse().unwrap()],
        };
        check(&rules, "10.1.2.3", true);
        check(&rules, "10.9.2.3", false);
        check(&rules, "::ffff:10.9.2.3", false);
        check(&rules, "192.168.0.1", false);
        assert!(rules.permits_socket("127.0.0.1:3000".parse().unwrap()));
        assert!(!rules.permits_socket("127.0.0.1:8081".parse().unwrap()));
        assert!(!rules.permits_socket("[::ffff:127.0.0.1]:8081".parse().unwrap()));
    }

    #[test]
    fn only_public_addresses_are_dialled_for_tenants_in_every_disguise() {
        let rules = PublicRules {
            deny: vec!["93.184.216.0/24".parse().unwrap()],
            ..PublicRules::default()
        };
        for refused in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.5",
            "192.88.99.1",
            "240.0.0.1",
            "93.184.216.34",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:808:808::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "::ffff:0:127.0.0.1",
        ] {
            assert!(!rules.permits(refused.parse().unwrap()), "{refused}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2001:4860::8888",
            "64:ff9b::808:808",
        ] {
            assert!(rules.permits(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn what_is_allowed_is_dialled_but_never_our_own() {
        let open = PublicRules {
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            own: vec!["127.0.0.1:8081".parse().unwrap()],
            ..PublicRules::default()
        };
        assert!(open.permits_socket("127.0.0.1:9000".parse().unwrap()));
        assert!(!open.permits_socket("127.0.0.1:8081".parse().unwrap()));
        assert!(!open.permits_socket("[::1]:9000".parse().unwrap()));
    }
}
