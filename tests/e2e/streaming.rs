//! Bodies: large ones, slow ones, endless ones, and ones that break off.

use std::time::Duration;

use crate::support::{FakeSandbox, Portico, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways_unchanged() {
    const SIZE: usize = 24 << 20;
    let portico = Portico::start().await;
    let pattern: Vec<u8> = (0..SIZE).map(|i| (i * 31 % 251) as u8).collect();
    let download = pattern.clone();
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let download = download.clone();
        async move {
            exchange.headers().await;
            let body = exchange.body(SIZE).await;
            assert!(body == download, "the upload changed on its way");
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n")).await;
            exchange.send(body).await;
        }
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor
        .send(format!("PUT / HTTP/1.1\r\nHost: {}\r\nContent-Length: {SIZE}\r\n\r\n", target.host))
        .await;
    visitor.send(&pattern).await;
    assert!(
        visitor.response_to("PUT").await.unwrap().body == pattern,
        "the download changed on its way"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_passed_in_chunks_and_its_end_is_its_end() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end").await;
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    for _ in 0..2 {
        let response = visitor.roundtrip(target.get("/", "")).await;
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
        assert_eq!(response.text(), "until the end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one_and_the_headers_before_the_first() {
    let portico = Portico::start().await;
    let (go, gate) = tokio::sync::watch::channel(0);
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let mut gate = gate.clone();
        async move {
            exchange.headers().await;
            exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for n in 1..=3 {
                gate.wait_for(|allowed| *allowed >= n).await.unwrap();
                exchange.send(format!("9\r\ndata: {n}\n\n\r\n")).await;
            }
        }
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/", "Accept: text/event-stream\r\n")).await;
    assert_eq!(visitor.headers().await.unwrap().status, 200, "before any event");
    for n in 1..=3 {
        go.send_replace(n);
        assert_eq!(visitor.chunk().await.unwrap(), format!("data: {n}\n\n").into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_never_presented_as_whole() {
    let portico = Portico::start().await;
    for (index, reply) in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalfXX0\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = FakeSandbox::scripted(move |mut exchange| async move {
            exchange.headers().await;
            exchange.send(reply).await;
        })
        .await;
        let target = portico.public(&format!("half{index}"), sandbox.port()).await;
        let mut visitor = portico.connect().await;
        visitor.send(target.get("/", "")).await;
        let response = visitor.headers().await.unwrap();
        let rest = String::from_utf8(visitor.rest().await).unwrap();
        let whole = rest.ends_with("0\r\n\r\n")
            || response.field("content-length") == Some(&rest.len().to_string());
        assert!(!whole, "{reply:?} became {rest:?}");
    }
}

/// The kernel moves such a body, and its end is told apart from that of a whole one all the same: by a reset, which may overtake some of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_that_breaks_off_is_not_presented_as_whole_either() {
    const CAME: usize = 1 << 20;
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n").await;
        exchange.send(vec![b'x'; CAME]).await;
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    for _ in 0..2 {
        let mut visitor = portico.connect().await;
        visitor.send(target.get("/", "")).await;
        assert_eq!(visitor.headers().await.unwrap().field("content-length"), Some("5000000"));
        let came = visitor.rest().await;
        assert!(came.len() <= CAME && came.iter().all(|byte| *byte == b'x'), "{}", came.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn back_pressure_reaches_both_ends() {
    let portico = Portico::start().await;
    // A sandbox that would send for ever, and counts what it was able to send.
    let (sent, progress) = tokio::sync::watch::channel(0_usize);
    let sent = std::sync::Arc::new(sent);
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let sent = std::sync::Arc::clone(&sent);
        async move {
            exchange.headers().await;
            exchange.send("HTTP/1.1 200 OK\r\n\r\n").await;
            let piece = vec![b'x'; 64 << 10];
            while exchange.send(&piece).await {
                sent.send_modify(|sent| *sent += piece.len());
            }
        }
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/", "")).await;
    visitor.headers().await.unwrap();
    // The visitor stops reading: what is under way fills the kernels' buffers, and then the sandbox has to wait.
    let mut last = 0;
    eventually("the sandbox stops sending", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = *progress.borrow();
        let still = now > 0 && now == last;
        last = now;
        still
    })
    .await;
    assert!(last < 64 << 20, "{last} bytes were taken from a visitor who reads nothing");
    // And it goes on when the visitor does.
    visitor.exactly(last.min(8 << 20)).await;
    eventually("the sandbox goes on", async || *progress.borrow() > last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_leaves_takes_the_exchange_along() {
    let portico = Portico::start().await;
    let (gone, noticed) = tokio::sync::watch::channel(0);
    let gone = std::sync::Arc::new(gone);
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let gone = std::sync::Arc::clone(&gone);
        async move {
            exchange.headers().await;
            // Never responds; notices only that the connection ends.
            while exchange.read_more().await {}
            gone.send_modify(|count| *count += 1);
        }
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/", "")).await;
    sandbox.has_connections(1).await;
    visitor.reset();
    eventually("the sandbox notices", async || *noticed.borrow() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_may_come_before_the_request_is_complete() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig").await;
        while exchange.read_more().await {}
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\nstart",
            target.host
        ))
        .await;
    let response = visitor.response_to("POST").await.unwrap();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
}
