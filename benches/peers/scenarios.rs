//! The scenarios, one after another: what is done, by whom, how often, and what Portico promises.

use crate::load::upload::MEBIBYTES;
use crate::load::{Expect, http2};
use crate::results::{Figure, Target};

/// One row of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub number: u8,
    pub name: &'static str,
    pub unit: &'static str,
    pub kind: Kind,
    /// Units in one piece of work.
    pub per: usize,
    /// Pieces of work in a round, and in a round of a quick run.
    pub count: [usize; 2],
    /// Who can do it, of those that run.
    pub peers: &'static [&'static str],
    pub targets: &'static [Target],
    pub note: Option<&'static str>,
    /// Whether a quick run measures latency as well.
    pub quick_latency: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// GET on kept connections.
    Get(Get),
    /// GET, each on a new connection.
    Fresh(Get),
    /// POST of 10 MiB.
    Upload,
    /// GET over HTTP/2, on four connections with sixteen streams each.
    Streams,
    /// All assets of a page, on an HTTP/2 connection of its own.
    Page,
    /// A TLS handshake and a GET.
    Handshakes { resumed: bool },
    /// A WebSocket's message there and back.
    Echo { length: usize },
    /// Events on many streams.
    Events,
}

/// A GET, and what comes back.
#[derive(Clone, Copy, Debug)]
pub struct Get {
    pub path: &'static str,
    pub of: Of,
    pub expect: Expect,
}

/// Which host is asked, and how the visitor shows that it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The public one.
    Public,
    /// The private one, with a token in a cookie: always the same one, or another one each time.
    Private,
    PrivateFresh,
    /// The same, opened by a person, with a token whose signature is wrong.
    PrivateForged,
    /// One that is no sandbox's, opened by a person.
    Unknown,
    /// A port of the private one that nothing listens on, opened by a person with a token.
    Dead,
    /// Any of all that the proxy knows, or always the same one of them.
    Any,
    One,
}

const fn at_most(of: &'static str, at_most: f64) -> Target {
    Target { figure: Figure::Cpu, of, at_most }
}

/// Promised in every row.
const P99: Target = Target { figure: Figure::P99, of: "nginx", at_most: 1.0 };

const ALL: &[&str] = &["relay", "nginx", "haproxy", "caddy", "pingora", "portico"];
const WITH_TOKENS: &[&str] =
    &["relay", "nginx", "haproxy", "haproxy-jwt", "caddy", "pingora", "portico"];
/// The relay knows no TLS and no hosts.
const PROXIES: &[&str] = &["nginx", "haproxy", "caddy", "pingora", "portico"];
const PROXIES_WITH_TOKENS: &[&str] =
    &["nginx", "haproxy", "haproxy-jwt", "caddy", "pingora", "portico"];

const fn small(of: Of) -> Get {
    Get { path: "/small", of, expect: Expect::ok(120) }
}

/// A row with what most rows have.
const fn row(number: u8, name: &'static str, kind: Kind, count: [usize; 2]) -> Scenario {
    Scenario {
        number,
        name,
        unit: "request",
        kind,
        per: 1,
        count,
        peers: ALL,
        targets: &[P99],
        note: None,
        quick_latency: false,
    }
}

/// The app closes the connection after its response.
const fn once(of: Of) -> Get {
    Get { path: "/once", of, expect: Expect::ok(120) }
}

