//! Ports that speak https: certificates that development servers make up, authorities that an operator names, and connections that are
//! kept, cut or never come about.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::{Portico, SandboxHandle, connect_tls, eventually, trusting};

/// An authority and a certificate for 127.0.0.1 by it.
struct Issued {
    authority: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn issue() -> Issued {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Issued {
        authority: authority.pem(),
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

/// A server of HTTP/1 over TLS.
struct TlsSandbox {
    port: u16,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for TlsSandbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsSandbox {
    async fn scripted<F, Fut>(issued: &Issued, script: F) -> Self
    where
        F: Fn(TlsStream<TcpStream>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(issued.chain.clone(), issued.key.clone_key())
            .unwrap();
        // More tickets than usual: they come after the handshake, between requests.
        config.send_tls13_tickets = 4;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let (counted, script) = (Arc::clone(&connections), Arc::new(script));
        let accepting = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
                let counted = Arc::clone(&counted);
                running.spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        counted.fetch_add(1, Ordering::SeqCst);
                        script(stream).await;
                    }
                });
            }
        });
        Self { port, connections, accepting }
    }

    async fn responding(issued: &Issued, response: &'static str) -> Self {
        Self::scripted(issued, move |mut stream| async move {
            while headers(&mut stream).await.is_some() {
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        })
        .await
    }
}

async fn headers(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut headers = Vec::new();
    while !headers.ends_with(b"\r\n\r\n") {
        headers.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(headers).ok()
}

async fn published(portico: &Portico, slug: &str, port: u16) -> SandboxHandle {
    let sandbox = portico.public(slug, port).await;
    portico.api.publish(&sandbox.id, port, json!({"protocol": "https"})).await;
    sandbox
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_certificate_is_taken_and_connections_are_kept() {
    let portico = Portico::start_with(|config| config.workers = 1).await;
    let sandbox = TlsSandbox::responding(&issue(), HELLO).await;
    let target = published(&portico, "mine", sandbox.port).await;
    for _ in 0..5 {
        let response = portico.visit(target.get("/", "")).await;
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
        // Tickets have had the time to come, and say nothing about whether the connection is good.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sandbox.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_authorities_named_only_their_certificates_are_taken() {
    let (right, wrong) = (issue(), issue());
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("authorities.pem");
    std::fs::write(&file, &right.authority).unwrap();
    let portico = Portico::start_with(|config| config.sandbox_authorities = Some(file)).await;
    let good = TlsSandbox::responding(&right, HELLO).await;
    let target = published(&portico, "good", good.port).await;
    assert_eq!(portico.visit(target.get("/", "")).await.text(), "hello");
    let bad = TlsSandbox::responding(&wrong, HELLO).await;
    let target = published(&portico, "bad", bad.port).await;
    let response = portico.visit(target.get("/", "")).await;
    assert_eq!((response.status, response.field("x-preview-error")), (502, Some("no_tls")));
    assert_eq!(bad.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_no_tls_or_hangs_is_told_as_that() {
    let portico = Portico::start_with(|config| {
        config.forward.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let plain = crate::support::FakeSandbox::well_behaved().await;
    let target = published(&portico, "plain", plain.port()).await;
    // What it waits for after our hello never comes, as its headers never end.
    let response = portico.visit(target.get("/", "")).await;
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (504, Some("connect_timeout"))
    );
    let shouting = crate::support::FakeSandbox::scripted(|mut exchange| async move {
        exchange.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        while exchange.read_more().await {}
    })
    .await;
    let target = published(&portico, "shouting", shouting.port()).await;
    let response = portico.visit(target.get("/", "")).await;
    assert_eq!((response.status, response.field("x-preview-error")), (502, Some("no_tls")));
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = published(&portico, "hanging", hanging.local_addr().unwrap().port()).await;
    let since = Instant::now();
    let response = portico.visit(target.get("/", "")).await;
    assert_eq!(
        (response.status, response.field("x-preview-error")),
        (504, Some("connect_timeout"))
    );
    assert!(since.elapsed() < Duration::from_secs(3), "took {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_a_tunnel_through_both_encryptions() {
    let portico = Portico::start().await;
    let sandbox = TlsSandbox::scripted(&issue(), |mut stream| async move {
        headers(&mut stream).await.unwrap();
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nfirst";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        drop(tokio::io::copy(&mut read, &mut write).await);
        drop(write.shutdown().await);
    })
    .await;
    let target = published(&portico, "mine", sandbox.port).await;
    let authority = portico.data.path().join("tls").join("ca.pem");
    let address = portico.running.https.unwrap();
    let mut visitor =
        connect_tls(trusting(&authority, &["http/1.1"]), address, &target.host).await.unwrap();
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    visitor.write_all(target.get("/", fields).as_bytes()).await.unwrap();
    let mut headers = Vec::new();
    while !headers.ends_with(b"\r\n\r\n") {
        headers.push(visitor.read_u8().await.unwrap());
    }
    assert!(headers.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&headers));
    let mut first = [0; 5];
    visitor.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"first");
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let (mut read, mut write) = tokio::io::split(visitor);
    let mut back = vec![0; bytes.len()];
    let (wrote, echoed) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut back));
    wrote.unwrap();
    echoed.unwrap();
    assert!(back == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_with_the_connection_is_whole_only_after_a_goodbye() {
    let portico = Portico::start().await;
    let sandbox = TlsSandbox::scripted(&issue(), |mut stream| async move {
        let asked = headers(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it").await.unwrap();
        stream.flush().await.unwrap();
        if asked.starts_with("GET /whole") {
            stream.shutdown().await.unwrap();
        } else {
            // FIN without close_notify: anybody on the way may have sent it.
            let (mut socket, _) = stream.into_inner();
            socket.shutdown().await.unwrap();
            drop(socket.read_u8().await);
        }
    })
    .await;
    let target = published(&portico, "mine", sandbox.port).await;
    let response = portico.visit(target.get("/whole", "")).await;
    assert_eq!((response.status, response.text().as_str()), (200, "all of it"));
    let mut visitor = portico.connect().await;
    visitor.send(target.get("/cut", "")).await;
    assert_eq!(visitor.headers().await.unwrap().status, 200);
    let rest = String::from_utf8(visitor.rest().await).unwrap();
    assert!(!rest.ends_with("0\r\n\r\n"), "a cut body looks whole: {rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_the_app_has_closed_is_not_used() {
    let portico = Portico::start_with(|config| config.workers = 1).await;
    let sandbox = TlsSandbox::scripted(&issue(), |mut stream| async move {
        headers(&mut stream).await.unwrap();
        stream.write_all(HELLO.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    let target = published(&portico, "mine", sandbox.port).await;
    for expected in 1..=3 {
        assert_eq!(portico.visit(target.get("/", "")).await.text(), "hello");
        let counted = async || sandbox.connections.load(Ordering::SeqCst) == expected;
        eventually("a connection for each", counted).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let post = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", target.host);
    assert_eq!(portico.visit(post).await.text(), "hello", "what must not be repeated is not lost");
}
