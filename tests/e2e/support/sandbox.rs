//! A sandbox's app, scripted: it records every byte it receives and responds with exactly the bytes it was given.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::http::{eventually, find};

/// What a sandbox has received, one entry a connection.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

/// One accepted connection of a sandbox, for scripts.
#[derive(Debug)]
pub struct Exchange {
    pub socket: TcpStream,
    buffer: Vec<u8>,
    received: Received,
    index: usize,
}

impl Exchange {
    /// Reads more; false at the end.
    pub async fn read_more(&mut self) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        match self.socket.read(&mut chunk).await {
            Ok(n) if n > 0 => {
                self.buffer.extend_from_slice(&chunk[..n]);
                self.received.lock().unwrap()[self.index].extend_from_slice(&chunk[..n]);
                true
            }
            _ => false,
        }
    }

    /// Reads request headers; `None` when the connection ends.
    pub async fn headers(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let headers: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8_lossy(&headers).into_owned());
            }
            if !self.read_more().await {
                return None;
            }
        }
    }

    /// Reads `n` bytes of body.
    pub async fn body(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            assert!(self.read_more().await, "the request's body ended early");
        }
        self.buffer.drain(..n).collect()
    }

    /// Reads `n` bytes of body and throws them away, or a chunked one to its end. False when it ends early.
    pub async fn skip(&mut self, n: usize) -> bool {
        let is_chunked = n == usize::MAX;
        loop {
            if is_chunked && let Some(at) = find(&self.buffer, b"0\r\n") {
                // The last chunk, and trailers that may follow.
                if let Some(end) = find(&self.buffer[at..], b"\r\n\r\n") {
                    self.buffer.drain(..at + end + 4);
                    return true;
                }
            } else if self.buffer.len() >= n {
                self.buffer.drain(..n);
                return true;
            }
            if !self.read_more().await {
                return false;
            }
        }
    }

    /// Reads until `marker` has come.
    pub async fn until(&mut self, marker: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.buffer, marker) {
                return self.buffer.drain(..at + marker.len()).collect();
            }
            assert!(self.read_more().await, "ended before {:?}", String::from_utf8_lossy(marker));
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).await.is_ok()
    }
}

/// A listening sandbox. It stops listening when dropped.
#[derive(Debug)]
pub struct FakeSandbox {
    pub address: SocketAddr,
    received: Received,
    accepting: JoinHandle<()>,
}

type Script = Pin<Box<dyn Future<Output = ()> + Send>>;

impl FakeSandbox {
    /// Runs `script` for every connection.
    pub async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::scripted_on(TcpListener::bind("127.0.0.1:0").await.expect("bind"), script)
    }

    pub fn scripted_on<F, Fut>(listener: TcpListener, script: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().expect("address");
        let received = Received::default();
        let record = Arc::clone(&received);
        let script: Arc<dyn Fn(Exchange) -> Script + Send + Sync> =
            Arc::new(move |exchange| Box::pin(script(exchange)));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).expect("nodelay");
                let index = {
                    let mut all = record.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let received = Arc::clone(&record);
                let exchange = Exchange { socket, buffer: Vec::new(), received, index };
                connections.spawn(script(exchange));
            }
        });
        Self { address, received, accepting }
    }

    /// Responds to every request without a body (or with `Content-Length`) with the same bytes, keeping connections alive.
    pub async fn responding(response: impl Into<Vec<u8>>) -> Self {
        let response = Arc::new(response.into());
        Self::scripted(move |mut exchange| {
            let response = Arc::clone(&response);
            async move {
                while let Some(headers) = exchange.headers().await {
                    let length = headers
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "))
                        .map_or(0, |length| length.parse().expect("a number"));
                    exchange.body(length).await;
                    if !exchange.send(response.as_slice()).await {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Responds to everything with `200` and a short body.
    pub async fn well_behaved() -> Self {
        Self::responding(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello",
        )
        .await
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Everything received, one entry a connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap().clone()
    }

    /// Everything received, as one text.
    pub fn received_text(&self) -> String {
        String::from_utf8_lossy(&self.received().concat()).into_owned()
    }

    /// Everything received since the last call, as one text.
    pub fn take_received(&self) -> String {
        let mut all = self.received.lock().unwrap();
        let bytes: Vec<u8> = all.iter_mut().flat_map(std::mem::take).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn connections(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Waits until at least `n` connections have been accepted.
    pub async fn has_connections(&self, n: usize) {
        eventually("enough connections", async || self.connections() >= n).await;
    }
}

impl Drop for FakeSandbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
