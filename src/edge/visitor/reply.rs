//! The answers: the app's, with its body under watch, and our own.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, SizeHint};

use super::{Record, Switch, Watch, Worker};
use crate::base::fault::{Blame, Face, Fault, Recovery};
use crate::base::request_id::X_REQUEST_ID;
use crate::edge::body::{BodyError, Payload, Polled, Streamed};
use crate::edge::forward::{self, Forwarded};
use crate::edge::gate::{Moved, Plan, RefusalReason, SignIn};
use crate::edge::message::{Framing, RequestHead, ResponseHead};
use crate::edge::pages::{self, Occasion, grpc_trailers};
use crate::edge::pipe::Pipe;
use crate::model::host::Authority;
use crate::routing::TenantView;

/// What a connection does with a request.
#[derive(Debug)]
pub enum Reply {
    /// Write this answer.
    Answer(Answer),
    /// Switch protocols: write the head, then run the switch on the bare stream.
    Switch(Box<Switch>),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: ResponseHead,
    /// How its body is framed; HTTP/1.0 visitors get another framing where they must.
    pub framing: Framing,
    /// Its body. The body of an answer to HEAD is left out by the connection.
    pub body: Payload,
    /// Whether the connection must end after it.
    pub close: bool,
}

/// A request head that was begun and not finished in time.
#[derive(Debug, thiserror::Error)]
#[error("the request headers did not arrive in time")]
pub struct HeadTimeout;

impl Fault for HeadTimeout {
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

/// The drain time is over and the app has not answered yet.
#[derive(Debug, thiserror::Error)]
#[error("the process is shutting down and the app has not responded yet")]
pub struct ShuttingDown;

impl Fault for ShuttingDown {
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

/// A fault and the circumstances a page may tell of.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    pub(super) fault: &'a dyn Fault,
    pub(super) tenant: Option<&'a TenantView>,
    pub(super) host: &'a str,
    pub(super) subject: Option<(&'a str, u16)>,
    /// Whether to tell a WebSocket by close code.
    pub(super) readable_socket: bool,
}

impl<'a> Refused<'a> {
    /// A request that was refused before its host was known to be well formed.
    pub(super) fn unread(fault: &'a dyn Fault) -> Self {
        Self { fault, tenant: None, host: "", subject: None, readable_socket: false }
    }
}

/// A page of ours.
pub(super) fn page(
    worker: &Rc<Worker>,
    mut record: Record,
    head: Option<&RequestHead>,
    refused: &Refused<'_>,
) -> Answer {
    let face = refused.fault.face();
    record.refused(face);
    let occasion = Occasion {
        face,
        tenant: refused.tenant,
        host: refused.host,
        subject: refused.subject,
        request_id: record.id().as_str(),
    };
    let (head, body) = worker.gallery.answer(&occasion, head);
    whole(record, head, body)
}

/// The app's answer. Its body is counted, watched and cut when access ends.
pub(super) fn app(mut record: Record, watch: Watch, forwarded: Forwarded, plan: Plan) -> Reply {
    let (mut head, framing, body) = match forwarded {
        Forwarded::Answer(head, framing, body) => (head, framing, body),
        Forwarded::Switched(switched) => {
            return Reply::Switch(Box::new(Switch::tunnel(record, watch, switched)));
        }
    };
    record.answered_by_app(head.status);
    forward::set_framing(&mut head, plan.tenant.framing.value());
    let cookie = plan.session_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok());
    if let Some(cookie) = cookie {
        head.headers.append(header::SET_COOKIE, cookie);
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
    Reply::Answer(Answer { head, framing, body, close: false })
}

/// The session cookie and the way to the same URL without its credential.
pub(super) fn sign_in(record: Record, sign_in: SignIn) -> Answer {
    let mut head = ours(StatusCode::SEE_OTHER);
    if let Ok(location) = HeaderValue::from_maybe_shared(sign_in.location) {
        head.headers.insert(header::LOCATION, location);
    }
    if let Ok(cookie) = HeaderValue::try_from(sign_in.cookie) {
        head.headers.insert(header::SET_COOKIE, cookie);
    }
    head.headers.insert(header::VARY, HeaderValue::from_static("Cookie"));
    plain(record, head, Bytes::new())
}

/// The way to the canonical host.
pub(super) fn moved(record: Record, moved: &Moved) -> Answer {
    let mut head = ours(StatusCode::TEMPORARY_REDIRECT);
    if let Ok(location) = HeaderValue::try_from(&moved.location) {
        head.headers.insert(header::LOCATION, location);
    }
    plain(record, head, Bytes::new())
}

/// The way from a listener that only leads on to https to the same URL there. Methods and bodies stay what they are (308).
pub(super) fn to_https(record: Record, authority: &Authority, target: &[u8], port: u16) -> Answer {
    let mut head = ours(StatusCode::PERMANENT_REDIRECT);
    let mut location = format!("https://{}", authority.host).into_bytes();
    if port != 443 {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    // `*` of OPTIONS is no path.
    location.extend_from_slice(if target.first() == Some(&b'/') { target } else { b"/" });
    if let Ok(location) = HeaderValue::from_maybe_shared(Bytes::from(location)) {
        head.headers.insert(header::LOCATION, location);
    }
    plain(record, head, Bytes::new())
}

/// What programs that only look ahead get: nothing of the app, and no session.
pub(super) fn neutral(record: Record) -> Answer {
    let mut head = ours(StatusCode::OK);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    head.headers.insert(header::CONTENT_TYPE, html);
    head.headers.insert(header::CONTENT_SECURITY_POLICY, pages::nothing());
    let robots = HeaderName::from_static("x-robots-tag");
    head.headers.insert(robots, HeaderValue::from_static("noindex"));
    let body = Bytes::from_static(b"<!doctype html><title>Preview</title>");
    plain(record, head, body)
}

/// The head of an answer of ours that is no page about a fault.
pub(super) fn ours(status: StatusCode) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let source = HeaderName::from_static("x-preview-source");
    head.headers.insert(source, HeaderValue::from_static("proxy"));
    head
}

/// An answer of ours that is no page about a fault.
pub(super) fn plain(mut record: Record, mut head: ResponseHead, body: Bytes) -> Answer {
    record.answered_by_us(head.status);
    head.headers.insert(X_REQUEST_ID, record.id().header());
    let bodiless = head.status == StatusCode::NO_CONTENT;
    let answer = whole(record, head, body);
    if bodiless {
        // A 204 has no length either (RFC 9110 section 8.6).
        Answer { framing: Framing::None, body: Payload::Empty, ..answer }
    } else {
        answer
    }
}

fn whole(mut record: Record, head: ResponseHead, body: Bytes) -> Answer {
    record.sent(body.len());
    record.complete();
    let framing = Framing::Length(u64::try_from(body.len()).unwrap_or(u64::MAX));
    Answer { head, framing, body: Payload::Full(body), close: false }
}

/// What clients of gRPC are told when an answer breaks off. They read a status, where others must see that something is missing.
pub fn last_words(error: BodyError) -> Option<HeaderMap> {
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
