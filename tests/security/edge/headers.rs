//! What passes between visitors and apps, and what does not.

use serde_json::json;

use crate::support::{FakeSandbox, Portico, SandboxHandle};

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_proxy_may_say_does_not_come_as_a_trailer() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while exchange.headers().await.is_some() {
            exchange.skip(usize::MAX).await;
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let refused = [
        "True-Client-IP",
        "X-Client-IP",
        "X_Real_IP",
        "CF-Connecting-IP",
        "Client-IP",
        "X-Original-URL",
        "X-Host",
        "X-Request-Id",
        "X_Miosa_Preview_Token",
        "X_Forwarded_For",
        "X-Preview-Hop",
        "Set_Cookie",
        "Proxy",
    ];
    let trailers = refused.map(|name| format!("{name}: SECRET\r\n")).concat();
    let request = target
        .get("/", "Transfer-Encoding: chunked\r\nTE: trailers\r\n")
        .replacen("GET", "POST", 1)
        + &format!("2\r\nhi\r\n0\r\n{trailers}X-Checksum: kept\r\n\r\n");
    assert_eq!(portico.visit(request).await.status, 200);
    let seen = sandbox.received_text().to_ascii_lowercase();
    assert!(seen.contains("x-checksum: kept") && !seen.contains("secret"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_does_not_let_anybody_frame_it() {
    let portico = Portico::start().await;
    for (status, fields) in [
        ("200 OK", "Content-Type: image/png, text/html"),
        ("200 OK", "Content-Type: text/css,text/html"),
        ("300 Multiple Choices", "Location: /x\r\nContent-Type: text/html"),
        ("305 Use Proxy", "Location: /x\r\nContent-Type: text/html"),
        ("306 Unused", "Location: /x\r\nContent-Type: text/html"),
        ("200 OK", "Content-Type: text/html"),
    ] {
        let reply = format!("HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: 2\r\n\r\nok");
        let sandbox = FakeSandbox::responding(reply).await;
        let slug = format!("a{}", sandbox.port());
        let target = portico.public(&slug, sandbox.port()).await;
        let response = portico.visit(target.get("/", "")).await;
        let policy = response.field("content-security-policy").unwrap_or_default();
        assert!(policy.contains("frame-ancestors 'self'"), "{status} {fields}: {policy}");
    }
}

/// Pages of other previews are below the tenant's own domain, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_preview_below_a_tenants_domain_is_not_framed_by_another() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let data = portico.data.path().to_str().unwrap().to_owned();
    let added = crate::support::command(
        &["domain", "add", "own.test", "--tenant", "local", "--data", &data],
        None,
    );
    let added = if added.status.success() {
        added
    } else {
        // The tenant of development has a name of its own.
        let whoami = portico.api.ok("GET", "/whoami", None).await;
        let tenant = whoami["tenant"]["name"].as_str().or(whoami["tenant_name"].as_str());
        let tenant = tenant.unwrap_or_else(|| panic!("{whoami}")).to_owned();
        crate::support::command(
            &["domain", "add", "own.test", "--tenant", &tenant, "--data", &data],
            None,
        )
    };
    assert!(added.status.success(), "{added:?}");
    let target = portico.public("mine", sandbox.port()).await;
    let host = format!("{}-mine.sandbox.own.test", sandbox.port());
    let target = SandboxHandle { host, ..target };
    crate::support::eventually("the domain serves", async || {
        portico.visit(target.get("/", "")).await.status == 200
    })
    .await;
    let policy = async |fields: &str| {
        let response = portico.visit(target.get("/", fields)).await;
        response.field("content-security-policy").unwrap_or_default().to_owned()
    };
    let frame = "Sec-Fetch-Dest: iframe\r\nSec-Fetch-Mode: navigate\r\n";
    let below = "https://*.own.test";
    for (asks, wide) in [
        ("Sec-Fetch-Site: same-site\r\nReferer: https://1-other.sandbox.own.test/\r\n", true),
        ("Sec-Fetch-Site: same-site\r\nReferer: https://app.own.test/\r\n", true),
        ("Sec-Fetch-Site: same-site\r\n", false),
        ("Sec-Fetch-Site: same-origin\r\n", true),
    ] {
        let said = policy(&format!("{frame}{asks}")).await;
        // That name leads to no sandbox, so it is a page of the tenant's.
        assert_eq!(said.contains(below), wide, "{asks}: {said}");
    }
    portico.private("other", 1).await;
    let said = policy(&format!(
        "{frame}Sec-Fetch-Site: same-site\r\nReferer: https://1-other.sandbox.own.test/\r\n"
    ))
    .await;
    assert!(!said.contains(below) && said.contains("https://own.test"), "{said}");
    let top = policy("Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n").await;
    assert!(!top.contains(below), "{top}");
    // A link that a page opens in a frame keeps the page's name on the way to what it opens.
    let closed = portico.private("closed", sandbox.port()).await;
    let (token, _) = portico.api.token(&closed.id, json!({})).await;
    let link = format!("/?mt={token}");
    let asks = "Sec-Fetch-Site: same-site\r\nReferer: https://app.own.test/\r\n";
    let opened = portico.visit(closed.get(&link, &format!("{frame}{asks}"))).await;
    assert_eq!((opened.status, opened.field("referrer-policy")), (303, Some("strict-origin")));
    let alone = portico.visit(closed.get(&link, "Sec-Fetch-Mode: navigate\r\n")).await;
    assert_eq!((alone.status, alone.field("referrer-policy")), (303, Some("no-referrer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_authority_is_not_answered_by_an_app() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    for path in ["/.well-known/acme-challenge/token", "/.well-known/acme-challenge"] {
        assert_eq!(portico.visit(target.get(path, "")).await.status, 404, "{path}");
    }
    assert_eq!(sandbox.connections(), 0);
    assert_eq!(portico.visit(target.get("/.well-known/other", "")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_words_are_not_taken_for_ours() {
    let portico = Portico::start().await;
    let branding = json!({"branding": {"product_name": "Ports {port} <port>"}});
    portico.api.ok("PUT", "/tenant/branding", Some(branding)).await;
    let target = portico.public("mine", 9).await;
    let page = portico.visit(target.get("/", "Accept: text/html\r\n")).await;
    assert_eq!(page.status, 502);
    let text = page.text();
    assert!(
        text.contains("Ports {port} &#60;port&#62;") || text.contains("Ports {port} &lt;port&gt;"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_others_would_read_differently_is_not_passed_on() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    for line in ["5;", "5;bad[=x", "5; =x", "5;a=\"x", "FFFFFFFFFFFFFFFF", "0100000000000001"] {
        let request = target.get("/", "Transfer-Encoding: chunked\r\n").replacen("GET", "POST", 1);
        let mut visitor = portico.connect().await;
        visitor.send(format!("{request}{line}\r\nhello\r\n0\r\n\r\n")).await;
        let response = visitor.response_to("POST").await;
        assert!(response.is_none_or(|response| response.status == 400), "{line}");
    }
    let long = format!("{} / HTTP/1.1\r\nHost: {}\r\n\r\n", "M".repeat(100_000), target.host);
    let mut visitor = portico.connect().await;
    visitor.try_send(long).await;
    assert_eq!(visitor.response().await.status, 400);
}
