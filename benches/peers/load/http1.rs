//! Requests over HTTP/1 in clear text: on connections that stay, and each on a new one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::response::Reader;
use super::{Asks, CONNECTIONS, Expect, Lane, connect};

/// A connection that is kept, as long as the proxy keeps it.
#[derive(Debug)]
pub struct Kept {
    to: SocketAddr,
    stream: TcpStream,
    /// Whether it is still open, as far as is known.
    open: bool,
    /// How often one was not kept.
    closed: Arc<AtomicUsize>,
    asks: Asks,
    expect: Expect,
    reader: Reader,
}

/// Opens connections; they share a sequence of requests, and count what the proxy closes.
pub async fn kept(
    to: SocketAddr,
    asks: &Asks,
    expect: Expect,
    closed: &Arc<AtomicUsize>,
) -> Vec<Kept> {
    let buffer = if expect.most > 64 << 10 { 256 << 10 } else { 16 << 10 };
    let mut all = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let (asks, reader, closed) = (asks.clone(), Reader::new(buffer), Arc::clone(closed));
        let stream = connect(to).await;
        all.push(Kept { to, stream, open: true, closed, asks, expect, reader });
    }
    all
}

impl Lane for Kept {
    async fn unit(&mut self) {
        let request = self.asks.next();
        if self.open {
            // Like a browser: what a connection that was kept does not respond to is asked again on a new one.
            if self.stream.write_all(request).await.is_ok()
                && let Some(stays) =
                    self.reader.response_if_any(&mut self.stream, &self.expect).await
            {
                self.open = stays;
                return;
            }
        }
        self.closed.fetch_add(1, Ordering::Relaxed);
        self.stream = connect(self.to).await;
        self.stream.write_all(request).await.expect("write");
        let response = self.reader.response_if_any(&mut self.stream, &self.expect).await;
        self.open = response.expect("a response on a new connection");
    }
}

/// A connection for every request.
#[derive(Debug)]
pub struct Fresh {
    to: SocketAddr,
    asks: Asks,
    expect: Expect,
    reader: Reader,
}

/// Visitors who come anew each time.
pub fn fresh(to: SocketAddr, asks: &Asks, expect: Expect) -> Vec<Fresh> {
    let one = || Fresh { to, asks: asks.clone(), expect, reader: Reader::new(16 << 10) };
    std::iter::repeat_with(one).take(CONNECTIONS).collect()
}

impl Lane for Fresh {
    async fn unit(&mut self) {
        let mut stream = connect(self.to).await;
        stream.write_all(self.asks.next()).await.expect("write");
        self.reader.response(&mut stream, &self.expect).await;
    }
}
