//! What the control API does in a second on `SQLite`, what that costs the process, and how far behind the routing tables are while
//! another process writes 1,000 changes a second.
//!
//! `cargo bench --bench api` (`-- --quick` for a second of each).

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench is a script: whatever goes wrong ends it"
)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use portico::base::clock::Clock;
use portico::control::follow::Follower;
use portico::control::store::Store;
use portico::routing::Routes;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use support::Process;

/// Callers at the same time, each with a connection of its own.
const CALLERS: usize = 16;
/// Changes a second of the other process, and how many of them it writes at once.
const CHANGES: u64 = 1000;
const AT_ONCE: u64 = 10;
/// Sandboxes that the changes are about.
const CHANGED: u64 = 500;
/// Clock ticks a second in `/proc` (`getconf CLK_TCK`; it is 100 on every Linux that this is run on).
const TICKS: u64 = 100;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let time = Duration::from_secs(if quick { 1 } else { 10 });
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path());
    println!(
        "| call | callers | a second | CPU, ms a call | median, ms | p99, ms |\n|---|---|---|---|---|---|"
    );
    let made = AtomicU64::new(0);
    let create = |_: &str| {
        let n = made.fetch_add(1, Ordering::Relaxed);
        (
            "POST",
            "/api/v1/sandboxes".to_owned(),
            format!("{{\"slug\":\"site-{n}\",\"external_user_id\":\"user-{}\"}}", n % 100),
        )
    };
    let sandbox = server.one_sandbox();
    let mint = |id: &str| {
        ("POST", format!("/api/v1/sandboxes/{id}/preview-token"), "{\"expires_in\":900}".to_owned())
    };
    let show = |id: &str| ("GET", format!("/api/v1/sandboxes/{id}"), String::new());
    for callers in [1, CALLERS] {
        server.measure("create a sandbox", (callers, time), &sandbox, &create);
        server.measure("mint a preview token", (callers, time), &sandbox, &mint);
        server.measure("show a sandbox", (callers, time), &sandbox, &show);
    }
    drop(server);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(lag(data.path(), time));
}

/// What is asked for: method, path, body.
type Call = (&'static str, String, String);

/// The program, and how its API is called.
struct Server {
    process: Process,
    api: SocketAddr,
    key: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let (process, facts) = Process::start(data);
        let facts: serde_json::Value = serde_json::from_str(&facts).expect("facts");
        let text = |name: &str| facts.get(name).and_then(|v| v.as_str()).expect(name).to_owned();
        let api = text("api_url").trim_start_matches("http://").parse().expect("an address");
        let key = text("api_key");
        Self { process, api, key }
    }

    fn caller(&self) -> Caller {
        let socket = TcpStream::connect(self.api).expect("a connection");
        socket.set_nodelay(true).expect("nodelay");
        Caller { socket: BufReader::new(socket), key: self.key.clone() }
    }

    fn one_sandbox(&self) -> String {
        let response = self.caller().call(&("POST", "/api/v1/sandboxes".into(), "{}".into()));
        let response: serde_json::Value = serde_json::from_slice(&response).expect("a sandbox");
        response.pointer("/data/id").and_then(|id| id.as_str()).expect("an id").to_owned()
    }

    /// CPU time so far.
    fn cpu(&self) -> Duration {
        let stat = self.process.proc("stat");
        let fields = stat.rsplit(") ").next().expect("fields").split(' ');
        let ticks: u64 = fields.skip(11).take(2).map(|n| n.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    fn measure(
        &self,
        name: &str,
        (callers, time): (usize, Duration),
        id: &str,
        next: &(dyn Fn(&str) -> Call + Sync),
    ) {
        let before = self.cpu();
        let started = Instant::now();
        let mut took: Vec<Duration> = std::thread::scope(|scope| {
            let one = || {
                let mut caller = self.caller();
                let mut took = Vec::new();
                while started.elapsed() < time {
                    let call = next(id);
                    let begun = Instant::now();
                    caller.call(&call);
                    took.push(begun.elapsed());
                }
                took
            };
            let running: Vec<_> = (0..callers).map(|_| scope.spawn(one)).collect();
            running.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect()
        });
        let all = started.elapsed().as_secs_f64();
        let count = u32::try_from(took.len()).expect("a count");
        let cpu = self.cpu().saturating_sub(before).as_secs_f64() * 1000.0 / f64::from(count);
        println!(
            "| {name} | {callers} | {:.0} | {cpu:.2} | {:.2} | {:.2} |",
            f64::from(count) / all,
            quantile(&mut took, 50),
            quantile(&mut took, 99)
        );
    }
}

/// Milliseconds that so many of a hundred stay below.
fn quantile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len() - 1);
    times.get(at).expect("a time").as_secs_f64() * 1000.0
}

