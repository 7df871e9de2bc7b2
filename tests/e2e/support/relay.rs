//! A relay as it must not be: it looks for a host, finds the end of a body somehow, and passes every byte on as it came. The
//! suites that judge Portico must find errors in it, or they judge nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A sandbox that still waits for something after this waits for ever.
const PATIENCE: Duration = Duration::from_millis(200);

/// A running relay. Every host leads to the port that it begins with, on this machine.
#[derive(Debug)]
pub struct LenientRelay {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl LenientRelay {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let accepting = tokio::spawn(async move {
            while let Ok((visitor, _)) = listener.accept().await {
                tokio::spawn(relay(visitor));
            }
        });
        Self { address, accepting }
    }
}

impl Drop for LenientRelay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut visitor: TcpStream) {
    let mut headers = vec![0; 64 << 10];
    // What a first read brings is taken for the request.
    let Ok(1..) = visitor.peek(&mut headers).await else { return };
    let text = String::from_utf8_lossy(&headers).to_ascii_lowercase();
    // The last host wins, wherever it stands.
    let host = text.rsplit("host").find_map(|rest| {
        let digits = rest.trim_start_matches([' ', ':', '\t']);
        digits.split('-').next()?.parse::<u16>().ok()
    });
    let response = match host {
        Some(port) => TcpStream::connect(("127.0.0.1", port)).await,
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    if let Ok(mut sandbox) = response {
        let both_ways = tokio::io::copy_bidirectional(&mut visitor, &mut sandbox);
        drop(tokio::time::timeout(PATIENCE, both_ways).await);
    } else {
        let none = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        drop(visitor.write_all(none.as_bytes()).await);
    }
}
