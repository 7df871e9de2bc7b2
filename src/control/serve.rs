//! Serving the control API and the admin listener: whoever connects there is trusted more than a visitor, and not with our sockets.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;
use tower::ServiceExt as _;

use super::seats::{Bounds, Refused, Seat, Seats};
use crate::base::condition::warn_seldom;
use crate::base::shutdown::{Stage, Watcher};
use crate::model::network::contain;

/// How long responses may take to finish once the process drains.
const GRACE: Duration = Duration::from_secs(1);
/// How long connections are taken and requests are read once the process drains.
const LAST_CHANCE: Duration = Duration::from_millis(100);
/// How long accepting rests when the process has no descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// What a connection beyond the cap is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json\r\n\
    Content-Length: 129\r\nConnection: close\r\n\r\n\
    {\"ok\":false,\"error\":{\"code\":\"UNAVAILABLE\",\"message\":\"Too many connections.\",\"details\":{},\
\"retryable\":true,\"retry_after_ms\":1000}}";

/// What one more connection of an address is told that has its share.
const SHARE_SPENT: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Type: application/json\r\n\
    Content-Length: 155\r\nConnection: close\r\n\r\n\
    {\"ok\":false,\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Too many connections from this address.\",\
\"details\":{},\"retryable\":true,\"retry_after_ms\":1000}}";

/// Limits and deadlines of control connections. A zero duration or count means "no limit".
#[derive(Clone, Debug)]
pub struct Settings {
    /// A request's headers must be complete within this, counted from when one was waited for.
    pub header_timeout: Duration,
    /// A request's body must be complete within this.
    pub body: Duration,
    /// Whoever asks must take some of the response within this.
    pub write: Duration,
    /// Connections to each of the listeners.
    pub connections: usize,
    /// Connections of one address to each of them that have shown no credential.
    pub connections_per_address: usize,
    /// Connections of one tenant's keys and tokens.
    pub connections_per_tenant: usize,
    /// Trusted proxies: whoever connects from there speaks for many, and has no share of an address.
    pub proxies: Arc<[IpNet]>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            connections: 512,
            connections_per_address: 128,
            connections_per_tenant: 256,
            proxies: Arc::default(),
        }
    }
}

/// What is served, and how, at the moment. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub struct Serving {
    router: Arc<ArcSwap<Router>>,
    settings: Arc<ArcSwap<Settings>>,
}

impl Serving {
    /// Other handlers, for requests from now on.
    pub fn set_router(&self, router: Router) {
        self.router.store(Arc::new(router));
    }

    /// Other limits and deadlines, for connections from now on.
    pub fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }
}

/// Serves a listener until the process drains. Where callers show keys, those who have shown none give way when all connections are taken.
pub fn serve(
    (listener, gives_way): (TcpListener, bool),
    router: Router,
    settings: Settings,
    watcher: Watcher,
) -> Serving {
    let serving = Serving {
        router: Arc::new(ArcSwap::from_pointee(router)),
        settings: Arc::new(ArcSwap::from_pointee(settings)),
    };
    let given = serving.clone();
    tokio::spawn(async move {
        let mut draining = watcher.clone();
        tokio::select! {
            () = accept((&listener, gives_way), &serving, &watcher) => {}
            () = last_chance(&mut draining) => {}
        }
    });
    given
}

/// The end, a moment after the process began to drain: what was sent and queued by then is taken.
async fn last_chance(watcher: &mut Watcher) {
    watcher.reached(Stage::Draining).await;
    tokio::time::sleep(LAST_CHANCE).await;
}

async fn accept((listener, gives_way): (&TcpListener, bool), serving: &Serving, watcher: &Watcher) {
    let seats = Seats::default();
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn_seldom("a control listener cannot accept connections at the moment", &error);
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
        };
        let settings = Settings::clone(&serving.settings.load());
        let bounds = Bounds {
            all: settings.connections,
            // Nobody shows a credential where there is none to show.
            per_address: if gives_way && !contain(&settings.proxies, peer.ip()) {
                settings.connections_per_address
            } else {
                0
            },
            per_tenant: settings.connections_per_tenant,
            gives_way,
        };
        let seat = match seats.take(peer.ip(), bounds) {
            Ok(seat) => Arc::new(seat),
            Err(refused) => {
                let response = if refused == Refused::Full { FULL } else { SHARE_SPENT };
                // As far as the kernel takes it at once: a flood must not cost more.
                drop(socket.writable().await.and_then(|()| socket.try_write(response)));
                continue;
            }
        };
        let (router, watcher) = (Arc::clone(&serving.router), watcher.clone());
        tokio::spawn(async move {
            let leaving = Arc::clone(&seat);
            tokio::select! {
                () = connection((socket, peer), (router, seat), settings, watcher) => {}
                // Whoever has shown no key is told nothing: the place is somebody else's already.
                () = leaving.must_leave() => {}
            }
        });
    }
}

async fn connection(
    (socket, peer): (TcpStream, SocketAddr),
    (router, seat): (Arc<ArcSwap<Router>>, Arc<Seat>),
    settings: Settings,
    mut watcher: Watcher,
) {
    // Without either the connection is a little slower to respond, or to be given up.
    drop(socket.set_nodelay(true));
    #[cfg(target_os = "linux")]
    drop(
        socket2::SockRef::from(&socket)
            .set_tcp_user_timeout((!settings.write.is_zero()).then_some(settings.write)),
    );
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Prompt::new(body, settings.body));
        // For the audit log.
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Arc::clone(&seat));
        Router::clone(&router.load()).oneshot(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(
            (!settings.header_timeout.is_zero()).then_some(settings.header_timeout),
        )
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    tokio::select! {
        // A caller that goes away in the middle, or is too slow, is no news.
        _ = serving.as_mut() => return,
        () = last_chance(&mut watcher) => serving.as_mut().graceful_shutdown(),
    }
    drop(tokio::time::timeout(GRACE, serving).await);
}

/// A request's body that must be complete in time.
struct Prompt {
    body: Incoming,
    deadline: Option<Pin<Box<Sleep>>>,
    after: Duration,
}

/// A request's body was not complete in time.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
struct TooSlow;

impl Prompt {
    fn new(body: Incoming, after: Duration) -> Self {
        Self { body, deadline: None, after }
    }
}

impl Body for Prompt {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if self.after.is_zero() {
            return Poll::Pending;
        }
        // Most bodies come with their headers, and need no timer.
        let after = self.after;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        deadline.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_without_reading_a_request_is_whole() {
        for (response, code) in [(FULL, "UNAVAILABLE"), (SHARE_SPENT, "rate_limit_exceeded")] {
            let text = std::str::from_utf8(response).unwrap();
            let (headers, body) = text.split_once("\r\n\r\n").unwrap();
            let length = format!("Content-Length: {}\r\n", body.len());
            assert!(headers.contains(&length), "{length}");
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(problem["error"]["code"], code);
        }
    }
}
