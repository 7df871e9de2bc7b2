//! CPU time per request of the proxy process, Portico beside nginx and a bare relay, on the same work in one run.
//!
//! `cargo bench --bench load` (`-- --quick` for a short run). See `benches/README.md` for what the numbers mean.
//! Everything is on loopback, and bounded in count and time.

#![allow(
    clippy::disallowed_methods,
    clippy::exit,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a bench is a script: whatever goes wrong ends it"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Keep-alive connections of the load generator.
const CONNECTIONS: usize = 64;
/// Sandboxes that nginx and Portico know besides the one that is asked for.
const OTHERS: usize = 2000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--role-origin") => runtime().block_on(origin()),
        Some("--role-floor") => {
            runtime().block_on(floor(arguments[2].parse().expect("an address")));
        }
        Some("--role-compare") => compare(arguments.iter().any(|argument| argument == "--quick")),
        _ => on_core_0(&arguments[1..]),
    }
}

/// Runs the comparison on the first core: the load generator and the origin share it, every proxy has another to itself.
fn on_core_0(arguments: &[String]) {
    let program = std::env::current_exe().expect("this program");
    let mut command = pinned(0, program.to_str().expect("a path"));
    let status = command.arg("--role-compare").args(arguments).status().expect("start");
    std::process::exit(status.code().unwrap_or(1));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One of the peers, and how to ask it.
struct Peer {
    name: &'static str,
    child: Child,
    /// Processes whose CPU time counts.
    pids: Vec<u32>,
    address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Ended by id; nginx ends its own worker.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

fn compare(quick: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let (requests, rounds) = if quick { (10_000, 3) } else { (40_000, 9) };
    let origin = spawn_self("--role-origin", None, 0);
    let origin_address = origin.address;
    let floor = spawn_self("--role-floor", Some(origin_address), 1);
    let nginx = spawn_nginx(directory.path(), origin_address);
    let (portico, public, private, token) = spawn_portico(directory.path(), origin_address);
    let cookie = format!("Cookie: theme=dark; __Host-preview={token}; lang=en\r\n");
    let scenarios = [
        ("small GET, token cookie", &private, "/small", cookie.as_str(), requests),
        ("small GET, public port", &public, "/small", "", requests),
        ("1 MiB GET, token cookie", &private, "/large", cookie.as_str(), requests / 40),
    ];
    println!(
        "CPU microseconds per request of the proxy process (median of {rounds} interleaved rounds), {CONNECTIONS} connections\n"
    );
    println!("| scenario | relay (floor) | nginx | Portico | Portico / nginx | Portico / floor |");
    println!("|---|---|---|---|---|---|");
    let mut first = None;
    for (name, host, path, fields, count) in scenarios {
        let peers: Vec<&Peer> =
            [Some(&floor), nginx.as_ref(), Some(&portico)].into_iter().flatten().collect();
        let costs = interleaved(&peers, &request(host, path, fields), count, rounds);
        let of = |name: &str| peers.iter().position(|peer| peer.name == name).map(|at| &costs[at]);
        let (relay, nginx, ours) = (of("floor"), of("nginx"), of("portico"));
        let show = |costs: Option<&Vec<f64>>| {
            costs.map_or("–".into(), |costs| format!("{:.1}", median(costs.clone())))
        };
        // Of the same round each time: what the machine does besides changes from round to round.
        let ratios = |to: Option<&Vec<f64>>| -> Option<Vec<f64>> {
            Some(ours?.iter().zip(to?).map(|(ours, to)| ours / to).collect())
        };
        let ratio = |to: Option<&Vec<f64>>| ratios(to).map(median);
        let by = |to: Option<&Vec<f64>>| {
            let Some(mut ratios) = ratios(to) else { return "–".to_owned() };
            ratios.sort_by(f64::total_cmp);
            let quarter = ratios.len() / 4;
            let (low, high) = (ratios[quarter], ratios[ratios.len() - 1 - quarter]);
            format!("{:.2} ({low:.2} to {high:.2})", median(ratios))
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            show(relay),
            show(nginx),
            show(ours),
            by(nginx),
            by(relay)
        );
        first = first.or_else(|| ratio(nginx));
    }
    let verdict = match first {
        None => "nginx is missing",
        Some(ratio) if ratio > 0.9 => "MISSED",
        Some(_) => "met",
    };
    println!(
        "\nTarget: small GET with a token cookie at most 0.90 × nginx without a token: {verdict}"
    );
}

/// The cost of a request for each peer in each round, in microseconds. The peers take turns (A B C A B C …); a first, shorter turn warms up.
fn interleaved(peers: &[&Peer], request: &[u8], count: usize, rounds: usize) -> Vec<Vec<f64>> {
    let mut costs = vec![Vec::new(); peers.len()];
    for round in 0..=rounds {
        for (peer, costs) in peers.iter().zip(&mut costs) {
            let cost = cost(peer, request, if round == 0 { count / 4 } else { count });
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    costs
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A request as a browser writes it.
fn request(host: &str, path: &str, fields: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
         Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n\
         Sec-Fetch-Dest: empty\r\nReferer: http://{host}/\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// CPU time of a peer for `count` requests, in microseconds each.
fn cost(peer: &Peer, request: &[u8], count: usize) -> f64 {
    let before = cpu(&peer.pids);
    runtime().block_on(load(peer.address, request, count));
    let spent = cpu(&peer.pids).saturating_sub(before);
    spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).expect("a count"))
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

/// A closed loop over keep-alive connections. Every answer's status and length is checked.
async fn load(address: SocketAddr, request: &[u8], count: usize) {
    let each = count / CONNECTIONS;
    let visitors = (0..CONNECTIONS).map(|_| async move {
        let mut socket = TcpStream::connect(address).await.expect("connect");
        socket.set_nodelay(true).expect("nodelay");
        let mut buffer = vec![0; 256 << 10];
        for _ in 0..each {
            socket.write_all(request).await.expect("write");
            read_answer(&mut socket, &mut buffer).await;
        }
    });
    let all = futures_util::future::join_all(visitors);
    tokio::time::timeout(Duration::from_mins(2), all).await.expect("a bounded run");
}

async fn read_answer(socket: &mut TcpStream, buffer: &mut [u8]) {
    let mut have = 0;
    let (head, length) = loop {
        let read = socket.read(&mut buffer[have..]).await.expect("read");
        assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&buffer[..have]));
        have += read;
        if let Some(end) = buffer[..have].windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            assert!(text.starts_with("http/1.1 200"), "{text}");
            let at = text.find("content-length: ").expect("a length") + 16;
            let digits: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
            break (end + 4, digits.parse::<usize>().expect("a number"));
        }
    };
    let mut left = (head + length).checked_sub(have).expect("no more than was promised");
    while left > 0 {
        let most = left.min(buffer.len());
        let read = socket.read(&mut buffer[..most]).await.expect("read");
        assert!(read > 0, "the body ended early");
        left -= read;
    }
}

fn pinned(core: usize, program: &str) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new("taskset");
    command.arg("-c").arg((core.min(cores - 1)).to_string()).arg(program);
    command
}

fn spawn_self(role: &'static str, to: Option<SocketAddr>, core: usize) -> Peer {
    let program = std::env::current_exe().expect("this program");
    let mut command = pinned(core, program.to_str().expect("a path"));
    command.arg(role).args(to.map(|to| to.to_string())).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    let name = if role == "--role-floor" { "floor" } else { "origin" };
    Peer { name, pids: vec![child.id()], child, address: line.trim().parse().expect("an address") }
}

fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port()
}

