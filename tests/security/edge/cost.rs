//! What strangers cost: nothing that anybody pays for, and nothing that stays.

use std::time::Duration;

use jiff::Timestamp;
use portico::base::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Commands, Connection, FakeSandbox, Portico, eventually};

/// Requests in all, and how many go out at once.
const REQUESTS: usize = 100_000;
const BATCH: usize = 100;
const CONNECTIONS: usize = 8;
/// What the process may have grown by when all of them are over. A row of usage each would be several times this.
const GROWTH: u64 = 24 << 20;

/// A hostile request of one of ten kinds. `n` tells it from all others.
fn hostile(n: usize) -> String {
    let port = 1024 + n % 60_000;
    let headers = |method: &str, port: usize, slug: &str, path: &str, fields: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {port}-{slug}.sandbox.localhost\r\nAccept: application/json\r\n{fields}\r\n"
        )
    };
    let preflight = |origin: &str| {
        format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\nCookie: a={n}\r\n")
    };
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    match n % 10 {
        0 => headers(
            "OPTIONS",
            port,
            "victim",
            "/admin?action=delete",
            &preflight("http://9-victim.sandbox.localhost"),
        ),
        1 => headers("OPTIONS", port, "asleep", "/", &preflight("https://app.opendesigns.example")),
        2 => headers("GET", port, "victim", "/", ""),
        3 => headers("GET", port, "victim", &format!("/?mt=mp_{n}.x.y"), "Accept: text/html\r\n"),
        4 => headers("GET", port, "asleep", "/", &format!("Cookie: __Host-preview=ms_{n:043}\r\n")),
        5 => headers("GET", 3000, &format!("nobody{n}"), "/", ""),
        6 => headers("GET", port, "victim", "/hmr", socket),
        7 => headers("GET", port, "victim", "/.well-known/portico/session", ""),
        8 => headers("GET", 22, "victim", "/", ""),
        _ => headers("POST", port, "asleep", "/", &format!("X-Miosa-Preview-Token: mp_{n}\r\n")),
    }
}

/// Sends requests in batches and counts the responses by status.
async fn flood(address: std::net::SocketAddr, numbers: Vec<usize>) -> Vec<(u16, usize)> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut statuses: Vec<(u16, usize)> = Vec::new();
    let mut bytes = Vec::new();
    for batch in numbers.chunks(BATCH) {
        let requests: String = batch.iter().map(|n| hostile(*n)).collect();
        socket.write_all(requests.as_bytes()).await.unwrap();
        bytes.clear();
        let (mut at, mut left) = (0, batch.len());
        while left > 0 {
            let Some((status, end)) = response(&bytes[at..]) else {
                let count = socket.read_buf(&mut bytes).await.unwrap();
                assert!(count > 0, "closed with {left} of {} to come", batch.len());
                continue;
            };
            at += end;
            left -= 1;
            match statuses.iter_mut().find(|(of, _)| *of == status) {
                Some((_, count)) => *count += 1,
                None => statuses.push((status, 1)),
            }
        }
    }
    statuses
}

/// The status and length of a whole response, if it has come.
fn response(bytes: &[u8]) -> Option<(u16, usize)> {
    let window = &bytes[..bytes.len().min(4096)];
    let end = window.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let headers = std::str::from_utf8(&bytes[..end]).unwrap();
    let status = headers[9..12].parse().unwrap();
    let length = headers.lines().find_map(|line| {
        line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
    });
    let body: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    (bytes.len() >= end + body).then_some((status, end + body))
}

/// The memory that is the process's own, bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

async fn state(portico: &Portico, id: &str) -> Value {
    portico.api.ok("GET", &format!("/sandboxes/{id}"), None).await["state"].take()
}

