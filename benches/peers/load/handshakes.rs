//! TLS handshakes: a new connection each time, with one request on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::HandshakeKind;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use super::response::Reader;
use super::{Asks, Expect, Lane, connect_tls};

/// Visitors at once.
pub const VISITORS: usize = 8;

/// How the handshakes went.
#[derive(Debug, Default)]
pub struct Kinds {
    pub full: AtomicUsize,
    pub resumed: AtomicUsize,
}

pub struct Visitor {
    to: SocketAddr,
    tls: TlsConnector,
    host: String,
    asks: Asks,
    expect: Expect,
    reader: Reader,
    kinds: Arc<Kinds>,
}

/// Visitors who come anew each time. Whether they resume what they had is up to `tls`, and to the proxy: `kinds` tells.
pub fn visitors(
    (to, tls, host): (SocketAddr, &TlsConnector, &str),
    asks: &Asks,
    expect: Expect,
    kinds: &Arc<Kinds>,
) -> Vec<Visitor> {
    let one = || Visitor {
        to,
        tls: tls.clone(),
        host: host.to_owned(),
        asks: asks.clone(),
        expect,
        reader: Reader::new(16 << 10),
        kinds: Arc::clone(kinds),
    };
    std::iter::repeat_with(one).take(VISITORS).collect()
}

impl Lane for Visitor {
    async fn unit(&mut self) {
        let mut stream = connect_tls(self.to, &self.tls, &self.host).await;
        let count = match stream.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => &self.kinds.resumed,
            _ => &self.kinds.full,
        };
        count.fetch_add(1, Ordering::Relaxed);
        stream.write_all(self.asks.next()).await.expect("write");
        stream.flush().await.expect("flush");
        self.reader.response(&mut stream, &self.expect).await;
    }
}
