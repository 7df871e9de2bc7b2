//! The proxies that are compared: how each is started and configured to do the same work.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Sandboxes that every peer knows besides the ones that are asked for.
const OTHERS: usize = 2000;

/// One of the peers, and how to ask it.
pub struct Peer {
    pub name: &'static str,
    pub child: Child,
    /// Processes whose CPU time and memory count.
    pub pids: Vec<u32>,
    /// In clear text ...
    pub plain: SocketAddr,
    /// ... and by TLS, where it speaks that.
    pub tls: Option<SocketAddr>,
    /// Tokens for the private host that it verifies; empty if it verifies none.
    pub tokens: Vec<String>,
    /// How its routes change while it serves.
    pub churn: Option<Churn>,
}

/// Changes of routes.
pub enum Churn {}

impl Churn {
    pub fn run(&self, _rate: u32, _stop: &std::sync::atomic::AtomicBool) -> u64 {
        match *self {}
    }
}

/// What is started.
pub struct Setup {
    pub others: usize,
    pub peers: &'static [&'static str],
    pub fresh_tokens: bool,
}

/// Everything that is measured, started.
pub struct Field {
    pub origin: Peer,
    pub peers: Vec<Peer>,
    pub names: Names,
    pub holds: usize,
    _directory: tempfile::TempDir,
}

impl Field {
    pub fn start(setup: &Setup) -> Self {
        let holds = rlimit::increase_nofile_limit(24_000).expect("a limit");
        let directory = tempfile::tempdir().expect("a directory");
        let origin = spawn_self("--role-origin", None, 0);
        let relay = spawn_self("--role-relay", Some(origin.plain), 1);
        let (portico, names) = spawn_portico(directory.path(), origin.plain);
        let others = [
            spawn_nginx(directory.path(), origin.plain, &names),
            spawn_haproxy(directory.path(), origin.plain, &names),
        ];
        let mut peers: Vec<Peer> =
            std::iter::once(relay).chain(others.into_iter().flatten()).chain([portico]).collect();
        peers.retain(|peer| setup.peers.contains(&peer.name));
        let holds = usize::try_from((holds - 1000) / 2).expect("a number");
        Self { origin, peers, names, holds, _directory: directory }
    }

    pub fn host_of(&self, n: usize) -> String {
        format!("{}-other-{n}.sandbox.localhost", self.origin.plain.port())
    }
}

pub fn prepare() -> Vec<(&'static str, String)> {
    Vec::new()
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Ended by id; nginx ends its own worker.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

/// What is asked of the peers: a private host with its token, a public one.
#[derive(Clone, Debug)]
pub struct Names {
    pub public: String,
    pub private: String,
    pub dead: String,
    pub unknown: String,
    pub token: String,
    /// The authority of the certificate that all of them show.
    pub authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn pinned(core: usize, program: &str) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new("taskset");
    command.arg("-c").arg((core.min(cores - 1)).to_string()).arg(program);
    command
}

/// Runs this program again on the first core: the load generator and the origin share it, every proxy has another to itself.
pub fn on_core_0(role: &str, arguments: &[String]) -> i32 {
    let program = std::env::current_exe().expect("this program");
    let mut command = pinned(0, program.to_str().expect("a path"));
    let status = command.arg(role).args(arguments).status().expect("start");
    status.code().unwrap_or(1)
}

pub fn spawn_self(role: &'static str, to: Option<SocketAddr>, core: usize) -> Peer {
    let program = std::env::current_exe().expect("this program");
    let mut command = pinned(core, program.to_str().expect("a path"));
    command.arg(role).args(to.map(|to| to.to_string())).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    let name = if role == "--role-relay" { "relay" } else { "origin" };
    let plain = line.trim().parse().expect("an address");
    Peer { name, pids: vec![child.id()], child, plain, tls: None, tokens: Vec::new(), churn: None }
}

fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port()
}

