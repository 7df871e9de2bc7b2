//! What an operator may adjust about visitors' connections.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;

use crate::edge::wire;

/// Limits and deadlines of visitors' connections. A zero duration or count means "no limit".
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sizes of request headers.
    pub header_limits: wire::Limits,
    /// Complete request headers must arrive within this, counted from its first byte; a new connection must begin one within it.
    pub header_timeout: Duration,
    /// A kept-alive connection is closed after this long without a request.
    pub keep_alive: Duration,
    /// A request body must not stand still for longer than this.
    pub body_idle: Duration,
    /// Bytes a second a request body must average while we wait for it, judged once the wait adds up to `body_idle`.
    pub body_min_rate: u32,
    /// A visitor must take some of what we have for it within this.
    pub write_idle: Duration,
    /// Connections of all visitors together.
    pub max_connections: usize,
    /// Connections of one address.
    pub max_connections_per_ip: usize,
    /// Requests that one HTTP/2 connection may have under way.
    pub h2_streams: u32,
    /// An HTTP/2 connection is asked to leave after this long, so that what was decided when it began does not hold for ever.
    pub connection_lifetime: Duration,
    /// Fronts that must begin every connection with a PROXY header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// How long that header may take.
    pub proxy_header: Duration,
    /// Fronts whose `X-Forwarded-For` and `X-Forwarded-Proto` are taken as true.
    pub forwarded_from: Vec<IpNet>,
    /// Whatever comes in unencrypted has been https as far as a front of ours.
    pub behind_https: bool,
}

impl Settings {
    /// Whether connections from an address begin with a PROXY header.
    pub(super) fn speaks_proxy(&self, ip: IpAddr) -> bool {
        contain(&self.proxy_protocol_from, ip)
    }

    /// Whether an address is a front's: it connects for many visitors.
    pub(super) fn is_front(&self, ip: IpAddr) -> bool {
        self.speaks_proxy(ip) || contain(&self.forwarded_from, ip)
    }

    /// The fronts to believe about requests from an address; none unless it is one of them.
    pub(super) fn fronts_for(&self, ip: IpAddr) -> Rc<[IpNet]> {
        if contain(&self.forwarded_from, ip) {
            self.forwarded_from.as_slice().into()
        } else {
            Rc::default()
        }
    }
}

fn contain(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_limits: wire::Limits::default(),
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_mins(1),
            body_idle: Duration::from_secs(30),
            body_min_rate: 100,
            write_idle: Duration::from_secs(30),
            max_connections: 8192,
            max_connections_per_ip: 1024,
            h2_streams: 100,
            connection_lifetime: Duration::from_hours(1),
            proxy_protocol_from: Vec::new(),
            proxy_header: Duration::from_secs(5),
            forwarded_from: Vec::new(),
            behind_https: false,
        }
    }
}
