//! The responses: the app's, with its body under watch, and our own.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, SizeHint};

use super::{Record, Switch, Watch, Worker};
use crate::base::failure::{Blame, Face, Failure, Recovery};
use crate::base::request_id::X_REQUEST_ID;
use crate::edge::body::{BodyError, Payload, Polled, Streamed};
use crate::edge::forward::{self, Forwarded};
use crate::edge::gate::{Moved, Plan, RefusalReason, SignIn};
use crate::edge::message::{Framing, RequestParts, ResponseParts};
use crate::edge::pages::{self, Occasion, grpc_trailers};
use crate::edge::pipe::Pipe;
use crate::model::host::Authority;
use crate::routing::TenantView;

/// What a connection does with a request.
#[derive(Debug)]
pub enum Reply {
    /// Write this response.
    Response(EdgeResponse),
    /// Switch protocols: write the headers, then run the switch on the bare stream.
    Switch(Box<Switch>),
}

/// A response.
#[derive(Debug)]
pub struct EdgeResponse {
    /// Its headers.
    pub parts: ResponseParts,
    /// How its body is framed; HTTP/1.0 visitors get another framing where they must.
    pub framing: Framing,
    /// Its body. The body of a response to HEAD is left out by the connection.
    pub body: Payload,
    /// Whether the connection must end after it.
    pub close: bool,
}

/// Request headers that were begun and not finished in time.
#[derive(Debug, thiserror::Error)]
#[error("the request headers did not arrive in time")]
pub struct HeadersTimeout;

impl Failure for HeadersTimeout {
    fn face(&self) -> &'static Face {
        static FACE: Face = Face {
            status: StatusCode::REQUEST_TIMEOUT,
            label: "request_timeout",
            title: "The request took too long",
            text: "The connection was closed before the request was complete.",
            blame: Blame::Limit,
            recovery: Recovery::None,
        };
        &FACE
    }
}

/// The drain time is over and the app has not responded yet.
#[derive(Debug, thiserror::Error)]
#[error("the process is shutting down and the app has not responded yet")]
pub struct ShuttingDown;

impl Failure for ShuttingDown {
    fn face(&self) -> &'static Face {
        static FACE: Face = Face {
            status: StatusCode::SERVICE_UNAVAILABLE,
            label: "shutting_down",
            title: "Just a moment",
            text: "Previews are being restarted and will be back in a few seconds.",
            blame: Blame::Limit,
            recovery: Recovery::Reload { after: Duration::from_secs(2) },
        };
        &FACE
    }
}

/// An error and the circumstances a page may tell of.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    pub(super) error: &'a dyn Failure,
    pub(super) tenant: Option<&'a TenantView>,
    pub(super) host: &'a str,
    pub(super) subject: Option<(&'a str, u16)>,
    /// Whether to tell a WebSocket by close code.
    pub(super) readable_socket: bool,
}

impl<'a> Refused<'a> {
    /// A request that was refused before its host was known to be well formed.
    pub(super) fn unread(error: &'a dyn Failure) -> Self {
        Self { error, tenant: None, host: "", subject: None, readable_socket: false }
    }
}

/// A page of ours.
pub(super) fn page(
    worker: &Rc<Worker>,
    mut record: Record,
    parts: Option<&RequestParts>,
    refused: &Refused<'_>,
) -> EdgeResponse {
    let face = refused.error.face();
    record.refused(face);
    let occasion = Occasion {
        face,
        tenant: refused.tenant,
        host: refused.host,
        subject: refused.subject,
        request_id: record.id().as_str(),
    };
    let (parts, body) = worker.gallery.render(&occasion, parts);
    whole(record, parts, body)
}

