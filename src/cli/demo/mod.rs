//! The demo app inside the binary: the first thing a newcomer sees. It shows a page, a script, a style sheet, `fetch`, server-sent
//! events and a WebSocket at work through the proxy, and which headers reached it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

const PAGE: &str = include_str!("assets/index.html");
const SCRIPT: &str = include_str!("assets/app.js");
const STYLE: &str = include_str!("assets/style.css");
const LOGO: &str = include_str!("assets/logo.svg");
/// The largest body that is echoed, bytes.
const MAX_ECHO: usize = 1 << 20;
/// Between two events of the stream.
const TICK: Duration = Duration::from_secs(1);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves the demo app until `until` completes.
pub async fn serve(listener: TcpListener, until: impl Future<Output = ()>) -> io::Result<()> {
    tokio::pin!(until);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                tokio::spawn(connection(socket));
            }
            () = &mut until => return Ok(()),
        }
    }
}

async fn connection(socket: TcpStream) {
    let serving = http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service_fn(respond))
        .with_upgrades();
    // A visitor that goes away in the middle is no news.
    drop(serving.await);
}

async fn respond(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match (request.method().clone(), path.as_str()) {
        (Method::GET | Method::HEAD, "/") => text("text/html; charset=utf-8", PAGE),
        (Method::GET | Method::HEAD, "/app.js") => text("text/javascript; charset=utf-8", SCRIPT),
        (Method::GET | Method::HEAD, "/style.css") => text("text/css; charset=utf-8", STYLE),
        (Method::GET | Method::HEAD, "/logo.svg") => text("image/svg+xml", LOGO),
        (Method::GET, "/api/hello") => hello(&request),
        (Method::POST, "/api/echo") => echo(request).await,
        (Method::GET, "/events") => events(),
        (Method::GET, "/socket") => socket(request),
        _ => status(StatusCode::NOT_FOUND),
    })
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

fn text(kind: &'static str, body: &'static str) -> Response<Body> {
    let mut response = Response::new(full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full("not here\n"));
    *response.status_mut() = status;
    response
}

/// What the app saw of a request: the proof that no credential reached it.
fn hello(request: &Request<Incoming>) -> Response<Body> {
    let headers: serde_json::Map<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let seen = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
    });
    let mut response = Response::new(full(seen.to_string()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let body = http_body_util::Limited::new(request.into_body(), MAX_ECHO);
    match body.collect().await {
        Ok(whole) => Response::new(full(whole.to_bytes())),
        Err(_) => status(StatusCode::PAYLOAD_TOO_LARGE),
    }
}

fn events() -> Response<Body> {
    let ticks = futures_util::stream::unfold(
        (0_u64, tokio::time::interval(TICK)),
        |(count, mut interval)| async move {
            interval.tick().await;
            let event = Bytes::from(format!("id: {count}\nevent: tick\ndata: {count}\n\n"));
            Some((Ok::<_, Infallible>(Frame::data(event)), (count + 1, interval)))
        },
    );
    let mut response = Response::new(StreamBody::new(ticks).boxed_unsync());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn socket(mut request: Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return status(StatusCode::UPGRADE_REQUIRED);
    };
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let stream =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            echo_messages(stream).await;
        }
    });
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn echo_messages(mut stream: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>) {
    while let Some(Ok(message)) = stream.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && stream.send(message).await.is_err() {
            return;
        }
    }
}
