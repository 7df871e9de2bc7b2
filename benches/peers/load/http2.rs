//! Requests over HTTP/2 and TLS: many on connections that stay, and whole pages, each on a connection of its own.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use tokio_rustls::TlsConnector;

use super::{Ask, Expect, Lane, connect_tls};

/// Connections, and requests at once on each.
pub const H2_CONNECTIONS: usize = 4;
pub const H2_STREAMS: usize = 16;

/// Body lengths of a page's assets, KiB: a few bundles and pictures, some dozens of chunks and styles, many icons; as on pages of real apps.
/// Together about 1.2 MiB.
pub const ASSETS: [usize; 80] = [
    60, 60, 58, 55, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 29, 28, 26, 25, //
    24, 23, 22, 21, 20, 19, 18, 18, 17, 16, 16, 15, 14, 14, 13, 12, 12, 11, 10, 10, //
    9, 9, 8, 8, 8, 7, 7, 6, 6, 6, 5, 5, 5, 5, 4, 4, 4, 4, 4, 3, //
    3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1,
];

/// A connection, with the windows that browsers open.
pub async fn open(to: SocketAddr, tls: &TlsConnector, host: &str) -> SendRequest<Bytes> {
    let stream = connect_tls(to, tls, host).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "no HTTP/2");
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(6 << 20)
        .initial_connection_window_size(15 << 20)
        .enable_push(false);
    let (send, connection) = builder.handshake(stream).await.expect("HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    send
}

/// One request, its response read to the end.
pub async fn ask(send: &mut SendRequest<Bytes>, request: http::Request<()>, expect: &Expect) {
    poll_fn(|cx| send.poll_ready(cx)).await.expect("ready");
    let (response, _) = send.send_request(request, true).expect("send");
    let response = response.await.expect("a response");
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        length += data.len();
        body.flow_control().release_capacity(data.len()).expect("capacity");
    }
    expect.check(status, length);
}

/// One of the requests at once on a connection.
#[derive(Debug)]
pub struct Stream {
    send: SendRequest<Bytes>,
    request: http::Request<()>,
    expect: Expect,
}

pub async fn streams(
    to: SocketAddr,
    tls: &TlsConnector,
    asked: &Ask,
    expect: Expect,
) -> Vec<Stream> {
    let request = asked.http2();
    let mut lanes = Vec::new();
    for _ in 0..H2_CONNECTIONS {
        let send = open(to, tls, &asked.host).await;
        let one = Stream { send, request: request.clone(), expect };
        lanes.extend(std::iter::repeat_with(|| one.another()).take(H2_STREAMS));
    }
    lanes
}

impl Stream {
    fn another(&self) -> Self {
        Self { send: self.send.clone(), request: self.request.clone(), expect: self.expect }
    }
}

impl Lane for Stream {
    async fn unit(&mut self) {
        ask(&mut self.send, self.request.clone(), &self.expect).await;
    }
}

/// Somebody who opens pages: a connection each time, and all assets at once.
pub struct Page {
    to: SocketAddr,
    tls: TlsConnector,
    host: String,
    assets: Arc<Vec<(http::Request<()>, Expect)>>,
}

/// Visitors who open pages.
pub fn pages(to: SocketAddr, tls: &TlsConnector, asked: &Ask, lanes: usize) -> Vec<Page> {
    let assets = ASSETS.iter().enumerate().map(|(number, size)| {
        let path = format!("/assets/{number}-{}.js", size << 10);
        (Ask { path, ..asked.clone() }.http2(), Expect::ok(size << 10))
    });
    let assets = Arc::new(assets.collect::<Vec<_>>());
    let one =
        || Page { to, tls: tls.clone(), host: asked.host.clone(), assets: Arc::clone(&assets) };
    std::iter::repeat_with(one).take(lanes).collect()
}

impl Lane for Page {
    async fn unit(&mut self) {
        let send = open(self.to, &self.tls, &self.host).await;
        join_all(self.assets.iter().map(|(request, expect)| {
            let (mut send, request) = (send.clone(), request.clone());
            async move { ask(&mut send, request, expect).await }
        }))
        .await;
    }
}
