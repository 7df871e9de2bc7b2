//! How streams and connections of HTTP/2 end when something ends them: a drain, a revocation, a sandbox that breaks off.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::frames::*;
use crate::support::http2::get;
use crate::support::{Connection, FakeSandbox, Portico, Secure, eventually};

/// The metrics as the operator reads them.
pub(crate) async fn metrics(portico: &Portico) -> String {
    let mut admin = Connection::open(portico.running.admin).await;
    admin.roundtrip("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.text()
}

async fn slow() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        if headers.starts_with("GET /endless") {
            exchange.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
            while exchange.read_more().await {}
        } else if headers.starts_with("GET /hang") {
            while exchange.read_more().await {}
        } else {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha").await;
            tokio::time::sleep(Duration::from_millis(600)).await;
            exchange.send("lf").await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_says_so_and_finishes_what_runs() {
    let secure = Secure::start_with(|config| config.drain = Duration::from_secs(10)).await;
    let sandbox = slow().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut idle = secure.greeted(&target.host).await;
    let mut busy = secure.greeted(&target.host).await;
    busy.ask(1, &target.host, "/").await;
    busy.until(|frame| frame.is(DATA, 1)).await.unwrap();
    assert!(idle.lives().await);
    let started = Instant::now();
    let watching = async {
        assert_eq!(idle.goodbye().await, Some(NO_ERROR));
        assert!(idle.ends().await);
        assert_eq!(busy.goodbye().await, Some(NO_ERROR));
        let last = busy.until(Frame::ends_stream).await.unwrap();
        assert!(last.is(DATA, 1) && (last.payload == b"lf" || last.payload.is_empty()), "{last:?}");
        assert!(busy.ends().await);
    };
    tokio::join!(secure.portico.running.stop(), watching);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_crosses_the_goodbye_is_served_or_refused_but_never_lost() {
    let secure = Secure::start_with(|config| config.drain = Duration::from_secs(10)).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.ask(1, &target.host, "/").await;
    assert_eq!(raw.response(1).await.status, 200);
    let asking = async {
        let first = raw.until(|frame| frame.kind == GOAWAY).await.unwrap();
        // The first goodbye names no last stream: what is on its way already is still taken.
        assert_eq!(first.payload[..4], [0x7f, 0xff, 0xff, 0xff]);
        raw.ask(3, &target.host, "/").await;
        let fits = |frame: &Frame| frame.stream == 3 || frame.kind == GOAWAY;
        let told = raw.until(fits).await.unwrap();
        if told.kind == GOAWAY {
            assert!(told.payload[3] < 3, "taken, and without a response: {told:?}");
        } else {
            assert!(told.is(HEADERS, 3) || told.code() == REFUSED_STREAM, "{told:?}");
        }
    };
    tokio::join!(secure.portico.running.stop(), asking);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_by_itself_is_cut_when_the_drain_is_over() {
    let secure = Secure::start_with(|config| config.drain = Duration::from_millis(300)).await;
    let sandbox = slow().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.ask(1, &target.host, "/endless").await;
    raw.ask(3, &target.host, "/hang").await;
    raw.until(|frame| frame.is(DATA, 1)).await.unwrap();
    let started = Instant::now();
    let watching = async {
        let mut looks_whole = false;
        while let Some(frame) = raw.frame().await {
            looks_whole |= frame.is(DATA, 1) && frame.ends_stream();
        }
        assert!(!looks_whole, "a stream that was cut looks complete");
    };
    tokio::join!(secure.portico.running.stop(), watching);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_breaks_off_never_looks_whole() {
    let secure = Secure::start().await;
    for (index, (name, response)) in [
        ("length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"),
        ("length, nothing", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"),
        ("chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nhello"),
        ("between chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        ("bad chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
        ("last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = FakeSandbox::scripted(move |mut exchange| async move {
            exchange.headers().await;
            exchange.send(response).await;
        })
        .await;
        let target = secure.portico.public(&format!("cut{index}"), sandbox.port()).await;
        let mut raw = secure.greeted(&target.host).await;
        raw.ask(1, &target.host, "/").await;
        let told = raw.response(1).await;
        assert_eq!((told.status, told.reset), (200, Some(INTERNAL_ERROR)), "{name}: {told:?}");
        assert!(raw.lives().await, "{name}");
    }
    let closing = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
    })
    .await;
    let target = secure.portico.public("closing", closing.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    raw.ask(1, &target.host, "/").await;
    let told = raw.response(1).await;
    assert_eq!((told.text().as_str(), told.reset), ("until the end", None), "its end is its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_is_over_for_the_sandbox_as_well() {
    let secure = Secure::start().await;
    let (ended, mut ends) = tokio::sync::mpsc::channel(8);
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let ended = ended.clone();
        async move {
            let Some(headers) = exchange.headers().await else { return };
            if headers.contains("/stream") {
                exchange
                    .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n")
                    .await;
            }
            while exchange.read_more().await {}
            ended.send(headers.split(' ').nth(1).unwrap().to_owned()).await.unwrap();
        }
    })
    .await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut raw = secure.greeted(&target.host).await;
    for (stream, path) in [(1, "/before-its-response"), (3, "/stream")] {
        raw.ask(stream, &target.host, path).await;
        let expected = usize::try_from(stream / 2 + 1).unwrap();
        sandbox.has_connections(expected).await;
        if path == "/stream" {
            raw.until(|frame| frame.is(DATA, stream)).await.unwrap();
        } else {
            eventually("it was asked", async || sandbox.received_text().contains(path)).await;
        }
        raw.send(frame(RST_STREAM, 0, stream, CANCEL.to_be_bytes())).await;
        let end = tokio::time::timeout(Duration::from_secs(2), ends.recv()).await;
        assert_eq!(end.expect("in time").as_deref(), Some(path));
    }
    assert!(raw.lives().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_streams_and_requests_that_hang() {
    let secure = Secure::start().await;
    let sandbox = slow().await;
    let target = secure.portico.private("mine", sandbox.port()).await;
    let (token, id) = secure.portico.api.token(&target.id, json!({"scope": "interact"})).await;
    let mut raw = secure.greeted(&target.host).await;
    for (stream, path) in [(1, "/endless"), (3, "/hang")] {
        let mut headers = pseudo("GET", &target.host, path);
        headers.push(("x-miosa-preview-token", &token));
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, fields(&headers))).await;
    }
    raw.until(|frame| frame.is(DATA, 1)).await.unwrap();
    eventually("both run", async || sandbox.received_text().contains("/hang")).await;
    let path = format!("/sandboxes/{}/preview-tokens/{id}", target.id);
    secure.portico.api.ok("DELETE", &path, None).await;
    let since = Instant::now();
    let (mut stream, mut hanging) = (None, None);
    while stream.is_none() || hanging.is_none() {
        let frame = raw.frame().await.expect("the connection goes on");
        if frame.stream == 1 {
            stream = Some(frame);
        } else if frame.kind == HEADERS && frame.stream == 3 {
            hanging = Some(frame);
        }
    }
    println!("ended {:?} after the call had returned", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(2));
    let (stream, hanging) = (stream.unwrap(), hanging.unwrap());
    assert_eq!((stream.kind, stream.code()), (RST_STREAM, CANCEL));
    assert_eq!(hanging.status(), "401");
    assert!(!sandbox.received_text().contains("mp_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_handshakes_are_counted() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let mut http2 = secure.http2(&target.host).await;
    for _ in 0..3 {
        assert_eq!(http2.get(&target.host, "/").await.text(), "hello");
    }
    let missing = http2.exchange(get("3000-nobody.sandbox.localhost", "/")).await.unwrap();
    assert_eq!(missing.status, 404);
    eventually("everything is counted", async || {
        let metrics = metrics(&secure.portico).await;
        [
            "portico_requests_total{source=\"app\",class=\"2xx\"} 3",
            "portico_requests_total{source=\"proxy\",class=\"4xx\"} 1",
            "portico_errors_total{code=\"not_found\",party=\"visitor\"} 1",
            "portico_faults_total{code=\"not_found\",blame=\"visitor\"} 1",
            "portico_connections 1",
            "portico_connections_rejected_total 0",
            "portico_connections_capped_total 0",
            "outcome=\"full\"} 1",
            "portico_upstream_connections_total{outcome=\"made\"} 1",
        ]
        .iter()
        .all(|line| metrics.contains(line))
    })
    .await;
}
