//! Who may show a preview in a frame: the tenant's directive in the place of the app's, on everything that a frame can show.

use serde_json::json;

use crate::support::{FakeSandbox, Portico, Response};

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nX-Frame-Options: SAMEORIGIN\r\n\
                    Content-Security-Policy: default-src 'self';  script-src 'nonce-a'; Frame-Ancestors 'none', img-src *\r\n\
                    content-security-policy: frame-ancestors https://app.test;\r\n\
                    Content-Security-Policy-Report-Only: frame-ancestors 'none'; report-uri /csp\r\n\
                    content-length: 2\r\n\r\nhi";
/// What pages on the machine of `portico dev` are called.
const LOCAL: &str = "http://localhost:* http://*.localhost:* http://127.0.0.1:*";

fn policies(response: &Response) -> Vec<&str> {
    response.all("content-security-policy")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenants_policy_replaces_the_apps_and_nothing_else_changes() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(PAGE).await;
    let target = portico.public("mine", sandbox.port()).await;
    let apps = "default-src 'self';  script-src 'nonce-a', img-src *";
    let first = portico.visit(target.get("/", "")).await;
    let new = format!("frame-ancestors 'self' {LOCAL}");
    assert_eq!(policies(&first), [apps, &new], "a new tenant of `portico dev`");
    assert_eq!(first.field("x-frame-options"), None);
    let report = first.field("content-security-policy-report-only");
    assert_eq!(report, Some("frame-ancestors 'none'; report-uri /csp"));
    let policy = json!({
        "allowed_origins": ["https://app.opendesigns.example"],
        "frame_ancestors": ["https://*.opendesigns.example", "https://studio.example:8443"],
    });
    let set = portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    assert_eq!(set["frame_ancestors"][1], "https://studio.example:8443");
    let ours = format!(
        "frame-ancestors 'self' {LOCAL} https://app.opendesigns.example https://*.opendesigns.example https://studio.example:8443"
    );
    assert_eq!(policies(&portico.visit(target.get("/", "")).await), [apps, &ours]);
    let any = json!({"frame_ancestors": ["*"]});
    portico.api.ok("PUT", "/tenant/preview-policy", Some(any)).await;
    assert_eq!(policies(&portico.visit(target.get("/", "")).await), [apps, "frame-ancestors *"]);
    let stored = portico.api.ok("GET", "/tenant/preview-policy", None).await;
    assert_eq!(stored["frame_ancestors"], json!(["*"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_of_the_tenants_may_embed_from_the_moment_it_is_verified() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(PAGE).await;
    let target = portico.public("mine", sandbox.port()).await;
    let may = async |source: &str| {
        let response = portico.visit(target.get("/", "")).await;
        policies(&response).last().unwrap().split(' ').any(|own| own == source)
    };
    let store = &portico.running.state.store;
    let tenant = store.tenants().await.unwrap()[0].id;
    assert!(!may("https://*.own.example").await);
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    store.put_domain("own.example", tenant, Some(now)).await.unwrap();
    crate::support::eventually("the domain is known", async || may("https://*.own.example").await)
        .await;
    assert!(may("https://own.example").await);
    store.delete_domain("own.example").await.unwrap();
    crate::support::eventually("the domain is forgotten", async || {
        !may("https://own.example").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_frame_cannot_show_is_left_alone() {
    let portico = Portico::start().await;
    for (reply, expected) in [
        ("200 OK\r\ncontent-type: text/css\r\ncontent-length: 0", 0),
        ("200 OK\r\ncontent-type: text/css\r\nx-frame-options: DENY\r\ncontent-length: 0", 1),
        ("302 Found\r\nlocation: /x\r\ncontent-type: text/html\r\ncontent-length: 0", 0),
        ("204 No Content", 0),
        ("304 Not Modified\r\netag: \"a\"", 0),
        ("304 Not Modified\r\ncontent-security-policy: img-src *; frame-ancestors 'none'", 2),
        ("404 Not Found\r\ncontent-type: text/html\r\ncontent-length: 0", 1),
        ("200 OK\r\ncontent-length: 0", 1),
    ] {
        let sandbox = FakeSandbox::responding(format!("HTTP/1.1 {reply}\r\n\r\n")).await;
        let slug = format!("app-{}", sandbox.port());
        let target = portico.public(&slug, sandbox.port()).await;
        let response = portico.visit(target.get("/", "")).await;
        assert_eq!(policies(&response).len(), expected, "{reply}: {response:?}");
        assert_eq!(response.field("x-frame-options"), None);
        assert!(!format!("{:?}", policies(&response)).contains("'none'"), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_pages_are_shown_where_the_preview_is() {
    let portico = Portico::start().await;
    let target = portico.private("mine", 3000).await;
    let stranger = "Accept: text/html\r\nSec-Fetch-Dest: iframe\r\n";
    let page = &format!("{stranger}Referer: https://app.example/\r\n");
    let policy = json!({"frame_ancestors": ["https://app.example"]});
    portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    let private = portico.visit(target.get("/", page)).await;
    assert_eq!(private.status, 401);
    let ours = format!("frame-ancestors 'self' {LOCAL} https://app.example");
    assert_eq!(policies(&private).len(), 2);
    assert!(policies(&private)[0].starts_with("default-src 'none'"));
    assert_eq!(policies(&private)[1], ours);
    // The script in it knows whom it may talk to.
    assert!(private.text().contains(r#""origins":["https://app.example"]"#), "{}", private.text());
    assert!(private.text().contains(r#""patterns":["^https?://localhost(:\\d+)?$""#));
    // Whose it is, nobody knows: it is shown nowhere.
    let unknown = "GET / HTTP/1.1\r\nHost: nope.sandbox.localhost\r\nAccept: text/html\r\n\r\n";
    let unknown = portico.visit(unknown).await;
    assert_eq!((unknown.status, policies(&unknown)[1]), (404, "frame-ancestors 'none'"));
    let json = portico.visit(target.get("/", "Accept: application/json\r\n")).await;
    assert_eq!(policies(&json), ["default-src 'none'; frame-ancestors 'none'"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_source_is_named() {
    let portico = Portico::start().await;
    let bad = json!({"frame_ancestors": [
        "https://app.example", "app.example", "https://a.example; script-src *", "'none'", "https://*"
    ]});
    let refused = portico.api.call("PUT", "/tenant/preview-policy", Some(bad)).await;
    assert_eq!(refused.status, 422);
    let errors = refused.json()["error"]["details"]["frame_ancestors"].clone();
    let errors: Vec<&str> =
        errors.as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    let places: Vec<&str> = errors.iter().map(|error| &error[..6]).collect();
    assert_eq!(places, ["item 2", "item 3", "item 4", "item 5"]);
    let many: Vec<String> = (0..65).map(|i| format!("https://a{i}.example")).collect();
    let long: Vec<String> =
        (0..60).map(|i| format!("https://{}{i}.example", "a".repeat(60))).collect();
    let long = [long.clone(), long.iter().map(|text| text.replace("aa", "bb")).collect()].concat();
    for (field, list) in [("many", &many), ("long", &long)] {
        let policy = json!({"frame_ancestors": list});
        let status = portico.api.call("PUT", "/tenant/preview-policy", Some(policy)).await.status;
        assert_eq!(status, 422, "{field}");
    }
    let long = json!({"frame_ancestors": long[..60], "allowed_origins": long[60..]});
    let status = portico.api.call("PUT", "/tenant/preview-policy", Some(long)).await.status;
    assert_eq!(status, 422, "too long together");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_message_type_is_sent_only_where_it_was_asked_for() {
    let portico = Portico::start().await;
    let target = portico.private("mine", 3000).await;
    // Whoever was here before is told in the tenant's way.
    let (token, id) = portico.api.token(&target.id, json!({})).await;
    let path = format!("/sandboxes/{}/preview-tokens/{id}", target.id);
    portico.api.ok("DELETE", &path, None).await;
    let fields = format!("Accept: text/html\r\nCookie: __Host-preview={token}\r\n");
    let text = async || portico.visit(target.get("/", &fields)).await.text();
    assert!(text().await.contains(r#""alias":null"#));
    let policy = json!({"miosa_messages": true});
    portico.api.ok("PUT", "/tenant/preview-policy", Some(policy)).await;
    assert!(text().await.contains(r#""alias":"miosa:session-expired""#));
}
