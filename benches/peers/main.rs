//! CPU time per request and memory per connection of the proxy process: Portico beside nginx, `HAProxy` and a bare relay, on the same work in one run.
//!
//! `cargo bench --bench peers` (`-- --quick` for a short run). See `benches/README.md` for what the numbers mean.
//! `-- --check` starts every peer and checks that it answers correctly.
//! Everything is on loopback, and bounded in count and time.

#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::exit,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a bench is a script: whatever goes wrong ends it"
)]

mod field;
mod load;
mod results;
mod roles;

use std::time::Duration;

use field::{Field, Names, Peer, Setup};
use load::{Ask, CONNECTIONS, H2_CONNECTIONS, H2_STREAMS, Idle};

/// Connections held open to see what one costs.
const HELD: usize = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    match arguments.get(1).map(String::as_str) {
        Some("--role-origin") => runtime().block_on(roles::origin()),
        Some("--role-relay") => {
            runtime().block_on(roles::relay(arguments[2].parse().expect("an address")));
        }
        Some("--role-compare") if arguments.iter().any(|argument| argument == "--memory") => {
            memory();
        }
        Some("--role-compare") => compare(quick),
        Some("--role-check") => std::process::exit(i32::from(!field::check_all())),
        _ if arguments.iter().any(|argument| argument == "--check") => {
            std::process::exit(field::on_core_0("--role-check", &[]));
        }
        _ => std::process::exit(field::on_core_0("--role-compare", &arguments[1..])),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A visit of one of the two hosts.
fn ask(field: &Field, path: &'static str, private: bool) -> Ask {
    let Names { public, private: host, token, .. } = &field.names;
    Ask {
        host: if private { host.clone() } else { public.clone() },
        path,
        cookie: private.then(|| format!("theme=dark; __Host-preview={token}; lang=en")),
    }
}

type Work<'a> = Box<dyn Fn(&Peer, usize) + 'a>;

/// One row of the first table: what is done, how often in a round, and how.
struct Row<'a> {
    name: String,
    count: usize,
    /// Whether the floor, which knows no TLS, can do it.
    has_floor: bool,
    work: Work<'a>,
    /// At most this much of nginx.
    target: Option<f64>,
}

fn rows(field: &Field, quick: bool) -> Vec<Row<'_>> {
    let requests = if quick { 10_000 } else { 40_000 };
    let authority = &field.names.authority;
    let h1 = load::tls(authority, b"http/1.1", true);
    let h2 = load::tls(authority, b"h2", true);
    let full = load::tls(authority, b"http/1.1", false);
    let plain = |name: &str, ask: Ask, count, target| Row {
        name: name.to_owned(),
        count,
        has_floor: true,
        target,
        work: Box::new(move |peer: &Peer, count| {
            runtime().block_on(load::http1(peer.plain, None, &ask, count));
        }),
    };
    let secure = |name: String, ask: Ask, (tls, count, target), how: How| Row {
        name,
        count,
        has_floor: false,
        target,
        work: Box::new(move |peer: &Peer, count| {
            let to = peer.tls.expect("TLS");
            runtime().block_on(async {
                match how {
                    How::Http1 => load::http1(to, Some(&tls), &ask, count).await,
                    How::Http2 => load::http2(to, &tls, &ask, count).await,
                    How::Handshakes => load::handshakes(to, &tls, &ask, count).await,
                }
            });
        }),
    };
    let small = || ask(field, "/small", true);
    let streams = format!("h2 + TLS small GET, {H2_CONNECTIONS} × {H2_STREAMS} streams");
    let shaken = requests / 40;
    vec![
        plain("small GET, token cookie", small(), requests, Some(0.90)),
        plain("small GET, public port", ask(field, "/small", false), requests, None),
        plain("1 MiB GET, token cookie", ask(field, "/large", true), requests / 40, None),
        secure("TLS small GET".into(), small(), (h1.clone(), requests, None), How::Http1),
        secure(streams, small(), (h2, requests, Some(0.75)), How::Http2),
        secure(
            "full handshake and one request".into(),
            small(),
            (full, shaken, Some(1.0)),
            How::Handshakes,
        ),
        secure(
            "resumed handshake and one request".into(),
            small(),
            (h1, shaken, None),
            How::Handshakes,
        ),
    ]
}

#[derive(Clone, Copy)]
enum How {
    Http1,
    Http2,
    Handshakes,
}

