//! `portico share` and `dev --listen`: one port of this machine for others, by a link that ends. Here "others" come by loopback; that they
//! come by a network as well, `tests/share.sh` shows.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

use crate::support::{Connection, FakeSandbox, Process, Response, command, eventually, shake};

const NAVIGATE: &str =
    "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

const SHOWN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nshown";

/// A link, taken apart.
struct Link {
    host: String,
    target: String,
    address: SocketAddr,
}

impl Link {
    fn of(process: &Process) -> Self {
        let rest = process.fact("share_url").split_once("://").unwrap().1;
        let (host, target) = rest.split_at(rest.find('/').unwrap());
        let address = process.fact("share_address").parse().unwrap();
        Self { host: host.to_owned(), target: target.to_owned(), address }
    }

    async fn get(&self, target: &str, fields: &str) -> Response {
        self.get_from(&self.host, target, fields).await
    }

    async fn get_from(&self, host: &str, target: &str, fields: &str) -> Response {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        Connection::open(self.address).await.roundtrip(request).await
    }

    /// Opens the link, and gives the field that has the session.
    async fn open(&self) -> String {
        let opened = self.get(&self.target, NAVIGATE).await;
        assert_eq!(opened.status, 303, "{}", opened.text());
        let cookie = opened.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        format!("Cookie: {cookie}\r\n")
    }
}

