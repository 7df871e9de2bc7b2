//! Which network addresses may be dialled on behalf of a tenant: one table of what is never a tenant's, for sandboxes and for webhooks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use ipnet::IpNet;

use super::{Upstream, UpstreamHost};

/// Whether one of these networks has an address, however that is written.
pub fn contain(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Something of the machine or of the network itself, such as a metadata service. Dialled for nobody, unless the operator allows it by
    /// its own name: a wider network that happens to contain it does not.
    Special,
    /// Not of the internet: where sandboxes may be, and webhooks may not.
    Private,
}

/// The special-purpose networks (IANA's registries for IPv4 and IPv6), and the metadata services that are not link-local.
const NETWORKS: [(&str, Use); 42] = [
    ("0.0.0.0/8", Use::Special),
    ("10.0.0.0/8", Use::Private),
    ("100.64.0.0/10", Use::Private),
    // The metadata services of Alibaba, Azure and Oracle, and those at the usual place.
    ("100.100.100.200/32", Use::Special),
    ("168.63.129.16/32", Use::Special),
    ("192.0.0.192/32", Use::Special),
    ("169.254.169.254/32", Use::Special),
    ("169.254.170.2/32", Use::Special),
    ("169.254.170.23/32", Use::Special),
    ("127.0.0.0/8", Use::Special),
    ("169.254.0.0/16", Use::Special),
    ("172.16.0.0/12", Use::Private),
    ("192.0.0.0/24", Use::Private),
    ("192.0.2.0/24", Use::Private),
    ("192.31.196.0/24", Use::Private),
    ("192.52.193.0/24", Use::Private),
    ("192.88.99.0/24", Use::Private),
    ("192.168.0.0/16", Use::Private),
    ("192.175.48.0/24", Use::Private),
    ("198.18.0.0/15", Use::Private),
    ("198.51.100.0/24", Use::Private),
    ("203.0.113.0/24", Use::Private),
    ("224.0.0.0/4", Use::Special),
    ("240.0.0.0/4", Use::Special),
    // IPv4-compatible addresses, with the unspecified one and loopback.
    ("::/96", Use::Special),
    ("::ffff:0:0:0/96", Use::Special),
    // NAT64 of a network's own, whose place for the IPv4 address nobody here knows; Teredo and 6to4 carry one, too.
    ("64:ff9b:1::/48", Use::Special),
    ("100::/64", Use::Special),
    ("2001::/32", Use::Special),
    ("2001:10::/28", Use::Special),
    ("2001:20::/28", Use::Special),
    ("2001::/23", Use::Private),
    ("2001:db8::/32", Use::Private),
    ("2002::/16", Use::Special),
    ("3fff::/20", Use::Private),
    ("5f00::/16", Use::Special),
    ("fc00::/7", Use::Private),
    // The metadata services of AWS and Google.
    ("fd00:ec2::/32", Use::Special),
    ("fd20:ce::254/128", Use::Special),
    ("fe80::/10", Use::Special),
    ("fec0::/10", Use::Special),
    ("ff00::/8", Use::Special),
];

static TABLE: LazyLock<Vec<(IpNet, Use)>> = LazyLock::new(|| {
    let read = |(text, used): &(&str, Use)| Some((text.parse().ok()?, *used));
    NETWORKS.iter().filter_map(read).collect()
});

/// The networks of the table that an address is in.
fn uses(address: IpAddr) -> impl Iterator<Item = &'static (IpNet, Use)> {
    TABLE.iter().filter(move |(network, _)| network.contains(&address))
}

/// Whether an address may be dialled as far as the table says: it is not special, or the operator has allowed just that.
fn is_open(address: IpAddr, allow: &[IpNet]) -> bool {
    let is_named =
        |special: &IpNet| allow.iter().any(|net| special.contains(net) && net.contains(&address));
    uses(address).all(|(network, used)| *used != Use::Special || is_named(network))
}

/// Whether an address is of the part of its family that the internet uses.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => {
            let [first, ..] = v6.segments();
            first & 0xe000 == 0x2000 || translated(address).is_some()
        }
    }
}

/// The IPv4 address that a NAT64 address leads to (RFC 6052).
fn translated(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, a, b] => {
                Some(Ipv4Addr::from((u32::from(a) << 16) | u32::from(b)).into())
            }
            _ => None,
        },
        IpAddr::V4(_) => None,
    }
}

