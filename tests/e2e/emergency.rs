//! After a leak: all tokens end at once. And what the listeners say at their roots, where somebody looks first.

use serde_json::json;

use crate::support::{Connection, FakeSandbox, Process, command, eventually};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn replacing_the_signing_keys_voids_every_token_and_cuts_what_is_open_under_one() {
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while let Some(headers) = exchange.headers().await {
            if headers.to_ascii_lowercase().contains("upgrade: websocket") {
                exchange.send(SWITCHED).await;
                let (mut read, mut write) = exchange.socket.into_split();
                drop(tokio::io::copy(&mut read, &mut write).await);
                return;
            }
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        }
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path());
    let api = process.api();
    let mine = api.sandbox("mine").await.id;
    let host = format!("{}-mine.sandbox.localhost", sandbox.port());
    let get = |token: &str, more: &str| {
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    let tunnel = async |token: &str| {
        let mut tunnel = process.connect().await;
        tunnel.send(get(token, HANDSHAKE)).await;
        assert_eq!(tunnel.headers().await.unwrap().status, 101);
        tunnel
    };
    let status = async |token: &str| process.connect().await.roundtrip(get(token, "")).await.status;
    let run = |arguments: &[&str]| {
        let done = command(&[arguments, &["--data"]].concat(), Some(data.path()));
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let (old, _) = api.token(&mine, json!({"scope": "interact"})).await;
    let mut open = tunnel(&old).await;

    // An ordinary rotation leaves both.
    run(&["key", "rotate-signing"]);
    let listed = run(&["key", "list-signing"]);
    // Below their heading.
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.lines().nth(1).unwrap().ends_with("signs and verifies"), "{listed}");
    let signed_by = |token: &str| token.split('.').next().unwrap().to_owned();
    let mut newer = old.clone();
    eventually("the new key signs", async || {
        newer = api.token(&mine, json!({"scope": "interact"})).await.0;
        signed_by(&newer) != signed_by(&old)
    })
    .await;
    assert_eq!((status(&old).await, status(&newer).await), (200, 200));
    open.send("still").await;
    assert_eq!(open.exactly(5).await, b"still");
    let mut other = tunnel(&newer).await;

    let said = run(&["key", "rotate-signing", "--revoke-old"]);
    assert!(said.contains("all previous tokens are invalid"), "{said}");
    // The one that stands in the middle of a frame just ends; the other is told why by a close frame.
    let cut = async { (open.is_closed().await, other.rest().await) };
    let cut = tokio::time::timeout(std::time::Duration::from_secs(2), cut).await;
    let (ended, farewell) = cut.expect("what is open is cut at once");
    assert!(ended && farewell.first() == Some(&0x88), "{ended} {farewell:?}");
    assert_eq!((status(&old).await, status(&newer).await), (401, 401));
    assert_eq!(run(&["key", "list-signing"]).lines().count(), 2);
    let (fresh, _) = api.token(&mine, json!({"scope": "interact"})).await;
    assert_eq!(status(&fresh).await, 200);
    let audit = run(&["audit"]);
    assert!(audit.contains("signing_key.replace"), "{audit}");
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roots_of_the_listeners_say_what_is_there() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path());
    let front = process.admin("/").await;
    let said = front.json();
    assert_eq!((front.status, &said["service"]), (200, &json!("portico")));
    assert_eq!(said["links"]["metrics"], "/metrics");
    let preview = process.preview().to_string();
    assert_eq!(said["listeners"]["preview.listen"], preview.as_str());
    let api = process.api().address;
    let get = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {api}\r\n\r\n");
        Connection::open(api).await.roundtrip(request).await
    };
    for path in ["/", "/api", "/api/v1"] {
        let front = get(path).await;
        assert_eq!(front.status, 200, "{path}");
        assert!(front.text().contains("href=\"/api/v1/docs\""), "{path}");
    }
    assert_eq!(get("/api/v1/docs").await.status, 200);
    assert_eq!(get("/nowhere").await.status, 404);

    let plain = process.admin("/metrics").await;
    assert_eq!(plain.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = plain.text();
    for line in [
        "# TYPE portico_requests_total counter",
        &format!("portico_build_info{{version=\"{}\",", env!("CARGO_PKG_VERSION")),
        "process_open_fds ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let admin = process.fact("admin_url").strip_prefix("http://").unwrap();
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n"
    );
    let newer = Connection::open(admin.parse().unwrap()).await.roundtrip(request).await;
    assert!(newer.field("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(newer.text().ends_with("# EOF\n"));
    process.kill();
}

#[test]
fn check_tells_of_what_is_probably_not_meant_and_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    let check = |more: &str| {
        std::fs::write(&file, format!("[preview]\nzones = [\"sandbox.example.com\"]\n[networks]\nallow = [\"127.0.0.0/8\"]\n{more}"))
            .unwrap();
        let done = command(&["check", "--config"], Some(&file));
        let said = [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap());
        (done.status.success(), said.concat())
    };
    let (good, said) = check("");
    assert!(good && said.contains("configuration OK"), "{said}");
    let (good, said) = check("[tl]\n[foo]\n");
    assert!(!good && said.contains("[tl]: is not a section; did you mean [tls]?"), "{said}");
    assert!(said.contains("[foo]: is not a section"), "{said}");
    let pair = "certificates = [{ certificate = \"a.pem\", key = \"a.key\" }]";
    let (good, said) = check(&format!("[tls]\n{pair}\n"));
    assert!(good && said.contains("warning: tls.listen: is missing"), "{said}");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (good, said) = check(&format!("[tls]\nlisten = \"127.0.0.1:0\"\ndirectory = {empty:?}\n"));
    assert!(!good && said.contains(&format!("no certificate in {}", empty.display())), "{said}");
}
