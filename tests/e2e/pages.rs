//! The pages of ours, through the whole program.

use serde_json::json;

use crate::support::{FakeSandbox, Portico};

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_pages_wear_its_face_and_nobody_elses_name() {
    let portico = Portico::start().await;
    let branding = json!({"branding": {
        "product_name": "OpenDesigns <Workspaces>", "logo_url": "https://cdn.opendesigns.example/logo.png",
        "support_email": "help@opendesigns.example", "primary_color": "#ff5a1f",
    }});
    portico.api.ok("PUT", "/tenant/branding", Some(branding)).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = portico.public("mine", free).await;
    let response = portico
        .visit(
            target.get("/<script>alert(1)</script>", "Accept: text/html\r\n").replace('<', "%3C"),
        )
        .await;
    let page = response.text();
    assert_eq!(response.status, 502);
    assert!(
        page.contains("OpenDesigns &#60;Workspaces&#62;")
            || page.contains("OpenDesigns &lt;Workspaces&gt;"),
        "{page}"
    );
    assert!(
        page.contains("https://cdn.opendesigns.example/logo.png")
            && page.contains("mailto:help@opendesigns.example")
    );
    assert!(page.contains(&format!("Nothing is listening on port {free} yet")), "{page}");
    assert!(page.contains(response.field("x-request-id").unwrap()));
    assert!(
        response
            .field("content-security-policy")
            .unwrap()
            .contains("img-src https://cdn.opendesigns.example")
    );
    assert!(!response.field("content-security-policy").unwrap().contains("unsafe"));
    let everything = format!("{page}{:?}", response.fields).to_lowercase();
    assert!(!everything.contains("portico") && !everything.contains("miosa"), "{everything}");
    portico.api.ok("DELETE", "/tenant/branding", None).await;
    let plain = portico.visit(target.get("/", "Accept: text/html\r\n")).await.text();
    assert!(!plain.contains("OpenDesigns") && !plain.contains("<img"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_response_fits_what_was_fetched() {
    let portico = Portico::start().await;
    let target = portico.private("mine", 3000).await;
    let check = async |fields: &str, kind: Option<&str>, starts: &str| {
        let response = portico.visit(target.get("/", fields)).await;
        assert_eq!(response.status, 401);
        assert_eq!(response.field("content-type"), kind, "{fields}");
        assert!(response.text().starts_with(starts), "{fields}: {}", response.text());
        assert_eq!(response.field("cache-control"), Some("no-store"));
        assert_eq!(response.field("www-authenticate"), Some("Bearer"));
        assert_eq!(response.field("x-preview-error"), Some("sign_in_needed"));
    };
    check("Sec-Fetch-Dest: document\r\n", Some("text/html; charset=utf-8"), "<!doctype html>")
        .await;
    check(
        "Sec-Fetch-Dest: script\r\n",
        Some("text/javascript; charset=utf-8"),
        "/* sign_in_needed",
    )
    .await;
    check("Sec-Fetch-Dest: style\r\n", Some("text/css; charset=utf-8"), "/* sign_in_needed").await;
    check("Sec-Fetch-Dest: image\r\n", None, "").await;
    check("Accept: application/json\r\n", Some("application/json"), "{").await;
    let response =
        portico.visit(target.get("/", "Accept: text/html\r\n").replacen("GET", "HEAD", 1)).await;
    assert_eq!((response.status, response.body.len()), (401, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_foreign_previews_look_alike() {
    let portico = Portico::start().await;
    let strip = |response: crate::support::Response| {
        let id = response.field("x-request-id").unwrap().to_owned();
        (response.status, response.text().replace(&id, "ID"))
    };
    let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\n\r\n");
    let unknown = strip(portico.visit(get("nope.sandbox.localhost")).await);
    let destroyed = portico.private("gone", 3000).await;
    portico.api.ok("DELETE", &format!("/sandboxes/{}", destroyed.id), None).await;
    assert_eq!(strip(portico.visit(get("3000-gone.sandbox.localhost")).await), unknown);
    assert_eq!(strip(portico.visit(get("0-x.sandbox.localhost")).await), unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apps_own_errors_pass_through() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding("HTTP/1.1 504 Outdated Optimize Dep\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nvite").await;
    let target = portico.public("mine", sandbox.port()).await;
    let response = portico.visit(target.get("/", "Accept: text/html\r\n")).await;
    assert_eq!((response.status, response.text().as_str()), (504, "vite"));
    assert_eq!(
        (response.field("x-preview-source"), response.field("x-preview-error")),
        (Some("app"), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_branding_is_refused_field_by_field() {
    let portico = Portico::start().await;
    let hostile = json!({
        "product_name": "a\u{202e}b", "logo_url": "javascript:alert(1)", "support_url": "http://x", "support_email": "<script>@x",
        "primary_color": "red;background:url(//x)", "background_color": "#12",
    });
    let refused = portico.api.call("PUT", "/tenant/branding", Some(hostile)).await;
    assert_eq!(refused.status, 422);
    let details = refused.json()["error"]["details"].as_object().unwrap().len();
    assert_eq!(details, 6, "{}", refused.text());
}
