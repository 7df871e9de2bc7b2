//! Share links over real sockets: opening them, what they open and what not, how they end, and how their use is counted.

use std::time::{Duration, Instant};

use portico::base::clock::Clock;
use portico::cli::dev;
use serde_json::{Value, json};

use crate::support::{FakeSandbox, Portico, SandboxHandle, config_in, eventually};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const NAVIGATING: &str =
    "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// A sandbox that switches protocols, streams, and responds to everything else with "hello".
async fn app() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        while let Some(headers) = exchange.headers().await {
            if headers.contains("upgrade: websocket") {
                exchange
                    .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x01\x02hi")
                    .await;
                while exchange.read_more().await {}
            } else if headers.contains("GET /events") {
                exchange
                    .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
                    .await;
                while exchange.read_more().await {}
            } else {
                exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
            }
        }
    })
    .await
}

fn shares_of(target: &SandboxHandle) -> String {
    format!("/sandboxes/{}/shares", target.id)
}

async fn share(portico: &Portico, target: &SandboxHandle, order: Value) -> Value {
    portico.api.ok("POST", &shares_of(target), Some(order)).await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The token in a link.
fn token(link: &str) -> &str {
    link.split_once("/?ms=").expect("a link").1
}

async fn list(portico: &Portico, target: &SandboxHandle) -> Vec<Value> {
    portico.api.ok("GET", &shares_of(target), None).await.as_array().unwrap().clone()
}

/// The status and the code of a response.
fn refusal(response: &crate::support::Response) -> (u16, Option<&str>) {
    (response.status, response.field("x-preview-error"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_everything_that_belongs_to_the_preview_and_nothing_else() {
    let portico = Portico::start().await;
    let sandbox = app().await;
    let target = portico.private("mine", sandbox.port()).await;
    let other = portico.private("theirs", sandbox.port()).await;
    let made = share(&portico, &target, json!({"scope": "read", "port": sandbox.port()})).await;
    assert_eq!((&made["expires_at"], text(&made, "scope")), (&Value::Null, "read"));
    assert_eq!(made["share_url"], made["url"]);
    let link = text(&made, "share_url");
    assert!(link.starts_with(&format!("http://{}", target.host)), "{link}");
    let token = token(link);
    assert!(token.starts_with("ms_") && token.len() == 46, "{token}");

    let opened = portico.visit(target.get(&format!("/p?a=1&ms={token}"), NAVIGATING)).await;
    assert_eq!((opened.status, opened.field("location")), (303, Some("/p?a=1")));
    let cookie = opened.field("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.ends_with("Max-Age=34560000"), "{cookie}");
    assert_eq!(sandbox.connections(), 0, "the app does not see the link");
    let cookie = format!("Cookie: a=1; {}\r\n", cookie.split(';').next().unwrap());
    let page = portico.visit(target.get("/p?a=1", &cookie)).await;
    assert_eq!((page.status, page.text().as_str()), (200, "hello"));
    let asset = format!("{cookie}Sec-Fetch-Dest: script\r\nSec-Fetch-Mode: no-cors\r\n");
    assert_eq!(portico.visit(target.get("/app.js", &asset)).await.status, 200);
    let own = format!("{HANDSHAKE}{cookie}Origin: http://{}\r\n", target.host);
    let mut socket = portico.connect().await;
    socket.send(target.get("/socket", &own)).await;
    assert_eq!(socket.headers().await.unwrap().status, 101);
    // It reads, and changes nothing.
    let post = target.get("/", &format!("{cookie}Origin: http://{}\r\n", target.host));
    let refused = portico.visit(post.replacen("GET", "POST", 1)).await;
    assert_eq!(refusal(&refused), (403, Some("insufficient_scope")));
    // Another port, another sandbox.
    let host = format!("1-{}.sandbox.localhost", target.slug);
    for elsewhere in [&SandboxHandle { host, ..target.clone() }, &other] {
        let refused = portico.visit(elsewhere.get(&format!("/?ms={token}"), NAVIGATING)).await;
        assert_eq!(refusal(&refused), (403, Some("forbidden")));
        let refused = portico.visit(elsewhere.get("/", &cookie)).await;
        assert_eq!(refusal(&refused), (403, Some("forbidden")));
    }
    // Every other carrier, and what the app saw of all of it.
    for fields in [
        format!("Authorization: Bearer {token}\r\n"),
        format!("X-Miosa-Preview-Token: {token}\r\n"),
        format!("Cookie: preview={token}; __Host-preview={token}\r\n"),
        format!("Referer: http://{}/?ms={token}\r\n{cookie}", target.host),
    ] {
        assert_eq!(portico.visit(target.get("/", &fields)).await.status, 200, "{fields}");
    }
    let queried = portico.visit(target.get(&format!("/api?x=1&share={token}"), "")).await;
    assert_eq!(queried.status, 200);
    assert!(queried.field("set-cookie").is_some());
    let secret = &token[3..];
    let seen = sandbox.received_text();
    assert!(seen.contains("cookie: a=1\r\n") && !seen.contains(secret), "{seen}");
    // A link is not used up by being looked at, nor by being opened.
    let card = "User-Agent: Slackbot-LinkExpanding 1.0\r\nAccept: text/html\r\n";
    let looked = portico.visit(target.get(&format!("/?ms={token}"), card)).await;
    assert_eq!((looked.status, looked.field("set-cookie")), (200, None));
    let again = portico.visit(target.get(&format!("/?ms={token}"), NAVIGATING)).await;
    assert_eq!(again.status, 303);
    let unknown = portico.visit(target.get(&format!("/?ms=ms_{}", "x".repeat(43)), NAVIGATING));
    assert_eq!(refusal(&unknown.await), (401, Some("invalid_token")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_without_a_port_opens_every_port_of_its_sandbox() {
    let portico = Portico::start().await;
    let (one, two) = (FakeSandbox::well_behaved().await, FakeSandbox::well_behaved().await);
    let target = portico.private("mine", one.port()).await;
    let made = share(&portico, &target, json!({})).await;
    assert_eq!(made["port"], Value::Null);
    let token = token(text(&made, "share_url"));
    for port in [one.port(), two.port()] {
        let host = format!("{port}-{}.sandbox.localhost", target.slug);
        let target = SandboxHandle { host, ..target.clone() };
        let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
        assert_eq!(portico.visit(target.get("/", &fields)).await.status, 200);
    }
}

/// Opens a WebSocket and an event stream by a session; gives back how each ended after `end`, and how long that took.
async fn ends(
    portico: &Portico,
    target: &SandboxHandle,
    token: &str,
    end: impl Future<Output = ()>,
) -> Vec<(&'static str, Duration, Vec<u8>)> {
    let fields = format!("Cookie: __Host-preview={token}\r\nOrigin: http://{}\r\n", target.host);
    let mut socket = portico.connect().await;
    socket.send(target.get("/socket", &format!("{HANDSHAKE}{fields}"))).await;
    assert_eq!(socket.headers().await.unwrap().status, 101);
    assert_eq!(socket.exactly(4).await, b"\x01\x02hi");
    let mut events = portico.connect().await;
    events.send(target.get("/events", &fields)).await;
    assert_eq!(events.headers().await.unwrap().status, 200);
    assert_eq!(events.chunk().await.unwrap(), b"data: 1\n\n");
    end.await;
    let since = Instant::now();
    let mut ended = Vec::new();
    for (name, connection) in [("socket", &mut socket), ("events", &mut events)] {
        let rest = connection.rest().await;
        ended.push((name, since.elapsed(), rest));
    }
    ended
}

fn check_ends(how: &str, ended: Vec<(&str, Duration, Vec<u8>)>, code: u16, label: &str) {
    for (name, took, rest) in ended {
        println!("{how}: {name} ended {took:?} after");
        if name == "socket" {
            let mut frame = vec![0x88, 2 + label.len() as u8];
            frame.extend_from_slice(&code.to_be_bytes());
            frame.extend_from_slice(label.as_bytes());
            assert_eq!(rest, frame, "{how}");
        } else {
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{how}: the stream looks complete");
        }
        // The bound is for a noisy machine; what is measured is printed above.
        assert!(took < Duration::from_secs(2), "{how}: {name} took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_link_closes_what_is_open_by_it_and_says_so_from_then_on() {
    let portico = Portico::start().await;
    let sandbox = app().await;
    let target = portico.private("mine", sandbox.port()).await;
    let kept = share(&portico, &target, json!({})).await;
    let published =
        portico.api.publish(&target.id, sandbox.port(), json!({"visibility": "private"})).await;
    let preview = format!("/sandboxes/{}/previews/{}", target.id, text(&published, "id"));
    for way in ["share", "preview's shares", "preview", "sandbox"] {
        let (token, path) = if way == "share" {
            let made = share(&portico, &target, json!({})).await;
            let path = format!("{}/{}", shares_of(&target), text(&made, "share_id"));
            (token(text(&made, "share_url")).to_owned(), path)
        } else {
            let made = portico.api.call("POST", &format!("{preview}/share"), None).await.json();
            let path = match way {
                "preview" => preview.clone(),
                "sandbox" => format!("/sandboxes/{}", target.id),
                _ => format!("{preview}/share"),
            };
            if way == "sandbox" {
                // The preview no longer exists: the link that was kept does.
                assert_eq!(made["error"]["code"], "NOT_FOUND");
                (token(text(&kept, "share_url")).to_owned(), path)
            } else {
                (text(&made, "preview_token").to_owned(), path)
            }
        };
        let end = async {
            for _ in 0..2 {
                portico.api.ok("DELETE", &path, None).await;
            }
        };
        let ended = ends(&portico, &target, &token, end).await;
        let gone = way == "sandbox";
        let (code, label) = if gone { (4404, "not_found") } else { (4403, "share_revoked") };
        check_ends(way, ended, code, label);
        for request in [
            target.get(&format!("/?ms={token}"), NAVIGATING),
            target.get("/", &format!("{NAVIGATING}Cookie: __Host-preview={token}\r\n")),
        ] {
            let response = portico.visit(request).await;
            if gone {
                assert_eq!(refusal(&response), (404, Some("not_found")));
            } else {
                assert_eq!(refusal(&response), (403, Some("share_revoked")), "{way}");
                assert!(response.text().contains("<h1>This link has been revoked"), "{way}");
            }
        }
    }
    assert_eq!(list(&portico, &target).await, Vec::<Value>::new());
    let path = format!("{}/{}", shares_of(&target), text(&kept, "share_id"));
    assert_eq!(portico.api.call("DELETE", &path, None).await.status, 204);
    assert_eq!(portico.api.call("POST", &shares_of(&target), None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_expires_ends_what_is_open_and_is_remembered_for_a_month() {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let sandbox = app().await;
    let target = portico.private("mine", sandbox.port()).await;
    let made = share(&portico, &target, json!({"expires_in": 60})).await;
    assert_eq!(text(&made, "expires_at"), "2026-11-23T12:01:00Z");
    let token = token(text(&made, "share_url"));
    let open = || target.get(&format!("/?ms={token}"), NAVIGATING);
    let opened = portico.visit(open()).await;
    assert!(opened.field("set-cookie").unwrap().ends_with("Max-Age=60"));
    let end = async { clock.advance(Duration::from_mins(1)) };
    let ended = ends(&portico, &target, token, end).await;
    check_ends("expiry", ended, 4410, "share_expired");
    assert_eq!(list(&portico, &target).await, Vec::<Value>::new());
    let response = portico.visit(open()).await;
    assert_eq!(refusal(&response), (410, Some("share_expired")));
    assert!(response.text().contains("<h1>This link has expired"));
    let json = portico.visit(target.get(&format!("/?ms={token}"), "")).await;
    assert_eq!((json.status, json.json()["error"]["code"].as_str()), (410, Some("share_expired")));
    clock.advance(Duration::from_hours(29 * 24));
    assert_eq!(portico.visit(open()).await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_link_is_counted() {
    let portico = Portico::start().await;
    let sandbox = app().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (used, unused) =
        (share(&portico, &target, json!({})).await, share(&portico, &target, json!({})).await);
    let token = token(text(&used, "share_url"));
    let cookie = format!("Cookie: __Host-preview={token}\r\n");
    for _ in 0..3 {
        let link = target.get(&format!("/?ms={token}"), NAVIGATING);
        assert_eq!(portico.visit(link).await.status, 303);
    }
    for _ in 0..5 {
        assert_eq!(portico.visit(target.get("/", &cookie)).await.status, 200);
    }
    let prefetch = format!("{NAVIGATING}Sec-Purpose: prefetch\r\n");
    portico.visit(target.get(&format!("/?ms={token}"), &prefetch)).await;
    // A program that brings the link itself: opened, and passed on.
    assert_eq!(portico.visit(target.get(&format!("/?ms={token}"), "")).await.status, 200);
    eventually("the visits are written", async || {
        let all = list(&portico, &target).await;
        assert_eq!(all.len(), 2);
        let of = |id: &Value| all.iter().find(|share| share["share_id"] == *id).unwrap();
        let untouched = of(&unused["share_id"]);
        assert_eq!(
            (&untouched["visits"], &untouched["last_visited_at"]),
            (&json!(0), &Value::Null)
        );
        let counted = of(&used["share_id"]);
        let figures = (counted["visits"].as_u64().unwrap(), counted["requests"].as_u64().unwrap());
        assert!(figures.0 <= 4 && figures.1 <= 6, "{figures:?}");
        assert_eq!(figures == (0, 0), counted["last_visited_at"].is_null());
        figures == (4, 6)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_links_what_ended_and_what_was_counted() {
    let data = tempfile::tempdir().unwrap();
    let start = async || {
        let started = dev::start(config_in(data.path()), Clock::system()).await.unwrap();
        Portico::of(started, tempfile::tempdir().unwrap())
    };
    let sandbox = app().await;
    let first = start().await;
    let target = first.private("mine", sandbox.port()).await;
    let kept = share(&first, &target, json!({})).await;
    let revoked = share(&first, &target, json!({})).await;
    let path = format!("{}/{}", shares_of(&target), text(&revoked, "share_id"));
    first.api.ok("DELETE", &path, None).await;
    let cookie = format!("Cookie: __Host-preview={}\r\n", token(text(&kept, "share_url")));
    assert_eq!(first.visit(target.get("/", &cookie)).await.status, 200);
    // An orderly end writes what was counted a moment ago.
    first.running.stop().await;
    let second = start().await;
    let all = list(&second, &target).await;
    assert_eq!(all.len(), 1);
    // The port of the listener is another one.
    assert_eq!(token(text(&all[0], "share_url")), token(text(&kept, "share_url")));
    assert_eq!((&all[0]["requests"], &all[0]["visits"]), (&json!(1), &json!(0)));
    assert_eq!(second.visit(target.get("/", &cookie)).await.status, 200);
    let link = format!("/?ms={}", token(text(&revoked, "share_url")));
    let response = second.visit(target.get(&link, NAVIGATING)).await;
    assert_eq!(refusal(&response), (403, Some("share_revoked")));
    // Tokens lie in the database encrypted, and of a revoked link not at all.
    second.running.stop().await;
    for file in ["portico.db", "portico.db-wal"] {
        let Ok(bytes) = std::fs::read(data.path().join(file)) else { continue };
        for share in [&kept, &revoked] {
            let token = token(text(share, "share_url")).as_bytes();
            assert!(!bytes.windows(token.len()).any(|part| part == token), "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_preview_opens_its_port_only_and_shows_in_its_record() {
    let portico = Portico::start().await;
    let sandbox = app().await;
    let target = portico.private("mine", sandbox.port()).await;
    let private = json!({"visibility": "private"});
    let published = portico.api.publish(&target.id, sandbox.port(), private.clone()).await;
    assert_eq!(published["share_token_prefix"], Value::Null);
    let preview = format!("/sandboxes/{}/previews/{}", target.id, text(&published, "id"));
    let order = Some(json!({"ttl_seconds": 600}));
    let made = portico.api.call("POST", &format!("{preview}/share"), order).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let token = text(&made, "preview_token");
    assert!(token.starts_with("miosa_pv_"), "{token}");
    assert_eq!(made["data"]["id"], published["id"]);
    assert_eq!(made["share_url"], made["url"]);
    assert!(text(&made, "share_url").ends_with(&format!("/?ms={token}")));
    let shown = portico.api.ok("GET", &preview, None).await;
    for name in ["share_token_prefix", "share_token_expires_at"] {
        assert_eq!(shown[name], made["data"][name], "{name}");
        assert!(shown[name].is_string(), "{name}");
    }
    assert!(token.starts_with(text(&shown, "share_token_prefix")));
    let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
    let post = target.get("/", &fields).replacen("GET", "POST", 1);
    assert_eq!(portico.visit(post).await.status, 200, "a preview's link is for using it");
    let host = format!("1-{}.sandbox.localhost", target.slug);
    let other = SandboxHandle { host, ..target.clone() };
    assert_eq!(portico.visit(other.get("/", &fields)).await.status, 403);
    // Publishing the port anew, under another name, takes no link away; the record shows it.
    let anew = json!({"visibility": "private", "label": "again"});
    let anew = portico.api.publish(&target.id, sandbox.port(), anew).await;
    assert_eq!(anew["share_token_prefix"], shown["share_token_prefix"]);
    assert_eq!(portico.visit(target.get("/", &fields)).await.status, 200);
    let reading = Some(json!({"scope": "read"}));
    let preview = format!("/sandboxes/{}/previews/{}", target.id, text(&anew, "id"));
    let reading = portico.api.call("POST", &format!("{preview}/share"), reading).await.json();
    let reading = format!("X-Miosa-Preview-Token: {}\r\n", text(&reading, "preview_token"));
    let post = target.get("/", &reading).replacen("GET", "POST", 1);
    assert_eq!(portico.visit(post).await.status, 403);
    assert_eq!(list(&portico, &target).await.len(), 2);
    portico.api.ok("DELETE", &format!("{preview}/share"), None).await;
    for fields in [fields, reading] {
        let response = portico.visit(target.get("/", &fields)).await;
        assert_eq!(refusal(&response), (403, Some("share_revoked")));
    }
    let shown = portico.api.ok("GET", &preview, None).await;
    assert_eq!(shown["share_token_prefix"], Value::Null);
    // A link does not outlive the record that it is to.
    let brief = json!({"visibility": "private", "expires_in": 60});
    let brief = portico.api.publish(&target.id, sandbox.port(), brief).await;
    let path = format!("/sandboxes/{}/previews/{}/share", target.id, text(&brief, "id"));
    let made = portico.api.call("POST", &path, None).await.json();
    let end = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let (link, record) =
        (end(text(&made["data"], "share_token_expires_at")), end(text(&brief, "expires_at")));
    assert_eq!(link, record);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_limits_how_long_its_links_live() {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let portico = Portico::start_at(clock, |_| {}).await;
    let target = portico.private("mine", 3000).await;
    let before = share(&portico, &target, json!({})).await;
    let limit = async |seconds: Value| {
        let policy = Some(json!({"max_share_seconds": seconds}));
        portico.api.ok("PUT", "/tenant/preview-policy", policy).await
    };
    assert_eq!(limit(json!(3600)).await["max_share_seconds"], 3600);
    let unsaid = share(&portico, &target, json!({})).await;
    assert_eq!(text(&unsaid, "expires_at"), "2026-11-23T13:00:00Z");
    let shorter = share(&portico, &target, json!({"expires_in": 60})).await;
    assert_eq!(text(&shorter, "expires_at"), "2026-11-23T12:01:00Z");
    let longer = Some(json!({"expires_in": 3601}));
    let refused = portico.api.call("POST", &shares_of(&target), longer.clone()).await;
    assert_eq!(refused.status, 422);
    assert!(refused.json()["error"]["details"]["expires_in"][0].is_string());
    // Links that exist are left alone.
    let all = list(&portico, &target).await;
    assert_eq!(all.len(), 3);
    let kept = all.iter().find(|share| share["id"] == before["id"]).unwrap();
    assert_eq!(kept["expires_at"], Value::Null);
    limit(json!(60)).await;
    let published = portico.api.publish(&target.id, 3000, json!({})).await;
    let path = format!("/sandboxes/{}/previews/{}/share", target.id, text(&published, "id"));
    let made = portico.api.call("POST", &path, None).await.json();
    assert_eq!(text(&made["data"], "share_token_expires_at"), "2026-11-23T12:01:00Z");
    limit(Value::Null).await;
    assert_eq!(portico.api.call("POST", &shares_of(&target), longer).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shared_is_refused_with_every_reason() {
    let portico = Portico::start().await;
    let target = portico.private("mine", 3000).await;
    let path = shares_of(&target);
    let post = async |body: Value| portico.api.call("POST", &path, Some(body)).await;
    for (body, code, field) in [
        (json!({"scope": "interact"}), "invalid_scope", "scope"),
        (json!({"scope": "terminal"}), "invalid_scope", "scope"),
        (json!({"scope": 1}), "invalid_scope", "scope"),
        (json!({"expires_in": 0}), "VALIDATION_ERROR", "expires_in"),
        (json!({"expires_in": -1}), "VALIDATION_ERROR", "expires_in"),
        (json!({"expires_in": "soon"}), "VALIDATION_ERROR", "expires_in"),
        (json!({"expires_in": 1_000_000_000}), "VALIDATION_ERROR", "expires_in"),
        (json!({"port": 0}), "VALIDATION_ERROR", "port"),
    ] {
        let refused = post(body.clone()).await;
        let error = refused.json()["error"].clone();
        assert_eq!((refused.status, text(&error, "code")), (422, code), "{body}");
        assert!(error["details"][field].is_array(), "{body}: {error}");
    }
    let unknown = uuid::Uuid::new_v4();
    for (method, path) in [
        ("POST", format!("/sandboxes/{unknown}/shares")),
        ("GET", format!("/sandboxes/{unknown}/shares")),
        ("DELETE", format!("{path}/{unknown}")),
        ("DELETE", format!("{path}/nonsense")),
        ("POST", format!("/sandboxes/{}/previews/{unknown}/share", target.id)),
        ("DELETE", format!("/sandboxes/{}/previews/{unknown}/share", target.id)),
        ("POST", format!("/sandboxes/{}/previews/nonsense/share", target.id)),
    ] {
        let refused = portico.api.call(method, &path, None).await;
        assert_eq!(refused.status, 404, "{method} {path}");
    }
    // A key that may only look makes and revokes nothing.
    let key = Some(json!({"label": "looks", "scopes": ["previews:read"]}));
    let key = portico.api.call("POST", "/api-keys", key).await.json();
    let made = share(&portico, &target, json!({})).await;
    let looks = crate::support::Api { key: text(&key, "token").to_owned(), ..portico.api.clone() };
    assert_eq!(looks.call("GET", &path, None).await.status, 200);
    let one = format!("{path}/{}", text(&made, "share_id"));
    for (method, path) in [("POST", &path), ("DELETE", &one)] {
        let refused = looks.call(method, path, None).await.json();
        assert_eq!(text(&refused["error"], "code"), "insufficient_scope");
    }
}
