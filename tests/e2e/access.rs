//! Credentials over real sockets: links, sessions, revocation of what is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portico::base::clock::Clock;
use serde_json::json;

use crate::support::{Connection, FakeSandbox, Portico, SandboxHandle, eventually};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub async fn sockets_and_streams() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        if headers.contains("upgrade: websocket") {
            exchange
                .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x01\x02hi")
                .await;
        } else if headers.contains("GET /hang") {
            // No response at all.
        } else {
            exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
        }
        while exchange.read_more().await {}
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_becomes_a_session_that_keeps_its_limits() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, id) =
        portico.api.token(&target.id, json!({"port": sandbox.port(), "expires_in": 600})).await;
    let navigate = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n";
    let opened = portico.visit(target.get(&format!("/p?a=1&mt={token}"), navigate)).await;
    assert_eq!((opened.status, opened.field("location")), (303, Some("/p?a=1")));
    assert_eq!(opened.field("cache-control"), Some("no-store"));
    assert_eq!(opened.field("referrer-policy"), Some("no-referrer"));
    let cookie = opened.field("set-cookie").unwrap();
    assert!(
        cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=600")
            || cookie.contains("Max-Age=59"),
        "{cookie}"
    );
    assert_eq!(sandbox.connections(), 0, "the app does not see the link");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(portico.visit(target.get("/p?a=1", &cookie)).await.status, 200);
    // The session is for this port, and for reading.
    let other =
        SandboxHandle { host: format!("1-{}.sandbox.localhost", target.slug), ..target.clone() };
    assert_eq!(portico.visit(other.get("/", &cookie)).await.status, 403);
    let post = target
        .get("/", &format!("{cookie}Origin: http://{}\r\n", target.host))
        .replacen("GET", "POST", 1);
    let refused = portico.visit(post).await;
    assert_eq!(
        (refused.status, refused.field("x-preview-error")),
        (403, Some("insufficient_scope"))
    );
    portico.api.ok("DELETE", &format!("/sandboxes/{}/preview-tokens/{id}", target.id), None).await;
    let revoked = portico.visit(target.get("/p?a=1", &cookie)).await;
    assert_eq!((revoked.status, revoked.field("x-preview-error")), (401, Some("token_revoked")));
}

