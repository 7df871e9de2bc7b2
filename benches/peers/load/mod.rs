//! The load generator: visitors that ask, in every way that is compared, and check every answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// Keep-alive connections over HTTP/1.
pub const CONNECTIONS: usize = 64;
/// Connections over HTTP/2, and requests at once on each.
pub const H2_CONNECTIONS: usize = 4;
pub const H2_STREAMS: usize = 16;
/// The longest one measurement may take.
const BOUND: Duration = Duration::from_mins(2);

/// What is asked, and of which host.
#[derive(Clone, Debug)]
pub struct Ask {
    pub host: String,
    pub path: &'static str,
    pub cookie: Option<String>,
}

impl Ask {
    /// The request as a browser writes it.
    pub fn bytes(&self, more: &str) -> Vec<u8> {
        let Self { host, path, cookie } = self;
        let cookie = cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n"));
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
             Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n\
             Sec-Fetch-Dest: empty\r\nReferer: http://{host}/\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
             {more}{}\r\n",
            cookie.unwrap_or_default()
        )
        .into_bytes()
    }

    fn h2(&self) -> http::Request<()> {
        let mut request = http::Request::get(format!("https://{}{}", self.host, self.path))
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")
            .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-mode", "cors")
            .header("sec-fetch-dest", "empty")
            .header("referer", format!("https://{}/", self.host))
            .header("accept-encoding", "gzip, deflate, br")
            .header("accept-language", "en-US,en;q=0.9");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        request.body(()).expect("a request")
    }
}

/// A client's TLS that trusts an authority. Its sessions are kept, and so resumed, if `resumes`.
pub fn tls(authority: &std::path::Path, protocol: &[u8], resumes: bool) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).expect("the authority") {
        roots.add(certificate.expect("a certificate")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    if !resumes {
        config.resumption = rustls::client::Resumption::disabled();
    }
    TlsConnector::from(Arc::new(config))
}

/// Connects from one of several addresses of this machine, so that no limit on one address is met.
async fn connect(to: SocketAddr, number: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let last = u8::try_from(1 + number % 16).expect("an octet");
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).expect("bind");
    let stream = socket.connect(to).await.expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    stream
}

fn name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).expect("a name")
}

/// A closed loop over kept-alive connections, in clear text or by TLS.
pub async fn http1(to: SocketAddr, secure: Option<&TlsConnector>, ask: &Ask, count: usize) {
    let request = ask.bytes("Connection: keep-alive\r\n");
    let visitors = (0..CONNECTIONS).map(|number| {
        let request = &request;
        async move {
            let socket = connect(to, number).await;
            let each = count / CONNECTIONS;
            match secure {
                None => repeat(socket, request, each).await,
                Some(tls) => {
                    let stream = tls.connect(name(&ask.host), socket).await.expect("TLS");
                    repeat(stream, request, each).await;
                }
            }
        }
    });
    tokio::time::timeout(BOUND, join_all(visitors)).await.expect("a bounded run");
}

async fn repeat(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8], count: usize) {
    let mut buffer = vec![0; 256 << 10];
    for _ in 0..count {
        stream.write_all(request).await.expect("write");
        stream.flush().await.expect("flush");
        read_answer(&mut stream, &mut buffer).await;
    }
}

async fn read_answer(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) {
    let mut have = 0;
    let (head, length) = loop {
        let read = stream.read(&mut buffer[have..]).await.expect("read");
        assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&buffer[..have]));
        have += read;
        if let Some(end) = buffer[..have].windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            if text.starts_with("http/1.1 101") {
                return;
            }
            assert!(text.starts_with("http/1.1 200"), "{text}");
            let at = text.find("content-length: ").expect("a length") + 16;
            let digits: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
            break (end + 4, digits.parse::<usize>().expect("a number"));
        }
    };
    let mut left = (head + length).checked_sub(have).expect("no more than was promised");
    while left > 0 {
        let most = left.min(buffer.len());
        let read = stream.read(&mut buffer[..most]).await.expect("read");
        assert!(read > 0, "the body ended early");
        left -= read;
    }
}

async fn h2_connection(
    to: SocketAddr,
    tls: &TlsConnector,
    host: &str,
    number: usize,
) -> h2::client::SendRequest<Bytes> {
    let socket = connect(to, number).await;
    let stream = tls.connect(name(host), socket).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "no HTTP/2");
    let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    send
}

