//! A scenario's work on one peer: requests that fit the peer, and how they are sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_rustls::TlsConnector;

use crate::field::{Field, Peer};
use crate::load::handshakes::Kinds;
use crate::load::{
    Ask, Asks, Done, Drive, Expect, events, handshakes, http1, http2, sockets, tls, upload,
};
use crate::scenarios::{Get, Kind, Of};

/// Pages that are opened at once.
const PAGES: usize = 4;
/// Hosts that are drawn for a run with hosts at random.
const DRAWN: usize = 200_000;

/// What is asked where nothing else is said.
const PRIVATE: Get = Get { path: "/small", of: Of::Private, expect: Expect::ok(120) };

/// What is done to one peer.
pub struct Work {
    kind: Kind,
    plain: SocketAddr,
    secure: Option<SocketAddr>,
    pids: Vec<u32>,
    tls: TlsConnector,
    ask: Ask,
    asks: Asks,
    kinds: Arc<Kinds>,
    /// Connections that the peer closed although they were to be kept.
    closed: Arc<AtomicUsize>,
}

impl Work {
    /// `others` is how many hosts there are to draw from.
    pub fn new(kind: Kind, field: &Field, peer: &Peer, others: usize) -> Self {
        // A peer that verifies no tokens gets those of the last one, Portico, which look the same to it.
        let verifies = |peer: &&Peer| !peer.tokens.is_empty();
        let tokens = std::iter::once(peer).chain(field.peers.iter().rev()).find(verifies);
        let tokens = tokens.map_or(std::slice::from_ref(&field.names.token), |peer| &peer.tokens);
        let of = match kind {
            Kind::Get(get) | Kind::Fresh(get) => get,
            Kind::Echo { .. } => Get { path: "/socket", ..PRIVATE },
            Kind::Events => Get { path: "/events", ..PRIVATE },
            _ => PRIVATE,
        };
        let names = &field.names;
        let host = match of.of {
            Of::Public => names.public.clone(),
            Of::Private | Of::PrivateFresh | Of::PrivateForged => names.private.clone(),
            Of::Unknown => names.unknown.clone(),
            Of::Dead => names.dead.clone(),
            Of::Any | Of::One => field.host_of(0),
        };
        let private = !matches!(of.of, Of::Public | Of::Unknown | Of::Any | Of::One);
        let ask = Ask {
            host,
            path: of.path.to_owned(),
            token: private.then(|| tokens[0].clone()),
            navigates: matches!(of.of, Of::PrivateForged | Of::Unknown | Of::Dead),
        };
        let more = match kind {
            Kind::Fresh(_) | Kind::Handshakes { .. } => "Connection: close\r\n",
            _ => "Connection: keep-alive\r\n",
        };
        let asks =
            match of.of {
                Of::PrivateForged => Asks::forged(&ask, more),
                Of::PrivateFresh => Asks::each(tokens.iter().map(|token| {
                    Ask { token: Some(token.clone()), ..ask.clone() }.http1("GET", more)
                })),
                Of::Any => {
                    let draw = || field.host_of(fastrand::usize(..others));
                    Asks::hosts(&ask, more, std::iter::repeat_with(draw).take(DRAWN))
                }
                _ => Asks::same(ask.http1("GET", more)),
            };
        let (protocol, resumes): (&[u8], bool) = match kind {
            Kind::Handshakes { resumed } => (b"http/1.1", resumed),
            _ => (b"h2", true),
        };
        // Each peer has its own: what one has given for resuming is worth nothing to another.
        let tls = tls(&names.authority, protocol, resumes);
        let (plain, secure, pids) = (peer.plain, peer.tls, peer.pids.clone());
        Self {
            kind,
            plain,
            secure,
            pids,
            tls,
            ask,
            asks,
            kinds: Arc::default(),
            closed: Arc::default(),
        }
    }

    /// Whether a peer speaks what a kind of work needs.
    pub fn suits(kind: Kind, peer: &Peer) -> bool {
        let secure = matches!(kind, Kind::Streams | Kind::Page | Kind::Handshakes { .. });
        !secure || peer.tls.is_some()
    }

    pub async fn run(&self, drive: Drive) -> Done {
        let secure = || self.secure.expect("an address for TLS");
        let (pids, asks, ask, tls) = (&self.pids, &self.asks, &self.ask, &self.tls);
        match self.kind {
            Kind::Get(get) => {
                let lanes = http1::kept(self.plain, asks, get.expect, &self.closed).await;
                drive.over(lanes, pids).await
            }
            Kind::Fresh(get) => {
                let lanes = http1::fresh(self.plain, asks, get.expect);
                drive.over(lanes, pids).await
            }
            Kind::Upload => drive.over(upload::uploads(self.plain, ask).await, pids).await,
            Kind::Streams => {
                let lanes = http2::streams(secure(), tls, ask, Expect::ok(120)).await;
                drive.over(lanes, pids).await
            }
            Kind::Page => drive.over(http2::pages(secure(), tls, ask, PAGES), pids).await,
            Kind::Handshakes { .. } => {
                let to = (secure(), tls, ask.host.as_str());
                let lanes = handshakes::visitors(to, asks, Expect::ok(120), &self.kinds);
                drive.over(lanes, pids).await
            }
            Kind::Echo { length } => {
                drive.over(sockets::echoes(self.plain, ask, length).await, pids).await
            }
            Kind::Events => unreachable!("events come by themselves"),
        }
    }

    /// Watches events for a while.
    pub async fn watch(&self, streams: usize, lasts: Duration) -> Done {
        events::watch(self.plain, &self.ask, streams, lasts, &self.pids).await
    }

    /// Connections that were not kept.
    pub fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }

    /// The share of handshakes that resumed a session since last asked.
    pub fn resumed(&self) -> f64 {
        let take = |count: &AtomicUsize| {
            f64::from(u32::try_from(count.swap(0, Ordering::Relaxed)).expect("a number"))
        };
        let (full, resumed) = (take(&self.kinds.full), take(&self.kinds.resumed));
        resumed / (full + resumed).max(1.0)
    }
}
