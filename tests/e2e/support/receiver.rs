//! A receiver of webhooks that does as it is told, and keeps what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::http::{eventually, find};

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Responds with a status, and further field lines (each ending in CRLF).
    Status(u16, &'static str),
    /// The same after a while.
    After(Duration, u16),
    /// Never responds.
    Hang,
    /// Closes without a response.
    Close,
    /// Responds at once and then sends a body that never ends.
    Endless,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Told {
    pub at: Instant,
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Told {
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The event's id.
    pub fn event(&self) -> String {
        self.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Whether both signatures are by this secret, under either name of each.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let mac = |parts: &[&[u8]]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let tag = hmac::sign(&key, &parts.concat());
            tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
        };
        let of_body = format!("sha256={}", mac(&[&self.body]));
        let timed = self.field("miosa-signature");
        let seconds = timed.strip_prefix("t=").and_then(|t| t.split(',').next()).unwrap_or("");
        let v1 = format!("v1={}", mac(&[seconds.as_bytes(), b".", &self.body]));
        self.field("x-miosa-signature") == of_body
            && self.field("x-webhook-signature") == of_body
            && self.field("webhook-signature") == timed
            && timed.split(',').any(|part| part == v1)
    }
}

/// A receiver on a free port.
#[derive(Debug)]
pub struct Receiver {
    pub address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::scripted(|_| Reply::Status(200, "")).await
    }

    /// One that does to the nth request (from 0) what the script says.
    pub async fn scripted(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::bound(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, script)
    }

    /// The same by TLS.
    pub async fn secure(config: rustls::ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::bound(listener, Some(acceptor), |_| Reply::Status(204, ""))
    }

    fn bound(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (keep, count, script) = (Arc::clone(&told), Arc::clone(&connections), Arc::new(script));
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                *count.lock().unwrap() += 1;
                let (keep, script, tls) = (Arc::clone(&keep), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, &keep, &*script).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, &keep, &*script).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, told, connections, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks?a=b", self.address)
    }

    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Waits until this many requests have come.
    pub async fn wait(&self, count: usize) -> Vec<Told> {
        eventually("the receiver is told", async || self.told().len() >= count).await;
        self.told()
    }
}

async fn serve(
    mut socket: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    told: &Mutex<Vec<Told>>,
    script: &(dyn Fn(usize) -> Reply + Send + Sync),
) {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let end = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                break end;
            }
            match socket.read(&mut chunk).await {
                Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
                _ => return,
            }
        };
        let headers = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = headers.split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = fields.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.expect("a length").1.parse().unwrap();
        while buffer.len() < length {
            match socket.read(&mut chunk).await {
                Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
                _ => return,
            }
        }
        let body = buffer.drain(..length).collect();
        let number = {
            let mut told = told.lock().unwrap();
            told.push(Told { at: Instant::now(), line, fields, body });
            told.len() - 1
        };
        let (status, more) = match script(number) {
            Reply::Status(status, more) => (status, more),
            Reply::After(pause, status) => {
                tokio::time::sleep(pause).await;
                (status, "")
            }
            Reply::Hang => std::future::pending().await,
            Reply::Close => return,
            Reply::Endless => {
                let headers = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                drop(socket.write_all(headers.as_bytes()).await);
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
                while socket.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
        };
        let body = if status == 204 { "" } else { "taken" };
        let response = format!(
            "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n{more}\r\n{body}",
            body.len()
        );
        if socket.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}