/// Opens a WebSocket, a stream and a request that hangs; gives back how long each took to end after `end`.
async fn time_to_end(
    portico: &Portico,
    target: &SandboxHandle,
    fields: &str,
    end: impl Future<Output = ()>,
) -> Vec<(&'static str, Duration, Vec<u8>)> {
    let mut socket = portico.connect().await;
    socket.send(target.get("/socket", &format!("{HANDSHAKE}{fields}"))).await;
    assert_eq!(socket.headers().await.unwrap().status, 101);
    assert_eq!(socket.exactly(4).await, b"\x01\x02hi");
    let mut stream = portico.connect().await;
    stream.send(target.get("/stream", fields)).await;
    assert_eq!(stream.headers().await.unwrap().status, 200);
    assert_eq!(stream.chunk().await.unwrap(), b"hi");
    let mut hanging = portico.connect().await;
    hanging.send(target.get("/hang", fields)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    end.await;
    let since = Instant::now();
    let mut took = Vec::new();
    for (name, connection) in [("socket", &mut socket), ("stream", &mut stream)] {
        let rest = connection.rest().await;
        took.push((name, since.elapsed(), rest));
    }
    let response = hanging.headers().await.map_or(0, |headers| headers.status);
    took.push(("hanging", since.elapsed(), response.to_string().into_bytes()));
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_what_is_open() {
    let portico = Portico::start().await;
    let sandbox = sockets_and_streams().await;
    let target = portico.private("mine", sandbox.port()).await;
    let base = format!("/sandboxes/{}", target.id);
    for way in ["one", "all", "destroy"] {
        let (token, id) = portico.api.token(&target.id, json!({"scope": "interact"})).await;
        let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
        let (path, label) = match way {
            "one" => (format!("{base}/preview-tokens/{id}"), "token_revoked"),
            "all" => (format!("{base}/preview-tokens"), "token_revoked"),
            _ => (base.clone(), "not_found"),
        };
        let code: u16 = if way == "destroy" { 4404 } else { 4401 };
        let end = async { drop(portico.api.ok("DELETE", &path, None).await) };
        for (name, took, rest) in time_to_end(&portico, &target, &fields, end).await {
            println!("{way}: {name} ended {took:?} after the call had returned");
            match name {
                "socket" => {
                    let mut frame = vec![0x88, 2 + label.len() as u8];
                    frame.extend_from_slice(&code.to_be_bytes());
                    frame.extend_from_slice(label.as_bytes());
                    assert_eq!(rest, frame, "{way}");
                }
                "stream" => {
                    assert!(!rest.ends_with(b"0\r\n\r\n"), "{way}: the stream looks complete");
                }
                _ => assert_eq!(rest, if way == "destroy" { b"404" } else { b"401" }, "{way}"),
            }
            // The bound is for a noisy machine; what is measured is printed above.
            assert!(took < Duration::from_secs(2), "{way}: {name} took {took:?}");
        }
    }
}

/// A visitor that takes nothing leaves no moment in which more of the response would be asked for.
#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_a_stream_that_nobody_reads() {
    let portico = Portico::start().await;
    let (gone, mut left) = tokio::sync::mpsc::channel(1);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let (gone, sent) = (gone.clone(), Arc::clone(&counted));
        async move {
            exchange.headers().await;
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await;
            while exchange.send(vec![b'x'; 16 << 10]).await {
                sent.fetch_add(1, Ordering::Relaxed);
            }
            gone.send(Instant::now()).await.unwrap();
        }
    })
    .await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, id) = portico.api.token(&target.id, json!({})).await;
    let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/", &fields)).await;
    assert_eq!(visitor.headers().await.unwrap().status, 200);
    let mut before = usize::MAX;
    eventually("the sandbox is held back", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = sent.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now
    })
    .await;
    portico.api.ok("DELETE", &format!("/sandboxes/{}/preview-tokens/{id}", target.id), None).await;
    let revoked = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(5), left.recv()).await;
    let took = ended.expect("the exchange is cut").unwrap().saturating_duration_since(revoked);
    println!("ended {took:?} after the call had returned");
    assert!(took < Duration::from_secs(2), "{took:?}");
    // The kernel threw away what it still held for this visitor.
    assert!(visitor.rest().await.len() < before * (16 << 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_lapses_ends_what_was_public() {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let sandbox = sockets_and_streams().await;
    let target = portico.private("mine", sandbox.port()).await;
    let publish = async |seconds: u64| {
        portico.api.publish(&target.id, sandbox.port(), json!({"expires_in": seconds})).await
    };
    publish(60).await;
    // What is open when the time is extended stays open beyond the first end.
    let mut early = portico.connect().await;
    early.send(target.get("/stream", "")).await;
    assert_eq!(early.headers().await.unwrap().status, 200);
    assert_eq!(early.chunk().await.unwrap(), b"hi");
    publish(120).await;
    clock.advance(Duration::from_secs(90));
    let ended = tokio::time::timeout(Duration::from_millis(300), early.is_closed()).await;
    assert!(ended.is_err(), "what was extended ended at the first end");
    let end = async { clock.advance(Duration::from_secs(30)) };
    for (name, took, rest) in time_to_end(&portico, &target, "", end).await {
        println!("{name} ended {took:?} after the preview's end");
        assert!(took < Duration::from_secs(2), "{name} took {took:?}");
        match name {
            "socket" => assert_eq!(rest, b"\x88\x10\x11\x31sign_in_needed"),
            "stream" => assert!(!rest.ends_with(b"0\r\n\r\n"), "the stream looks complete"),
            _ => assert_eq!(rest, b"401"),
        }
    }
    early.rest().await;
    assert_eq!(portico.visit(target.get("/", "")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_goes_private_ends_what_was_public() {
    let portico = Portico::start().await;
    let sandbox = sockets_and_streams().await;
    let target = portico.public("mine", sandbox.port()).await;
    let end = async {
        portico.api.publish(&target.id, sandbox.port(), json!({"visibility": "private"})).await;
    };
    for (name, took, rest) in time_to_end(&portico, &target, "", end).await {
        assert!(took < Duration::from_secs(2), "{name} took {took:?}");
        if name == "socket" {
            assert_eq!(rest, b"\x88\x10\x11\x31sign_in_needed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_ends_what_is_open() {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let sandbox = sockets_and_streams().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({"expires_in": 10})).await;
    let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
    let end = async { clock.advance(Duration::from_secs(10)) };
    for (name, took, rest) in time_to_end(&portico, &target, &fields, end).await {
        println!("{name} ended {took:?} after the token's end");
        assert!(took < Duration::from_secs(2), "{name} took {took:?}");
        if name == "socket" {
            assert_eq!(rest, b"\x88\x0f\x11\x31token_expired");
        }
    }
    assert_eq!(portico.visit(target.get("/", &fields)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_one_rotation_of_the_signing_key_and_not_two() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({})).await;
    let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
    let status = async || portico.visit(target.get("/", &fields)).await.status;
    assert_eq!(status().await, 200);
    portico.running.state.store.rotate_signing_key().await.unwrap();
    // The header of a token names its key.
    let key = |token: &str| token.split('.').next().map(str::to_owned);
    let mut newer = String::new();
    eventually("tokens are minted with the new key", async || {
        newer = portico.api.token(&target.id, json!({})).await.0;
        key(&newer) != key(&token)
    })
    .await;
    assert_eq!(status().await, 200);
    portico.running.state.store.rotate_signing_key().await.unwrap();
    eventually("the first key is gone", async || status().await == 401).await;
    let newer = format!("X-Miosa-Preview-Token: {newer}\r\n");
    assert_eq!(portico.visit(target.get("/", &newer)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_credential_is_in_the_metrics() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({})).await;
    portico.visit(target.get(&format!("/?mt={token}"), "")).await;
    let mut metrics = String::new();
    // A request is counted once its last byte is out, which the visitor may see first.
    eventually("the request is counted", async || {
        let mut admin = Connection::open(portico.running.admin).await;
        metrics = admin
            .roundtrip("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .text();
        metrics.contains("portico_requests_total{source=\"app\",class=\"2xx\"} 1")
    })
    .await;
    assert!(
        !metrics.contains("mp_")
            && !metrics.contains(&target.slug)
            && !metrics.contains(&target.id)
    );
    let ready = Connection::open(portico.running.admin)
        .await
        .roundtrip("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(ready.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_approved_without_asking_the_app() {
    let portico = Portico::start().await;
    let app = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", app.port()).await;
    let at = |port: u16| {
        let host = format!("{port}-{}.sandbox.localhost", target.slug);
        let fields = format!(
            "Origin: http://9-{}.sandbox.localhost\r\nAccess-Control-Request-Method: PUT\r\n",
            target.slug
        );
        SandboxHandle { host, ..target.clone() }.get("/data", &fields).replacen("GET", "OPTIONS", 1)
    };
    // Whether anything listens there or not, and whatever the sandbox does.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [app.port(), closed] {
        let approved = portico.visit(at(port)).await;
        assert_eq!((approved.status, approved.text().as_str()), (204, ""));
        assert_eq!(approved.field("access-control-allow-methods"), Some("PUT"));
        assert!(approved.field("vary").unwrap().starts_with("Origin, "));
    }
    portico.api.ok("POST", &format!("/sandboxes/{}/pause", target.id), None).await;
    assert_eq!(portico.visit(at(app.port())).await.status, 204);
    // With content it is no preflight, whatever it says.
    let loaded = at(app.port()).replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(portico.visit(loaded).await.status, 401);
    assert_eq!(app.connections(), 0);
}
