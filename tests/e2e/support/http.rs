//! A visitor who chooses every byte and reads responses with a parser of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Nothing in these tests takes longer than this, or something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A response as it was received.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        same.map(|(_, v)| v.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// What a visitor's bytes go through: a socket, or TLS on one.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {
    fn socket(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A connection to Portico.
#[derive(Debug)]
pub struct Connection {
    socket: Box<dyn Transport>,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("connect");
        socket.set_nodelay(true).expect("nodelay");
        Self::over(socket)
    }

    /// Speaks HTTP/1.1 through whatever this is.
    pub fn over(transport: impl Transport + 'static) -> Self {
        Self { socket: Box::new(transport), buffer: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.expect("write");
    }

    /// Sends as much as the other end takes; an end of the connection is no failure.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).await.is_ok()
    }

    pub async fn finish_sending(&mut self) {
        self.socket.shutdown().await.expect("shutdown");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(self.socket.socket())
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
    }

    async fn fill(&mut self) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut chunk)).await;
        match read.expect("a response within the patience of a test") {
            Ok(n) if n > 0 => {
                self.buffer.extend_from_slice(&chunk[..n]);
                true
            }
            _ => false,
        }
    }

    /// Reads the headers; `None` when the connection ends before they are complete.
    pub async fn headers(&mut self) -> Option<Response> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let headers =
                    String::from_utf8(self.buffer.drain(..end + 4).collect()).expect("text");
                return Some(parse_response(&headers));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads `n` bytes.
    pub async fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            assert!(self.fill().await, "ended after {} of {n} bytes", self.buffer.len());
        }
        self.buffer.drain(..n).collect()
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the connection ends without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }

    /// Reads one chunk of a chunked body; `None` at the last.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await;
        let size = usize::from_str_radix(line.trim(), 16).expect("chunk size");
        if size == 0 {
            return None;
        }
        let data = self.exactly(size).await;
        assert_eq!(self.exactly(2).await, b"\r\n");
        Some(data)
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                return String::from_utf8(self.buffer.drain(..end + 2).collect()).expect("text");
            }
            assert!(self.fill().await, "ended in the middle of a line");
        }
    }

    /// Reads a whole response to a request with this method.
    pub async fn response_to(&mut self, method: &str) -> Option<Response> {
        let mut response = self.headers().await?;
        while response.status < 200 && response.status != 101 {
            response = self.headers().await?;
        }
        let bodiless = method == "HEAD" || matches!(response.status, 101 | 204 | 304);
        if bodiless {
            return Some(response);
        }
        if response.field("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                response.body.extend(chunk);
            }
            loop {
                let line = self.line().await;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                response.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        } else if let Some(length) = response.field("content-length") {
            let length = length.parse().expect("a number");
            response.body = self.exactly(length).await;
        } else {
            response.body = self.rest().await;
        }
        Some(response)
    }

    pub async fn response(&mut self) -> Response {
        self.response_to("GET").await.expect("a response")
    }

    /// Sends a request and reads its response.
    pub async fn roundtrip(&mut self, request: impl AsRef<[u8]>) -> Response {
        let method =
            String::from_utf8_lossy(request.as_ref()).split(' ').next().unwrap().to_owned();
        self.send(request).await;
        self.response_to(&method).await.expect("a response")
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_response(headers: &str) -> Response {
    let mut lines = headers.split("\r\n");
    let status_line = lines.next().expect("a status line");
    assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
    let status = status_line[9..12].parse().expect("a status");
    let fields = lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a field");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    Response { status, fields, body: Vec::new(), trailers: Vec::new() }
}

/// Waits until something holds, looking often, for a bounded time.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
