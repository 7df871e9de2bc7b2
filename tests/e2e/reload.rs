//! Signals to a running process: what is read again, what is not, and that none kills it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Api, Authority, Connection, FakeSandbox, Process, eventually};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A served folder: its configuration, its log, its process.
struct Served {
    folder: tempfile::TempDir,
    process: Process,
    api: Api,
}

impl Served {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), more);
        let file = folder.path().join("portico.toml");
        let (process, api) = Process::serve(file.to_str().unwrap());
        Self { folder, process, api }
    }

    fn write(&self, more: &str) {
        write(self.folder.path(), more);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Has the configuration read again, and waits until the log tells of it.
    async fn reload(&self) {
        let told = |log: &str| {
            log.matches("the configuration is reloaded").count()
                + log.matches("the one before stays in force").count()
        };
        let before = told(&self.log());
        self.process.signal("HUP");
        eventually("the reload is told", async || told(&self.log()) > before).await;
    }

    async fn visit(&self, request: &str) -> crate::support::Response {
        let preview = self.process.fact("preview").parse().unwrap();
        Connection::open(preview).await.roundtrip(request).await
    }

    /// Publishes a port of a sandbox; gives its host.
    async fn public(&self, slug: &str, sandbox: &FakeSandbox) -> String {
        let order = json!({"slug": slug, "upstream": format!("127.0.0.1:{}", sandbox.port())});
        let made = self.api.ok("POST", "/sandboxes", Some(order)).await;
        self.api.publish(made["id"].as_str().unwrap(), 3000, json!({})).await;
        format!("3000-{slug}.sandbox.example.com")
    }
}

fn write(folder: &Path, more: &str) {
    let zones = "zones = [\"sandbox.example.com\"]\n";
    let listen = "listen = \"127.0.0.1:0\"\n";
    let (data, log) = (folder.join("data"), folder.join("log"));
    let networks = if more.contains("[networks]") { "" } else { LOOPBACK };
    let text = format!(
        "{more}\n{networks}[preview]\n{listen}{zones}[api]\n{listen}[admin]\n{listen}[store]\ndata = \"{}\"\n\
         [log]\nformat = \"json\"\nfile = \"{}\"\n",
        data.display(),
        log.display()
    );
    std::fs::write(folder.join("portico.toml"), text).unwrap();
}

