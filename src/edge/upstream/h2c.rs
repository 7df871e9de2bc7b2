//! One exchange with a sandbox over HTTP/2 in clear text (gRPC): a stream of a connection that others use as well.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Frame, SizeHint};

use super::ExchangeError;
use super::exchange::MAX_INTERIM;
use crate::edge::body::{BodyError, Payload, Polled, Streamed};
use crate::edge::connection::{H2Send, H2SendError};
use crate::edge::deadline::{Deadline, Deadlines, Phase};
use crate::edge::headers::Headers;
use crate::edge::message::{Framing, RequestParts, ResponseParts};
use crate::edge::wire::{self, Direction, Limits};

/// How much of a request's body is remembered until its response begins, in case the sandbox says that it has not looked at it.
const REMEMBERED: usize = 64 << 10;

/// One request over HTTP/2 and what becomes of it. Dropping it cancels the stream.
#[derive(Debug)]
pub struct H2Exchange {
    response: ResponseFuture,
    upload: Option<H2Send>,
    uploading: bool,
    deadline: Deadline,
    headers_only: bool,
    /// The connection has served before, and the method can be repeated.
    repeatable: bool,
}

/// Deadlines of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct H2Terms<'a> {
    /// How long the app may take to begin its response.
    pub first_byte: Duration,
    /// How long its body may stand still.
    pub idle: Duration,
    /// What makes deadlines.
    pub deadlines: &'a Deadlines,
    /// Sizes of response headers.
    pub limits: &'a Limits,
}

impl H2Exchange {
    /// Sends a request; its body follows as the response is awaited. `reused` says that the connection has served others before.
    pub fn begin(
        (mut send, reused): (SendRequest<Bytes>, bool),
        parts: &RequestParts,
        (framing, body): (Framing, Payload),
        terms: &H2Terms<'_>,
    ) -> Result<Self, ExchangeError> {
        let bodiless = framing == Framing::None || body.is_empty() && framing == Framing::Length(0);
        let request = request(parts, framing).ok_or(ExchangeError::Unsayable)?;
        let (response, stream) =
            send.send_request(request, bodiless).map_err(ExchangeError::Http2)?;
        let stall = (terms.deadlines.deadline(), Phase::FirstByte, terms.first_byte);
        let upload =
            (!bodiless).then(|| H2Send::new(body, stream, framing, stall).remembering(REMEMBERED));
        let deadline = terms.deadlines.deadline();
        deadline.set(Phase::FirstByte, terms.first_byte);
        Ok(Self {
            response,
            upload,
            uploading: !bodiless,
            deadline,
            headers_only: parts.method == Method::HEAD,
            repeatable: reused && bodiless && parts.method.is_idempotent(),
        })
    }

    /// Waits for the final response headers; interim ones are handed on. With an error comes the request's body, if the request may be sent
    /// again.
    pub async fn response(
        mut self,
        terms: &H2Terms<'_>,
        mut interim: impl FnMut(ResponseParts),
    ) -> Result<(ResponseParts, Framing, Payload), (ExchangeError, Option<Payload>)> {
        let mut count = 0;
        match poll_fn(|cx| self.poll_response(cx, terms, &mut count, &mut interim)).await {
            Ok(response) => self.read(response, terms).map_err(|error| (error, None)),
            Err(error) => {
                let again = if count == 0 { self.into_again(&error) } else { None };
                Err((error, again))
            }
        }
    }

    fn read(
        self,
        response: Response<RecvStream>,
        terms: &H2Terms<'_>,
    ) -> Result<(ResponseParts, Framing, Payload), ExchangeError> {
        let (received, recv) = response.into_parts();
        if received.status.as_u16() >= 600 {
            return Err(ExchangeError::BadStatus);
        }
        let mut parts = ResponseParts::new(received.status);
        let length = read_fields(&mut parts, received.headers, terms.limits)?;
        let empty = recv.is_end_stream() || self.headers_only;
        let framing = match length {
            _ if matches!(parts.status, StatusCode::NO_CONTENT) => Framing::None,
            Some(length) => Framing::Length(length),
            None if parts.status == StatusCode::NOT_MODIFIED => Framing::None,
            None if recv.is_end_stream() && !self.headers_only => Framing::Length(0),
            None => Framing::Chunked,
        };
        self.deadline.clear();
        let upload = self.upload.filter(|_| self.uploading).map(H2Send::forgetting);
        let body = ResponseBody {
            recv,
            upload,
            data_ended: false,
            length,
            deadline: self.deadline,
            idle: terms.idle,
        };
        let body = if empty { Payload::Empty } else { Payload::stream(body) };
        Ok((parts, framing, body))
    }