/// An address, and the one that it stands for.
fn all(address: IpAddr) -> impl Iterator<Item = IpAddr> + Clone {
    let address = address.to_canonical();
    std::iter::once(address).chain(translated(address))
}

/// Where this process listens, which nobody is led to.
#[derive(Clone)]
pub struct Own {
    /// The sockets.
    pub sockets: Vec<SocketAddr>,
    /// Whether an address is one of this machine's: a socket without an address listens on all of them.
    pub is_local: fn(IpAddr) -> bool,
}

impl Default for Own {
    fn default() -> Self {
        Self { sockets: Vec::new(), is_local: |_| false }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("sockets", &self.sockets).finish_non_exhaustive()
    }
}

impl Own {
    /// Whether a socket address is one that we listen on ourselves.
    pub fn contains(&self, socket: SocketAddr) -> bool {
        let at = |own: &SocketAddr, ip: IpAddr| {
            own.ip().to_canonical() == ip
                || (own.ip().is_loopback() && ip.is_loopback())
                || (own.ip().is_unspecified()
                    && (ip.is_loopback() || ip.is_unspecified() || (self.is_local)(ip)))
        };
        let here = self.sockets.iter().filter(|own| own.port() == socket.port());
        here.into_iter().any(|own| all(socket.ip()).any(|ip| at(own, ip)))
    }

    /// Whether some socket without an address has a port.
    pub fn listens_everywhere(&self, port: u16) -> bool {
        self.sockets.iter().any(|own| own.port() == port && own.ip().is_unspecified())
    }
}

/// Rules for addresses of sandboxes. Denied beats allowed; what is special (loopback, link-local, metadata services, multicast and the
/// like) is refused unless a network in `allow` is it or lies in it.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    /// Networks that may be dialled. Empty: every address that is not special.
    pub allow: Vec<IpNet>,
    /// Networks that may never be dialled.
    pub deny: Vec<IpNet>,
    /// Ports that may never be dialled, whatever port of a preview leads there.
    pub forbidden_ports: Vec<u16>,
    /// Sockets of our own that may never be dialled, whatever `allow` says.
    pub own: Own,
}

impl AddressRules {
    /// Whether an address may be dialled on some port.
    pub fn permits(&self, address: IpAddr) -> bool {
        let denied = |ip: IpAddr| self.deny.iter().any(|net| net.contains(&ip));
        let address = address.to_canonical();
        !all(address).any(denied)
            && all(address).all(|ip| is_open(ip, &self.allow))
            && (self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&address)))
    }

    /// Whether a socket address may be dialled.
    pub fn permits_socket(&self, socket: SocketAddr) -> bool {
        self.permits_port(socket.port()) && self.permits(socket.ip()) && !self.is_own(socket)
    }

    /// Whether a port may be dialled at all.
    pub fn permits_port(&self, port: u16) -> bool {
        !self.forbidden_ports.contains(&port)
    }

    /// Whether an upstream may be dialled, as far as that can be said before a name is resolved and a port asked for.
    pub fn permits_upstream(&self, upstream: &Upstream) -> bool {
        let address = match &upstream.host {
            UpstreamHost::Ip(ip) => self.permits(*ip),
            UpstreamHost::Name(_) => true,
        };
        address && upstream.port_map.iter().all(|(_, to)| self.permits_port(*to))
    }

    /// Whether a socket address is one that we listen on ourselves.
    pub fn is_own(&self, socket: SocketAddr) -> bool {
        self.own.contains(socket)
    }
}

/// Rules for addresses that tenants name and that are none of ours: only what is public, unless a network in `allow` names it.
#[derive(Clone, Debug, Default)]
pub struct PublicRules {
    /// Networks that may be dialled although they are not public.
    pub allow: Vec<IpNet>,
    /// Networks that may not be dialled although they are: where sandboxes are.
    pub deny: Vec<IpNet>,
    /// Sockets of our own that may never be dialled, whatever `allow` says.
    pub own: Own,
}

