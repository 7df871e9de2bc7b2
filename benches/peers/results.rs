//! What a run has found out: what the scenarios write down, and the report reads.

use std::collections::BTreeMap;

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The command line that repeats it.
    pub command: String,
    /// Date and time, to the minute, UTC.
    pub date: String,
    /// What it ran on and with: processor, kernel, versions of all peers; name and value.
    pub machine: Vec<(String, String)>,
    /// Interleaved rounds of each cell, after the warm-up.
    pub rounds: usize,
    /// Peers in the order of the columns: `relay`, `nginx`, `haproxy`, `haproxy-jwt`, `caddy`, `pingora`,
    /// `portico`; only those that ran.
    pub peers: Vec<&'static str>,
    /// In the order of the scenarios.
    pub rows: Vec<Row>,
}

/// One scenario, or one of the variants of a scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// The number of the scenario, 1 to 16. Variants share it.
    pub scenario: u8,
    /// As the tables call it.
    pub name: String,
    /// What the costs are for one of: `request`, `MiB`, `handshake`, `message`, `page`, `event`, `connection`.
    pub unit: &'static str,
    /// What was measured of each peer. One that cannot do the work is absent.
    pub of: BTreeMap<&'static str, Measured>,
    /// What Portico promises.
    pub targets: Vec<Target>,
    /// What a reader has to know, such as why a peer is absent.
    pub note: Option<String>,
}

/// What was measured of one peer in one scenario. What a scenario does not measure is empty.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// CPU microseconds of the proxy process for each unit, a round each; of the same rounds for all peers.
    pub cpu: Vec<f64>,
    /// Units a second with the proxy on one core and as many callers as keep it busy, a round each.
    pub throughput: Vec<f64>,
    /// Latency at a fixed rate.
    pub latency: Option<Latency>,
    /// Resident memory of the proxy process under this load, MiB; of idle connections: KiB for each.
    pub memory: Option<f64>,
}

/// Latency at a fixed rate, from the moment at which each request was due, not from when it could be sent. Microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Units a second: half of what the slowest peer can do.
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// What Portico is compared with where it is compared with itself.
pub const OWN: [&str; 2] = ["one route", "no changes"];

/// A promise: Portico's figure is at most so much of a peer's.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub figure: Figure,
    /// A peer's name, or one of [`OWN`]: then Portico's figure is compared with its own in another row, which is the row of the same
    /// scenario that has these words in its name, or else the row of scenario 1 with `public` in its name, or else the first of
    /// scenario 1.
    pub of: &'static str,
    pub at_most: f64,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Cpu,
    Memory,
    P99,
}
