//! Scenario 10: what an idle connection costs in memory of the proxy process.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::field::{Field, Peer, Setup};
use crate::load::idle::{Held, Idle, Opener};
use crate::load::{Ask, tls};
use crate::measure::{Effort, number};
use crate::process::{resident, runtime, say};
use crate::results::{Figure, Measured, Row, Target};

/// Who is looked at. The relay is no measure for memory: it has no state but its buffers.
const PEERS: &[&str] = &["nginx", "haproxy", "caddy", "pingora", "portico"];
/// Connections held, and those of a quick run.
const HELD: [usize; 2] = [10_000, 1_000];
/// The first ones, which do not count: what they bring into being is not theirs alone.
const FIRST: usize = 64;
/// Held in all peers at once at most: the second half of a WebSocket's way to the app needs a port of one address.
const AT_ONCE: usize = 20_000;
/// What a proxy keeps alive to the app is given up within this time, and a proxy's buffers are given back.
const SETTLES: Duration = Duration::from_secs(6);

const KINDS: [(Idle, &str, &[Target]); 5] = [
    (Idle::WebSocket, "idle WebSocket, clear text", &[]),
    (Idle::WebSocketTls, "idle WebSocket over TLS", &[at_most("haproxy")]),
    (Idle::Http1, "idle HTTP/1.1, clear text", &[]),
    (Idle::Http1Tls, "idle HTTP/1.1 over TLS", &[]),
    (Idle::Http2, "idle HTTP/2", &[at_most("nginx")]),
];

const fn at_most(of: &'static str) -> Target {
    Target { figure: Figure::Memory, of, at_most: 1.0 }
}

/// A row for every kind of connection. Peers are started anew for each, so that none has memory left over from before.
pub fn rows(effort: &Effort, others: usize, peers: &'static [&'static str]) -> Vec<Row> {
    // A quick run looks only at those about which something is promised.
    KINDS
        .into_iter()
        .filter(|(.., targets)| !effort.quick || !targets.is_empty())
        .map(|(kind, name, targets)| {
            say(&format!("10: {name}"));
            let field = Field::start(&Setup { others, peers, fresh_tokens: false });
            let count = effort.of(HELD).min(field.holds);
            let able: Vec<&Peer> = field
                .peers
                .iter()
                .filter(|peer| PEERS.contains(&peer.name) && (!kind.is_tls() || peer.tls.is_some()))
                .collect();
            let mut of = BTreeMap::new();
            for group in able.chunks((AT_ONCE / count).clamp(1, able.len())) {
                if !of.is_empty() {
                    // The other ends have to notice that the last ones are closed before more are opened.
                    std::thread::sleep(Duration::from_secs(2));
                }
                for (peer, memory) in group.iter().zip(held(&field, kind, group, count)) {
                    eprintln!("    {}: {memory:.1} KiB", peer.name);
                    of.insert(peer.name, Measured { memory: Some(memory), ..Measured::default() });
                }
            }
            let note = Some(format!("{count} connections held."));
            let targets = targets.to_vec();
            Row { scenario: 10, name: name.to_owned(), unit: "connection", of, targets, note }
        })
        .collect()
}

/// KiB that each connection takes, for some peers.
fn held(field: &Field, kind: Idle, peers: &[&Peer], count: usize) -> Vec<f64> {
    runtime().block_on(async {
        let mut all: Vec<(f64, Vec<Held>)> = Vec::new();
        for peer in peers {
            let opener = opener(field, kind, peer);
            drop(opener.open(FIRST).await);
            tokio::time::sleep(Duration::from_millis(300)).await;
            let before = resident(&peer.pids);
            all.push((before, opener.open(count).await));
        }
        tokio::time::sleep(SETTLES).await;
        let after = peers.iter().map(|peer| resident(&peer.pids));
        let costs = after.zip(&all).map(|(after, (before, held))| {
            assert_eq!(held.len(), count, "connections are missing");
            (after - before) / number(count)
        });
        costs.collect()
    })
}

fn opener(field: &Field, kind: Idle, peer: &Peer) -> Opener {
    let token = peer.tokens.first().unwrap_or(&field.names.token).clone();
    let path = if kind.is_socket() { "/socket" } else { "/small" };
    let host = field.names.private.clone();
    let ask = Ask { host, path: path.to_owned(), token: Some(token), navigates: false };
    let protocol: &[u8] = if kind == Idle::Http2 { b"h2" } else { b"http/1.1" };
    let to = if kind.is_tls() { peer.tls.expect("TLS") } else { peer.plain };
    Opener { kind, to, tls: tls(&field.names.authority, protocol, true), ask }
}
