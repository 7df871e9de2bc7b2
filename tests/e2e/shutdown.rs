//! Ending in order: nothing new, then what runs may finish, then nothing at all.

use std::time::Duration;

use crate::support::{FakeSandbox, Portico, eventually};

async fn slow() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        if headers.contains("upgrade") {
            exchange
                .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                .await;
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
async fn draining_finishes_what_runs_and_accepts_nothing_new() {
    let portico = Portico::start_with(|config| config.drain = Duration::from_secs(10)).await;
    let sandbox = slow().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut idle = portico.connect().await;
    let mut busy = portico.connect().await;
    busy.send(target.get("/", "")).await;
    busy.headers().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = std::time::Instant::now();
    let stopping = portico.running.stop();
    let watching = async {
        assert!(idle.is_closed().await, "an idle connection is closed at once");
        assert_eq!(busy.exactly(4).await, b"half");
        assert!(busy.is_closed().await, "and the busy one after its response");
        eventually("nothing new is accepted", async || {
            tokio::net::TcpStream::connect(portico.preview()).await.is_err()
        })
        .await;
    };
    tokio::join!(stopping, watching);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "draining ends when the last connection does"
    );
}

/// Of connections accepted in the last moment, the request may still be on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_as_new_as_the_end_is_still_served() {
    let portico = Portico::start_with(|config| config.drain = Duration::from_secs(10)).await;
    let sandbox = slow().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut fresh = portico.connect().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let visiting = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let response = fresh.roundtrip(target.get("/", "")).await;
        assert_eq!((response.status, response.text().as_str()), (200, "half"));
        assert!(fresh.is_closed().await, "and closed after that");
    };
    tokio::join!(portico.running.stop(), visiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_draining_holds_and_sockets_are_told() {
    let portico = Portico::start_with(|config| config.drain = Duration::from_millis(300)).await;
    let sandbox = slow().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut socket = portico.connect().await;
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    socket.send(target.get("/", handshake)).await;
    assert_eq!(socket.headers().await.unwrap().status, 101);
    let started = std::time::Instant::now();
    let ((), last) = tokio::join!(portico.running.stop(), socket.rest());
    assert_eq!(last, b"\x88\x0c\x03\xe9going away");
    assert!(started.elapsed() < Duration::from_secs(5));
}