fn get(host: &str, fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

const LOOPBACK: &str = "[networks]\nallow = [\"127.0.0.0/8\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn no_signal_but_the_usual_two_ends_the_process() {
    let mut served = Served::start("");
    let data = tempfile::tempdir().unwrap();
    let mut dev = Process::start(data.path());
    for signal in ["HUP", "USR1", "USR2", "HUP"] {
        served.process.signal(signal);
        dev.signal(signal);
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(served.process.is_running() && dev.is_running(), "{signal}");
    }
    eventually("all of them are told", async || {
        let log = served.log();
        log.contains("SIGUSR2 does nothing")
            && log.contains("the log file is reopened")
            && log.matches("the configuration is reloaded").count() == 2
    })
    .await;
    assert_eq!(dev.admin("/readyz").await.status, 200);
    dev.terminate();
    assert!(dev.ended().await.success());
    served.process.terminate();
    assert!(served.process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_networks_and_the_rest_are_taken_over_while_connections_go_on() {
    let sandbox = FakeSandbox::well_behaved().await;
    let served = Served::start(LOOPBACK);
    let host = served.public("mine", &sandbox).await;
    assert_eq!(served.visit(&get(&host, "")).await.status, 200);

    // A connection that was open before goes on.
    let preview = served.process.fact("preview").parse().unwrap();
    let mut kept = Connection::open(preview).await;
    assert_eq!(kept.roundtrip(get(&host, "")).await.status, 200);

    served.write(&format!("{LOOPBACK}[limits]\npublic_rate = 1\npublic_burst = 1\n"));
    served.reload().await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(kept.roundtrip(get(&host, "")).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");

    served.write("[networks]\nallow = [\"127.0.0.0/8\"]\ndeny = [\"127.0.0.1/32\"]\n[limits]\npublic_rate = 0\n");
    served.reload().await;
    eventually("the address may not be dialled", async || {
        served.visit(&get(&host, "")).await.status == 502
    })
    .await;
    let order = json!({"slug": "denied", "upstream": "127.0.0.1:3000"});
    assert_eq!(served.api.call("POST", "/sandboxes", Some(order)).await.status, 422);

    served.write(&format!("{LOOPBACK}[limits]\nrequest_head_bytes = 1024\nconnections = 1\n"));
    served.reload().await;
    drop(kept);
    let long = format!("X-Long: {}\r\n", "x".repeat(3000));
    eventually("long headers are refused", async || {
        served.visit(&get(&host, &long)).await.status == 431
    })
    .await;
    let mut one = None;
    eventually("the only connection is served", async || {
        // The one before has to go first.
        drop(one.take());
        let mut next = Connection::open(preview).await;
        let is_served = next.roundtrip(get(&host, "")).await.status == 200;
        one = Some(next);
        is_served
    })
    .await;
    assert_eq!(served.visit(&get(&host, "")).await.status, 503);
    drop(one);

    served.write(&format!("{LOOPBACK}[usage]\nprice_gib = 5\n"));
    served.reload().await;
    assert!(served.log().contains("usage.price_gib"), "{}", served.log());
    served.process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_errors_changes_nothing_and_what_needs_a_restart_is_named() {
    let served = Served::start("");
    served.write("[limits]\nsandbox_rate = -1\nconections = 1\n");
    served.reload().await;
    eventually("every error is told", async || {
        let log = served.log();
        log.contains("limits.sandbox_rate: must be") && log.contains("limits.conections: is not")
    })
    .await;
    served.write("[shutdown]\ndrain = \"2s\"\n[dns]\ntimeout = \"2s\"\n[usage]\nflush = \"1s\"\n");
    served.reload().await;
    let log = served.log();
    assert!(log.contains("changed but needs a restart: dns.timeout, usage.flush\""), "{log}");
    assert!(log.contains("\"changed\":\"shutdown.drain\""), "{log}");

    served.write("[tls]\nlisten = \"127.0.0.1:0\"\ndirectory = \"/nowhere\"\n");
    served.reload().await;
    assert!(served.log().contains("/nowhere"), "what the file leads to is looked at as well");
    served.process.terminate();
    assert!(served.process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_log_goes_on_in_a_new_file_and_its_filter_changes() {
    let sandbox = FakeSandbox::well_behaved().await;
    let served = Served::start(LOOPBACK);
    let host = served.public("mine", &sandbox).await;
    let (log, moved) = (served.folder.path().join("log"), served.folder.path().join("log.1"));
    for signal in ["USR1", "HUP"] {
        std::fs::rename(&log, &moved).unwrap();
        served.process.signal(signal);
        eventually("the new file is there", async || log.exists()).await;
        served.visit(&get(&host, "X-Test: one\r\n")).await;
        eventually("requests are logged there", async || served.log().contains("portico::access"))
            .await;
        let size = moved.metadata().unwrap().len();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(moved.metadata().unwrap().len(), size, "{signal}: the old one has ended");
    }
    let file = served.folder.path().join("portico.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "filter = \"info,portico::access=off\"\n").unwrap();
    served.reload().await;
    let before = served.log().matches("portico::access").count();
    for _ in 0..3 {
        served.visit(&get(&host, "")).await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(served.log().matches("portico::access").count(), before);
    served.process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_outlives_a_reload_and_drain_is_taken_over() {
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n").await;
        let (mut read, mut write) = exchange.socket.into_split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await;
    let served = Served::start(LOOPBACK);
    let host = served.public("mine", &sandbox).await;
    let mut tunnel = Connection::open(served.process.fact("preview").parse().unwrap()).await;
    tunnel.send(get(&host, HANDSHAKE)).await;
    assert_eq!(tunnel.headers().await.unwrap().status, 101);
    served.write(&format!("{LOOPBACK}[shutdown]\ndrain = \"300ms\"\n"));
    served.reload().await;
    tunnel.send("still").await;
    assert_eq!(tunnel.exactly(5).await, b"still");
    let began = std::time::Instant::now();
    served.process.terminate();
    assert!(served.process.ended().await.success());
    assert!(began.elapsed() < Duration::from_secs(10), "the new drain counts, not 30 s");
}

/// The certificate that is shown at an address.
async fn shown(authority: &Authority, address: std::net::SocketAddr) -> Option<Vec<u8>> {
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(authority.client(&[])));
    let socket = tokio::net::TcpStream::connect(address).await.ok()?;
    let name = rustls::pki_types::ServerName::try_from("3000-a.sandbox.example.com").unwrap();
    let stream = connector.connect(name, socket).await.ok()?;
    let (_, session) = stream.get_ref();
    Some(session.peer_certificates()?.first()?.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_used_when_the_process_is_told_to_look() {
    let authority = Authority::new();
    for name in ["one", "other"] {
        authority.issue(name, &["*.sandbox.example.com"]);
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tls = |name: &str| {
        let at = |ending: &str| authority.directory().join(format!("{name}.{ending}"));
        format!(
            "[tls]\nlisten = \"{free}\"\nreload = 0\ncertificates = [{{ certificate = {:?}, key = {:?} }}]\n",
            at("pem"),
            at("key")
        )
    };
    let served = Served::start(&tls("one"));
    let first = shown(&authority, free).await.expect("a certificate");
    // The same names in new files, then new contents in the same files.
    for name in ["other", "one"] {
        if name == "one" {
            authority.issue(name, &["*.sandbox.example.com"]);
        }
        served.write(&tls(name));
        served.reload().await;
        eventually("another certificate is shown", async || {
            shown(&authority, free).await.is_some_and(|now| now != first)
        })
        .await;
    }
    served.process.kill();
}