async fn h2_request(send: &mut h2::client::SendRequest<Bytes>, request: http::Request<()>) {
    std::future::poll_fn(|cx| send.poll_ready(cx)).await.expect("ready");
    let (answer, _) = send.send_request(request, true).expect("send");
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        length += data.len();
        body.flow_control().release_capacity(data.len()).expect("capacity");
    }
    assert_eq!(length, 120);
}

/// A closed loop over HTTP/2: some connections, several requests at once on each.
pub async fn http2(to: SocketAddr, tls: &TlsConnector, ask: &Ask, count: usize) {
    let mut lanes = Vec::new();
    for number in 0..H2_CONNECTIONS {
        let send = h2_connection(to, tls, &ask.host, number).await;
        lanes.extend(std::iter::repeat_n(send, H2_STREAMS));
    }
    let each = count / lanes.len();
    let asking = lanes.into_iter().map(|mut send| async move {
        for _ in 0..each {
            h2_request(&mut send, ask.h2()).await;
        }
    });
    tokio::time::timeout(BOUND, join_all(asking)).await.expect("a bounded run");
}

/// New connections one after another in a few lanes, each with a TLS handshake and one request.
pub async fn handshakes(to: SocketAddr, tls: &TlsConnector, ask: &Ask, count: usize) {
    let request = ask.bytes("Connection: close\r\n");
    let lanes = (0..8).map(|lane| {
        let request = &request;
        async move {
            let mut buffer = vec![0; 16 << 10];
            for _ in 0..count / 8 {
                let socket = connect(to, lane).await;
                let mut stream = tls.connect(name(&ask.host), socket).await.expect("TLS");
                stream.write_all(request).await.expect("write");
                stream.flush().await.expect("flush");
                read_answer(&mut stream, &mut buffer).await;
            }
        }
    });
    tokio::time::timeout(BOUND, join_all(lanes)).await.expect("a bounded run");
}

/// Connections that have had one answer and now do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    Http1,
    Http1Tls,
    Http2,
    WebSocket,
    WebSocketTls,
}

/// Whatever holds a connection open.
pub type Held = Box<dyn std::any::Any>;

/// Opens `count` idle connections and gives them to be held.
pub async fn idle(
    kind: Idle,
    (plain, secure): (SocketAddr, SocketAddr),
    (h1, h2): (&TlsConnector, &TlsConnector),
    ask: &Ask,
    count: usize,
) -> Vec<Held> {
    let socket = matches!(kind, Idle::WebSocket | Idle::WebSocketTls);
    let ask = Ask { path: if socket { "/socket" } else { ask.path }, ..ask.clone() };
    // A browser's session is worth nothing to other sites, so it says of which this is the doing.
    let (scheme, port) = match kind {
        Idle::WebSocketTls => ("https", secure.port()),
        _ => ("http", plain.port()),
    };
    let ask = if socket { Ask { host: format!("{}:{port}", ask.host), ..ask } } else { ask };
    let request = ask.bytes(&if socket {
        format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {scheme}://{}\r\n",
            ask.host
        )
    } else {
        "Connection: keep-alive\r\n".to_owned()
    });
    let server = ask.host.split(':').next().unwrap_or_default();
    let mut buffer = vec![0; 16 << 10];
    let mut held: Vec<Held> = Vec::with_capacity(count);
    for number in 0..count {
        match kind {
            Idle::Http1 | Idle::WebSocket => {
                let mut stream = connect(plain, number).await;
                stream.write_all(&request).await.expect("write");
                read_answer(&mut stream, &mut buffer).await;
                held.push(Box::new(stream));
            }
            Idle::Http1Tls | Idle::WebSocketTls => {
                let stream = connect(secure, number).await;
                let mut stream = h1.connect(name(server), stream).await.expect("TLS");
                stream.write_all(&request).await.expect("write");
                stream.flush().await.expect("flush");
                read_answer(&mut stream, &mut buffer).await;
                held.push(Box::new(stream));
            }
            Idle::Http2 => {
                let mut send = h2_connection(secure, h2, &ask.host, number).await;
                h2_request(&mut send, ask.h2()).await;
                held.push(Box::new(send));
            }
        }
    }
    held
}
