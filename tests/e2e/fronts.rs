//! What stands in front of Portico and speaks for visitors: the PROXY protocol and forwarded fields, from listed peers and from others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Connection, FakeSandbox, Http2, Portico, SandboxHandle, Secure};

const LOOPBACK: &str = "127.0.0.0/8";
const ELSEWHERE: &str = "192.0.2.0/24";

fn networks(text: &str) -> Vec<IpNet> {
    vec![text.parse().unwrap()]
}

/// A header of version 1.
fn text(source: &str) -> Vec<u8> {
    let family = if source.contains(':') { "TCP6" } else { "TCP4" };
    let ours = if source.contains(':') { "2001:db8::1" } else { "203.0.113.1" };
    format!("PROXY {family} {source} {ours} 4711 443\r\n").into_bytes()
}

/// A header of version 2.
fn binary(command: u8, source: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12]);
    header.extend(source);
    header.extend([203, 0, 113, 1, 0x12, 0x67, 1, 0xbb]);
    header
}

/// Who the sandbox was told that a visitor is.
fn told(sandbox: &FakeSandbox) -> String {
    let received = sandbox.take_received();
    let line = received.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.map_or(format!("nobody in {received:?}"), str::to_owned)
}

async fn listening_to(network: &str) -> (Portico, FakeSandbox, SandboxHandle) {
    let network = networks(network);
    let portico = Portico::start_with(|config| {
        config.listen.trust.proxy_protocol_from = network;
        config.listen.proxy_header = Duration::from_millis(1500);
    })
    .await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    (portico, sandbox, target)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_front_says_whom_each_connection_is_from() {
    let (portico, sandbox, target) = listening_to(LOOPBACK).await;
    for (header, expected) in [
        (text("198.51.100.7"), "198.51.100.7"),
        (text("2001:db8::7"), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(1, [198, 51, 100, 8]), "198.51.100.8"),
        (binary(0, [198, 51, 100, 8]), "127.0.0.1"),
    ] {
        let mut whole = portico.connect().await;
        whole.send([&header[..], target.get("/", "").as_bytes()].concat()).await;
        assert_eq!(whole.response().await.text(), "hello", "{expected}");
        assert_eq!(told(&sandbox), expected);
        // The second request of a connection has no header, and is from the same visitor.
        assert_eq!(whole.roundtrip(target.get("/", "")).await.text(), "hello");
        assert_eq!(told(&sandbox), expected);
        let mut slowly = portico.connect().await;
        for byte in &header {
            slowly.send([*byte]).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(slowly.roundtrip(target.get("/", "")).await.text(), "hello");
        assert_eq!(told(&sandbox), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_front_must_say_it_once_and_in_time() {
    let (portico, sandbox, target) = listening_to(LOOPBACK).await;
    let request = target.get("/", "");
    let long = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 600]].concat();
    for (name, bytes) in [
        ("missing", request.clone().into_bytes()),
        ("malformed", b"PROXY TCP4 a b c d\r\n".to_vec()),
        ("without an end", b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443 and so on and so on and so on and so on and so on and so on and so on".to_vec()),
        ("longer than is read", long),
        ("in lower case", b"proxy tcp4 198.51.100.7 203.0.113.1 4711 443\r\n".to_vec()),
    ] {
        let mut visitor = portico.connect().await;
        visitor.try_send(&bytes).await;
        assert_eq!(visitor.rest().await, b"", "{name}");
    }
    let mut twice = portico.connect().await;
    twice.send([text("198.51.100.7"), text("198.51.100.8"), request.into_bytes()].concat()).await;
    assert_eq!(twice.response().await.status, 400);
    assert!(twice.is_closed().await);
    for bytes in [&b""[..], b"PROXY TC", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6"] {
        let started = Instant::now();
        let mut visitor = portico.connect().await;
        visitor.send(bytes).await;
        assert_eq!(visitor.rest().await, b"");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(1490) && took < Duration::from_secs(6), "{took:?}");
    }
    assert_eq!(sandbox.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_say_it() {
    let (portico, sandbox, target) = listening_to(ELSEWHERE).await;
    for header in [text("198.51.100.7"), binary(1, [198, 51, 100, 7])] {
        let mut visitor = portico.connect().await;
        visitor.send([&header[..], target.get("/", "").as_bytes()].concat()).await;
        assert_eq!(visitor.response().await.status, 400);
        assert!(visitor.is_closed().await);
    }
    assert_eq!(sandbox.connections(), 0);
    assert_eq!(portico.visit(target.get("/", "")).await.text(), "hello");
    assert_eq!(told(&sandbox), "127.0.0.1");
}

/// TLS behind a header, or behind nothing.
async fn tls_behind(secure: &Secure, header: &[u8], name: &str) -> std::io::Result<Http2> {
    let mut socket = TcpStream::connect(secure.address()).await?;
    socket.write_all(header).await?;
    let connector = TlsConnector::from(Arc::new(secure.authority.client(&["h2"])));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    Ok(Http2::over(connector.connect(name, socket).await?).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_comes_behind_the_header() {
    let secure = Secure::start_with(|config| {
        config.listen.trust.proxy_protocol_from = networks(LOOPBACK);
    })
    .await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    for (header, expected) in
        [(text("198.51.100.7"), "198.51.100.7"), (binary(1, [198, 51, 100, 8]), "198.51.100.8")]
    {
        let mut http2 = tls_behind(&secure, &header, &target.host).await.unwrap();
        for _ in 0..2 {
            assert_eq!(http2.get(&target.host, "/").await.text(), "hello");
            assert_eq!(told(&sandbox), expected);
        }
    }
    assert!(tls_behind(&secure, b"", &target.host).await.is_err(), "TLS without a header");
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_fields_are_believed_from_listed_fronts_only() {
    for (network, is_believed) in [(LOOPBACK, true), (ELSEWHERE, false)] {
        let secure = Secure::start_with(|config| {
            config.listen.trust.forwarded_from = networks(network);
        })
        .await;
        let sandbox = FakeSandbox::well_behaved().await;
        let target = secure.portico.public("mine", sandbox.port()).await;
        for (fields, expected, proto) in [
            ("X-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7", "http"),
            (
                "X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n",
                "198.51.100.7",
                "https",
            ),
            (
                "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 198.51.100.7, 127.0.0.9\r\n",
                "198.51.100.7",
                "http",
            ),
            ("X-Forwarded-For: nonsense\r\nX-Forwarded-Proto: http\r\n", "127.0.0.1", "http"),
            (
                "X_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n",
                "127.0.0.1",
                "http",
            ),
        ] {
            assert_eq!(secure.portico.visit(target.get("/", fields)).await.text(), "hello");
            let received = sandbox.take_received();
            let (expected, proto) =
                if is_believed { (expected, proto) } else { ("127.0.0.1", "http") };
            for line in [
                format!("x-forwarded-for: {expected}\r\n"),
                format!("x-forwarded-proto: {proto}\r\n"),
            ] {
                assert!(received.contains(&line), "{network} {fields:?}: {received}");
            }
            assert!(!received.contains("6.6.6.6"), "{network} {fields:?}: {received}");
        }
        // The same over HTTP/2, where each request of a connection may be another visitor's.
        let mut http2 = secure.http2(&target.host).await;
        for last in ["198.51.100.7", "198.51.100.8"] {
            let mut request = crate::support::http2::get(&target.host, "/");
            request.headers_mut().insert("x-forwarded-for", last.parse().unwrap());
            assert_eq!(http2.exchange(request).await.unwrap().text(), "hello");
            assert_eq!(told(&sandbox), if is_believed { last } else { "127.0.0.1" });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_count_visitors_and_not_the_front() {
    let portico = Portico::start_with(|config| {
        config.listen.trust.proxy_protocol_from = networks(LOOPBACK);
        config.listen.max_connections_per_ip = 2;
    })
    .await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let enter = async |address: SocketAddr, source: &str| {
        let mut visitor = Connection::open(address).await;
        visitor.send([text(source), target.get("/", "").into_bytes()].concat()).await;
        let status = visitor.response().await.status;
        (visitor, status)
    };
    let mut held = Vec::new();
    for source in [
        "198.51.100.7",
        "198.51.100.7",
        "198.51.100.8",
        "198.51.100.9",
        "2001:db8::7",
        "2001:db8::8",
    ] {
        let (visitor, status) = enter(portico.preview(), source).await;
        assert_eq!(status, 200, "{source}");
        held.push(visitor);
    }
    for source in ["198.51.100.7", "2001:db8::9"] {
        assert_eq!(enter(portico.preview(), source).await.1, 429, "{source}");
    }
    drop(held.remove(0));
    crate::support::eventually("a place is free again", async || {
        enter(portico.preview(), "198.51.100.7").await.1 == 200
    })
    .await;
}
