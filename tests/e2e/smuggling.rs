//! Every request vector against a running proxy, judged by the bytes that a recording sandbox received.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{Connection, FakeSandbox, LenientRelay, Portico};

#[path = "../vectors/mod.rs"]
mod vectors;

use vectors::{BROKEN_CHUNKS, Expect, REQUESTS};

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// A sandbox that reads until nothing more comes for a moment, responds, and closes.
pub(crate) async fn recording() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        if exchange.headers().await.is_none() {
            return;
        }
        while tokio::time::timeout(Duration::from_millis(30), exchange.read_more()).await
            == Ok(true)
        {}
        exchange.send(RESPONSE).await;
    })
    .await
}

/// What is wrong with a request as a sandbox received it: anything that two servers could read differently.
pub(crate) fn ambiguities(received: &[u8]) -> Vec<String> {
    let text: String = received.iter().map(|b| char::from(*b)).collect();
    let Some((headers, body)) = text.split_once("\r\n\r\n") else {
        return vec!["no end of headers".into()];
    };
    let mut lines = headers.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let fields: Vec<(String, String)> = lines
        .map(|line| {
            line.split_once(": ")
                .map(|(n, v)| (n.into(), v.into()))
                .unwrap_or(("?".into(), line.into()))
        })
        .collect();
    let all = |name: &str| {
        fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>()
    };
    let (lengths, codings, hosts) = (all("content-length"), all("transfer-encoding"), all("host"));
    let mut wrong = Vec::new();
    let mut check = |ok: bool, what: &str| {
        if !ok {
            wrong.push(what.to_owned());
        }
    };
    check(first.ends_with(" HTTP/1.1") && first.split(' ').count() == 3, "request line");
    check(hosts.len() == 1, "hosts");
    check(lengths.len() + codings.len() <= 1, "framing");
    check(codings.iter().all(|c| c == "chunked"), "coding");
    check(lengths.iter().all(|l| l.parse::<u64>().is_ok_and(|n| n.to_string() == *l)), "length");
    check(!headers.replace("\r\n", "").contains(['\r', '\n', '\0']), "line ends");
    check(
        fields.iter().all(|(n, _)| {
            n.bytes().all(|b| {
                b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b)
            })
        }),
        "names",
    );
    check(lengths.is_empty() || body.len().to_string() == lengths[0], "body length");
    check(!lengths.is_empty() || !codings.is_empty() || body.is_empty(), "unframed body");
    wrong
}