fn spawn_nginx(directory: &Path, origin: SocketAddr) -> Option<Peer> {
    let binary =
        ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    let Some(binary) = binary else {
        println!("nginx is MISSING: only Portico and the floor are measured\n");
        return None;
    };
    let port = free_port();
    let config = nginx_config(directory, port, origin);
    let path = directory.join("nginx.conf");
    std::fs::write(&path, config).expect("write");
    let mut command = pinned(1, binary);
    let child = command
        .arg("-c")
        .arg(&path)
        .arg("-p")
        .arg(directory)
        .stderr(Stdio::inherit())
        .spawn()
        .expect("nginx");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for(address);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))
        .expect("children");
    let pids = children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    Some(Peer { name: "nginx", pids, child, address })
}

/// Routing from host to address as Portico does it, a JSON access line for every request, kept-alive connections on both sides.
fn nginx_config(directory: &Path, port: u16, origin: SocketAddr) -> String {
    let d = directory.display();
    let others: Vec<String> =
        (0..OTHERS).map(|n| format!("        other-{n} 127.0.0.1;")).collect();
    let others = others.join("\n");
    format!(
        r#"worker_processes 1; daemon off; pid {d}/nginx.pid; error_log {d}/nginx-error.log crit;
events {{ worker_connections 4096; }}
http {{
    log_format json escape=json '{{"time":"$time_iso8601","peer":"$remote_addr","method":"$request_method","host":"$host","path":"$uri","status":$status,"bytes_out":$body_bytes_sent,"duration":$request_time,"upstream":"$upstream_response_time","sandbox":"$slug","port":"$port","request_id":"$request_id"}}';
    access_log {d}/nginx-access.log json buffer=64k flush=1s;
    client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
    keepalive_requests 1000000000; map_hash_max_size 16384; map_hash_bucket_size 128;
    map $slug $address {{
        default "";
        bench 127.0.0.1;
        public 127.0.0.1;
{others}
    }}
    upstream sandbox {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        server_name ~^(?<port>\d+)-(?<slug>[a-z0-9-]+)\.sandbox\.localhost$;
        location / {{
            if ($address = "") {{ return 404; }}
            proxy_pass http://sandbox;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost:$port;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-Id $request_id;
        }}
    }}
}}
"#
    )
}

