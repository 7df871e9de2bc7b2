//! `WebSockets` and other switched connections.

use serde_json::json;

use crate::support::{FakeSandbox, Portico};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A sandbox that agrees to every WebSocket and echoes bytes.
async fn echoing(extra: &'static str) -> FakeSandbox {
    FakeSandbox::scripted(move |mut exchange| async move {
        exchange.headers().await;
        exchange.send(format!("{AGREED}{extra}\r\n")).await;
        let (mut read, mut write) = exchange.socket.into_split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_a_transparent_tunnel() {
    let portico = Portico::start().await;
    let sandbox = echoing("Sec-WebSocket-Protocol: vite-hmr\r\n").await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let fields = format!(
        "{HANDSHAKE}Sec-WebSocket-Protocol: vite-hmr\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    );
    // Bytes sent before the response wait for it, and are not taken for a request.
    visitor.send(target.get("/socket", &fields) + "GET /smuggled HTTP/1.1\r\n\r\n").await;
    let response = visitor.headers().await.unwrap();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("sec-websocket-protocol"), Some("vite-hmr"));
    assert_eq!(
        (response.field("upgrade"), response.field("connection")),
        (Some("websocket"), Some("Upgrade"))
    );
    assert_eq!(visitor.exactly(26).await, b"GET /smuggled HTTP/1.1\r\n\r\n");
    let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    visitor.send(&bytes).await;
    assert!(visitor.exactly(bytes.len()).await == bytes);
    visitor.finish_sending().await;
    assert!(visitor.is_closed().await, "a half-closed tunnel ends when the other half does");
    let received = sandbox.received_text();
    assert!(
        received.contains("connection: Upgrade\r\nupgrade: websocket\r\n")
            || received.contains("upgrade: websocket")
    );
    assert!(received.contains("sec-websocket-extensions: permessage-deflate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_protocol_may_be_switched_to_as_well() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: telepathy/2\r\n\r\nhello").await;
        exchange.until(b"bye").await;
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/", "Connection: Upgrade\r\nUpgrade: telepathy/2\r\n")).await;
    assert_eq!(visitor.headers().await.unwrap().status, 101);
    assert_eq!(visitor.exactly(5).await, b"hello");
    visitor.send("bye").await;
    assert!(visitor.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_does_not_match_is_refused() {
    let portico = Portico::start().await;
    for (index, reply) in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = FakeSandbox::responding(reply).await;
        let target = portico.public(&format!("fake{index}"), sandbox.port()).await;
        let response = portico.visit(target.get("/", HANDSHAKE)).await;
        assert_eq!((response.status, response.field("x-preview-error")), (502, Some("bad_response")), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_declines_an_upgrade_responds_like_any_other() {
    let portico = Portico::start().await;
    let sandbox =
        FakeSandbox::responding("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno")
            .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    assert_eq!(visitor.roundtrip(target.get("/", HANDSHAKE)).await.status, 426);
    assert_eq!(visitor.roundtrip(target.get("/", "")).await.text(), "no");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_websocket_tells_a_browser_why_and_a_program_by_status() {
    let portico = Portico::start().await;
    let sandbox = echoing("").await;
    let target = portico.private("mine", sandbox.port()).await;
    let mut browser = portico.connect().await;
    let origin = format!("Origin: http://{}\r\n", target.host);
    browser.send(target.get("/", &format!("{HANDSHAKE}{origin}"))).await;
    let response = browser.headers().await.unwrap();
    assert_eq!(response.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(browser.rest().await, b"\x88\x10\x11\x31sign_in_needed");
    let response = portico.visit(target.get("/", HANDSHAKE)).await;
    assert_eq!(response.status, 401);
    assert_eq!(sandbox.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_among_the_subprotocols_opens_the_socket_and_stays_with_us() {
    let portico = Portico::start().await;
    let sandbox = echoing("").await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({})).await;
    let mut visitor = portico.connect().await;
    let fields = format!(
        "{HANDSHAKE}Sec-WebSocket-Protocol: bearer.{token}\r\nOrigin: https://evil.example\r\n"
    );
    visitor.send(target.get("/", &fields)).await;
    let response = visitor.headers().await.unwrap();
    assert_eq!(response.status, 101);
    // A browser that offered subprotocols fails a connection that agrees to none of them.
    assert_eq!(response.field("sec-websocket-protocol"), Some(format!("bearer.{token}").as_str()));
    assert!(!sandbox.received_text().contains("mp_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_one_hop_stays_there_also_when_protocols_are_switched() {
    let portico = Portico::start().await;
    let sandbox = echoing(
        "Connection: X-Hop-Down\r\nX-Hop-Down: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
         X-Preview-Error: forged\r\nX-Sandbox-Id: forged\r\nX-End: kept\r\n",
    )
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let fields = HANDSHAKE
        .replace("Connection: Upgrade", "Connection: keep-alive, Upgrade, X-Hop-Up")
        + "X-Hop-Up: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
           TE: gzip\r\nX-End: kept\r\n";
    visitor.send(target.get("/socket", &fields)).await;
    let response = visitor.headers().await.unwrap();
    assert_eq!((response.status, response.field("x-end")), (101, Some("kept")));
    assert_eq!(response.all("connection"), ["Upgrade"]);
    assert_eq!(response.all("upgrade"), ["websocket"]);
    for gone in
        ["x-hop-down", "keep-alive", "proxy-authenticate", "x-preview-error", "x-sandbox-id"]
    {
        assert_eq!(response.field(gone), None, "{gone}");
    }
    let received = sandbox.received_text().to_ascii_lowercase();
    assert!(received.contains("x-end: kept") && received.contains("upgrade: websocket"));
    assert_eq!(received.matches("connection:").count(), 1, "{received}");
    for gone in ["x-hop-up", "keep-alive", "proxy-", "\r\nte:"] {
        assert!(!received.contains(gone), "{gone} reached the app: {received}");
    }
}
