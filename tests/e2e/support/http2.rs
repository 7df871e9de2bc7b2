//! A visitor over HTTP/2 who behaves: the library's own client.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::http::Response;

const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub struct Http2 {
    pub send: SendRequest<Bytes>,
}

impl Http2 {
    pub async fn over(pipe: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (send, connection) = h2::client::handshake(pipe).await.expect("a handshake");
        // How it ends shows in what its streams tell.
        tokio::spawn(async { drop(connection.await) });
        Self { send }
    }

    /// Begins a request.
    pub async fn begin(
        &mut self,
        request: Request<()>,
        ends: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let ready = self.send.clone().ready();
        self.send = timeout(PATIENCE, ready).await.expect("in time").expect("ready");
        self.send.send_request(request, ends).expect("a request")
    }

    /// A whole exchange without a body to send.
    pub async fn exchange(&mut self, request: Request<()>) -> Result<Response, h2::Error> {
        let (response, _) = self.begin(request, true).await;
        whole(response).await
    }

    pub async fn get(&mut self, host: &str, path: &str) -> Response {
        self.exchange(get(host, path)).await.expect("a response")
    }
}

pub fn get(host: &str, path: &str) -> Request<()> {
    request("GET", host, path)
}

pub fn request(method: &str, host: &str, path: &str) -> Request<()> {
    let uri = format!("https://{host}{path}");
    Request::builder().method(method).uri(uri).body(()).expect("a request")
}

/// Sends a body as fast as it is taken.
pub async fn send_all(
    sending: &mut SendStream<Bytes>,
    body: Vec<u8>,
    ends: bool,
) -> Result<(), h2::Error> {
    let mut body = Bytes::from(body);
    while !body.is_empty() {
        sending.reserve_capacity(body.len());
        let capacity = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await;
        let Some(capacity) = capacity.transpose()? else { return Ok(()) };
        sending.send_data(body.split_to(capacity.min(body.len())), false)?;
    }
    if ends { sending.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Reads a response to its end.
pub async fn whole(response: ResponseFuture) -> Result<Response, h2::Error> {
    let reply = timeout(PATIENCE, response).await.expect("a response in time")?;
    let (parts, mut recv) = reply.into_parts();
    let mut body = Vec::new();
    while let Some(data) = piece(&mut recv).await.transpose()? {
        body.extend_from_slice(&data);
    }
    let trailers = timeout(PATIENCE, recv.trailers()).await.expect("trailers in time")?;
    Ok(Response {
        status: parts.status.as_u16(),
        fields: texts(&parts.headers),
        body,
        trailers: trailers.as_ref().map(texts).unwrap_or_default(),
    })
}

/// The next piece of a body.
pub async fn piece(recv: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = timeout(PATIENCE, recv.data()).await.expect("data in time")?;
    if let Ok(data) = &data {
        recv.flow_control().release_capacity(data.len()).expect("capacity");
    }
    Some(data)
}

fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
