//! Sessions: how a link becomes one in a frame, how it is renewed, and what that does to what is open.

use std::time::Duration;

use portico::base::clock::Clock;
use serde_json::json;

use crate::support::{Connection, FakeSandbox, Portico, Response, SandboxHandle};

const EMBEDDER: &str = "https://app.opendesigns.example";
const PATH: &str = "/.well-known/portico/session";
const IN_FRAME: &str = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n\
                        Sec-Fetch-Site: cross-site\r\n";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn cookie_of(response: &Response) -> String {
    let set = response.field("set-cookie").unwrap_or_else(|| panic!("no cookie: {response:?}"));
    format!("Cookie: {}\r\n", set.split(';').next().unwrap())
}

async fn allow(portico: &Portico) {
    let policy = json!({"frame_ancestors": [EMBEDDER]});
    portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
}

/// A POST with the token as its body.
fn renew(target: &SandboxHandle, token: &str, fields: &str) -> String {
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{fields}\r\n{token}",
        target.host,
        token.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_a_frame_works_with_cookies_and_ends_in_a_way_out_without() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({})).await;
    let first = portico.visit(target.get(&format!("/p?a=1&mt={token}"), IN_FRAME)).await;
    let returned = format!("/p?a=1&__preview={token}");
    assert_eq!((first.status, first.field("location")), (303, Some(&*returned)));
    let cookie = cookie_of(&first);
    // With the cookie: on to the clean address, and to the app.
    let second = portico.visit(target.get(&returned, &format!("{IN_FRAME}{cookie}"))).await;
    assert_eq!((second.status, second.field("location")), (303, Some("/p?a=1")));
    let third = portico.visit(target.get("/p?a=1", &format!("{IN_FRAME}{cookie}"))).await;
    assert_eq!((third.status, third.text().as_str()), (200, "hello"));
    assert!(!sandbox.take_received().contains("mp_"));
    // Without it: a page with two ways, and the app has not been asked.
    let blocked = portico.visit(target.get(&returned, IN_FRAME)).await;
    assert_eq!(blocked.field("x-preview-error"), Some("cookies_blocked"));
    assert_eq!((blocked.status, blocked.field("location")), (401, None));
    assert!(
        blocked.text().contains("Open in a new tab") && blocked.text().contains("id=\"allow\"")
    );
    assert!(!blocked.text().contains(&token), "the page finds it in its own address");
    assert_eq!(sandbox.take_received(), "");
    // Whoever has a session of ours already is not sent back once more.
    let link = target.get(&format!("/p?mt={token}"), &format!("{IN_FRAME}{cookie}"));
    assert_eq!(portico.visit(link).await.field("location"), Some("/p"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_page_renews_the_session_in_every_way_there_is() {
    let portico = Portico::start().await;
    allow(&portico).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({"expires_in": 600})).await;
    let from = format!("Origin: {EMBEDDER}\r\nSec-Fetch-Site: cross-site\r\n");
    let mut connection = portico.connect().await;
    for request in [
        renew(&target, &token, &from),
        renew(&target, &format!("mt={token}"), &from),
        target.get(&format!("{PATH}?mt={token}"), &from),
        renew(&target, "", &format!("{from}X-Miosa-Preview-Token: {token}\r\n")),
        renew(&target, "", &format!("{from}Authorization: Bearer {token}\r\n")),
    ] {
        let renewed = connection.roundtrip(&request).await;
        assert_eq!(renewed.status, 204, "{request}: {}", renewed.text());
        assert_eq!(renewed.field("content-length"), None);
        assert_eq!(renewed.field("cache-control"), Some("no-store"));
        assert_eq!(renewed.field("location"), None);
        assert_eq!(renewed.field("access-control-allow-origin"), Some(EMBEDDER));
        assert_eq!(renewed.field("access-control-allow-credentials"), Some("true"));
        assert_eq!(cookie_of(&renewed), format!("Cookie: __Host-preview={token}\r\n"));
        assert!(renewed.field("set-cookie").unwrap().contains("; Partitioned; Max-Age="));
    }
    let preflight = target
        .get(PATH, &format!("{from}Access-Control-Request-Method: POST\r\n"))
        .replacen("GET", "OPTIONS", 1);
    let approved = connection.roundtrip(preflight).await;
    assert_eq!(
        (approved.status, approved.field("access-control-allow-origin")),
        (204, Some(EMBEDDER))
    );
    assert!(approved.field("access-control-allow-headers").unwrap().contains("content-type"));
    assert_eq!(sandbox.connections(), 0, "none of it is the app's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    let portico = Portico::start().await;
    allow(&portico).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({})).await;
    let (other, _) = portico.api.token(&target.id, json!({"port": 1})).await;
    let session = format!("Cookie: __Host-preview={token}\r\n");
    let from = format!("{session}Origin: {EMBEDDER}\r\n");
    let evil = format!("{session}Origin: https://evil.example\r\n");
    for (request, status, code) in [
        (renew(&target, "mp_nonsense", &from), 401, "invalid_token"),
        (renew(&target, &other, &from), 403, "forbidden"),
        (renew(&target, "no token at all", &from), 401, "sign_in_needed"),
        (renew(&target, &token, &evil), 403, "foreign_origin"),
        (renew(&target, &token, &session), 403, "foreign_origin"),
        (renew(&target, &"x".repeat(9000), &from), 400, "not_a_token"),
        (target.get("/.well-known/portico/x", &from), 404, "not_found"),
        (target.get(PATH, &evil), 403, "foreign_origin"),
    ] {
        let refused = portico.visit(&request).await;
        assert_eq!((refused.status, refused.field("x-preview-error")), (status, Some(code)));
        assert_eq!(refused.json()["error"]["code"], code);
        assert_eq!(refused.field("set-cookie"), None, "{code}");
        let shared = refused.field("access-control-allow-origin");
        let by_embedder = request.contains(EMBEDDER) && matches!(status, 401 | 403);
        assert_eq!(shared, by_embedder.then_some(EMBEDDER), "{code}");
    }
    assert_eq!(portico.visit(target.get("/", &session)).await.status, 200);
    assert!(!sandbox.received_text().contains("portico"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_learns_whether_a_session_was_kept_and_until_when() {
    let portico = Portico::start().await;
    allow(&portico).await;
    let target = portico.private("mine", 3000).await;
    let minted = json!({"expires_in": 600});
    let (token, _) = portico.api.token(&target.id, minted).await;
    let from = format!("Origin: {EMBEDDER}\r\n");
    let ask = async |fields: &str| {
        let told = portico.visit(target.get(PATH, &format!("{from}{fields}"))).await;
        assert_eq!((told.status, told.field("content-type")), (200, Some("application/json")));
        assert_eq!(told.field("access-control-allow-origin"), Some(EMBEDDER));
        assert!(!told.text().contains("mp_"));
        told.json()
    };
    let none =
        json!({"public": false, "cookie": false, "valid": false, "expires_at": null, "code": null});
    assert_eq!(ask("").await, none);
    let kept = ask(&format!("Cookie: __Host-preview={token}\r\n")).await;
    assert_eq!((&kept["cookie"], &kept["valid"]), (&json!(true), &json!(true)));
    assert!(kept["expires_at"].as_str().unwrap().ends_with('Z'));
    let stale = ask("Cookie: __Host-preview=mp_nonsense\r\n").await;
    assert_eq!((&stale["valid"], &stale["code"]), (&json!(false), &json!("invalid_token")));
    // Without an Origin it can be asked, and no page can read it.
    let bare = portico.visit(target.get(PATH, "")).await;
    assert_eq!((bare.status, bare.field("access-control-allow-origin")), (200, None));
}

async fn echoing() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            .await;
        let (mut read, mut write) = exchange.socket.into_split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await
}

async fn sockets(portico: &Portico, target: &SandboxHandle, cookie: &str) -> Vec<Connection> {
    let mut open = Vec::new();
    // Enough that every worker holds some.
    for _ in 0..16 {
        let mut socket = portico.connect().await;
        let fields = format!("{HANDSHAKE}{cookie}Origin: http://{}\r\n", target.host);
        socket.send(target.get("/socket", &fields)).await;
        assert_eq!(socket.headers().await.unwrap().status, 101);
        open.push(socket);
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn open_sockets_outlive_their_token_when_the_session_is_renewed() {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    allow(&portico).await;
    let sandbox = echoing().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (first, _) = portico.api.token(&target.id, json!({"expires_in": 60})).await;
    let session = format!("Cookie: __Host-preview={first}\r\n");
    let mut open = sockets(&portico, &target, &session).await;
    clock.advance(Duration::from_secs(40));
    let (second, id) = portico.api.token(&target.id, json!({"expires_in": 60})).await;
    let from = format!("Origin: {EMBEDDER}\r\n{session}");
    assert_eq!(portico.visit(renew(&target, &second, &from)).await.status, 204);
    // Past the first token's end, several rounds of looking for what has expired later, every socket still echoes.
    clock.advance(Duration::from_secs(30));
    tokio::time::sleep(Duration::from_millis(200)).await;
    for socket in &mut open {
        socket.send(b"\x81\x02hi").await;
        assert_eq!(socket.exactly(4).await, b"\x81\x02hi");
    }
    // What was opened under the first token ends with the second, to which it is bound now.
    portico.api.ok("DELETE", &format!("/sandboxes/{}/preview-tokens/{id}", target.id), None).await;
    for socket in &mut open {
        assert_eq!(socket.rest().await, b"\x88\x0f\x11\x31token_revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_does_not_save_sockets_from_the_revocation_of_their_first_token() {
    let portico = Portico::start().await;
    allow(&portico).await;
    let sandbox = echoing().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (first, id) = portico.api.token(&target.id, json!({"expires_in": 60})).await;
    let session = format!("Cookie: __Host-preview={first}\r\n");
    let mut open = sockets(&portico, &target, &session).await;
    let (second, _) = portico.api.token(&target.id, json!({"expires_in": 600})).await;
    let from = format!("Origin: {EMBEDDER}\r\n{session}");
    assert_eq!(portico.visit(renew(&target, &second, &from)).await.status, 204);
    portico.api.ok("DELETE", &format!("/sandboxes/{}/preview-tokens/{id}", target.id), None).await;
    for socket in &mut open {
        assert_eq!(socket.rest().await, b"\x88\x0f\x11\x31token_revoked");
    }
}
