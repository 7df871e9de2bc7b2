//! Every wait has an end with a name.

use std::time::Duration;

use portico::config::Config;

use crate::support::{FakeSandbox, Portico};

fn short(config: &mut Config) {
    let soon = Duration::from_millis(400);
    config.listen.header_timeout = soon;
    config.listen.keep_alive = soon;
    config.listen.body_idle = soon;
    config.listen.write_idle = soon;
    config.forward.first_byte_timeout = soon;
    config.forward.response_idle = soon;
    config.forward.tunnel_idle = soon;
    config.forward.connect_timeout = soon;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_time_out_however_steadily_they_drip() {
    let portico = Portico::start_with(short).await;
    let mut visitor = portico.connect().await;
    let headers =
        "GET / HTTP/1.1\r\nHost: demo.sandbox.localhost\r\nX-Slow: ".to_owned() + &"a".repeat(200);
    for byte in headers.bytes() {
        if !visitor.try_send([byte]).await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let response = visitor.response().await;
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (408, Some("request_timeout"))
    );
    let mut silent = portico.connect().await;
    assert!(silent.is_closed().await, "a connection without a request is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_order() {
    let portico = Portico::start_with(short).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    assert_eq!(visitor.roundtrip(target.get("/", "")).await.status, 200);
    assert!(visitor.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stands_still_is_ended() {
    let portico = Portico::start_with(short).await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        while exchange.read_more().await {}
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\nsome",
            target.host
        ))
        .await;
    let response = visitor.response_to("POST").await.unwrap();
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (408, Some("request_body_timeout"))
    );
    assert!(visitor.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_only_drips_is_ended_although_it_never_stands_still() {
    let portico = Portico::start_with(|config| {
        short(config);
        config.forward.first_byte_timeout = Duration::from_secs(30);
        config.listen.body_min_rate = 1000;
    })
    .await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        while exchange.read_more().await {}
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    let headers =
        format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 9000\r\n\r\n", target.host);
    visitor.send(headers).await;
    let mut dripped = 0;
    while dripped < 9000 && visitor.try_send("x").await {
        dripped += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(dripped < 200, "{dripped} bytes came at a twentieth of the rate");
    let received = sandbox.received_text();
    assert!(received.ends_with('x'), "what came until then was passed on: {received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_does_not_respond_times_out() {
    let portico = Portico::start_with(short).await;
    let silent = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        while exchange.read_more().await {}
    })
    .await;
    let target = portico.public("silent", silent.port()).await;
    let response = portico.visit(target.get("/", "")).await;
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (504, Some("response_timeout"))
    );
    let stalling = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        while exchange.read_more().await {}
    })
    .await;
    let target = portico.public("stalling", stalling.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/", "")).await;
    assert_eq!(visitor.headers().await.unwrap().status, 200);
    assert_eq!(visitor.rest().await, b"half");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_busy_tunnels_have_no_such_end_and_idle_tunnels_do() {
    let portico = Portico::start_with(short).await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        let headers = exchange.headers().await.unwrap();
        if headers.contains("upgrade") {
            exchange
                .send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
                )
                .await;
        } else {
            exchange
                .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n")
                .await;
        }
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            exchange.send("tick").await;
        }
        tokio::time::sleep(Duration::from_millis(900)).await;
        exchange.send("late").await;
        while exchange.read_more().await {}
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut events = portico.connect().await;
    events.send(target.get("/", "")).await;
    events.headers().await.unwrap();
    let mut tunnel = portico.connect().await;
    tunnel.send(target.get("/", "Connection: Upgrade\r\nUpgrade: x\r\n")).await;
    assert_eq!(tunnel.headers().await.unwrap().status, 101);
    assert_eq!(tunnel.exactly(16).await, b"ticktickticktick");
    assert!(tunnel.is_closed().await, "an idle tunnel is closed");
    for _ in 0..4 {
        assert_eq!(events.chunk().await.unwrap(), b"tick");
    }
    assert_eq!(events.chunk().await.unwrap(), b"late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_takes_nothing_is_let_go() {
    let portico = Portico::start_with(short).await;
    let sandbox = FakeSandbox::scripted(|mut exchange| async move {
        exchange.headers().await;
        exchange.send("HTTP/1.1 200 OK\r\n\r\n").await;
        while exchange.send(vec![0; 64 << 10]).await {}
    })
    .await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/", "")).await;
    visitor.headers().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // What was under way in the kernels' buffers still comes; then it ends, and not as if it were whole.
    assert!(!visitor.rest().await.ends_with(b"0\r\n\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_a_cap_are_told_so() {
    let portico = Portico::start_with(|config| config.listen.max_connections_per_ip = 3).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut seated = Vec::new();
    for _ in 0..3 {
        let mut visitor = portico.connect().await;
        assert_eq!(visitor.roundtrip(target.get("/", "")).await.status, 200);
        seated.push(visitor);
    }
    let mut fourth = portico.connect().await;
    let response = fourth.response().await;
    assert_eq!((response.status, response.field("retry-after")), (429, Some("5")));
    drop(seated);
    crate::support::eventually("there is room again", async || {
        let mut visitor = portico.connect().await;
        visitor.try_send(target.get("/", "")).await;
        visitor.response_to("GET").await.is_some_and(|response| response.status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_of_all_visitors_are_told_so() {
    let portico = Portico::start_with(|config| config.listen.max_connections = 2).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut seated = Vec::new();
    for _ in 0..2 {
        let mut visitor = portico.connect().await;
        assert_eq!(visitor.roundtrip(target.get("/", "")).await.status, 200);
        seated.push(visitor);
    }
    let mut third = portico.connect().await;
    let response = third.response().await;
    assert_eq!(
        (response.status, response.field("x-preview-error"), response.field("retry-after")),
        (503, Some("too_many_connections"), Some("5"))
    );
    assert!(third.is_closed().await);
    // Whoever has a seat keeps it.
    assert_eq!(seated[0].roundtrip(target.get("/", "")).await.status, 200);
    drop(seated);
    crate::support::eventually("there is room again", async || {
        let mut visitor = portico.connect().await;
        visitor.try_send(target.get("/", "")).await;
        visitor.response_to("GET").await.is_some_and(|response| response.status == 200)
    })
    .await;
}

/// A port that listens and does not accept: its queue is full, so the kernel drops what would connect.
struct Deaf {
    port: u16,
    _held: (socket2::Socket, Vec<std::net::TcpStream>),
}

impl Deaf {
    fn listen() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let connect =
            || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued: Vec<_> = std::iter::from_fn(connect).take(50).collect();
        assert!(queued.len() < 50, "the queue never fills");
        Self { port: address.port(), _held: (listener, queued) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_does_not_accept_is_given_up() {
    let portico = Portico::start_with(short).await;
    let deaf = tokio::task::spawn_blocking(Deaf::listen).await.unwrap();
    let target = portico.public("mine", deaf.port).await;
    let started = std::time::Instant::now();
    let response = portico.visit(target.get("/", "Accept: text/html\r\n")).await;
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (504, Some("connect_timeout")),
        "{}",
        response.text()
    );
    assert!(started.elapsed() >= Duration::from_millis(400));
}