    /// The request's body, if the request may be sent again: the sandbox has said that it did not look at it, or it cannot matter.
    fn into_again(self, error: &ExchangeError) -> Option<Payload> {
        let ExchangeError::Http2(error) = error else { return None };
        let repeatable = self.repeatable && error.is_io();
        if !repeatable && !is_untouched(error) {
            return None;
        }
        self.upload.map_or(Some(Payload::Empty), H2Send::into_again)
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        terms: &H2Terms<'_>,
        count: &mut u8,
        interim: &mut impl FnMut(ResponseParts),
    ) -> Poll<Result<Response<RecvStream>, ExchangeError>> {
        self.poll_upload(cx, terms)?;
        while let Poll::Ready(Some(Ok(early))) = self.response.poll_informational(cx) {
            *count += 1;
            if *count > MAX_INTERIM {
                return Poll::Ready(Err(ExchangeError::TooManyInterim));
            }
            match early.status() {
                StatusCode::CONTINUE => {}
                // There is nothing to switch here, and a visitor of HTTP/1 would take it for the end of HTTP (RFC 9113 section 8.6).
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Poll::Ready(Err(ExchangeError::BadStatus));
                }
                status => {
                    let mut parts = ResponseParts::new(status);
                    parts.headers = fields(early.into_parts().0.headers);
                    interim(parts);
                }
            }
        }
        if let Poll::Ready(response) = Pin::new(&mut self.response).poll(cx) {
            return Poll::Ready(response.map_err(broken));
        }
        ready!(self.deadline.poll_passed(cx));
        Poll::Ready(Err(ExchangeError::TimedOut))
    }

    /// Goes on sending the request's body. A sandbox that wants no more of it may respond all the same.
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        terms: &H2Terms<'_>,
    ) -> Result<(), ExchangeError> {
        let Some(upload) = self.upload.as_mut().filter(|_| self.uploading) else { return Ok(()) };
        let polled = upload.poll(cx);
        if upload.advanced() {
            // Each step forward gives the sandbox its full time to respond again.
            self.deadline.set(Phase::FirstByte, terms.first_byte);
        }
        match polled {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(()) | Err(H2SendError::Gone)) => self.uploading = false,
            Poll::Ready(Err(H2SendError::Stalled)) => return Err(ExchangeError::TimedOut),
            Poll::Ready(Err(H2SendError::Body(error))) => {
                upload.reset(Reason::CANCEL);
                return Err(ExchangeError::Request(error));
            }
        }
        Ok(())
    }
}

/// Whether the sandbox says that it has done nothing about a request: it refused the stream, or left before it (RFC 9113 sections 8.7
/// and 6.8; of streams that it had seen when it left, the library does not report this).
fn is_untouched(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// What the library found wrong itself was not HTTP/2: with the whole connection, or with the response.
fn broken(error: h2::Error) -> ExchangeError {
    match (error.is_library(), error.is_go_away()) {
        (true, true) => ExchangeError::NotHttp2(error),
        (true, false) => ExchangeError::Malformed(error),
        (false, _) => ExchangeError::Http2(error),
    }
}

fn request(parts: &RequestParts, framing: Framing) -> Option<Request<()>> {
    let target =
        if parts.target.first() == Some(&b'/') { parts.target.clone() } else { "*".into() };
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(Authority::from_maybe_shared(parts.authority.clone()).ok()?)
        .path_and_query(PathAndQuery::from_maybe_shared(target).ok()?)
        .build()
        .ok()?;
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    for (name, value) in parts.headers.iter() {
        // The one hop-by-hop field that was added for HTTP/1.
        if *name != header::CONNECTION {
            fields.append(name, value.clone());
        }
    }
    if let Framing::Length(length) = framing {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Some(request)
}

fn fields(map: HeaderMap) -> Headers {
    let mut headers = Headers::with_capacity(map.len() + 4);
    let mut current = None;
    for (name, value) in map {
        current = name.or(current);
        if let Some(name) = &current {
            headers.append(name.clone(), value);
        }
    }
    headers
}

/// Takes the fields over, and the length out of them.
fn read_fields(
    parts: &mut ResponseParts,
    map: HeaderMap,
    limits: &Limits,
) -> Result<Option<u64>, ExchangeError> {
    let longest = map.iter().map(|(name, value)| name.as_str().len() + value.len()).max();
    if map.len() > limits.fields || longest.is_some_and(|longest| longest > limits.line_bytes) {
        return Err(ExchangeError::HeadersTooLarge);
    }
    let length = map.get(header::CONTENT_LENGTH).map(|value| {
        let text = value.to_str().ok()?;
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    });
    let length = match length {
        None => None,
        Some(Some(length)) => Some(length),
        Some(None) => return Err(ExchangeError::BadLength),
    };
    parts.headers = fields(map);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(length)
}

/// The body of a response, read on demand, while the request's body may still be under way.
#[derive(Debug)]
struct ResponseBody {
    recv: RecvStream,
    upload: Option<H2Send>,
    data_ended: bool,
    length: Option<u64>,
    deadline: Deadline,
    idle: Duration,
}

impl ResponseBody {
    /// A response has begun, so a sandbox that takes no more of the request knows what it does.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        match upload.poll(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(()) | Err(H2SendError::Gone | H2SendError::Stalled)) => {}
            Poll::Ready(Err(H2SendError::Body(error))) => {
                upload.reset(Reason::CANCEL);
                return Err(error);
            }
        }
        self.upload = None;
        Ok(())
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Polled {
        if !self.deadline.is_set() {
            self.deadline.set(Phase::ResponseIdle, self.idle);
        }
        ready!(self.deadline.poll_passed(cx));
        Poll::Ready(Some(Err(BodyError::Stalled)))
    }
}

impl Streamed for ResponseBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        self.poll_upload(cx)?;
        if !self.data_ended {
            match self.recv.poll_data(cx) {
                Poll::Ready(Some(data)) => {
                    let data = data.map_err(|_| BodyError::Sandbox)?;
                    self.deadline.clear();
                    let released = self.recv.flow_control().release_capacity(data.len());
                    released.map_err(|_| BodyError::Sandbox)?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(None) => self.data_ended = true,
                Poll::Pending => return self.wait(cx),
            }
        }
        match self.recv.poll_trailers(cx) {
            Poll::Ready(trailers) => {
                let trailers = trailers.map_err(|_| BodyError::Sandbox)?;
                let trailers = trailers.map(|all| wire::trailing(all, Direction::Response));
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