fn compare(quick: bool) {
    let rounds = if quick { 3 } else { 9 };
    let peers = &["relay", "nginx", "haproxy", "portico"];
    let field = Field::start(&Setup { others: 2000, peers, fresh_tokens: false });
    println!(
        "CPU microseconds per request of the proxy process (median of {rounds} interleaved rounds); HTTP/1 over {CONNECTIONS} connections\n"
    );
    println!(
        "| scenario | relay (floor) | nginx | HAProxy | Portico | / nginx | / HAProxy | / floor |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut verdicts = Vec::new();
    for row in rows(&field, quick) {
        let able = |peer: &&Peer| row.has_floor || peer.tls.is_some();
        let peers: Vec<&Peer> = field.peers.iter().filter(able).collect();
        let costs = interleaved(&peers, &row, rounds);
        let of = |name: &str| peers.iter().position(|peer| peer.name == name).map(|at| &costs[at]);
        let show = |name: &str| {
            of(name).map_or("–".into(), |costs| format!("{:.1}", median(costs.clone())))
        };
        // Of the same round each time: what the machine does besides changes from round to round.
        let ratios = |to: &str| -> Option<Vec<f64>> {
            Some(of("portico")?.iter().zip(of(to)?).map(|(ours, to)| ours / to).collect())
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            show("relay"),
            show("nginx"),
            show("haproxy"),
            show("portico"),
            spread(ratios("nginx")),
            spread(ratios("haproxy")),
            spread(ratios("relay")),
        );
        if let (Some(target), Some(ratio)) = (row.target, ratios("nginx").map(median)) {
            let verdict = if ratio > target { "MISSED" } else { "met" };
            verdicts.push(format!("{}: at most {target:.2} × nginx: {verdict}", row.name));
        }
    }
    println!("\nTargets:\n{}", verdicts.join("\n"));
    drop(field);
    memory();
}

fn spread(ratios: Option<Vec<f64>>) -> String {
    let Some(mut ratios) = ratios else { return "–".to_owned() };
    ratios.sort_by(f64::total_cmp);
    let quarter = ratios.len() / 4;
    let (low, high) = (ratios[quarter], ratios[ratios.len() - 1 - quarter]);
    format!("{:.2} ({low:.2} to {high:.2})", median(ratios))
}

/// The cost of one for each peer in each round, in microseconds. The peers take turns (A B C A B C …); a first, shorter turn warms up.
fn interleaved(peers: &[&Peer], row: &Row<'_>, rounds: usize) -> Vec<Vec<f64>> {
    let mut costs = vec![Vec::new(); peers.len()];
    for round in 0..=rounds {
        for (peer, costs) in peers.iter().zip(&mut costs) {
            let count = if round == 0 { row.count / 4 } else { row.count };
            let before = cpu(&peer.pids);
            (row.work)(peer, count);
            let spent = cpu(&peer.pids).saturating_sub(before);
            if round > 0 {
                let count = f64::from(u32::try_from(count).expect("a count"));
                costs.push(spent.as_secs_f64() * 1e6 / count);
            }
        }
    }
    costs
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Memory of the proxy process for each idle connection, every peer started anew for every kind.
fn memory() {
    let kinds = [
        (Idle::Http1, "HTTP/1.1, clear text", 8),
        (Idle::Http1Tls, "HTTP/1.1 over TLS", 13),
        (Idle::Http2, "HTTP/2", 20),
        (Idle::WebSocketTls, "WebSocket over TLS", 19),
        (Idle::WebSocket, "WebSocket, clear text", 4),
    ];
    println!(
        "\nKiB of memory per idle connection of the proxy process, {HELD} held, each after one answer\n"
    );
    println!("| connection | nginx | HAProxy | Portico | target |");
    println!("|---|---|---|---|---|");
    for (kind, name, target) in kinds {
        let peers = &["nginx", "haproxy", "portico"];
        let field = Field::start(&Setup { others: 2000, peers, fresh_tokens: false });
        let authority = &field.names.authority;
        let (h1, h2) = (load::tls(authority, b"http/1.1", true), load::tls(authority, b"h2", true));
        let ask = ask(&field, "/small", true);
        let cost = |peer: &Peer| {
            let to = (peer.plain, peer.tls.expect("TLS"));
            runtime().block_on(async {
                // What the first ones bring into being is not theirs alone.
                drop(load::idle(kind, to, (&h1, &h2), &ask, 64).await);
                tokio::time::sleep(Duration::from_millis(300)).await;
                let before = resident(&peer.pids);
                let held = load::idle(kind, to, (&h1, &h2), &ask, HELD).await;
                // The app's side of what is kept alive is given up after four seconds.
                tokio::time::sleep(Duration::from_secs(6)).await;
                let spent = resident(&peer.pids) - before;
                drop(held);
                spent / f64::from(u32::try_from(HELD).expect("a count"))
            })
        };
        let costs: Vec<(&str, f64)> =
            field.peers.iter().map(|peer| (peer.name, cost(peer))).collect();
        let show = |name: &str| {
            let found = costs.iter().find(|(own, _)| *own == name);
            found.map_or("–".into(), |(_, cost)| format!("{cost:.1}"))
        };
        let (nginx, haproxy) = (show("nginx"), show("haproxy"));
        println!("| {name} | {nginx} | {haproxy} | {} | {target} |", show("portico"));
        assert!(field.origin.plain.port() > 0, "the app is gone");
    }
}

/// Resident memory of processes, KiB.
fn resident(pids: &[u32]) -> f64 {
    let of_process = |pid: &u32| -> u32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    pids.iter().map(|pid| f64::from(of_process(pid))).sum()
}

/// CPU time that processes have spent, from the scheduler's own nanoseconds, over all their threads.
fn cpu(pids: &[u32]) -> Duration {
    let of_thread = |path: std::path::PathBuf| -> u64 {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    };
    let of_process = |pid: &u32| -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
        threads.map(|thread| of_thread(thread.expect("a thread").path())).sum()
    };
    Duration::from_nanos(pids.iter().map(of_process).sum())
}