/// The app's response. Its body is counted, watched and cut when access ends.
pub(super) fn app(mut record: Record, watch: Watch, forwarded: Forwarded, plan: Plan) -> Reply {
    let (mut parts, framing, body) = match forwarded {
        Forwarded::Response(parts, framing, body) => (parts, framing, body),
        Forwarded::Switched(switched) => {
            return Reply::Switch(Box::new(Switch::tunnel(record, watch, switched)));
        }
    };
    record.app_responded(parts.status);
    let may = &plan.tenant.framing;
    let embedders = if plan.narrow_framing { may.narrow_value() } else { may.value() };
    forward::set_framing(&mut parts, embedders);
    if let Some(takeover) = plan.takeover {
        forward::take_over(&mut parts.headers, &takeover);
    }
    let cookie = plan.session_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok());
    if let Some(cookie) = cookie {
        parts.headers.append(header::SET_COOKIE, cookie);
        // What has a session in it is nobody's to keep, whatever the app says.
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let body = match watch.shape(body) {
        // Here already: nothing of it will be cut.
        body @ (Payload::Empty | Payload::Full(_)) => {
            if let Payload::Full(bytes) = &body {
                record.sent(bytes.len());
            }
            record.complete();
            body
        }
        body @ Payload::Stream(_) => Payload::stream(WatchedBody { body, watch, record }),
    };
    Reply::Response(EdgeResponse { parts, framing, body, close: false })
}

/// The session cookie and the way to the same URL without its credential.
pub(super) fn sign_in(record: Record, sign_in: SignIn, names_page: bool) -> EdgeResponse {
    let mut parts = ours(StatusCode::SEE_OTHER);
    if names_page {
        // Who may embed what follows is decided by whose page asks, below a tenant's own domain. A redirect's `Referer` is that page's, never the link's.
        let policy = HeaderValue::from_static("strict-origin");
        parts.headers.insert(header::REFERRER_POLICY, policy);
    }
    if let Ok(location) = HeaderValue::from_maybe_shared(sign_in.location) {
        parts.headers.insert(header::LOCATION, location);
    }
    if let Some(Ok(cookie)) = sign_in.cookie.map(HeaderValue::try_from) {
        parts.headers.insert(header::SET_COOKIE, cookie);
    }
    parts.headers.insert(header::VARY, HeaderValue::from_static("Cookie"));
    plain(record, parts, Bytes::new())
}

