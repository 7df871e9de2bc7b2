//! An operator takes previews down: what is open is cut, and nothing that a tenant can do brings it back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::Code;

use crate::access::sockets_and_streams;
use crate::support::http2::{get, piece};
use crate::support::{
    Api, Caller, FakeSandbox, GrpcSandbox, Portico, SandboxHandle, Secure, command, eventually,
};
use crate::workspaces::other_tenant;

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// What is open must be cut within this.
const PROMPTLY: Duration = Duration::from_secs(1);

/// Runs an operator's command on a running Portico's data; it must succeed.
pub fn operator(portico: &Portico, arguments: &[&str]) -> String {
    let done = command(&[arguments, &["--data"]].concat(), Some(portico.data.path()));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}: {said}");
    String::from_utf8(done.stdout).unwrap().trim_end().to_owned()
}

/// ... must fail, and says why.
pub fn refused(portico: &Portico, arguments: &[&str]) -> String {
    let done = command(&[arguments, &["--data"]].concat(), Some(portico.data.path()));
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "{arguments:?}: {said}");
    said
}

async fn record(api: &Api, id: &str) -> Value {
    api.ok("GET", &format!("/sandboxes/{id}"), None).await
}

/// The status that somebody with a token gets.
async fn status(portico: &Portico, target: &SandboxHandle, token: &str) -> (u16, String) {
    let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
    let response = portico.visit(target.get("/", &fields)).await;
    (response.status, response.field("x-preview-error").unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_cut_within_a_second_whatever_is_blocked() {
    let secure = Secure::start().await;
    let portico = &secure.portico;
    let app = sockets_and_streams().await;
    let tenant = portico.api.ok("GET", "/whoami", None).await["tenant_id"].clone();
    for kind in ["host", "sandbox", "tenant", "suspended"] {
        let target = portico.private(&format!("of-{kind}"), app.port()).await;
        let (token, _) = portico.api.token(&target.id, json!({"scope": "interact"})).await;
        let fields = format!("X-Miosa-Preview-Token: {token}\r\n");
        let mut socket = portico.connect().await;
        socket.send(target.get("/socket", &format!("{HANDSHAKE}{fields}"))).await;
        assert_eq!(socket.headers().await.unwrap().status, 101);
        assert_eq!(socket.exactly(4).await, b"\x01\x02hi");
        let mut stream = portico.connect().await;
        let events = format!("{fields}Accept: text/event-stream\r\n");
        stream.send(target.get("/events", &events)).await;
        assert_eq!(stream.headers().await.unwrap().status, 200);
        assert_eq!(stream.chunk().await.unwrap(), b"hi");
        let mut hanging = portico.connect().await;
        hanging.send(target.get("/hang", &fields)).await;
        let mut http2 = secure.http2(&target.host).await;
        let mut request = get(&target.host, "/stream");
        request.headers_mut().insert("x-miosa-preview-token", token.parse().unwrap());
        let (response, _) = http2.begin(request, true).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), "hi");
        tokio::time::sleep(Duration::from_millis(50)).await;

        let what = match kind {
            "host" => target.host.as_str(),
            "sandbox" => target.id.as_str(),
            _ => tenant.as_str().unwrap(),
        };
        if kind == "suspended" {
            operator(portico, &["tenant", "suspend", what, "--reason", "unpaid"]);
        } else {
            operator(portico, &["block", what, "--reason", "phishing"]);
        }
        let since = Instant::now();
        let (status, label) =
            if kind == "suspended" { (403, "suspended") } else { (451, "blocked") };
        let code: u16 = 4000 + status;
        let mut frame = vec![0x88, 2 + label.len() as u8];
        frame.extend_from_slice(&code.to_be_bytes());
        frame.extend_from_slice(label.as_bytes());
        assert_eq!(socket.rest().await, frame, "{kind}: the socket is told why");
        let rest = stream.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{kind}: the stream looks complete");
        assert_eq!(hanging.headers().await.unwrap().status, status, "{kind}");
        assert!(piece(&mut body).await.unwrap().is_err(), "{kind}: the HTTP/2 stream is reset");
        let took = since.elapsed();
        println!("{kind}: everything ended {took:?} after the command had ended");
        assert!(took < PROMPTLY, "{kind}: {took:?}");

        // A browser's script reads the close code of a socket that it opens now.
        let origin = format!("{HANDSHAKE}{fields}Origin: http://{}\r\n", target.host);
        let mut late = portico.connect().await;
        late.send(target.get("/socket", &origin)).await;
        assert_eq!(late.headers().await.unwrap().status, 101);
        assert_eq!(late.rest().await, frame, "{kind}");
        match kind {
            "suspended" => drop(operator(portico, &["tenant", "resume", what])),
            _ => drop(operator(portico, &["unblock", what])),
        }
        eventually("it is back", async || {
            let mut back = portico.connect().await;
            back.send(target.get("/stream", &fields)).await;
            back.headers().await.unwrap().status == 200
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_cannot_undo_a_block_by_anything_it_can_do() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let app = FakeSandbox::well_behaved().await;
    let port = app.port();
    let target = portico.private("mine", port).await;
    let path = format!("/sandboxes/{}", target.id);
    let (token, _) = api.token(&target.id, json!({"scope": "interact"})).await;
    assert_eq!(status(&portico, &target, &token).await.0, 200);
    assert_eq!(record(api, &target.id).await["blocked"], Value::Null);

    operator(&portico, &["block", &target.id, "--reason", "Phishing, report 17"]);
    let blocked = (451, "blocked".to_owned());
    eventually("blocked", async || status(&portico, &target, &token).await == blocked).await;
    let shown = record(api, &target.id).await;
    assert_eq!(shown["blocked"]["reason"], "Phishing, report 17");
    assert_eq!((&shown["blocked"]["ports"], &shown["state"]), (&Value::Null, &json!("running")));
    let listed = api.ok("GET", "/sandboxes", None).await;
    let listed = listed.as_array().unwrap().iter().find(|one| one["id"] == shown["id"]).unwrap();
    assert_eq!(listed["blocked"]["reason"], "Phishing, report 17");

    // It is told by an event.
    let events = portico.running.state.store.all_events_since(0, 1000).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!((last.kind.name(), &shown["id"]), ("sandbox.updated", &json!(last.sandbox)));

    // What it can do to the sandbox.
    api.ok("POST", &format!("{path}/stop"), None).await;
    api.ok("POST", &format!("{path}/resume"), None).await;
    api.publish(&target.id, port, json!({})).await;
    assert_eq!(portico.visit(target.get("/", "")).await.status, 451, "a public port");
    let (fresh, _) = api.token(&target.id, json!({"scope": "interact"})).await;
    assert_eq!(status(&portico, &target, &fresh).await, blocked, "a new token");
    let share = api.ok("POST", &format!("{path}/shares"), Some(json!({}))).await;
    let url = share["url"].as_str().unwrap();
    let query = url.split_once('?').unwrap().1;
    let opened = portico.visit(target.get(&format!("/?{query}"), "Accept: text/html\r\n")).await;
    assert_eq!(opened.status, 451, "a share link");
    api.ok("PATCH", &path, Some(json!({"default_port": 1}))).await;
    api.ok("PATCH", &path, Some(json!({"slug": "other"}))).await;
    let renamed = SandboxHandle {
        host: format!("{port}-other.sandbox.localhost"),
        slug: "other".to_owned(),
        ..target.clone()
    };
    assert_eq!(status(&portico, &renamed, &fresh).await, blocked, "another slug");
    // The name that was blocked is nobody's, neither this tenant's nor another's.
    let stranger = other_tenant(&portico, "stranger").await;
    for who in [api, &stranger] {
        let again = who.call("POST", "/sandboxes", Some(json!({"slug": "mine"}))).await;
        assert_eq!((again.status, &again.json()["error"]["code"]), (409, &json!("SLUG_TAKEN")));
    }
    let by_id =
        SandboxHandle { host: format!("{}.sandbox.localhost", target.id), ..target.clone() };
    assert_eq!(status(&portico, &by_id, &fresh).await, blocked, "its id");
    let through =
        format!("GET /p/{}/x HTTP/1.1\r\nHost: preview.sandbox.localhost\r\n\r\n", target.id);
    assert_eq!(portico.visit(through).await.status, 451, "the gateway");
    let own = renamed.get("/.well-known/portico/session", "");
    assert_eq!(portico.visit(own).await.status, 451, "our own endpoint");
    // And to itself: destroying it frees nothing.
    api.ok("DELETE", &path, None).await;
    let again = api.call("POST", "/sandboxes", Some(json!({"slug": "mine"}))).await;
    assert_eq!(again.status, 409, "{}", again.text());

    // The tenant reads in its own audit log that it was the operator, and why.
    let rows = api.ok("GET", "/audit-log", None).await;
    let row = rows.as_array().unwrap().iter().find(|row| row["action"] == "block.create").unwrap();
    assert_eq!(row["actor"]["type"], "operator", "{row}");
    assert_eq!(row["changes"]["reason"], "Phishing, report 17");
    // Only the operator undoes it, even when the sandbox is gone.
    operator(&portico, &["unblock", &target.id]);
    let again = api.call("POST", "/sandboxes", Some(json!({"slug": "mine"}))).await;
    assert_eq!(again.status, 201, "{}", again.text());
    let back = SandboxHandle {
        id: again.json()["data"]["id"].as_str().or(again.json()["id"].as_str()).unwrap().to_owned(),
        ..target.clone()
    };
    let (token, _) = api.token(&back.id, json!({})).await;
    assert_eq!(status(&portico, &back, &token).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_host_is_a_blocked_port_under_every_name_and_no_other_port() {
    let portico = Portico::start().await;
    let (app, beside) = (FakeSandbox::well_behaved().await, FakeSandbox::well_behaved().await);
    let target = portico.public("mine", app.port()).await;
    portico.api.publish(&target.id, beside.port(), json!({})).await;
    let url = format!("http://{}/some/page?x=1", target.host);
    let said = operator(&portico, &["block", &url, "--reason", "malware"]);
    assert!(said.contains(&format!("port {} of sandbox {}", app.port(), target.id)), "{said}");
    let visit = async |host: String| {
        portico.visit(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.status
    };
    let (port, other) = (app.port(), beside.port());
    eventually("blocked", async || visit(target.host.clone()).await == 451).await;
    assert_eq!(visit(format!("{other}-mine.sandbox.localhost")).await, 200);
    assert_eq!(visit(format!("{port}-{}.sandbox.localhost", target.id)).await, 451);
    assert_eq!(record(&portico.api, &target.id).await["blocked"]["ports"], json!([port]));
    let patch = json!({"slug": "renamed", "default_port": port});
    portico.api.ok("PATCH", &format!("/sandboxes/{}", target.id), Some(patch)).await;
    assert_eq!(visit(format!("{port}-renamed.sandbox.localhost")).await, 451);
    assert_eq!(visit("renamed.sandbox.localhost".into()).await, 451);
    // A second block on the same port is refused, one on the whole sandbox is not, and each is lifted by itself.
    let again = format!("{port}-renamed.sandbox.localhost");
    assert!(refused(&portico, &["block", &again, "--reason", "x"]).contains("already blocked"));
    operator(&portico, &["block", "renamed.sandbox.localhost", "--reason", "all of it"]);
    eventually("the rest", async || {
        visit(format!("{other}-renamed.sandbox.localhost")).await == 451
    })
    .await;
    assert_eq!(record(&portico.api, &target.id).await["blocked"]["reason"], "all of it");
    operator(&portico, &["unblock", &target.id]);
    eventually("the rest is back", async || {
        visit(format!("{other}-renamed.sandbox.localhost")).await == 200
    })
    .await;
    assert_eq!(visit(format!("{port}-renamed.sandbox.localhost")).await, 451);
    operator(&portico, &["unblock", &format!("{port}-mine.sandbox.localhost")]);
    eventually("all is back", async || {
        visit(format!("{port}-renamed.sandbox.localhost")).await == 200
    })
    .await;
    let history = operator(&portico, &["block", "list", "--all", "--json"]);
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history.as_array().unwrap().len(), 2);
    assert_eq!(operator(&portico, &["block", "list"]).lines().count(), 1, "none stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_to_a_blocked_preview_is_told_in_the_form_that_it_reads() {
    let portico = Portico::start().await;
    let app = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", app.port()).await;
    let branding =
        json!({"branding": {"product_name": "Your Bank", "support_email": "help@bank.example"}});
    portico.api.ok("PUT", "/tenant/branding", Some(branding)).await;
    let ask = format!(
        "GET /internal/tls/ask?domain={} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        target.host
    );
    let asked = async || {
        let mut admin = crate::support::Connection::open(portico.running.admin).await;
        admin.roundtrip(&ask).await.status
    };
    assert_eq!(asked().await, 200);
    operator(&portico, &["block", &target.id, "--reason", "it plays a bank"]);
    eventually("blocked", async || portico.visit(target.get("/", "")).await.status == 451).await;
    assert_eq!(asked().await, 404, "no certificate is issued for it any more");
    let page = portico.visit(target.get("/", "Accept: text/html\r\n")).await;
    let text = page.text();
    assert_eq!((page.status, page.field("cache-control")), (451, Some("no-store")));
    assert!(text.contains("This preview is not available"), "{text}");
    for not in ["Bank", "bank.example", "plays a bank", "<script", "mine"] {
        assert!(!text.contains(not), "the page contains {not}: {text}");
    }
    let problem = portico.visit(target.get("/", "Accept: application/json\r\n")).await.json();
    assert_eq!(problem["error"]["code"], "blocked");
    assert!(!problem.to_string().contains("bank"), "{problem}");

    let grpc = GrpcSandbox::start().await;
    let calls = portico.api.sandbox("calls").await;
    portico.api.publish(&calls.id, grpc.port(), json!({"protocol": "h2c"})).await;
    let caller = Caller::new(&portico, &format!("{}-calls.sandbox.localhost", grpc.port()));
    assert_eq!(caller.call("Echo", "x").await.unwrap(), "x");
    operator(&portico, &["block", &calls.id, "--reason", "x"]);
    eventually("blocked", async || {
        caller.call("Echo", "x").await.is_err_and(|status| status.code() == Code::PermissionDenied)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_found_with_its_owner_and_how_it_leads_there() {
    let portico = Portico::start().await;
    let app = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", app.port()).await;
    let patch = json!({"external_user_id": "user-17", "name": "Evil\u{1b}[31m"});
    portico.api.ok("PATCH", &format!("/sandboxes/{}", target.id), Some(patch)).await;
    let link = format!("http://{}:8080/login?a=b", target.host);
    let said = operator(&portico, &["find", &link]);
    for part in [&target.id, "user-17", "slug, in the platform's zone", "(public)", "running"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let found: Value =
        serde_json::from_str(&operator(&portico, &["find", &target.host, "--json"])).unwrap();
    assert_eq!(found["sandbox"]["id"], target.id.as_str());
    assert_eq!((&found["matched_by"], &found["open"]), (&json!("slug"), &json!(true)));
    let by_id = format!("http://preview.sandbox.localhost/p/{}/x", target.id);
    let found: Value =
        serde_json::from_str(&operator(&portico, &["find", &by_id, "--json"])).unwrap();
    assert_eq!((&found["matched_by"], &found["sandbox"]["slug"]), (&json!("id"), &json!("mine")));
    operator(
        &portico,
        &["domain", "exact", "shop.example", "--sandbox", &target.id, "--tenant", "dev"],
    );
    let found: Value =
        serde_json::from_str(&operator(&portico, &["find", "shop.example", "--json"])).unwrap();
    assert_eq!(found["matched_by"], "exact_host");
    // An exact name that is blocked is kept from other sandboxes, too.
    operator(&portico, &["block", "https://shop.example/", "--reason", "spam"]);
    let said = operator(&portico, &["find", "shop.example"]);
    assert!(said.contains("spam") && said.contains("blocked"), "{said}");
    let other = portico.api.sandbox("other").await;
    for name in ["shop.example", "1-mine.sandbox.localhost"] {
        let moved = ["domain", "exact", name, "--sandbox", &other.id, "--tenant", "dev"];
        assert!(refused(&portico, &moved).contains("blocked"), "{name}");
    }
    assert!(
        refused(&portico, &["find", "nothing.sandbox.localhost"]).contains("nothing is served")
    );
    assert!(refused(&portico, &["block", "nobody", "--reason", "x"]).contains("not a host"));
    assert!(
        refused(&portico, &["block", &other.id, "--reason", " "]).contains("a reason is needed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenants_keys_open_nothing_and_a_deleted_one_leaves_only_its_log() {
    let portico = Portico::start().await;
    let app = FakeSandbox::well_behaved().await;
    let other = other_tenant(&portico, "acme").await;
    let sandbox = other.sandbox("theirs").await;
    other.publish(&sandbox.id, app.port(), json!({})).await;
    let host = format!("{}-theirs.sandbox.localhost", app.port());
    let visit =
        async || portico.visit(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await.status;
    assert_eq!(visit().await, 200);

    operator(&portico, &["tenant", "suspend", "acme", "--reason", "unpaid since May"]);
    eventually("suspended", async || other.call("GET", "/whoami", None).await.status == 403).await;
    let reply = other.call("GET", "/whoami", None).await.json();
    assert_eq!(reply["error"]["code"], "TENANT_SUSPENDED");
    assert!(reply["error"]["message"].as_str().unwrap().contains("unpaid since May"));
    assert_eq!(visit().await, 403);
    assert_eq!(portico.api.call("GET", "/whoami", None).await.status, 200, "nobody else");
    operator(&portico, &["tenant", "resume", "acme"]);
    eventually("resumed", async || other.call("GET", "/whoami", None).await.status == 200).await;
    assert_eq!(visit().await, 200);

    let warned = refused(&portico, &["tenant", "delete", "acme"]);
    assert!(warned.contains("1 sandboxes") && warned.contains("--yes"), "{warned}");
    assert_eq!(visit().await, 200);
    assert_eq!(operator(&portico, &["tenant", "delete", "acme", "--yes"]), "acme is deleted");
    eventually("deleted", async || visit().await == 404).await;
    assert_eq!(other.call("GET", "/whoami", None).await.status, 401);
    assert!(!operator(&portico, &["tenant", "list"]).contains("acme"));
    let log = operator(&portico, &["audit"]);
    assert!(log.contains("tenant.suspend") && log.contains("tenant.delete"), "{log}");
    // The name is free, and after its quarantine the slug; nothing of the former tenant comes back with them.
    portico.running.state.store.set_slug_quarantine(Duration::ZERO);
    let again = other_tenant(&portico, "acme").await;
    assert!(again.ok("GET", "/sandboxes", None).await.as_array().unwrap().is_empty());
    let sandbox = again.sandbox("theirs").await;
    assert_eq!(visit().await, 401);
    drop(sandbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_api_does_the_same_for_whoever_has_its_token() {
    let portico = Portico::start().await;
    let app = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", app.port()).await;
    let call = async |method: &str, path: &str, fields: &str, body: &str| {
        let request = format!(
            "{method} /operator/v1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        crate::support::Connection::open(portico.running.admin).await.roundtrip(request).await
    };
    let order = json!({"what": target.host, "reason": "spam"}).to_string();
    // Before there is a token, and with any other one, nothing is told and nothing is done.
    let wrong =
        ["", "Authorization: Bearer \r\n", "Authorization: Bearer pot_x\r\n", "Cookie: a=b\r\n"];
    let key = format!("Authorization: Bearer {}\r\n", portico.api.key);
    let all = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for round in 0..2 {
        for fields in wrong.iter().copied().chain([key.as_str()]) {
            for (method, path, body) in [
                ("GET", format!("/find?host={}", target.host), ""),
                ("GET", "/blocks".into(), ""),
                ("GET", "/tenants".into(), ""),
                ("POST", "/blocks".into(), order.as_str()),
                ("POST", "/tenants/dev/suspend".into(), "{\"reason\":\"x\"}"),
                ("DELETE", "/tenants/dev?confirm=dev".into(), ""),
                ("GET", "/nothing".into(), ""),
            ] {
                let reply = call(method, &path, fields, body).await;
                assert_eq!(reply.status, 401, "{round} {method} {path} {fields}");
                assert!(!reply.text().contains(&target.id), "{}", reply.text());
            }
        }
        assert_eq!(portico.visit(target.get("/", "")).await.status, 200);
        operator(&portico, &["operator", "token"]);
    }
    let token = operator(&portico, &["operator", "token"]);
    assert_eq!(token, operator(&portico, &["operator", "token"]), "the same as before");
    let with = all(&token);

    let found = call("GET", &format!("/find?host={}", target.host), &with, "").await;
    assert_eq!((found.status, &found.json()["data"]["sandbox"]["id"]), (200, &json!(target.id)));
    let made = call("POST", "/blocks", &with, &order).await;
    assert_eq!(made.status, 201, "{}", made.text());
    // Confirmed is in effect.
    assert_eq!(portico.visit(target.get("/", "")).await.status, 451);
    assert_eq!(call("POST", "/blocks", &with, &order).await.status, 409);
    let listed = call("GET", "/blocks", &with, "").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let id = made.json()["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(call("DELETE", &format!("/blocks/{id}"), &with, "").await.status, 200);
    assert_eq!(portico.visit(target.get("/", "")).await.status, 200);
    assert_eq!(call("DELETE", &format!("/blocks/{id}"), &with, "").await.status, 404);

    let unpaid = "{\"reason\":\"unpaid\"}";
    let other = other_tenant(&portico, "acme").await;
    let suspended = call("POST", "/tenants/acme/suspend", &with, unpaid).await;
    assert_eq!((suspended.status, &suspended.json()["data"]["state"]), (200, &json!("suspended")));
    assert_eq!(other.call("GET", "/whoami", None).await.status, 403);
    assert_eq!(call("POST", "/tenants/acme/resume", &with, "").await.status, 200);
    assert_eq!(other.call("GET", "/whoami", None).await.status, 200);
    assert_eq!(call("DELETE", "/tenants/acme", &with, "").await.status, 422, "unconfirmed");
    assert_eq!(call("DELETE", "/tenants/acme?confirm=acme", &with, "").await.status, 202);
    assert_eq!(other.call("GET", "/whoami", None).await.status, 401);
    eventually("it is gone", async || {
        !call("GET", "/tenants", &with, "").await.text().contains("acme")
    })
    .await;
    for (method, path, body, status) in [
        ("POST", "/blocks", "{", 422),
        ("POST", "/blocks", "{\"what\":\"x\",\"reason\":\"y\",\"z\":1}", 422),
        ("GET", "/find?host=a.b", "", 404),
        ("GET", "/nothing", "", 404),
        ("PUT", "/blocks", "", 405),
    ] {
        assert_eq!(call(method, path, &with, body).await.status, status, "{method} {path}");
    }
    // What was done this way says so in the log.
    let log = operator(&portico, &["audit", "--json"]);
    let log: Value = serde_json::from_str(&log).unwrap();
    let row = log.as_array().unwrap().iter().find(|row| row["action"] == "block.create").unwrap();
    assert_eq!((&row["actor"], &row["peer"]), (&json!("operator-api"), &json!("127.0.0.1")));
    // A new token takes the place of the one before.
    let newer = operator(&portico, &["operator", "token", "--rotate"]);
    assert_eq!(call("GET", "/blocks", &with, "").await.status, 401);
    assert_eq!(call("GET", "/blocks", &all(&newer), "").await.status, 200);
}
