//! One HTTP/1 exchange with a sandbox: the request goes out while the response may already be coming back, in the task
//! of the visitor it belongs to. Dropping it at any point closes the connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body::{Body, Frame};

use super::pool::{Conn, Pool, PoolKey};
use crate::edge::body::{BodyError, Payload};
use crate::edge::connection::Outbox;
use crate::edge::deadline::Phase;
use crate::edge::message::{Framing, RequestParts, ResponseParts};
use crate::edge::wire::{self, HeaderScan, Limits, ParsedResponse, ResponseError};

/// How much of a request may wait to be written before more of its body is asked for.
const HIGH_WATER: usize = 64 << 10;
/// Interim responses before the final one; a sandbox that sends more is talking nonsense.
pub(super) const MAX_INTERIM: u8 = 8;
/// Spare room asked for when reading the headers.
pub(super) const FIRST_READ: usize = 8 << 10;

/// Why no response came.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The sandbox closed or reset the connection before the first byte of a response.
    #[error("the sandbox closed the connection before it responded")]
    ClosedBeforeResponse(#[source] io::Error),
    /// ... or in the middle of the headers.
    #[error("the sandbox closed the connection in the middle of the response headers")]
    ClosedInHeaders(#[source] io::Error),
    /// What came is not an HTTP response that may be passed on.
    #[error("the sandbox's response is not valid HTTP: {}", .0.reason())]
    BadResponse(ResponseError),
    /// The connection over HTTP/2, or the one stream of it, broke.
    #[error("the sandbox closed the HTTP/2 stream or connection")]
    Http2(#[source] h2::Error),
    /// What came on a connection that should speak HTTP/2 is something else.
    #[error("the sandbox does not support HTTP/2")]
    NotHttp2(#[source] h2::Error),
    /// A response over HTTP/2 that breaks its rules.
    #[error("the sandbox's response is not valid HTTP/2")]
    Malformed(#[source] h2::Error),
    /// A response over HTTP/2 with a status that it does not have.
    #[error("the sandbox's response has an invalid status")]
    BadStatus,
    /// A response over HTTP/2 with more fields, or longer ones, than are passed on.
    #[error("the sandbox's response headers are too many or too large")]
    HeadersTooLarge,
    /// A response over HTTP/2 whose length is no number.
    #[error("the sandbox's response has an invalid Content-Length")]
    BadLength,
    /// A request that HTTP/2 has no words for.
    #[error("the request cannot be expressed in HTTP/2")]
    Unsayable,
    /// Too many interim responses.
    #[error("the sandbox sent too many interim (1xx) responses")]
    TooManyInterim,
    /// No response within the first-byte deadline.
    #[error("the sandbox did not respond in time")]
    TimedOut,
    /// The visitor's request body broke off or stood still.
    #[error("the request body ended early")]
    Request(#[source] BodyError),
}

/// The response headers, how its body is framed, and its body.
#[derive(Debug)]
pub struct Received {
    /// The parsed status line and headers.
    pub parsed: ParsedResponse,
    /// The exchange, to be turned into a body or taken apart after a protocol switch.
    pub exchange: Exchange,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange {
    pub(super) conn: Conn,
    out: Outbox,
    body: Payload,
    framing: Framing,
    upload: Upload,
    pub(super) method: Method,
    first_byte: Duration,
    limits: Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    /// Nothing of the body has been asked for.
    Untouched,
    Running,
    Done,
    /// The sandbox takes no more. It may have responded all the same.
    Refused,
}

impl Exchange {
    /// Prepares an exchange; nothing is sent yet.
    pub fn new(
        conn: Conn,
        parts: &RequestParts,
        framing: Framing,
        body: Payload,
        (first_byte, limits): (Duration, Limits),
    ) -> Self {
        let mut out = Outbox::default();
        out.write_with(|out| wire::write_request(out, parts, framing));
        let method = parts.method.clone();
        Self { conn, out, body, framing, upload: Upload::Untouched, method, first_byte, limits }
    }

    /// Sends the request and waits for the final response headers; interim ones (103 and the like) are handed on.
    pub async fn response(
        mut self,
        mut interim: impl FnMut(ResponseParts),
    ) -> Result<Received, (ExchangeError, Self)> {
        self.conn.deadline.set(Phase::FirstByte, self.first_byte);
        let mut scan = HeaderScan::default();
        let mut count = 0;
        match poll_fn(|cx| self.poll_response(cx, &mut scan, &mut count, &mut interim)).await {
            Ok(parsed) => Ok(Received { parsed, exchange: self }),
            Err(error) => Err((error, self)),
        }
    }

    /// Whether a request without a response may be sent again: the connection had been used before, not a byte of a
    /// response came, nothing of a body was taken, and the method can be repeated (RFC 9112 section 9.3.1).
    pub fn is_repeatable(&self, error: &ExchangeError) -> bool {
        let no_response = matches!(error, ExchangeError::ClosedBeforeResponse(_));
        let untouched = self.upload == Upload::Untouched || self.framing == Framing::None;
        no_response && self.conn.reused && untouched && self.method.is_idempotent()
    }

    /// The request's body, for sending again.
    pub fn into_request_body(self) -> Payload {
        self.body
    }

    /// The connection, after a protocol switch: whatever was read beyond the headers are in its buffer.
    pub fn into_conn(self) -> Conn {
        self.conn
    }

    pub(super) fn upload_is_over(&self) -> bool {
        self.upload == Upload::Done || (self.framing == Framing::None && self.out.is_empty())
    }

    pub(super) fn end(self, keep: bool, (pool, key): (Rc<Pool>, PoolKey)) {
        // Bytes that nobody asked for would be taken for the next request's response.
        if keep && self.upload_is_over() && self.conn.inbuf.is_empty() {
            pool.give_back(key, self.conn);
        }
    }

    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        scan: &mut HeaderScan,
        interim_count: &mut u8,
        interim: &mut impl FnMut(ResponseParts),
    ) -> Poll<Result<ParsedResponse, ExchangeError>> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_upload(cx) {
                return Poll::Ready(Err(ExchangeError::Request(error)));
            }
            if !self.conn.inbuf.is_empty() {
                let parsed =
                    wire::parse_response(&mut self.conn.inbuf, scan, &self.method, &self.limits)
                        .map_err(ExchangeError::BadResponse)?;
                match parsed {
                    Some(parsed) if is_interim(parsed.parts.status) => {
                        *interim_count += 1;
                        if *interim_count > MAX_INTERIM {
                            return Poll::Ready(Err(ExchangeError::TooManyInterim));
                        }
                        // "100 Continue" was never asked for upstream: the visitor got its own from us.
                        if parsed.parts.status != StatusCode::CONTINUE {
                            interim(parsed.parts);
                        }
                        continue;
                    }
                    Some(parsed) => return Poll::Ready(Ok(parsed)),
                    None => {}
                }
            }
            match self.conn.stream.poll_fill(cx, &mut self.conn.inbuf, FIRST_READ) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(end) => {
                    let cause = end.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Poll::Ready(Err(
                        if self.conn.inbuf.is_empty() && *interim_count == 0 {
                            ExchangeError::ClosedBeforeResponse(cause)
                        } else {
                            ExchangeError::ClosedInHeaders(cause)
                        },
                    ));
                }
                Poll::Pending => {
                    ready!(self.conn.deadline.poll_passed(cx));
                    return Poll::Ready(Err(ExchangeError::TimedOut));
                }
            }
        }
    }

    /// Sends what can be sent of headers and body. Ready(Ok) when there is nothing more to send.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            let starved = if self.upload == Upload::Refused || self.upload == Upload::Done {
                false
            } else {
                self.fill(cx)?
            };
            if self.upload == Upload::Refused {
                return Poll::Ready(Ok(()));
            }
            if !self.out.is_empty() {
                if ready!(self.conn.stream.poll_drain(cx, &mut self.out)).is_ok() {
                    // Each step forward gives the sandbox its full time to respond again.
                    self.conn.deadline.set(Phase::FirstByte, self.first_byte);
                } else {
                    self.upload = Upload::Refused;
                    self.out = Outbox::default();
                }
            }
            if starved {
                return Poll::Pending;
            }
            if matches!(self.upload, Upload::Done | Upload::Refused) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Moves pieces of the body to the outbox. Tells whether the body has nothing more at the moment.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, BodyError> {
        if self.framing == Framing::None {
            self.upload = Upload::Done;
            return Ok(false);
        }
        while self.upload != Upload::Done && self.out.len() < HIGH_WATER {
            self.upload = Upload::Running;
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return Ok(true);
            };
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.push(data),
                Some(Err(frame)) => self.finish(frame.into_trailers().ok().as_ref()),
                None => self.finish(None),
            }
        }
        Ok(false)
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.framing == Framing::Chunked {
            self.out.write_with(|out: &mut BytesMut| wire::write_chunk_size(out, data.len()));
            self.out.push(data);
            self.out.write_with(|out| out.extend_from_slice(wire::CHUNK_TAIL));
        } else {
            // The reader of the visitor's body counts: it never yields more than the length.
            self.out.push(data);
        }
    }

    fn finish(&mut self, trailers: Option<&http::HeaderMap>) {
        self.upload = Upload::Done;
        if self.framing == Framing::Chunked {
            self.out.write_with(|out| wire::write_last_chunk(out, trailers));
        }
    }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
