//! The control API and the admin listener as sockets: nobody holds them for longer, or more of them, than the settings say.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::{Connection, Portico, eventually};

const SOON: Duration = Duration::from_millis(400);

async fn short() -> Portico {
    Portico::start_with(|config| {
        config.control.header_timeout = SOON;
        config.control.body = SOON;
        config.control.write = SOON;
        config.control.connections = 3;
    })
    .await
}

fn both(portico: &Portico) -> [(SocketAddr, &'static str); 2] {
    [(portico.running.api, "/api/v1/whoami"), (portico.running.admin, "/healthz")]
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_do_not_come_are_not_waited_for() {
    let portico = short().await;
    for (address, path) in both(&portico) {
        let started = Instant::now();
        let mut silent = Connection::open(address).await;
        let mut dripping = Connection::open(address).await;
        dripping.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Slow: ")).await;
        let mut idle = Connection::open(address).await;
        idle.roundtrip(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        while started.elapsed() < 4 * SOON && dripping.try_send("a").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        silent.rest().await;
        dripping.rest().await;
        idle.rest().await;
        let took = started.elapsed();
        assert!(took >= SOON && took < 20 * SOON, "{path}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let portico = short().await;
    let mut slow = Connection::open(portico.running.api).await;
    slow.send(format!(
        "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\n\r\n{{",
        portico.api.key
    ))
    .await;
    let started = Instant::now();
    let refused = slow.response_to("POST").await.expect("a response");
    assert!(started.elapsed() >= SOON / 2);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &"BAD_REQUEST".into()));
    // What of the body comes later is not taken for a request.
    slow.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_are_told_so_and_seats_come_back() {
    let portico = short().await;
    for (address, path) in both(&portico) {
        // Who shows a key keeps the connection.
        let key = &portico.api.key;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n");
        let mut seated = Vec::new();
        for _ in 0..3 {
            let mut connection = Connection::open(address).await;
            connection.roundtrip(&request).await;
            seated.push(connection);
        }
        let turned_away = Connection::open(address).await.response().await;
        assert_eq!((turned_away.status, turned_away.field("retry-after")), (503, Some("1")));
        assert_eq!(turned_away.json()["error"]["code"], "UNAVAILABLE");
        drop(seated);
        eventually("there is room again", async || {
            let mut connection = Connection::open(address).await;
            connection.try_send(&request).await;
            connection.response_to("GET").await.is_some_and(|reply| reply.status != 503)
        })
        .await;
    }
}