impl PublicRules {
    /// Whether an address may be dialled on some port.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if !all(address).all(|ip| is_open(ip, &self.allow)) {
            return false;
        }
        if self.allow.iter().any(|net| net.contains(&address)) {
            return true;
        }
        let denied = |ip: IpAddr| self.deny.iter().any(|net| net.contains(&ip));
        all(address).all(|ip| is_global(ip) && uses(ip).next().is_none())
            && !all(address).any(denied)
    }

    /// Whether a socket address may be dialled.
    pub fn permits_socket(&self, socket: SocketAddr) -> bool {
        self.permits(socket.ip()) && !self.own.contains(socket)
    }
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

    fn own(sockets: &[&str]) -> Own {
        Own {
            sockets: sockets.iter().map(|socket| socket.parse().unwrap()).collect(),
            is_local: |ip| ip == "192.0.2.7".parse::<IpAddr>().unwrap(),
        }
    }

    #[test]
    fn every_line_of_the_table_is_a_network_and_no_two_are_the_same() {
        assert_eq!(TABLE.len(), NETWORKS.len());
        for (at, (network, _)) in TABLE.iter().enumerate() {
            assert_eq!(network.trunc(), *network, "{network}");
            assert!(TABLE.iter().skip(at + 1).all(|(other, _)| other != network), "{network}");
        }
    }

    #[test]
    fn a_wide_network_opens_nothing_special_that_lies_in_it() {
        let allow = |nets: &[&str]| AddressRules {
            allow: nets.iter().map(|net| net.parse().unwrap()).collect(),
            ..AddressRules::default()
        };
        let wide = allow(&["0.0.0.0/0", "::/0", "fd00::/8", "100.64.0.0/10", "169.254.0.0/16"]);
        for special in [
            "127.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "169.254.169.254",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::1",
            "64:ff9b::7f00:1",
            "64:ff9b::6464:64c8",
        ] {
            check(&wide, special, false);
        }
        for plain in ["10.1.2.3", "100.64.1.1", "169.254.7.7", "fd00::7", "64:ff9b::a01:203"] {
            check(&wide, plain, true);
        }
        let named = allow(&["127.0.0.0/8", "100.100.100.200/32", "fd00:ec2::254/128"]);
        for named_one in ["127.0.0.1", "100.100.100.200", "fd00:ec2::254"] {
            check(&named, named_one, true);
        }
    }

    #[test]
    fn what_is_denied_is_denied_behind_a_translation() {
        let deny = vec!["10.9.0.0/16".parse().unwrap()];
        let rules = AddressRules { deny: deny.clone(), ..AddressRules::default() };
        check(&rules, "64:ff9b::a09:1", false);
        check(&rules, "64:ff9b::a08:1", true);
        let public =
            PublicRules { deny: vec!["8.8.8.0/24".parse().unwrap()], ..PublicRules::default() };
        assert!(!public.permits("64:ff9b::808:808".parse().unwrap()));
    }

    #[test]
    fn a_listener_without_an_address_is_at_all_of_this_machines() {
        let rules =
            AddressRules { own: own(&["0.0.0.0:8081", "[::]:8082"]), ..AddressRules::default() };
        let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
        for own in [
            "192.0.2.7:8081",
            "192.0.2.7:8082",
            "[::ffff:192.0.2.7]:8081",
            "[64:ff9b::c000:207]:8081",
        ] {
            assert!(!rules.permits_socket(socket(own)), "{own}");
        }
        for other in ["192.0.2.7:8083", "192.0.2.8:8081"] {
            assert!(rules.permits_socket(socket(other)), "{other}");
        }
    }

    #[test]
    fn a_port_that_is_forbidden_is_not_dialled_however_one_comes_to_it() {
        let rules = AddressRules { forbidden_ports: vec![22], ..AddressRules::default() };
        assert!(!rules.permits_socket("10.0.0.1:22".parse().unwrap()));
        assert!(rules.permits_socket("10.0.0.1:2222".parse().unwrap()));
        let upstream =
            |port_map| Upstream { host: UpstreamHost::Name("vm.internal".into()), port_map };
        assert!(!rules.permits_upstream(&upstream(vec![(0, 22)])));
        assert!(!rules.permits_upstream(&upstream(vec![(3000, 9000), (3001, 22)])));
        assert!(rules.permits_upstream(&upstream(vec![(22, 9000)])));
    }

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
            "2001:0:1:2::3",
            "64:ff9b:1::7f00:1",
            "::127.0.0.1",
            "::8.8.8.8",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
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
            own: own(&["0.0.0.0:8081"]),
            ..AddressRules::default()
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
            own: own(&["127.0.0.1:8081"]),
            ..PublicRules::default()
        };
        assert!(open.permits_socket("127.0.0.1:9000".parse().unwrap()));
        assert!(!open.permits_socket("127.0.0.1:8081".parse().unwrap()));
        assert!(!open.permits_socket("[::1]:9000".parse().unwrap()));
    }
}
