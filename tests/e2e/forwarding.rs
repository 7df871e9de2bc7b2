//! What reaches the app and what comes back: headers, framing, interim responses, profiles, redirects, cookies.

use portico::base::clock::Clock;
use serde_json::json;

use crate::support::{FakeSandbox, Portico};

fn lines(headers: &str) -> Vec<&str> {
    headers.lines().filter(|line| !line.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_sees_one_canonical_request_and_nothing_of_ours() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({"scope": "interact"})).await;
    let fields = format!(
        "User-Agent: test\r\nCookie: a=1; __Host-preview={token}; b=2\r\nAuthorization: Bearer {token}\r\n\
         X-Miosa-Preview-Token: {token}\r\nReferer: http://{}/x?mt={token}&y=1\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
         Connection: keep-alive, X-Hop, Cookie\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: x\r\nTE: gzip\r\n\
         X-Preview-Error: forged\r\nAccept-Encoding: gzip\r\n",
        target.host
    );
    let response = portico.visit(target.get(&format!("/p%2F?a=1&mt={token}&b=%20"), &fields)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let received = sandbox.received_text();
    assert!(!received.contains("mp_"), "a credential reached the app: {received}");
    let port = sandbox.port();
    let mut expected = vec![
        "GET /p%2F?a=1&b=%20 HTTP/1.1".to_owned(),
        format!("host: localhost:{port}"),
        "user-agent: test".into(),
        "cookie: a=1; b=2".into(),
        format!("referer: http://{}/x?y=1", target.host),
        "accept-encoding: gzip".into(),
        "x-forwarded-for: 127.0.0.1".into(),
        format!("x-forwarded-host: {}", target.host),
        "x-forwarded-proto: http".into(),
    ];
    let mut got = lines(&received);
    let mark = got.iter().position(|line| line.starts_with("x-preview-hop: ")).expect("a mark");
    got.remove(mark);
    let id =
        got.iter().position(|line| line.starts_with("x-request-id: req_")).expect("a request id");
    got.remove(id);
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_reaches_the_app_in_no_copy_of_a_field() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.private("mine", sandbox.port()).await;
    let (token, _) = portico.api.token(&target.id, json!({})).await;
    let url = format!("Referer: http://{}/?mt={token}\r\n", target.host);
    let cookie = format!("Cookie: __Host-preview={token}\r\n");
    let key = format!("Referer: http://{}/a\r\n", target.host);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for fields in [
        format!("{cookie}{url}{url}"),
        format!("{cookie}{key}{url}"),
        format!("{cookie}{url}{key}"),
        format!("{bearer}Cookie: a=1\r\n{cookie}Cookie: b=2\r\n{url}{key}{url}"),
        format!("X-Miosa-Preview-Token: {token}\r\nX_Miosa_Preview_Token: {token}\r\n{url}{url}"),
    ] {
        let response = portico.visit(target.get("/", &fields)).await;
        assert_eq!(response.status, 200, "{fields}{}", response.text());
    }
    let received = sandbox.received_text();
    assert!(!received.contains("mp_"), "a credential reached the app: {received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_profiles_tell_one_coherent_story() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let port = sandbox.port();
    let target = portico.private("mine", port).await;
    let origin = format!("http://{}", target.host);
    let fields = format!("Origin: {origin}\r\nReferer: {origin}/page?x=1\r\n");
    let check = async |profile: &str, present: &[String], absent: &[&str]| {
        portico.api.publish(&target.id, port, json!({"profile": profile})).await;
        assert_eq!(portico.visit(target.get("/", &fields)).await.status, 200);
        let received = sandbox.take_received();
        for line in present {
            assert!(lines(&received).contains(&line.as_str()), "{profile}: {line} in {received}");
        }
        for part in absent {
            assert!(!received.contains(part), "{profile}: {part} in {received}");
        }
    };
    let local = format!("localhost:{port}");
    check(
        "forwarded",
        &[
            format!("host: {local}"),
            format!("origin: {origin}"),
            format!("x-forwarded-host: {}", target.host),
        ],
        &[],
    )
    .await;
    let here = [
        format!("host: {local}"),
        format!("origin: http://{local}"),
        format!("referer: http://{local}/page?x=1"),
    ];
    check("local", &here, &["x-forwarded"]).await;
    check(
        "public",
        &[
            format!("host: {}", target.host),
            format!("origin: {origin}"),
            "x-forwarded-proto: http".into(),
        ],
        &[],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_to_loopback_lead_to_the_preview_host_of_that_port() {
    let portico = Portico::start().await;
    let check = async |slug: &str, location: &str, expected: &str| {
        let reply =
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let sandbox = FakeSandbox::responding(reply.replace("PORT", "7777")).await;
        let target = portico.public(slug, sandbox.port()).await;
        let response = portico
            .visit(target.get("/", "").replace(&target.host, &format!("{}:8080", target.host)))
            .await;
        let expected = expected.replace("SELF", &target.host);
        assert_eq!(response.field("location"), Some(expected.as_str()), "{location}");
    };
    check(
        "r1",
        "http://localhost:7777/login?a=1#x",
        "http://7777-r1.sandbox.localhost:8080/login?a=1#x",
    )
    .await;
    check("r2", "http://127.0.0.1:7777", "http://7777-r2.sandbox.localhost:8080").await;
    check("r3", "https://[::1]:7777/", "http://7777-r3.sandbox.localhost:8080/").await;
    check("r4", "http://localhost.evil.example/", "http://localhost.evil.example/").await;
    check("r5", "http://169.254.169.254/latest", "http://169.254.169.254/latest").await;
    check("r6", "/relative", "/relative").await;
    check("r7", "https://elsewhere.example/", "https://elsewhere.example/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_lose_what_speaks_for_other_hosts_and_keep_the_rest() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 418 I'm Different\r\nset-cookie: s=1; Domain=sandbox.localhost; Path=/\r\nset-cookie: u=2; HttpOnly\r\n\
         set-cookie: __Host-preview=evil; Path=/; Secure\r\nalt-svc: h3=\":443\"\r\nstrict-transport-security: max-age=9\r\n\
         x-preview-error: forged\r\nX-Preview-Source: forged\r\nX-Preview-Anything: forged\r\nX-Sandbox-Id: forged\r\n\
         connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\n\
         x-custom: kept\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\napp",
    )
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let response = portico.visit(target.get("/", "")).await;
    assert_eq!((response.status, response.text().as_str()), (418, "app"));
    assert_eq!(response.all("set-cookie"), ["s=1; Path=/", "u=2; HttpOnly"]);
    for gone in [
        "alt-svc",
        "strict-transport-security",
        "x-preview-error",
        "x-preview-anything",
        "x-sandbox-id",
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
    ] {
        assert_eq!(response.field(gone), None, "{gone}");
    }
    assert_eq!(response.field("x-custom"), Some("kept"));
    assert_eq!(response.field("x-preview-source"), Some("app"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_has_a_date_and_the_apps_own_is_kept() {
    let now = "2026-02-03T04:05:06Z".parse().unwrap();
    let portico = Portico::start_at(Clock::manual(now), |_| {}).await;
    let ours = "Tue, 03 Feb 2026 04:05:06 GMT";
    let dated = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\ndate: Mon, 02 Feb 2026 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let plain = FakeSandbox::well_behaved().await;
    let (of_dated, of_plain) =
        (portico.public("dated", dated.port()).await, portico.public("plain", plain.port()).await);
    let dates = |response: crate::support::Response| response.all("date").join("; ");
    let kept = portico.visit(of_dated.get("/", "")).await;
    assert_eq!(dates(kept), "Mon, 02 Feb 2026 00:00:00 GMT");
    assert_eq!(dates(portico.visit(of_plain.get("/", "")).await), ours);
    assert_eq!(dates(portico.visit("GET / HTTP/1.1\r\nHost: x.example\r\n\r\n").await), ours);
    assert_eq!(dates(portico.visit("nonsense\r\n\r\n").await), ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_pass_and_continue_is_sent_when_the_body_is_wanted() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.body(5).await;
        exchange.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n").await;
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            target.host
        ))
        .await;
    assert_eq!(visitor.headers().await.unwrap().status, 100);
    visitor.send("hello").await;
    let hints = visitor.headers().await.unwrap();
    assert_eq!((hints.status, hints.field("link")), (103, Some("</a.css>; rel=preload")));
    assert_eq!(visitor.response().await.text(), "ok");
    // Somebody who is refused is not asked for a body.
    let private = portico.private("private", sandbox.port()).await;
    let mut stranger = portico.connect().await;
    stranger
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            private.host
        ))
        .await;
    assert_eq!(stranger.headers().await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_interim_responses_are_refused() {
    let portico = Portico::start().await;
    let flood = format!(
        "{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50)
    );
    let sandbox = FakeSandbox::responding(flood).await;
    let target = portico.public("mine", sandbox.port()).await;
    assert_eq!(portico.visit(target.get("/", "")).await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_gets_the_length_and_no_body() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n").await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    for _ in 0..3 {
        let request = target.get("/", "").replacen("GET", "HEAD", 1);
        let response = visitor.roundtrip(request).await;
        assert_eq!((response.status, response.field("content-length")), (200, Some("12345")));
    }
    assert_eq!(sandbox.connections(), 1, "the connection is kept after HEAD");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_unknown_methods_pass_untouched() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-3/10\r\ncontent-length: 2\r\ncontent-encoding: gzip\r\n\r\n\x1f\u{7f}",
    )
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let response = portico.visit(target.get("/", "Range: bytes=2-3\r\nIf-Range: \"x\"\r\n")).await;
    assert_eq!((response.status, response.field("content-range")), (206, Some("bytes 2-3/10")));
    assert_eq!(
        (response.body.as_slice(), response.field("content-encoding")),
        (&b"\x1f\x7f"[..], Some("gzip"))
    );
    assert!(sandbox.received_text().contains("range: bytes=2-3\r\nif-range: \"x\"\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.until(b"x-sum: 1\r\n\r\n").await;
        exchange
            .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-checksum: 9\r\nset-cookie: evil\r\n\r\n")
            .await;
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
        target.host
    );
    let response = portico.visit(request).await;
    assert_eq!(response.text(), "ok");
    assert_eq!(response.trailers, [("x-checksum".to_owned(), "9".to_owned())]);
    let received = sandbox.received_text();
    assert!(
        received.contains("te: trailers\r\n")
            && received.ends_with("3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"),
        "{received}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_http_1_0_get_what_they_understand() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::responding(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let response =
        visitor.roundtrip(format!("GET / HTTP/1.0\r\nHost: {}\r\n\r\n", target.host)).await;
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.text(), "hello");
    let sized = FakeSandbox::well_behaved().await;
    let target = portico.public("sized", sized.port()).await;
    let mut visitor = portico.connect().await;
    for _ in 0..2 {
        let request =
            format!("GET / HTTP/1.0\r\nHost: {}\r\nConnection: keep-alive\r\n\r\n", target.host);
        let response = visitor.roundtrip(request).await;
        assert_eq!(
            (response.field("connection"), response.text().as_str()),
            (Some("keep-alive"), "hello")
        );
    }
}
