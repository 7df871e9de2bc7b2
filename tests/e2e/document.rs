//! The API document against the API: what is served is described, who may call is who may call, and the check that all other tests put
//! their responses through notices what it should.

use std::panic::{AssertUnwindSafe, catch_unwind};

use portico::model::KeyScope;
use serde_json::{Value, json};

use crate::support::{Api, Connection, Portico, Response, document};

/// A value for every placeholder; nothing of the kind exists.
fn filled(template: &'static str) -> String {
    let nobody = "00000000-0000-7000-8000-000000000000";
    let fill = |part: &'static str| if part.starts_with('{') { nobody } else { part };
    template.split('/').map(fill).collect::<Vec<_>>().join("/")
}

async fn call(portico: &Portico, method: &str, path: &str, key: Option<&str>) -> Response {
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let mut connection = Connection::open(portico.api.address).await;
    connection
        .send(format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 0\r\nConnection: close\r\n\r\n"
        ))
        .await;
    // Only as far as the headers say: a stream of events does not end.
    let mut response = connection.headers().await.expect("headers");
    let length = response.field("content-length").map_or(0, |text| text.parse().expect("a number"));
    response.body = connection.exactly(length).await;
    document::check(method, path, b"", &response);
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served_to_everybody_as_it_is_in_the_repository() {
    let portico = Portico::start().await;
    let served = call(&portico, "GET", "/api/v1/openapi.json", None).await;
    assert_eq!((served.status, served.field("content-type")), (200, Some("application/json")));
    assert!(served.text() == include_str!("../../docs/openapi.json"));
    assert_eq!(served.json()["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_served_and_asks_for_the_key_it_says() {
    let portico = Portico::start().await;
    for (method, template, said) in document::operations() {
        let response = call(&portico, &method, &filled(template), None).await;
        let is_open = said["security"] == json!([{}]);
        let expected = if is_open { 200 } else { 401 };
        assert_eq!(response.status, expected, "{method} {template}: {}", response.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_described_is_not_served() {
    let portico = Portico::start().await;
    let paths: std::collections::BTreeSet<_> =
        document::operations().map(|(_, template, _)| template).collect();
    for template in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let is_described = document::operations().any(|(m, t, _)| m == method && t == template);
            if !is_described {
                let response = call(&portico, method, &filled(template), None).await;
                // A few such calls are in the SDK, which is told what to do instead.
                let is_absent =
                    ["GET", "PATCH"].contains(&method) && template.starts_with("/api/v1/api-keys/");
                assert_eq!(
                    response.status,
                    if is_absent { 501 } else { 405 },
                    "{method} {template}"
                );
                let allowed = response.field("allow").unwrap_or_default();
                for (described, t, _) in document::operations().filter(|(_, t, _)| *t == template) {
                    assert!(allowed.contains(&described), "{t}: {allowed}");
                }
            }
        }
    }
}

fn known(scope: &str) -> KeyScope {
    serde_json::from_value(scope.into()).expect("a scope")
}

/// A key with these scopes.
async fn key(api: &Api, scopes: &[&str]) -> String {
    let order = json!({ "label": "narrow", "scopes": scopes });
    let made = api.call("POST", "/api-keys", Some(order)).await.json();
    made["token"].as_str().expect("a key").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_the_scopes_of_an_operation_say_and_no_more() {
    let portico = Portico::start().await;
    for (method, template, said) in document::operations() {
        let what = format!("{method} {template}");
        let requirements = said["security"].as_array().unwrap().iter();
        let scopes: Vec<&str> = requirements
            .filter_map(|one| one["api_key"].as_array())
            .flatten()
            .map(|scope| scope.as_str().unwrap())
            .collect();
        let is_refused = |response: &Response| response.status == 403;
        for scope in &scopes {
            let enough = key(&portico.api, &[scope]).await;
            let response = call(&portico, &method, &filled(template), Some(&enough)).await;
            assert!(!is_refused(&response), "{what}: {scope} is not enough: {}", response.text());
        }
        if !scopes.is_empty() {
            let covers = |scope: &str| scopes.iter().any(|one| known(scope).covers(known(one)));
            let others: Vec<&str> = document::scopes().filter(|scope| !covers(scope)).collect();
            let short = key(&portico.api, &others).await;
            let response = call(&portico, &method, &filled(template), Some(&short)).await;
            assert!(is_refused(&response), "{what}: taken without {scopes:?}: {}", response.text());
            assert_eq!(response.json()["error"]["code"], "insufficient_scope", "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_call_is_refused_before_its_body_is_read() {
    let portico = Portico::start().await;
    let short = key(&portico.api, &["tenant:read"]).await;
    for (key, status) in [(short.as_str(), 403), (portico.api.key.as_str(), 400)] {
        let mut connection = Connection::open(portico.api.address).await;
        connection
            .send(format!(
                "POST /api/v1/webhooks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{{"
            ))
            .await;
        assert_eq!(connection.headers().await.expect("headers").status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_the_document_does_not_describe_is_noticed() {
    let portico = Portico::start().await;
    let good = portico.api.call("GET", "/whoami", None).await;
    let told = |change: &dyn Fn(&mut Value)| {
        let mut body = good.json();
        change(&mut body);
        Response { body: body.to_string().into_bytes(), ..good.clone() }
    };
    let plain = {
        let mut plain = good.clone();
        plain.fields.iter_mut().find(|(name, _)| name == "content-type").unwrap().1 =
            "text/plain".into();
        plain
    };
    let nameless = {
        let mut nameless = good.clone();
        nameless.fields.retain(|(name, _)| name != "x-request-id");
        nameless
    };
    let at = "/api/v1/whoami";
    document::check("GET", at, b"", &good);
    document::check(
        "GET",
        at,
        b"",
        &told(&|body| body["expires_at"] = json!("2030-01-01T00:00:00Z")),
    );
    let post = "/api/v1/api-keys";
    for (what, method, target, sent, response) in [
        ("a field more", "GET", at, "", told(&|body| body["more"] = json!(1))),
        (
            "a field less",
            "GET",
            at,
            "",
            told(&|body| drop(body.as_object_mut().unwrap().remove("expires_at"))),
        ),
        ("another type", "GET", at, "", told(&|body| body["tenant_name"] = json!(1))),
        ("no UUID", "GET", at, "", told(&|body| body["tenant_id"] = json!("x"))),
        ("no time", "GET", at, "", told(&|body| body["expires_at"] = json!("soon"))),
        ("no such scope", "GET", at, "", told(&|body| body["scopes"] = json!(["all"]))),
        ("another status", "GET", at, "", Response { status: 201, ..good.clone() }),
        ("another kind", "GET", at, "", plain),
        ("no request id", "GET", at, "", nameless),
        ("no such path", "GET", "/api/v1/nobody", "", good.clone()),
        ("no such method", "PUT", at, "", good.clone()),
        ("a body nobody described", "GET", at, "{}", good.clone()),
        ("a request that should not be taken", "POST", post, "{\"label\": 7}", good.clone()),
    ] {
        let check = || document::check(method, target, sent.as_bytes(), &response);
        assert!(catch_unwind(AssertUnwindSafe(check)).is_err(), "not noticed: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_may_be_written_with_a_fraction_of_nothing() {
    let portico = Portico::start().await;
    let order = json!({ "label": "an hour", "expires_in": 3600.0 });
    let made = portico.api.call("POST", "/api-keys", Some(order)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    for wait in ["soon", "-1", "1.5", ""] {
        let refused = portico.api.call("POST", &format!("/sandboxes?wait={wait}"), None).await;
        assert_eq!(refused.status, 422, "{wait}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_but_files_of_its_own_and_runs_no_script_of_its_text() {
    let portico = Portico::start().await;
    let get = async |path: &str, fields: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
        Connection::open(portico.api.address).await.roundtrip(request).await
    };
    let page = get("/api/v1/docs", "").await;
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let text = page.text();
    let loaded: Vec<&str> =
        text.split('"').filter(|part| part.starts_with("docs/") && part.contains('.')).collect();
    assert_eq!(loaded.len(), 4, "{loaded:?}");
    assert_eq!(text.matches("<script").count(), text.matches("<script src=\"docs/").count());
    assert!(!text.contains("<style") && !text.contains("://"), "{text}");
    for name in loaded {
        let file = get(&format!("/api/v1/{name}"), "").await;
        assert_eq!(file.status, 200, "{name}");
        let kind = if name.ends_with("js") { "text/javascript" } else { "text/css" };
        assert!(file.field("content-type").unwrap().starts_with(kind), "{name}");
        assert_eq!(file.field("x-content-type-options"), Some("nosniff"));
        // The reader's own files travel as they lie in the binary.
        let is_packed = file.field("content-encoding") == Some("gzip");
        assert_eq!(is_packed, name.contains("swagger"), "{name}");
        assert_eq!(is_packed, file.body.starts_with(&[0x1f, 0x8b, 8]), "{name}");
        let tag = file.field("etag").unwrap();
        let again = get(&format!("/api/v1/{name}"), &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
    }
    assert_eq!(get("/api/v1/docs/portico.db", "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_a_call_does_not_have_are_named_and_refused_on_request() {
    let portico = Portico::start().await;
    let send = async |method: &str, path: &str, body: Value| {
        let (key, body) = (&portico.api.key, body.to_string());
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        Connection::open(portico.api.address).await.roundtrip(request).await
    };
    // In the record where there is one, also in an object within; what may hold anything has no unknown fields.
    let order = json!({"name": "a", "slugg": "x", "metadata": {"anything": 1}, "env": {"A": "1"}});
    let made = send("POST", "/sandboxes", order).await;
    assert_eq!(made.status, 201);
    let expected = json!(["`slugg` is not a field of this call; did you mean `slug`?"]);
    assert_eq!(made.json()["data"]["warnings"], expected);
    let face = json!({"branding": {"product_name": "Acme", "primary_colour": "#ffffff"}});
    let set = send("PUT", "/tenant/branding", face.clone()).await.json();
    let warning = set["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("`branding.primary_colour` is not a field"), "{warning}");
    assert!(warning.contains("primary_color"), "{warning}");
    // Nothing is changed by a call that is refused.
    let strict =
        send("PUT", "/tenant/branding?strict=1", json!({"product_name": "B", "x": 1})).await;
    assert_eq!(
        (strict.status, &strict.json()["error"]["details"]),
        (422, &json!({"x": ["is not a field of this call"]}))
    );
    let kept = portico.api.call("GET", "/tenant/branding", None).await.json();
    assert_eq!(kept["branding"]["product_name"], "Acme");
    // Who sends nothing unknown reads of nothing.
    let plain = send("PUT", "/tenant/branding?strict=true", json!({"product_name": "C"})).await;
    assert_eq!((plain.status, &plain.json()["warnings"]), (200, &Value::Null));
    // A path takes its parameters whatever the router calls them.
    let quotas =
        send("PUT", "/quotas/external/a/b", json!({"max_sandboxes": 1, "max_sandbox": 1})).await;
    assert_eq!(quotas.status, 200, "{}", quotas.text());
    assert!(quotas.text().contains("did you mean `max_sandboxes`?"), "{}", quotas.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_the_sdk_that_is_absent_says_what_to_do_instead() {
    let portico = Portico::start().await;
    let nobody = "00000000-0000-7000-8000-000000000000";
    for (method, path) in [
        ("GET", "/databases"),
        ("POST", "/sandboxes/ID/exec"),
        ("GET", "/sandboxes/runtimes"),
        ("PATCH", "/api-keys/ID"),
        ("GET", "/credits/balance"),
    ] {
        let path = format!("/api/v1{}", path.replace("ID", nobody));
        let response = call(&portico, method, &path, Some(&portico.api.key)).await;
        assert_eq!(
            (response.status, &response.json()["error"]["code"]),
            (501, &json!("NOT_SUPPORTED")),
            "{path}"
        );
        assert_eq!(response.json()["error"]["retryable"], false);
        assert!(response.json()["error"]["message"].as_str().unwrap().len() > 60, "{path}");
    }
    for (method, path, status) in
        [("GET", "/databasesx", 404), ("GET", "/nobody", 404), ("PUT", "/whoami", 405)]
    {
        let path = format!("/api/v1{path}");
        assert_eq!(
            call(&portico, method, &path, Some(&portico.api.key)).await.status,
            status,
            "{path}"
        );
    }
}