struct Caller {
    socket: BufReader<TcpStream>,
    key: String,
}

impl Caller {
    fn call(&mut self, (method, path, body): &Call) -> Vec<u8> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.socket.get_mut().write_all(request.as_bytes()).expect("a request");
        let mut line = String::new();
        self.socket.read_line(&mut line).expect("a response");
        assert!(line.contains(" 200 ") || line.contains(" 201 "), "{method} {path}: {line}");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            self.socket.read_line(&mut line).expect("a field");
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).expect("a body");
        body
    }
}

/// Another process's writes, and when this one's tables have them.
async fn lag(data: &Path, time: Duration) {
    let store = Store::open_dir(data, Clock::system()).await.expect("the store");
    let routes = Arc::new(Routes::new(&["sandbox.localhost".to_owned()]));
    let follower = Follower::start(store, routes, Clock::system()).await.expect("the follower");
    let other = SqliteConnectOptions::new().filename(data.join("portico.db"));
    let other = SqlitePoolOptions::new().max_connections(1).connect_with(other).await;
    let other = other.expect("a connection");
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM sandboxes WHERE destroyed_at IS NULL LIMIT ?1")
            .bind(i64::try_from(CHANGED).expect("a number"))
            .fetch_all(&other)
            .await
            .expect("sandboxes");
    let mut ids = ids.iter().cycle();
    let mut tick = tokio::time::interval(
        Duration::from_secs(1) * u32::try_from(AT_ONCE).expect("few")
            / u32::try_from(CHANGES).expect("few"),
    );
    let (started, mut written, mut waiting) = (Instant::now(), 0_u64, Vec::new());
    while started.elapsed() < time {
        tick.tick().await;
        let mut tx = other.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
        let mut version: i64 = 0;
        for id in ids.by_ref().take(usize::try_from(AT_ONCE).expect("few")) {
            let moved = sqlx::query(
                "UPDATE sandboxes SET address_generation = address_generation + 1 WHERE id = ?1",
            );
            moved.bind(id).execute(&mut *tx).await.expect("a change");
            let logged = "INSERT INTO changes (at, kind, subject) VALUES (0, 'sandbox', ?1) RETURNING version";
            version =
                sqlx::query_scalar(logged).bind(id).fetch_one(&mut *tx).await.expect("a version");
        }
        tx.commit().await.expect("a commit");
        written += AT_ONCE;
        let (committed, follower) = (Instant::now(), follower.clone());
        waiting.push(tokio::spawn(async move {
            follower.reached(version).await.expect("in time");
            committed.elapsed()
        }));
    }
    let rate = written.checked_div(started.elapsed().as_secs().max(1)).unwrap_or_default();
    let mut took = Vec::new();
    for each in waiting {
        took.push(each.await.expect("a lag"));
    }
    println!(
        "\n| changes a second of another process | lag, median, ms | p99, ms | longest, ms |\n|---|---|---|---|"
    );
    println!(
        "| {rate} | {:.1} | {:.1} | {:.1} |",
        quantile(&mut took, 50),
        quantile(&mut took, 99),
        quantile(&mut took, 100)
    );
}
