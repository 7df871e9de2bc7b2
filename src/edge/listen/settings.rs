//! What an operator may adjust about visitors' connections.

use std::time::Duration;

use crate::edge::identity::Trust;
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
    /// Whose word about visitors is taken.
    pub trust: Trust,
    /// How long a PROXY header may take.
    pub proxy_header: Duration,
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
            proxy_header: Duration::from_secs(5),
            trust: Trust::default(),
        }
    }
}