/// The approval of a preflight. It grants nothing: the request that follows is judged, and the app says who may read its response.
pub(super) fn approval(record: Record, request: &RequestParts) -> EdgeResponse {
    let mut parts = ours(StatusCode::NO_CONTENT);
    let mut echo = |asked: HeaderName, told: HeaderName| {
        if let Some(value) = request.headers.get(&asked) {
            parts.headers.insert(told, value.clone());
        }
    };
    echo(header::ORIGIN, header::ACCESS_CONTROL_ALLOW_ORIGIN);
    echo(header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS);
    echo(header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS);
    let mut set = |name: HeaderName, value| {
        parts.headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    set(header::ACCESS_CONTROL_MAX_AGE, "600");
    set(header::VARY, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    plain(record, parts, Bytes::new())
}

/// The way to the canonical host.
pub(super) fn moved(record: Record, moved: &Moved) -> EdgeResponse {
    let mut parts = ours(StatusCode::TEMPORARY_REDIRECT);
    if let Ok(location) = HeaderValue::try_from(&moved.location) {
        parts.headers.insert(header::LOCATION, location);
    }
    plain(record, parts, Bytes::new())
}

/// The way from a listener that only leads on to https to the same URL there. Methods and bodies stay what they are (308).
pub(super) fn to_https(
    record: Record,
    authority: &Authority,
    target: &[u8],
    port: u16,
) -> EdgeResponse {
    let mut parts = ours(StatusCode::PERMANENT_REDIRECT);
    let mut location = format!("https://{}", authority.host).into_bytes();
    if port != 443 {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    // `*` of OPTIONS is no path.
    location.extend_from_slice(if target.first() == Some(&b'/') { target } else { b"/" });
    if let Ok(location) = HeaderValue::from_maybe_shared(Bytes::from(location)) {
        parts.headers.insert(header::LOCATION, location);
    }
    plain(record, parts, Bytes::new())
}

/// What programs that only look ahead get: nothing of the app, and no session.
pub(super) fn neutral(record: Record) -> EdgeResponse {
    let mut parts = ours(StatusCode::OK);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    parts.headers.insert(header::CONTENT_TYPE, html);
    parts.headers.insert(header::CONTENT_SECURITY_POLICY, pages::nothing());
    let robots = HeaderName::from_static("x-robots-tag");
    parts.headers.insert(robots, HeaderValue::from_static("noindex"));
    let body = Bytes::from_static(b"<!doctype html><title>Preview</title>");
    plain(record, parts, body)
}

/// The headers of a response of ours that is no page about an error.
pub(super) fn ours(status: StatusCode) -> ResponseParts {
    let mut parts = ResponseParts::new(status);
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    parts.headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let source = HeaderName::from_static("x-preview-source");
    parts.headers.insert(source, HeaderValue::from_static("proxy"));
    parts
}

/// A response of ours that is no page about an error.
pub(super) fn plain(mut record: Record, mut parts: ResponseParts, body: Bytes) -> EdgeResponse {
    record.proxy_responded(parts.status);
    parts.headers.insert(X_REQUEST_ID, record.id().header());
    let bodiless = parts.status == StatusCode::NO_CONTENT;
    let response = whole(record, parts, body);
    if bodiless {
        // A 204 has no length either (RFC 9110 section 8.6).
        EdgeResponse { framing: Framing::None, body: Payload::Empty, ..response }
    } else {
        response
    }
}

fn whole(mut record: Record, parts: ResponseParts, body: Bytes) -> EdgeResponse {
    record.sent(body.len());
    record.complete();
    let framing = Framing::Length(u64::try_from(body.len()).unwrap_or(u64::MAX));
    EdgeResponse { parts, framing, body: Payload::Full(body), close: false }
}

/// What clients of gRPC are told when a response breaks off. They read a status, where others must see that something is missing.
pub fn error_trailers(error: BodyError) -> Option<HeaderMap> {
    static BROKEN: Face = Face {
        status: StatusCode::BAD_GATEWAY,
        label: "connection_closed",
        title: "The app closed the connection",
        text: "It did so in the middle of the response.",
        blame: Blame::Sandbox,
        recovery: Recovery::None,
    };
    match error {
        BodyError::AccessEnded => Some(grpc_trailers(RefusalReason::TokenRevoked.face())),
        BodyError::Sandbox => Some(grpc_trailers(&BROKEN)),
        BodyError::Shutdown => Some(grpc_trailers(ShuttingDown.face())),
        BodyError::Visitor | BodyError::Stalled => None,
    }
}

/// A body on its way to the visitor: counted, and cut when access ends.
#[derive(Debug)]
struct WatchedBody {
    body: Payload,
    watch: Watch,
    record: Record,
}

impl Streamed for WatchedBody {
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        self.watch.poll_ended(cx).map(|ending| {
            let error = ending.into();
            self.record.broke(error);
            error
        })
    }

    fn poll_pour(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Option<Poll<Result<usize, BodyError>>> {
        if let Poll::Ready(error) = self.poll_cut(cx) {
            return Some(Poll::Ready(Err(error)));
        }
        let poured = self.body.poll_pour(cx, pipe)?;
        match &poured {
            Poll::Pending => {}
            Poll::Ready(Err(error)) => self.record.broke(*error),
            Poll::Ready(Ok(moved)) => {
                self.record.sent(*moved);
                self.record.visit();
                if self.body.is_end_stream() {
                    self.record.complete();
                }
            }
        }
        Some(poured)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if let Poll::Ready(error) = self.poll_cut(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => self.record.complete(),
            Poll::Ready(Some(Err(error))) => self.record.broke(*error),
            Poll::Ready(Some(Ok(frame))) => {
                self.record.sent(frame.data_ref().map_or(0, Bytes::len));
                self.record.visit();
                // Nobody asks for more after trailers, or after what says that it is the last.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.record.complete();
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