async fn metric(portico: &Portico, name: &str) -> u64 {
    let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let text = Connection::open(portico.running.admin).await.roundtrip(get).await.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    lines.map(|rest| rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_hostile_requests_cost_nobody_anything() {
    let app = FakeSandbox::well_behaved().await;
    let commands =
        Commands::new(&format!("printf '{{\"upstream\":\"127.0.0.1:{}\"}}'", app.port()));
    let clock = Clock::manual(Timestamp::now());
    let portico = Portico::start_at(clock.clone(), |config| {
        commands.adjust(config);
        config.usage.flush = Duration::from_millis(100);
    })
    .await;
    let api = &portico.api;
    let policy = json!({"wake": "anyone", "allowed_origins": ["https://app.opendesigns.example"]});
    api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    let create = async |slug: &str, persistent: bool| {
        let order = json!({"slug": slug, "idle_timeout_sec": 600, "persistent": persistent});
        let made = api.ok("POST", "/sandboxes?wait=30", Some(order)).await;
        assert_eq!(made["state"], "running", "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let (victim, control) = (create("victim", false).await, create("control", false).await);
    let asleep = create("asleep", true).await;
    api.ok("POST", &format!("/sandboxes/{asleep}/pause"), None).await;
    eventually("asleep", async || state(&portico, &asleep).await == "paused").await;
    let usage = async || {
        let mut all = Vec::new();
        for id in [&victim, &control, &asleep] {
            let mut of = api.ok("GET", &format!("/sandboxes/{id}/usage"), None).await;
            // What a machine costs while it runs is no stranger's doing.
            of.as_object_mut().unwrap().retain(|name, _| {
                ["requests", "responses", "bytes_in", "bytes_out", "ports"].contains(&&**name)
            });
            all.push(of);
        }
        all
    };
    let (used, asked) = (usage().await, commands.asked().len());
    let connections = app.connections();
    clock.advance(Duration::from_secs(500));

    // The first tenth fills what is bounded.
    let address = portico.preview();
    let send = async |from: usize, to: usize| {
        let share = (to - from) / CONNECTIONS;
        let mut floods = tokio::task::JoinSet::new();
        for one in 0..CONNECTIONS {
            let first = from + one * share;
            floods.spawn(flood(address, (first..first + share).collect()));
        }
        floods.join_all().await.concat()
    };
    send(0, REQUESTS / 10).await;
    let before = memory();
    let statuses = send(REQUESTS / 10, REQUESTS).await;
    let after = memory();
    let responded: usize = statuses.iter().map(|(_, count)| count).sum();
    assert_eq!(responded, REQUESTS - REQUESTS / 10);
    for (status, _) in statuses {
        assert!(matches!(status, 200 | 204 | 401 | 403), "{status}");
    }
    assert!(after < before + GROWTH, "{before} to {after}");

    // The victim ends for want of visits, at the same moment as a sandbox that nobody has asked for.
    clock.advance(Duration::from_secs(110));
    for id in [&control, &victim] {
        eventually("the end", async || state(&portico, id).await == "stopped").await;
    }
    assert_eq!(state(&portico, &asleep).await, "paused");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(usage().await, used);
    let stops = commands.asked().len() - asked;
    assert!(stops <= 4, "{:?}", commands.asked());
    assert!(!commands.verbs(&asleep).contains(&"start".to_owned()));
    assert_eq!(metric(&portico, "portico_wakes_total").await, 0);
    assert_eq!(app.connections(), connections, "the app was not asked");
}

/// A request that the limits refuse is no visit either, and wakes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_one_too_many_is_no_visit_and_wakes_nothing() {
    let app = FakeSandbox::well_behaved().await;
    let commands =
        Commands::new(&format!("printf '{{\"upstream\":\"127.0.0.1:{}\"}}'", app.port()));
    let portico = Portico::start_with(|config| {
        commands.adjust(config);
        config.usage.flush = Duration::from_millis(100);
        // One, and then none for as long as this takes.
        config.limits.public_rate = 1;
        config.limits.public_burst = 1;
        config.listen.trust.forwarded_from = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let api = &portico.api;
    api.ok("PUT", "/tenant/preview-policy", Some(json!({"wake": "anyone"}))).await;
    let order = json!({"slug": "mine", "persistent": true});
    let made = api.ok("POST", "/sandboxes?wait=30", Some(order)).await;
    let id = made["id"].as_str().unwrap();
    api.publish(id, 3000, json!({})).await;
    let navigate = "GET / HTTP/1.1\r\nHost: 3000-mine.sandbox.localhost\r\nAccept: text/html\r\n\
                    Sec-Fetch-Mode: navigate\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    let mut passed = 0;
    for _ in 0..200 {
        let status = portico.visit(navigate).await.status;
        assert!(matches!(status, 200 | 429), "{status}");
        passed += u64::from(status == 200);
    }
    assert!(passed < 100, "{passed}");
    eventually("what passed is counted, and no more", async || {
        api.ok("GET", &format!("/sandboxes/{id}/usage"), None).await["requests"] == passed
    })
    .await;
    api.ok("POST", &format!("/sandboxes/{id}/pause"), None).await;
    eventually("paused", async || state(&portico, id).await == "paused").await;
    // The bucket is empty but for what a moment brings: of what comes at once nearly all is refused, and starts nothing.
    let before = commands.verbs(id).len();
    let mut refused = 0;
    while refused < 20 {
        match portico.visit(navigate).await.status {
            429 => refused += 1,
            status => {
                // A second has passed, and one visit is due: that one may wake it.
                assert_eq!(status, 200);
                return;
            }
        }
    }
    assert_eq!(commands.verbs(id).len(), before);
    assert_eq!(state(&portico, id).await, "paused");
}