/// Sends every vector to what listens at `address`. `open` makes a host there lead to a port; gives back what went wrong with
/// each vector, and how many were passed on as they should be.
async fn send_every_vector(
    address: SocketAddr,
    mut open: impl AsyncFnMut(u16) -> String,
) -> (Vec<(&'static str, String)>, usize) {
    let (mut wrong, mut accepted) = (Vec::new(), 0);
    for vector in REQUESTS {
        let sandbox = recording().await;
        let host = open(sandbox.port()).await;
        let mut visitor = Connection::open(address).await;
        visitor.try_send(vector.bytes(&host)).await;
        println!("sending {}", vector.name);
        match judge(vector, &mut visitor, &sandbox).await {
            Ok(()) => accepted += usize::from(vector.expect == Expect::Accept),
            Err(what) => wrong.push((vector.name, what)),
        }
    }
    (wrong, accepted)
}

/// Whether a vector has met its fate, by the response and by what the sandbox received.
async fn judge(
    vector: &vectors::Vector,
    visitor: &mut Connection,
    sandbox: &FakeSandbox,
) -> Result<(), String> {
    let method = if vector.name.contains("head") { "HEAD" } else { "GET" };
    let status = visitor.response_to(method).await.map(|response| response.status);
    let received = sandbox.received();
    match vector.expect {
        Expect::Refuse(_) if !received.concat().is_empty() => {
            Err(format!("reached the sandbox: {:?}", sandbox.received_text()))
        }
        Expect::Refuse(expected) if status != Some(expected) => Err(format!("got {status:?}")),
        Expect::Refuse(_) if !visitor.is_closed().await => Err("the connection stays open".into()),
        Expect::Refuse(_) => Ok(()),
        Expect::Accept if status != Some(200) => Err(format!("got {status:?}")),
        Expect::Accept => match received.as_slice() {
            [one] if ambiguities(one).is_empty() => Ok(()),
            [one] => Err(ambiguities(one).join(", ")),
            several => Err(format!("came as {} connections", several.len())),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_vector_reaches_a_sandbox_ambiguously() {
    let portico = Portico::start().await;
    assert!(REQUESTS.len() >= 170);
    let mut last: Option<String> = None;
    let (wrong, accepted) = send_every_vector(portico.preview(), async |port| {
        if let Some(id) = last.take() {
            portico.api.ok("DELETE", &format!("/sandboxes/{id}"), None).await;
        }
        let target = portico.public(&format!("v-{port}"), port).await;
        last = Some(target.id);
        target.host
    })
    .await;
    assert_eq!(wrong, Vec::new());
    assert!(accepted >= 30, "only {accepted} vectors were passed on");
}

/// The same vectors, sent to a relay that passes on what it gets. Were it found good, Portico's being good would mean nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_lenient_relay_fails_by_the_same_vectors() {
    let relay = LenientRelay::start().await;
    let host = async |port| format!("{port}-mine.sandbox.localhost");
    let (wrong, _) = send_every_vector(relay.address, host).await;
    let reached = wrong.iter().filter(|(_, what)| what.starts_with("reached")).count();
    println!("{reached} of {} vectors reached the sandbox and must not", REQUESTS.len());
    assert!(reached > 100, "only {reached} vectors are told from a good request: {wrong:?}");
    // Some that every class of the vectors begins with.
    for name in ["clte", "tecl", "te-", "cl-", "ln-"] {
        let class = REQUESTS.iter().filter(|vector| vector.name.starts_with(name));
        for vector in class.filter(|vector| vector.expect != Expect::Accept) {
            assert!(wrong.iter().any(|(wrong, _)| *wrong == vector.name), "{}", vector.name);
        }
    }
}

#[test]
fn the_judge_of_received_bytes_catches_what_a_lenient_proxy_would_pass() {
    for bytes in [
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG",
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: xchunked\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nhost: i\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: h\r\nx-a: b\nx-c: d\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 005\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhello",
        "GET / HTTP/1.1\r\nhost: h\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : h\r\n\r\n",
    ] {
        assert_ne!(ambiguities(bytes.as_bytes()), Vec::<String>::new(), "{bytes:?}");
    }
    let good = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(ambiguities(good.as_bytes()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_never_looks_like_the_end_of_a_body() {
    let portico = Portico::start().await;
    for (index, (name, text)) in BROKEN_CHUNKS.iter().enumerate() {
        let sandbox = recording().await;
        let target = portico.public(&format!("c{index}"), sandbox.port()).await;
        let body = text.replace('⏎', "\r\n");
        let request = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n{body}",
            target.host
        );
        let mut visitor = portico.connect().await;
        visitor.try_send(request).await;
        visitor.finish_sending().await;
        drop(visitor.response_to("POST").await);
        let received = sandbox.received_text();
        assert!(!received.ends_with("0\r\n\r\n"), "{name}: {received:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_takes_what_follows_it_along() {
    let portico = Portico::start().await;
    let sandbox = recording().await;
    let target = portico.private("mine", sandbox.port()).await;
    let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{smuggled}",
        target.host,
        smuggled.len()
    );
    let mut visitor = portico.connect().await;
    visitor.send(&request[..request.len() - 5]).await;
    let response = visitor.response().await;
    assert_eq!((response.status, response.field("connection")), (401, Some("close")));
    visitor.try_send(&request[request.len() - 5..]).await;
    assert!(visitor.is_closed().await, "the rest of the body was taken for a request");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_get_responses_in_order_each_on_its_own_merits() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        while let Some(headers) = exchange.headers().await {
            let path = headers.split(' ').nth(1).unwrap().to_owned();
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            exchange.send(reply).await;
        }
    })
    .await;
    let open = portico.public("open", sandbox.port()).await;
    let closed = portico.private("closed", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send([open.get("/1", ""), closed.get("/2", ""), open.get("/3", "")].concat()).await;
    assert_eq!(visitor.response().await.text(), "/1");
    assert_eq!(visitor.response().await.status, 401);
    assert_eq!(visitor.response().await.text(), "/3");
    assert!(!sandbox.received_text().contains("/2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lying_sandbox_sends_is_not_passed_on() {
    let portico = Portico::start().await;
    for (index, reply) in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>no status line</html>",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: evil\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 999 What\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "\u{0}\u{1}\u{2}binary",
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = FakeSandbox::responding(reply).await;
        let target = portico.public(&format!("liar{index}"), sandbox.port()).await;
        let response = portico.visit(target.get("/", "")).await;
        assert_eq!(response.status, 502, "{reply:?}");
        assert_eq!(response.field("x-preview-error"), Some("bad_response"), "{reply:?}");
        assert!(response.field("set-cookie").is_none() && !response.text().contains("OpenSSH"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsolicited_bytes_are_no_response_to_the_next_request() {
    let portico = Portico::start().await;
    for (index, extra) in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nevil",
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = FakeSandbox::responding(extra).await;
        let target = portico.public(&format!("extra{index}"), sandbox.port()).await;
        let mut visitor = portico.connect().await;
        for _ in 0..6 {
            let response = visitor.roundtrip(target.get("/", "")).await;
            assert_ne!(response.text(), "evil", "{extra:?}");
        }
        assert_eq!(sandbox.connections(), 6, "a doubtful connection was used again: {extra:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn header_limits_have_their_own_responses() {
    let portico = Portico::start().await;
    let host = "demo.sandbox.localhost";
    let check = async |request: String, status: u16, label: &str| {
        let mut visitor: Connection = portico.connect().await;
        visitor.try_send(request).await;
        let response = visitor.response().await;
        assert_eq!((response.status, response.field("x-preview-error")), (status, Some(label)));
        assert!(visitor.is_closed().await);
    };
    let headers = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
    check(format!("{headers}Cookie: {}\r\n\r\n", "a".repeat(70_000)), 431, "headers_too_large")
        .await;
    check(format!("{headers}X-A: {}\r\n\r\n", "a".repeat(20_000)), 431, "headers_too_large").await;
    check(format!("{headers}{}\r\n", "X-A: b\r\n".repeat(150)), 431, "headers_too_large").await;
    check(
        format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "a".repeat(17_000)),
        414,
        "target_too_long",
    )
    .await;
}

/// Any sibling host can fill a browser's cookies, and its owner could not open a preview again.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_full_of_cookies_is_served_or_freed_of_them() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let navigate = "Accept: text/html,*/*;q=0.8\r\nSec-Fetch-Dest: document\r\n";
    let with = |name: &str, length: usize| {
        target.get("/", &format!("{navigate}{name}: a={}\r\n", "b".repeat(length)))
    };
    let served = portico.visit(with("cookie", 63 << 10)).await;
    assert_eq!((served.status, served.text().as_str()), (200, "hello"));
    assert!(sandbox.take_received().len() > 63 << 10, "the app gets its cookies");
    let mut visitor = portico.connect().await;
    visitor.try_send(with("Cookie", 65 << 10)).await;
    let freed = visitor.response().await;
    assert_eq!((freed.status, freed.field("clear-site-data")), (431, None));
    let ended = freed.all("set-cookie");
    assert!(ended.contains(&"a=; Path=/; Max-Age=0"), "{ended:?}");
    assert!(ended.contains(&"a=; Path=/; Max-Age=0; Domain=sandbox.localhost"), "{ended:?}");
    assert_eq!(freed.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(freed.text().starts_with("<!doctype html>"));
    // It is not the cookies that are too large here, and nobody loses theirs.
    let mut visitor = portico.connect().await;
    visitor.try_send(with("X-Large", 17 << 10)).await;
    let kept = visitor.response().await;
    assert_eq!((kept.status, kept.all("set-cookie").len()), (431, 0));
    assert_eq!(sandbox.take_received(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_gets_an_error_in_the_form_that_it_asked_for() {
    let portico = Portico::start_with(|config| {
        config.listen.header_timeout = Duration::from_millis(300);
    })
    .await;
    let html = "Accept: text/html\r\nSec-Fetch-Dest: document\r\n";
    let check = async |request: String, status: u16, kind: &str| {
        let mut visitor = portico.connect().await;
        visitor.try_send(&request).await;
        let response = visitor.response().await;
        let got = response.field("content-type").unwrap_or_default();
        assert_eq!((response.status, got.split(';').next().unwrap()), (status, kind), "{request}");
    };
    let long = "a".repeat(17_000);
    for (fields, kind) in
        [(html, "text/html"), ("Accept: */*\r\n", "application/json"), ("", "text/plain")]
    {
        let get = |rest: &str| format!("GET / HTTP/1.1\r\n{fields}{rest}");
        check(get("\r\n"), 400, kind).await;
        check(get("Host: a\r\nHost: b\r\n\r\n"), 400, kind).await;
        check(get("Host: a\r\nX : b\r\n\r\n"), 400, kind).await;
        check(get(&format!("Host: a\r\nX: {long}\r\n\r\n")), 431, kind).await;
        check(get("Host: a\r\nX: b\r\n"), 408, kind).await;
    }
    check(format!("GET /{long} HTTP/1.1\r\n{html}Host: a\r\n\r\n"), 414, "text/html").await;
    // What was read as a request and refused by the gate has its form as well.
    for start in ["GET / HTTP/1.1\r\nHost: a_b.sandbox.localhost", "TRACE / HTTP/1.1\r\nHost: a"] {
        let status = if start.starts_with("GET") { 400 } else { 405 };
        check(format!("{start}\r\n{html}\r\n"), status, "text/html").await;
    }
    let mut headers = portico.connect().await;
    headers.send(format!("HEAD / HTTP/1.1\r\n{html}\r\n")).await;
    let response = headers.response_to("HEAD").await.unwrap();
    assert_eq!((response.status, headers.is_closed().await), (400, true), "HEAD has no body");
}
