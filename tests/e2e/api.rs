//! The control API where the official SDK does not look: its errors, states, waiting, and repeated creates.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Connection, FakeSandbox, Portico, document};

/// Development mode in which sandboxes may be registered on this machine's addresses.
async fn start() -> Portico {
    Portico::start_with(|config| config.networks.allow = vec!["127.0.0.0/8".parse().unwrap()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_has_the_one_shape() {
    let portico = Portico::start().await;
    let id = portico.api.sandbox("mine").await.id;
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(2 << 20));
    let auth = format!("Authorization: Bearer {}\r\n", portico.api.key);
    for (method, path, fields, body, status, code) in [
        ("GET", "/sandboxes/%ff", &*auth, "", 400, "BAD_REQUEST"),
        ("GET", "/sandboxes/%ff/previews/%fe", &auth, "", 400, "BAD_REQUEST"),
        ("DELETE", "/sandboxes/%ff/env/%fe", &auth, "", 400, "BAD_REQUEST"),
        ("GET", "/sandboxes/by-name/%ff", &auth, "", 400, "BAD_REQUEST"),
        ("GET", "/sandboxes?limit=0", &auth, "", 422, "VALIDATION_ERROR"),
        ("GET", "/sandboxes?state=nowhere", &auth, "", 422, "VALIDATION_ERROR"),
        ("GET", "/sandboxes/nobody", &auth, "", 404, "NOT_FOUND"),
        ("GET", "/nowhere", &auth, "", 404, "NOT_FOUND"),
        ("PUT", "/sandboxes", &auth, "{}", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/sandboxes", &auth, "{", 400, "INVALID_JSON"),
        ("POST", "/sandboxes", &auth, "[]", 422, "VALIDATION_ERROR"),
        ("POST", "/sandboxes", &auth, &large, 413, "TOO_LARGE"),
        ("GET", "/sandboxes", "", "", 401, "invalid_token"),
        ("GET", "/whoami", "Authorization: Bearer msk_x\r\n", "", 401, "invalid_token"),
    ] {
        let mut connection = Connection::open(portico.api.address).await;
        let length = body.len();
        connection
            .try_send(format!(
                "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ))
            .await;
        let response = connection.response_to(method).await.unwrap();
        assert_eq!(response.status, status, "{method} {path}: {}", response.text());
        document::check(method, &format!("/api/v1{path}"), body.as_bytes(), &response);
        assert_eq!(response.field("content-type"), Some("application/json"), "{method} {path}");
        let problem = response.json();
        assert_eq!((&problem["ok"], &problem["error"]["code"]), (&json!(false), &json!(code)));
        assert!(problem["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
        assert!(problem["error"]["details"].is_object() && problem["error"]["retryable"] == false);
        assert_eq!(problem["request_id"].as_str(), response.field("x-request-id"));
    }
    assert_eq!(portico.api.call("GET", &format!("/sandboxes/{id}"), None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_face_without_a_feature_is_none() {
    let portico = Portico::start().await;
    let put =
        async |body: Value| portico.api.call("PUT", "/tenant/branding", Some(body)).await.json();
    let read = async || portico.api.call("GET", "/tenant/branding", None).await.json();
    assert_eq!(put(json!({"product_name": "X"})).await["branding"]["product_name"], "X");
    assert_eq!(read().await["branding"]["product_name"], "X");
    for empty in [json!({}), json!({"branding": {}}), json!({"branding": null})] {
        assert_eq!(put(empty).await, json!({"branding": null}));
        assert_eq!(read().await, json!({"branding": null}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_states_are_asked_for_and_never_found() {
    let portico = start().await;
    portico.api.sandbox("mine").await;
    let made = json!({"slug": "made", "upstream": "127.0.0.1:1"});
    let made = portico.api.ok("POST", "/sandboxes", Some(made)).await;
    let path = format!("/sandboxes/{}", made["id"].as_str().unwrap());
    portico.api.ok("PATCH", &path, Some(json!({"upstream": null}))).await;
    let slugs = async |state: &str| -> Vec<String> {
        let list = portico.api.call("GET", &format!("/sandboxes?state={state}"), None).await;
        assert_eq!(list.status, 200, "{state}: {}", list.text());
        let list = list.json();
        let items = list["data"].as_array().unwrap();
        assert_eq!(list["meta"]["total"], items.len(), "{state}");
        items.iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
    };
    for state in ["pausing", "resuming", "destroying", "paused", "error"] {
        assert_eq!(slugs(state).await, Vec::<String>::new(), "{state}");
    }
    for state in ["creating", "provisioning"] {
        assert_eq!(slugs(state).await, ["made"], "{state}");
    }
    assert!(slugs("running").await.contains(&"mine".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_development_a_sandbox_can_be_given_an_address_later() {
    let portico = start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", 3000).await;
    let path = format!("/sandboxes/{}", target.id);
    let at = json!({"upstream": format!("127.0.0.1:{}", sandbox.port())});
    // There is nothing to take away yet.
    let same = portico.api.ok("PATCH", &path, Some(json!({"upstream": null}))).await;
    assert_eq!((&same["driver"], &same["ready"]), (&json!("loopback"), &json!(true)));
    let moved = portico.api.ok("PATCH", &path, Some(at)).await;
    assert_eq!((&moved["driver"], &moved["address_generation"]), (&json!("register"), &json!(1)));
    assert_eq!(portico.visit(target.get("/", "")).await.text(), "hello");
    let demo = portico.api.ok("GET", "/sandboxes/by-name/demo", None).await;
    let demo = format!("/sandboxes/{}", demo["id"].as_str().unwrap());
    let refused = portico.api.call("PATCH", &demo, Some(json!({"upstream": "127.0.0.1"}))).await;
    assert_eq!(refused.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_sandbox_is_told_when_it_has_its_address() {
    let portico = start().await;
    let api = portico.api.clone();
    let made = api.ok("POST", "/sandboxes", Some(json!({"upstream": "127.0.0.1:1"}))).await;
    let path = format!("/sandboxes/{}", made["id"].as_str().unwrap());
    let set = async |upstream: Value| {
        api.ok("PATCH", &path, Some(json!({"upstream": upstream}))).await;
    };
    let readiness = async || api.ok("GET", &format!("{path}/readiness"), None).await;
    for by in ["address", "resume"] {
        if by == "resume" {
            // A sandbox that runs and has no address is not ready either.
            api.ok("POST", &format!("{path}/stop"), None).await;
            set(Value::Null).await;
            api.ok("POST", &format!("{path}/resume"), None).await;
        } else {
            set(Value::Null).await;
        }
        let pending = readiness().await;
        let state = if by == "resume" { "running" } else { "creating" };
        assert_eq!((&pending["ready"], &pending["state"]), (&json!(false), &json!(state)), "{by}");
        let mut stream = Connection::open(api.address).await;
        stream
            .send(format!(
                "GET /api/v1{path}/readiness/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
                api.key
            ))
            .await;
        assert_eq!(stream.headers().await.unwrap().status, 200);
        let quiet = tokio::time::timeout(Duration::from_millis(200), stream.exactly(1)).await;
        assert!(quiet.is_err(), "{by}: told something before there was anything to tell");
        set(json!("127.0.0.1:1")).await;
        let told = String::from_utf8(stream.rest().await).unwrap();
        assert!(told.contains("event: ready") && told.contains("\"ready\":true"), "{by}: {told}");
        assert_eq!(readiness().await["ready"], true);
    }
}

/// A create in three parts: request line and headers with a key, the body.
async fn create(portico: &Portico, query: &str, key: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let request = format!(
        "POST /api/v1/sandboxes{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        portico.api.key,
        body.len()
    );
    let response = Connection::open(portico.api.address).await.roundtrip(request).await;
    document::check("POST", "/api/v1/sandboxes", body.as_bytes(), &response);
    (response.status, response.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_waits_as_long_as_it_was_told_to() {
    let portico = start().await;
    let order = json!({"slug": "mine", "upstream": "127.0.0.1:1"});
    let (_, made) = create(&portico, "", "k", &order).await;
    let path = format!("/sandboxes/{}", made["data"]["id"].as_str().unwrap());
    let set = async |upstream: Value| {
        portico.api.ok("PATCH", &path, Some(json!({"upstream": upstream}))).await;
    };
    set(Value::Null).await;
    // The same create again: it is the same sandbox, which is not ready now.
    let started = Instant::now();
    let (status, waited) = create(&portico, "?wait=1", "k", &order).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!((status, &waited["data"]["ready"]), (201, &json!(false)));
    let started = Instant::now();
    let later = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        set(json!("127.0.0.1:1")).await;
    };
    let ((status, waited), ()) = tokio::join!(create(&portico, "?wait=30", "k", &order), later);
    assert_eq!((status, &waited["data"]["ready"]), (201, &json!(true)));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_create_at_the_same_time_makes_one_sandbox() {
    let portico = Portico::start().await;
    for round in 0..5 {
        let (key, order) = (format!("k{round}"), json!({"slug": format!("mine-{round}")}));
        let all =
            futures_util::future::join_all((0..8).map(|_| create(&portico, "", &key, &order)));
        let mut ids = std::collections::HashSet::new();
        for (status, made) in all.await {
            assert_eq!(status, 201, "{made}");
            ids.insert(made["data"]["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(ids.len(), 1);
        let (status, refused) = create(&portico, "", &key, &json!({"slug": "other"})).await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (409, &json!("IDEMPOTENCY_PAYLOAD_MISMATCH"))
        );
    }
}
