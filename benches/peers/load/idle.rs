//! Connections that have had one response, and now do nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::response::Reader;
use super::{Ask, BOUND, Expect, connect, connect_tls, http2, sockets};

/// What kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    Http1,
    Http1Tls,
    Http2,
    WebSocket,
    WebSocketTls,
}

impl Idle {
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2 | Self::WebSocketTls)
    }

    pub fn is_socket(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }
}

/// Whatever holds a connection open.
pub type Held = Box<dyn std::any::Any + Send>;

/// How to open them.
#[derive(Clone)]
pub struct Opener {
    pub kind: Idle,
    pub to: SocketAddr,
    /// For the protocol that the kind speaks.
    pub tls: TlsConnector,
    pub ask: Ask,
}

impl Opener {
    /// Opens `count` connections, a few at a time, and gives them to be held.
    pub async fn open(&self, count: usize) -> Vec<Held> {
        const AT_ONCE: usize = 8;
        let next = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (own, next) = (self.clone(), Arc::clone(&next));
                tokio::spawn(async move {
                    let request = own.request();
                    let mut held = Vec::new();
                    while next.fetch_add(1, Ordering::Relaxed) < count {
                        held.push(own.one(&request).await);
                    }
                    held
                })
            })
            .collect();
        let all = async {
            let mut held = Vec::with_capacity(count);
            for task in tasks {
                held.extend(task.await.expect("connections"));
            }
            held
        };
        timeout(BOUND, all).await.expect("connections in time")
    }

    fn request(&self) -> Vec<u8> {
        if self.kind.is_socket() {
            let scheme = if self.kind.is_tls() { "https" } else { "http" };
            let host = format!("{}:{}", self.ask.host, self.to.port());
            Ask { host, ..self.ask.clone() }.upgrade(scheme)
        } else {
            self.ask.http1("GET", "Connection: keep-alive\r\n")
        }
    }

    async fn one(&self, request: &[u8]) -> Held {
        let host = &self.ask.host;
        match self.kind {
            Idle::Http2 => {
                let mut send = http2::open(self.to, &self.tls, host).await;
                http2::ask(&mut send, self.ask.http2(), &Expect::ok(120)).await;
                Box::new(send)
            }
            Idle::Http1 | Idle::WebSocket => {
                self.after_response(connect(self.to).await, request).await
            }
            Idle::Http1Tls | Idle::WebSocketTls => {
                self.after_response(connect_tls(self.to, &self.tls, host).await, request).await
            }
        }
    }

    async fn after_response<S>(&self, mut stream: S, request: &[u8]) -> Held
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.kind.is_socket() {
            sockets::upgrade(&mut stream, request).await;
        } else {
            stream.write_all(request).await.expect("write");
            stream.flush().await.expect("flush");
            Reader::new(4 << 10).response(&mut stream, &Expect::ok(120)).await;
        }
        Box::new(stream)
    }
}
