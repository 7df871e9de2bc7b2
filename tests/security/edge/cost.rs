//! What strangers cost: nothing that anybody pays for, and nothing that stays.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Api, Commands, FakeSandbox, Portico, Process, eventually};

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
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

async fn state(api: &Api, id: &str) -> Value {
    api.ok("GET", &format!("/sandboxes/{id}"), None).await["state"].take()
}

/// A server of its own, with commands that run sandboxes.
fn serve(folder: &Path, commands: &Commands) -> (Process, Api) {
    let script = commands.file("run.sh");
    let hooks = ["create", "start", "stop", "pause", "destroy"]
        .map(|verb| format!("{verb} = [\"/bin/sh\", \"{}\", \"{verb}\"]\n", script.display()))
        .concat();
    let text = format!(
        "[preview]\nlisten = \"127.0.0.1:0\"\nzones = [\"sandbox.localhost\"]\nworkers = 2\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[store]\ndata = \"{}\"\n[networks]\nallow = [\"127.0.0.0/8\"]\n\
         [usage]\nflush = \"100ms\"\n[log]\nfilter = \"off\"\n[compute]\nenvironment = [\"PATH\"]\n{hooks}",
        folder.join("data").display()
    );
    let file = folder.join("portico.toml");
    std::fs::write(&file, text).unwrap();
    Process::serve(file.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_hostile_requests_cost_nobody_anything() {
    let app = FakeSandbox::well_behaved().await;
    let commands =
        Commands::new(&format!("printf '{{\"upstream\":\"127.0.0.1:{}\"}}'", app.port()));
    let folder = tempfile::tempdir().unwrap();
    let (process, api) = serve(folder.path(), &commands);
    let policy = json!({"wake": "anyone", "allowed_origins": ["https://app.opendesigns.example"]});
    api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    let create = async |slug: &str, more: Value| {
        let mut order = json!({"slug": slug});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = api.ok("POST", "/sandboxes?wait=30", Some(order)).await;
        assert_eq!(made["state"], "running", "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let asleep = create("asleep", json!({"persistent": true})).await;
    api.ok("POST", &format!("/sandboxes/{asleep}/pause"), None).await;
    eventually("asleep", async || state(&api, &asleep).await == "paused").await;
    let idle = json!({"idle_timeout_sec": 3});
    let (victim, control) = (create("victim", idle.clone()).await, create("control", idle).await);
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
    let used = usage().await;

    let address = process.fact("preview").parse().unwrap();
    let send = async |from: usize, to: usize| {
        let share = (to - from) / CONNECTIONS;
        let mut floods = tokio::task::JoinSet::new();
        for one in 0..CONNECTIONS {
            let first = from + one * share;
            floods.spawn(flood(address, (first..first + share).collect()));
        }
        floods.join_all().await.concat()
    };
    // The first tenth fills what is bounded.
    send(0, REQUESTS / 10).await;
    let before = memory(&process);
    let flood_ends = async {
        let mut statuses = send(REQUESTS / 10, REQUESTS).await;
        // However fast this machine is, the flood lasts for longer than the victim may be idle.
        let mut more = REQUESTS;
        while state(&api, &victim).await != "stopped" && more < 4 * REQUESTS {
            statuses.extend(send(more, more + 800).await);
            more += 800;
        }
        (statuses, memory(&process))
    };
    // The victim ends for want of visits while it is flooded, and no later than a sandbox that nobody has asked for.
    let victim_ends = async {
        eventually("the control ends", async || state(&api, &control).await == "stopped").await;
        let since = Instant::now();
        eventually("the victim ends", async || state(&api, &victim).await == "stopped").await;
        since.elapsed()
    };
    let ((statuses, after), later) = tokio::join!(flood_ends, victim_ends);
    assert!(later < Duration::from_secs(2), "{later:?}");
    let responses: usize = statuses.iter().map(|(_, count)| count).sum();
    assert!(responses >= REQUESTS - REQUESTS / 10);
    for (status, _) in statuses {
        assert!(matches!(status, 200 | 204 | 401 | 403 | 404), "{status}");
    }
    assert!(after < before + GROWTH, "{before} to {after}");

    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(usage().await, used);
    assert_eq!(state(&api, &asleep).await, "paused");
    assert!(!commands.verbs(&asleep).contains(&"start".to_owned()));
    let metrics = process.admin("/metrics").await.text();
    let mut wakes = metrics.lines().filter(|line| line.starts_with("portico_wakes_total{"));
    assert!(wakes.all(|line| line.ends_with(" 0")), "{metrics}");
    assert_eq!(app.connections(), 0, "the app was not asked");
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
    eventually("paused", async || state(&portico.api, id).await == "paused").await;
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
    assert_eq!(state(&portico.api, id).await, "paused");
}
