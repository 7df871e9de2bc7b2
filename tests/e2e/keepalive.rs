//! Connections to sandboxes that are kept: when they are used again, and what happens when they turn out to be closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{FakeSandbox, Portico};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A sandbox that responds to `n` requests on a connection, then ends it the moment the next one has come.
async fn closing_after(n: usize) -> (FakeSandbox, Arc<AtomicUsize>) {
    let posts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&posts);
    let sandbox = FakeSandbox::scripted(move |mut exchange| {
        let posts = Arc::clone(&count);
        async move {
            for _ in 0..n {
                let Some(headers) = exchange.headers().await else { return };
                if headers.starts_with("POST") {
                    posts.fetch_add(1, Ordering::SeqCst);
                }
                exchange.send(OK).await;
            }
            if let Some(headers) = exchange.headers().await
                && headers.starts_with("POST")
            {
                posts.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    (sandbox, posts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_on_a_stale_connection_is_sent_again() {
    let portico = Portico::start_with(|config| config.workers = 1).await;
    let (sandbox, _) = closing_after(1).await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    for _ in 0..6 {
        assert_eq!(visitor.roundtrip(target.get("/", "")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_delivered_at_most_once() {
    let portico = Portico::start_with(|config| config.workers = 1).await;
    let (sandbox, posts) = closing_after(1).await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    assert_eq!(visitor.roundtrip(target.get("/", "")).await.status, 200);
    let post = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", target.host);
    let response = visitor.roundtrip(post).await;
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (502, Some("connection_closed"))
    );
    assert_eq!(posts.load(Ordering::SeqCst), 1, "the POST was delivered twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_does_not_ride_on_a_connection_that_has_been_idle() {
    let portico = Portico::start_with(|config| config.workers = 1).await;
    let sandbox = FakeSandbox::responding(OK).await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let post = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", target.host);
    visitor.roundtrip(target.get("/", "")).await;
    visitor.roundtrip(&post).await;
    assert_eq!(sandbox.connections(), 1);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    visitor.roundtrip(target.get("/", "")).await;
    assert_eq!(sandbox.connections(), 1, "a GET may be repeated, so it may ride");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    visitor.roundtrip(&post).await;
    assert_eq!(sandbox.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apps_own_idle_limit_is_followed() {
    let portico = Portico::start_with(|config| config.workers = 1).await;
    let reply = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=2\r\ncontent-length: 2\r\n\r\nok";
    let sandbox = FakeSandbox::responding(reply).await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.roundtrip(target.get("/", "")).await;
    visitor.roundtrip(target.get("/", "")).await;
    assert_eq!(sandbox.connections(), 1);
    tokio::time::sleep(Duration::from_millis(700)).await;
    visitor.roundtrip(target.get("/", "")).await;
    assert_eq!(sandbox.connections(), 2, "a second and a half below two seconds is half a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_not_shared_between_sandboxes() {
    let portico = Portico::start_with(|config| config.workers = 1).await;
    let sandbox = FakeSandbox::responding(OK).await;
    let (a, b) =
        (portico.public("a", sandbox.port()).await, portico.public("b", sandbox.port()).await);
    let mut visitor = portico.connect().await;
    for target in [&a, &b, &a, &b] {
        visitor.roundtrip(target.get("/", "")).await;
    }
    assert_eq!(sandbox.connections(), 2);
}
