//! The API for pages in browsers: which origins may read its responses, and tickets for streams.

use serde_json::json;

use crate::support::{Connection, Portico, Response};

const APP: &str = "https://app.opendesigns.example";

async fn send(portico: &Portico, method: &str, path: &str, fields: &str) -> Response {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    Connection::open(portico.running.api).await.roundtrip(request).await
}

async fn preflight(portico: &Portico, origin: &str) -> Response {
    let fields = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: PATCH\r\n\
         Access-Control-Request-Headers: authorization,content-type,idempotency-key,x-miosa-client-id\r\n"
    );
    send(portico, "OPTIONS", "/api/v1/sandboxes/x", &fields).await
}

fn admitted(response: &Response) -> Option<&str> {
    response.field("access-control-allow-origin")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_may_call_the_api_and_nobody_elses() {
    let portico = Portico::start_with(|config| config.allowed_origins = vec![APP.into()]).await;
    let approved = preflight(&portico, APP).await;
    assert_eq!((approved.status, admitted(&approved)), (200, Some(APP)));
    let methods = approved.field("access-control-allow-methods").unwrap();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(methods.contains(method), "{methods}");
    }
    let fields = approved.field("access-control-allow-headers").unwrap();
    for field in ["authorization", "content-type", "idempotency-key", "x-miosa-client-id"] {
        assert!(fields.contains(field), "{fields}");
    }
    assert!(approved.field("access-control-max-age").is_some());
    assert!(approved.field("access-control-allow-credentials").is_none());
    assert!(approved.field("x-request-id").is_some());
    for other in [
        "https://evil.example",
        "https://app.opendesigns.example.evil.example",
        "http://app.opendesigns.example",
        "https://app.opendesigns.example:444",
        "https://APP.opendesigns.example",
        "null",
    ] {
        let refused = preflight(&portico, other).await;
        assert_eq!(admitted(&refused), None, "{other}");
        assert!(refused.field("vary").unwrap().to_ascii_lowercase().contains("origin"), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_and_errors_of_every_kind_can_be_read_by_the_page() {
    let portico = Portico::start_with(|config| config.allowed_origins = vec![APP.into()]).await;
    let auth = format!("Authorization: Bearer {}\r\n", portico.api.key);
    for (method, path, auth, status) in [
        ("GET", "/api/v1/whoami", &*auth, 200),
        ("GET", "/api/v1/whoami", "", 401),
        ("GET", "/api/v1/sandboxes/x", &auth, 404),
        ("GET", "/api/v1/sandboxes?limit=0", &auth, 422),
        ("GET", "/api/v1/nowhere", &auth, 404),
        ("PUT", "/api/v1/sandboxes", &auth, 405),
    ] {
        let fields = format!("Origin: {APP}\r\n{auth}");
        let reply = send(&portico, method, path, &fields).await;
        assert_eq!((reply.status, admitted(&reply)), (status, Some(APP)), "{method} {path}");
        assert_eq!(reply.all("access-control-allow-origin").len(), 1);
        assert!(reply.field("vary").unwrap().to_ascii_lowercase().contains("origin"));
        let exposed = reply.field("access-control-expose-headers").unwrap();
        assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"), "{exposed}");
        let other =
            send(&portico, method, path, &format!("Origin: https://evil.example\r\n{auth}")).await;
        assert_eq!((other.status, admitted(&other)), (status, None), "{method} {path}");
    }
    // The script for customers' pages is for everybody, as before, and says so once.
    let script =
        send(&portico, "GET", "/embed/v1/portico-embed.js", &format!("Origin: {APP}\r\n")).await;
    assert_eq!(script.all("access-control-allow-origin"), ["*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_a_tenant_names_is_allowed_until_it_is_named_no_more() {
    let portico = Portico::start().await;
    let set = async |origins: &[&str]| {
        let policy = json!({"allowed_origins": origins});
        portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    };
    assert_eq!(admitted(&preflight(&portico, APP).await), None);
    set(&[APP, APP, "https://b.example"]).await;
    assert_eq!(admitted(&preflight(&portico, APP).await), Some(APP));
    set(&[APP]).await;
    assert_eq!(admitted(&preflight(&portico, APP).await), Some(APP));
    assert_eq!(admitted(&preflight(&portico, "https://b.example").await), None);
    set(&[]).await;
    assert_eq!(admitted(&preflight(&portico, APP).await), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_stream_and_nothing_else() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let id = api.sandbox("mine").await.id;
    let ticket = async |api: &crate::support::Api, path: &str| {
        let reply = api.call("POST", path, None).await.json();
        assert_eq!(reply["expires_in"], 60);
        reply["ticket"].as_str().unwrap().to_owned()
    };
    let stream = async |ticket: &str| {
        let path = format!("/api/v1/sandboxes/{id}/readiness/stream?ticket={ticket}");
        send(&portico, "GET", &path, "Accept: text/event-stream\r\n").await
    };
    for path in ["/auth/sse-ticket", "/sse/ticket"] {
        let once = ticket(api, path).await;
        assert!(once.starts_with("sset_"));
        let opened = stream(&once).await;
        assert_eq!(opened.status, 200);
        assert!(opened.text().contains("event: ready"), "{}", opened.text());
        assert_eq!(stream(&once).await.status, 401, "a ticket is good once");
    }
    assert_eq!(stream("sset_x").await.status, 401);
    // It is for streams: not for reading something else, still less for writing.
    let other = ticket(api, "/auth/sse-ticket").await;
    for (method, path) in
        [("GET", "/sandboxes"), ("POST", "/sandboxes"), ("DELETE", &*format!("/sandboxes/{id}"))]
    {
        let reply = send(&portico, method, &format!("/api/v1{path}?ticket={other}"), "").await;
        assert_eq!(reply.status, 401, "{method} {path}");
    }
    assert_eq!(stream(&other).await.status, 200, "what refused it has not used it up");
    // It is worth what its giver is worth when it is shown.
    let minted =
        api.ok("POST", "/tokens/scoped", Some(json!({"user_id": "u", "sandbox_ids": [id]}))).await;
    let token =
        crate::support::Api { address: api.address, key: minted["token"].as_str().unwrap().into() };
    let good = ticket(&token, "/auth/sse-ticket").await;
    assert_eq!(stream(&good).await.status, 200);
    let foreign = api.ok("POST", "/tokens/scoped", Some(json!({"user_id": "v"}))).await;
    let foreign = crate::support::Api {
        address: api.address,
        key: foreign["token"].as_str().unwrap().into(),
    };
    assert_eq!(stream(&ticket(&foreign, "/auth/sse-ticket").await).await.status, 404);
    let late = ticket(&token, "/auth/sse-ticket").await;
    api.ok("DELETE", &format!("/tokens/scoped/{}", minted["id"].as_str().unwrap()), None).await;
    assert_eq!(stream(&late).await.status, 401);
}
