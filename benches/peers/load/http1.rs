//! Requests over HTTP/1 in clear text: on connections that stay, and each on a new one.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::answer::Reader;
use super::{Asks, Expect, Lane, connect};

/// A connection that is kept.
#[derive(Debug)]
pub struct Kept {
    stream: TcpStream,
    asks: Asks,
    expect: Expect,
    reader: Reader,
}

/// Opens connections; they share a sequence of requests.
pub async fn kept(to: SocketAddr, asks: &Asks, expect: Expect, lanes: usize) -> Vec<Kept> {
    let buffer = if expect.most > 64 << 10 { 256 << 10 } else { 16 << 10 };
    let mut all = Vec::with_capacity(lanes);
    for _ in 0..lanes {
        let (asks, reader) = (asks.clone(), Reader::new(buffer));
        all.push(Kept { stream: connect(to).await, asks, expect, reader });
    }
    all
}

impl Lane for Kept {
    async fn unit(&mut self) {
        self.stream.write_all(self.asks.next()).await.expect("write");
        self.reader.answer(&mut self.stream, &self.expect).await;
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
pub fn fresh(to: SocketAddr, asks: &Asks, expect: Expect, lanes: usize) -> Vec<Fresh> {
    let one = || Fresh { to, asks: asks.clone(), expect, reader: Reader::new(16 << 10) };
    std::iter::repeat_with(one).take(lanes).collect()
}

impl Lane for Fresh {
    async fn unit(&mut self) {
        let mut stream = connect(self.to).await;
        stream.write_all(self.asks.next()).await.expect("write");
        self.reader.answer(&mut stream, &self.expect).await;
    }
}