fn installed(paths: [&'static str; 2], name: &str) -> Option<&'static str> {
    let found = paths.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        println!("{name} is MISSING, and so are its columns\n");
    }
    found
}

pub fn spawn_nginx(directory: &Path, origin: SocketAddr, names: &Names) -> Option<Peer> {
    let binary = installed(["/usr/sbin/nginx", "/usr/bin/nginx"], "nginx")?;
    let (port, tls) = (free_port(), free_port());
    let config = nginx_config(directory, (port, tls), origin, names);
    let path = directory.join("nginx.conf");
    std::fs::write(&path, config).expect("write");
    let child = pinned(1, binary)
        .arg("-c")
        .arg(&path)
        .arg("-p")
        .arg(directory)
        .stderr(Stdio::inherit())
        .spawn()
        .expect("nginx");
    let plain = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for(plain);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))
        .expect("children");
    let pids = children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    let tls = Some(SocketAddr::from(([127, 0, 0, 1], tls)));
    Some(Peer { name: "nginx", pids, child, plain, tls, tokens: Vec::new(), churn: None })
}

/// Routing from host to address as Portico does it, a JSON access line for every request, kept-alive connections on both sides.
fn nginx_config(
    directory: &Path,
    (port, tls): (u16, u16),
    origin: SocketAddr,
    names: &Names,
) -> String {
    let d = directory.display();
    let mut others = String::new();
    for n in 0..OTHERS {
        writeln!(others, "        other-{n} 127.0.0.1;").expect("text");
    }
    let (certificate, key) = (names.certificate.display(), names.key.display());
    format!(
        r#"worker_processes 1; worker_rlimit_nofile 19000; daemon off; pid {d}/nginx.pid; error_log {d}/nginx-error.log crit;
events {{ worker_connections 16384; }}
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
    map $http_upgrade $switching {{ default upgrade; "" ""; }}
    upstream sandbox {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{tls} ssl http2 backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        server_name ~^(?<port>\d+)-(?<slug>[a-z0-9-]+)\.sandbox\.localhost$;
        location / {{
            if ($address = "") {{ return 404; }}
            proxy_pass http://sandbox;
            client_max_body_size 0;
            proxy_http_version 1.1;
            proxy_read_timeout 1h;
            proxy_set_header Connection $switching;
            proxy_set_header Upgrade $http_upgrade;
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

pub fn spawn_haproxy(directory: &Path, origin: SocketAddr, names: &Names) -> Option<Peer> {
    let binary = installed(["/usr/sbin/haproxy", "/usr/bin/haproxy"], "HAProxy")?;
    let (port, tls) = (free_port(), free_port());
    let mut both = std::fs::read(&names.certificate).expect("the certificate");
    both.extend(std::fs::read(&names.key).expect("the key"));
    std::fs::write(directory.join("haproxy.pem"), both).expect("write");
    let mut map = String::from("bench sandbox\npublic sandbox\n");
    for n in 0..OTHERS {
        writeln!(map, "other-{n} sandbox").expect("text");
    }
    std::fs::write(directory.join("haproxy.map"), map).expect("write");
    let path = directory.join("haproxy.cfg");
    std::fs::write(&path, haproxy_config(directory, (port, tls), origin)).expect("write");
    let log = std::fs::File::create(directory.join("haproxy.log")).expect("a log");
    let child = pinned(1, binary)
        .arg("-f")
        .arg(&path)
        .arg("-db")
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("HAProxy");
    let plain = SocketAddr::from(([127, 0, 0, 1], port));
    wait_for(plain);
    let tls = Some(SocketAddr::from(([127, 0, 0, 1], tls)));
    Some(Peer {
        name: "haproxy",
        pids: vec![child.id()],
        child,
        plain,
        tls,
        tokens: Vec::new(),
        churn: None,
    })
}

/// The same again for `HAProxy`.
fn haproxy_config(directory: &Path, (port, tls): (u16, u16), origin: SocketAddr) -> String {
    let d = directory.display();
    format!(
        r#"global
    nbthread 1
    maxconn 9000
    log stdout format raw local0 info
    tune.ssl.default-dh-param 2048
defaults
    mode http
    log global
    option http-keep-alive
    timeout client 1h
    timeout server 1h
    timeout connect 5s
    timeout tunnel 1h
    log-format '{{"time":"%t","peer":"%ci","method":"%HM","host":"%[var(txn.host)]","path":"%HP","status":%ST,"bytes_out":%B,"duration":%Ta,"sandbox":"%[var(txn.slug)]","request_id":"%[var(txn.id)]"}}'
frontend visitors
    bind 127.0.0.1:{port} backlog 4096
    bind 127.0.0.1:{tls} ssl crt {d}/haproxy.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2 backlog 4096
    http-request set-var(txn.host) req.hdr(host),lower
    http-request set-var(txn.slug) var(txn.host),field(1,.),regsub(^[0-9]+-,)
    http-request set-var(txn.port) var(txn.host),field(1,-)
    http-request set-var(txn.id) uuid
    http-request set-header Host "localhost:%[var(txn.port)]"
    http-request set-header X-Forwarded-Host %[var(txn.host)]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Request-Id %[var(txn.id)]
    use_backend %[var(txn.slug),map({d}/haproxy.map,none)]
backend sandbox
    http-reuse always
    server app {origin} pool-max-conn 128
backend none
    http-request return status 404
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
pub fn spawn_portico(directory: &Path, origin: SocketAddr) -> (Peer, Names) {
    let mut command = pinned(1, env!("CARGO_BIN_EXE_portico"));
    let data = directory.join("data");
    command.arg("dev");
    for port in ["--port", "--https-port", "--api-port", "--admin-port"] {
        command.args([port, "0"]);
    }
    command.args(["--workers", "1", "--json", "--data"]).arg(&data);
    command.arg("--log-file").arg(directory.join("portico.log")).args(["--log", "info"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("portico");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    let facts: Value = serde_json::from_str(&line).expect("facts");
    let text = |name: &str| facts[name].as_str().expect("text").to_owned();
    let address = |name: &str| {
        let port = text(name).split('/').nth(2).and_then(|a| a.rsplit(':').next()?.parse().ok());
        SocketAddr::from(([127, 0, 0, 1], port.expect("a port")))
    };
    let api = address("api_url");
    let call = |path: &str, body: Value| call(api, &text("api_key"), path, &body);
    for n in 0..OTHERS {
        call("/sandboxes", json!({ "slug": format!("other-{n}") }));
    }
    let make = |slug: &str| {
        let made = call("/sandboxes", json!({ "slug": slug }));
        made["data"]["id"].as_str().expect("an id").to_owned()
    };
    let published = json!({ "port": origin.port(), "visibility": "public" });
    call(&format!("/sandboxes/{}/previews", make("public")), published);
    let minted = call(
        &format!("/sandboxes/{}/preview-token", make("bench")),
        json!({ "expires_in": 86400 }),
    );
    let names = Names {
        public: format!("{}-public.sandbox.localhost", origin.port()),
        private: format!("{}-bench.sandbox.localhost", origin.port()),
        dead: "1-bench.sandbox.localhost".to_owned(),
        unknown: "3000-unknown.sandbox.localhost".to_owned(),
        token: minted["token"].as_str().expect("a token").to_owned(),
        authority: data.join("tls/ca.pem"),
        certificate: data.join("tls/preview.pem"),
        key: data.join("tls/preview.key"),
    };
    let (plain, tls) = (address("preview_url"), Some(address("https_url")));
    let tokens = vec![names.token.clone()];
    (
        Peer { name: "portico", pids: vec![child.id()], child, plain, tls, tokens, churn: None },
        names,
    )
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