fn share(data: &std::path::Path, port: u16, options: &[&str]) -> Process {
    let port = port.to_string();
    let data = data.to_str().unwrap();
    let own = [
        "share",
        &port,
        "--json",
        "--log",
        "off",
        "--data",
        data,
        "--listen",
        "127.0.0.1",
        "--port",
        "0",
    ];
    Process::run(&[&own, options].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_opens_one_port_and_nothing_else_that_runs_here() {
    let (sandbox, other) =
        (FakeSandbox::responding(SHOWN).await, FakeSandbox::well_behaved().await);
    let data = tempfile::tempdir().unwrap();
    let dev = Process::start(data.path());
    let api = dev.api();
    let public = api.sandbox("public").await;
    api.publish(&public.id, other.port(), json!({})).await;
    api.publish(&public.id, sandbox.port(), json!({})).await;

    let process = share(data.path(), sandbox.port(), &["--http"]);
    let link = Link::of(&process);
    assert!(
        link.host.ends_with(&format!(".127-0-0-1.sslip.io:{}", link.address.port())),
        "{}",
        link.host
    );
    assert_eq!(link.get("/", "").await.status, 401);
    assert_eq!(link.get(&format!("{}x", link.target), "").await.status, 401);
    let session = link.open().await;
    assert_eq!(link.get("/", &session).await.text(), "shown");

    // What is public elsewhere, by every name that leads there; the other ports of the same sandbox; the API.
    let zone = link.host.split_once('.').unwrap().1;
    let name = link.host.split_once('.').unwrap().0.split_once('-').unwrap().1;
    for host in [
        format!("{}-public.{zone}", other.port()),
        format!("{}-public.{zone}", sandbox.port()),
        format!("{}-{}.{zone}", other.port(), public.id),
        format!("{}-public.sandbox.localhost", other.port()),
        format!("3000-demo.{zone}"),
        format!("{}-{name}.{zone}", other.port()),
        zone.to_owned(),
        link.address.to_string(),
    ] {
        let response = link.get_from(&host, "/api/v1/whoami", &session).await;
        assert_eq!(response.status, 404, "{host}: {}", response.text());
    }
    assert_eq!(other.connections(), 0);

    // In another terminal.
    let id = process.fact("share_id").to_owned();
    let revoke: Vec<&str> = process.fact("revoke").split(' ').skip(1).collect();
    assert_eq!(revoke[..3], ["share", "revoke", &id]);
    let done = command(&revoke, None);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    eventually("the session is dead", async || link.get("/", &session).await.status == 403).await;
    let dead = link.get(&link.target, NAVIGATE).await;
    assert_eq!((dead.status, dead.field("x-preview-error")), (403, Some("share_revoked")));
    process.terminate();
    assert!(process.ended().await.success());
    let left = api.ok("GET", "/sandboxes", None).await.to_string();
    assert!(!left.contains("portico-share"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_ends_with_its_time_and_with_the_process() {
    let sandbox = FakeSandbox::well_behaved().await;
    let data = tempfile::tempdir().unwrap();
    let process = share(data.path(), sandbox.port(), &["--http", "--for", "3s"]);
    let link = Link::of(&process);
    let session = link.open().await;
    assert_eq!(link.get("/", &session).await.status, 200);
    eventually("its time is over", async || link.get("/", &session).await.status == 410).await;
    let dead = link.get(&link.target, NAVIGATE).await;
    assert_eq!((dead.status, dead.field("x-preview-error")), (410, Some("share_expired")));
    process.kill();

    // Killed, it leaves a sandbox that nobody needs; the next one clears it away. By its address alone it is reached as well.
    let process = share(data.path(), sandbox.port(), &["--http", "--name-suffix", "none"]);
    let link = Link::of(&process);
    assert_eq!(link.host, format!("127.0.0.1:{}", link.address.port()));
    let session = link.open().await;
    assert_eq!(link.get("/", &session).await.status, 200);
    assert_eq!(link.get("/", "").await.status, 401);
    let listed = command(&["sandbox", "list", "--tenant", "dev", "--data"], Some(data.path()));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.to_lowercase().matches("running").count(), 1, "{listed}");
    process.terminate();
    assert!(process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_certificate_holds_for_its_name_and_its_address() {
    let sandbox = FakeSandbox::responding(SHOWN).await;
    let data = tempfile::tempdir().unwrap();
    let process = share(data.path(), sandbox.port(), &[]);
    let link = Link::of(&process);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(process.fact("share_ca")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = Arc::new(client.unwrap().with_root_certificates(roots).with_no_client_auth());
    let name = link.host.split(':').next().unwrap();
    for name in [name, "127.0.0.1"] {
        let socket = shake(link.address, name, Arc::clone(&client)).await.unwrap();
        let request =
            format!("GET /?{} HTTP/1.1\r\nHost: {}\r\n\r\n", &link.target[2..], link.host);
        assert_eq!(Connection::over(socket).roundtrip(request).await.text(), "shown");
    }
    assert!(shake(link.address, "localhost", client).await.is_err());
    let plain = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", link.host);
    let mut visitor = Connection::open(link.address).await;
    visitor.send(plain).await;
    assert!(
        visitor.headers().await.is_none_or(|response| response.status == 400),
        "nothing is served without TLS"
    );
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_shows_the_same_app_to_others() {
    let sandbox = FakeSandbox::responding(SHOWN).await;
    let data = tempfile::tempdir().unwrap();
    let port = sandbox.port().to_string();
    let options = ["--log", "off", "--to", &port, "--listen", "127.0.0.1", "--http"];
    let process = Process::start_with(data.path(), &options);
    let link = Link::of(&process);
    let session = link.open().await;
    assert_eq!(link.get("/", &session).await.text(), "shown");
    let (host, target) = process.link();
    let by_dev = process.connect().await;
    let mut by_dev = by_dev;
    let opened =
        by_dev.roundtrip(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{NAVIGATE}\r\n")).await;
    assert_eq!(opened.status, 303);
    assert_eq!(
        link.get_from(host, target, NAVIGATE).await.status,
        404,
        "dev's own link opens nothing there"
    );
    process.terminate();
    assert!(process.ended().await.success());
}

#[test]
fn what_cannot_be_shared_is_said_before_anything_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let run = |arguments: &[&str]| {
        let own = ["share", "--data", data.to_str().unwrap(), "--log", "off"];
        let done = command(&[&own, arguments].concat(), None);
        assert!(!done.status.success(), "{arguments:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    for (arguments, said) in [
        (&["0"][..], "needs the port that your app listens on"),
        (&["22"][..], "port 22 cannot be previewed"),
        (&["5173", "--listen", "203.0.113.254"][..], "is not an address of this machine"),
        (&["5173", "--listen", "0.0.0.0"][..], "one address of this machine"),
        (&["5173", "--for", "8d"][..], "from `1s` to `7d`"),
        (&["example.com:80"][..], "is not this machine"),
        (&["https://localhost:5173"][..], "`https://` is not supported here"),
        (&[][..], "PORT|URL"),
    ] {
        let all = run(arguments);
        assert!(all.contains(said), "{arguments:?}: {all}");
    }
    assert!(!data.exists(), "nothing was begun");
    let hint = command(&["http", "5173"], None);
    let hint = String::from_utf8(hint.stderr).unwrap();
    assert!(hint.contains("portico dev 5173") && hint.contains("portico share 5173"), "{hint}");
}
