//! Uploads: a long body on a connection that is kept, read by the origin to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::response::Reader;
use super::{Ask, Expect, Lane, connect};

/// The length of one.
pub const MEBIBYTES: usize = 10;
/// Uploads at once.
pub const UPLOADS: usize = 8;

/// A connection that uploads again and again.
#[derive(Debug)]
pub struct Upload {
    stream: TcpStream,
    headers: Arc<[u8]>,
    /// A part of the body, sent often enough.
    part: Arc<[u8]>,
    reader: Reader,
}

pub async fn uploads(to: SocketAddr, ask: &Ask) -> Vec<Upload> {
    // Who has a session of a cookie has to say of which site a request that changes things is.
    let more = format!(
        "Connection: keep-alive\r\nOrigin: http://{}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n",
        ask.host,
        MEBIBYTES << 20
    );
    let (headers, part): (Arc<[u8]>, Arc<[u8]>) =
        (ask.http1("POST", &more).into(), vec![b'u'; 256 << 10].into());
    let mut all = Vec::with_capacity(UPLOADS);
    for _ in 0..UPLOADS {
        let (headers, part) = (Arc::clone(&headers), Arc::clone(&part));
        all.push(Upload {
            stream: connect(to).await,
            headers,
            part,
            reader: Reader::new(16 << 10),
        });
    }
    all
}

impl Lane for Upload {
    async fn unit(&mut self) {
        self.stream.write_all(&self.headers).await.expect("write");
        for _ in 0..MEBIBYTES * 4 {
            if self.stream.write_all(&self.part).await.is_err() {
                // Whoever hangs up may have said why.
                break;
            }
        }
        self.reader.response(&mut self.stream, &Expect::ok(120)).await;
    }
}