/// All but the idle connections of scenario 10, which are no work.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        quick_latency: true,
        peers: WITH_TOKENS,
        targets: &[
            at_most("nginx", 0.80),
            at_most("haproxy-jwt", 0.60),
            at_most("pingora", 0.45),
            at_most("relay", 1.30),
            P99,
        ],
        ..row(1, "small GET, token cookie", Kind::Get(small(Of::Private)), [10_000, 3_000])
    },
    Scenario { ..row(1, "small GET, public port", Kind::Get(small(Of::Public)), [10_000, 3_000]) },
    Scenario {
        peers: WITH_TOKENS,
        ..row(
            2,
            "small GET, a fresh token each",
            Kind::Get(small(Of::PrivateFresh)),
            [10_000, 3_000],
        )
    },
    Scenario {
        targets: &[at_most("nginx", 0.30), at_most("haproxy", 0.50), P99],
        ..row(3, "1 MiB GET, token cookie", Kind::Get(LARGE), [500, 120])
    },
    Scenario {
        unit: "MiB",
        per: MEBIBYTES,
        note: Some("The latency is that of a whole upload."),
        ..row(4, "10 MiB upload, token cookie", Kind::Upload, [50, 12])
    },
    Scenario {
        quick_latency: true,
        peers: PROXIES_WITH_TOKENS,
        targets: &[at_most("nginx", 0.65), at_most("haproxy-jwt", 0.70), P99],
        ..row(5, "small GET, HTTP/2 and TLS, 4 × 16 streams", Kind::Streams, [6_000, 2_000])
    },
    Scenario {
        unit: "page",
        peers: PROXIES,
        note: Some("With the connection and its resumed handshake."),
        ..row(6, "a page of 80 assets over HTTP/2", Kind::Page, [40, 8])
    },
    Scenario {
        quick_latency: true,
        unit: "handshake",
        peers: PROXIES,
        targets: &[at_most("nginx", 0.90), P99],
        ..row(7, "full TLS handshake and a GET", Kind::Handshakes { resumed: false }, [500, 120])
    },
    Scenario {
        unit: "handshake",
        peers: PROXIES,
        targets: &[at_most("nginx", 0.90), P99],
        ..row(7, "resumed TLS handshake and a GET", Kind::Handshakes { resumed: true }, [500, 120])
    },
    Scenario {
        ..row(
            8,
            "small GET, each on a new connection",
            Kind::Fresh(small(Of::Private)),
            [4_000, 1_000],
        )
    },
    Scenario {
        quick_latency: true,
        unit: "message",
        ..row(9, "WebSocket echo, 64 B", Kind::Echo { length: 64 }, [10_000, 3_000])
    },
    Scenario {
        unit: "message",
        ..row(9, "WebSocket echo, 64 KiB", Kind::Echo { length: 64 << 10 }, [2_500, 600])
    },
    Scenario {
        quick_latency: true,
        peers: PROXIES,
        targets: &[at_most("nginx", 0.50), P99],
        ..row(
            11,
            "404 of an unknown host, with a page",
            Kind::Get(page(Of::Unknown, 404)),
            [10_000, 3_000],
        )
    },
    Scenario {
        peers: &["haproxy-jwt", "portico"],
        targets: &[],
        note: Some("The others verify no token."),
        ..row(12, "401 of a forged token, with a page", Kind::Get(FORGED), [10_000, 3_000])
    },
    MILLION,
    Scenario {
        peers: PROXIES,
        ..row(14, NO_CHANGES, Kind::Get(small(Of::Private)), [10_000, 3_000])
    },
    Scenario {
        unit: "event",
        ..row(15, "event streams, 10 events a second each", Kind::Events, [3, 1])
    },
    Scenario {
        peers: PROXIES,
        ..row(
            16,
            "502 of a dead sandbox, with a page",
            Kind::Get(page(Of::Dead, 502)),
            [6_000, 2_000],
        )
    },
];

/// Scenario 13, which has a field of its own.
pub const MILLION: Scenario = Scenario {
    peers: &["nginx", "haproxy", "pingora", "portico"],
    targets: &[at_most("one route", 1.10), P99],
    note: Some(
        "The app closes each connection, as it does in the row of one route: Portico never shares a connection between sandboxes, so \
         hosts at random mean a new one each time, and what the two rows differ by is finding the route.",
    ),
    ..row(13, MILLION_HOSTS, Kind::Get(once(Of::Any)), [6_000, 2_000])
};
/// The same of always the same host, among as many.
pub const ONE_ROUTE: Scenario = Scenario {
    peers: MILLION.peers,
    ..row(13, "small GET of one route", Kind::Get(once(Of::One)), [6_000, 2_000])
};
const MILLION_HOSTS: &str = "small GET of 1,000,000 public hosts at random";
/// The same in a quick run.
pub const FEWER_HOSTS: Scenario =
    Scenario { name: "small GET of 100,000 public hosts at random", ..MILLION };
/// How many sandboxes there are in it, and in a quick run.
pub const MANY: [usize; 2] = [1_000_000, 100_000];

/// Event streams at once in scenario 15; a round of it is counted in seconds.
pub const STREAMS: [usize; 2] = [1_000, 200];

/// Scenario 14 has a row without changes and one with, measured in turns.
pub const NO_CHANGES: &str = "small GET, token cookie, no changes";
pub const CHANGES: &str = "small GET, token cookie, 1,000 route changes a second";
pub const CHANGE_TARGETS: &[Target] = &[at_most("no changes", 1.10), P99];
pub const CHANGES_A_SECOND: u32 = 1_000;

const LARGE: Get = Get { path: "/large", of: Of::Private, expect: Expect::ok(1 << 20) };
const FORGED: Get = Get { path: "/", of: Of::PrivateForged, expect: Expect::page(401) };

const fn page(of: Of, status: u16) -> Get {
    Get { path: "/", of, expect: Expect::page(status) }
}

/// A page is not much shorter or longer than those of real apps.
const _: () = {
    let (mut sum, mut at) = (0, 0);
    while at < http2::ASSETS.len() {
        sum += http2::ASSETS[at];
        at += 1;
    }
    assert!(sum > 1_100 && sum < 1_400, "about 1.2 MiB");
};