fn wait_for(address: SocketAddr) {
    let started = Instant::now();
    while StdStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "{address} does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Portico with one worker, a public and a private host of the origin, and a token for the latter.
fn spawn_portico(directory: &Path, origin: SocketAddr) -> (Peer, String, String, String) {
    let mut command = pinned(1, env!("CARGO_BIN_EXE_portico"));
    let data = directory.join("data");
    command.arg("dev");
    for port in ["--port", "--https-port", "--api-port", "--admin-port"] {
        command.args([port, "0"]);
    }
    command.args(["--workers", "1", "--json", "--data"]);
    command
        .arg(&data)
        .arg("--log-file")
        .arg(directory.join("portico.log"))
        .arg("--log")
        .arg("info");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("portico");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    let facts: Value = serde_json::from_str(&line).expect("facts");
    let text = |name: &str| facts[name].as_str().expect("text").to_owned();
    let port: u16 = text("preview_url")
        .split('/')
        .nth(2)
        .and_then(|a| a.rsplit(':').next()?.parse().ok())
        .expect("a port");
    let api: SocketAddr =
        text("api_url").strip_prefix("http://").expect("http").parse().expect("an address");
    let call = |path: &str, body: Value| call(api, &text("api_key"), path, &body);
    for n in 0..OTHERS {
        call("/sandboxes", json!({ "slug": format!("other-{n}") }));
    }
    let mut hosts = Vec::new();
    let mut token = String::new();
    for slug in ["public", "bench"] {
        let id = call("/sandboxes", json!({ "slug": slug }))["data"]["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        if slug == "public" {
            call(
                &format!("/sandboxes/{id}/previews"),
                json!({ "port": origin.port(), "visibility": "public" }),
            );
        } else {
            let minted =
                call(&format!("/sandboxes/{id}/preview-token"), json!({ "expires_in": 86400 }));
            minted["token"].as_str().expect("a token").clone_into(&mut token);
        }
        hosts.push(format!("{}-{slug}.sandbox.localhost", origin.port()));
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let peer = Peer { name: "portico", pids: vec![child.id()], child, address };
    let private = hosts.pop().expect("a host");
    (peer, hosts.pop().expect("a host"), private, token)
}

fn call(api: SocketAddr, key: &str, path: &str, body: &Value) -> Value {
    let body = body.to_string();
    let mut socket = StdStream::connect(api).expect("connect");
    write!(
        socket,
        "POST /api/v1{path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("write");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 20"), "{path}: {answer}");
    serde_json::from_str(body).expect("JSON")
}

/// The app: 120 bytes at `/small`, 1 MiB at `/large`.
async fn origin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    println!("{}", listener.local_addr().expect("address"));
    let answer = |length: usize| {
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        bytes.resize(bytes.len() + length, b'x');
        Arc::new(bytes)
    };
    let (small, large) = (answer(120), answer(1 << 20));
    loop {
        let (mut socket, _) = listener.accept().await.expect("accept");
        socket.set_nodelay(true).expect("nodelay");
        let (small, large) = (Arc::clone(&small), Arc::clone(&large));
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            let mut have = 0;
            while let Ok(read) = socket.read(&mut buffer[have..]).await {
                if read == 0 {
                    return;
                }
                have += read;
                if buffer[..have].ends_with(b"\r\n\r\n") {
                    let answer = if buffer.starts_with(b"GET /large") { &large } else { &small };
                    have = 0;
                    if socket.write_all(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// The floor: bytes through one task a connection, with an own connection to the origin, and nothing looked at.
async fn floor(origin: SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    println!("{}", listener.local_addr().expect("address"));
    loop {
        let (mut visitor, _) = listener.accept().await.expect("accept");
        visitor.set_nodelay(true).expect("nodelay");
        tokio::spawn(async move {
            let mut app = TcpStream::connect(origin).await.expect("connect");
            app.set_nodelay(true).expect("nodelay");
            // Either end may leave at any time.
            drop(
                tokio::io::copy_bidirectional_with_sizes(
                    &mut visitor,
                    &mut app,
                    16 << 10,
                    64 << 10,
                )
                .await,
            );
        });
    }
}
