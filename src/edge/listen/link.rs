//! One visitor's connection: its socket, what has been read ahead, what waits to be written, and the body being read.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::Settings;
use super::pace::Pace;
use crate::edge::body::{BodyError, Polled, Streamed};
use crate::edge::connection::{Outbox, Stream};
use crate::edge::deadline::{Deadline, Phase};
use crate::edge::message::{Framing, RequestParts};
use crate::edge::pipe::Pipe;
use crate::edge::wire::{
    self, BodyDecoder, Decoded, Direction, HeaderScan, ParsedRequest, RequestError,
};

/// Spare room asked for when reading headers and small bodies.
const SMALL_READ: usize = 8 << 10;
/// Spare room asked for when a large body is under way.
const LARGE_READ: usize = 64 << 10;
/// How much of the next request may be read ahead while one is being served.
const READ_AHEAD: usize = 64 << 10;
/// How long a connection that is as new as the end of the process may take to begin its first request.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// Why no further request came from a connection.
#[derive(Debug)]
pub(super) enum NoRequest {
    /// Nothing more to serve: the visitor left, or stayed silent too long, or we are draining.
    Ended,
    /// What came is not a request that we serve. To be refused, then closed.
    Invalid(RequestError, Option<Box<RequestParts>>),
    /// The headers were begun and not finished in time. Gets 408, then closed.
    TooSlow(Option<Box<RequestParts>>),
}

/// Whether a connection has been asked for something.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Never,
    /// Not yet, and it has to be soon.
    Soon,
    Yes,
}

/// The state of one connection. Shared, within one task, by the serving loop and the request's body.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) inbuf: BytesMut,
    pub(super) out: Outbox,
    pub(super) read_deadline: Deadline,
    pub(super) write_deadline: Deadline,
    scan: HeaderScan,
    decoder: Option<BodyDecoder>,
    owes_continue: bool,
    pace: Pace,
    asked: Asked,
    settings: Rc<Settings>,
}

impl Link {
    pub(super) fn new(stream: Stream, settings: Rc<Settings>, deadlines: [Deadline; 2]) -> Self {
        let [read_deadline, write_deadline] = deadlines;
        Self {
            stream,
            inbuf: BytesMut::new(),
            out: Outbox::default(),
            read_deadline,
            write_deadline,
            scan: HeaderScan::default(),
            decoder: None,
            owes_continue: false,
            pace: Pace::default(),
            asked: Asked::Never,
            settings,
        }
    }

    /// Reads the next request headers. `draining`: an idle connection ends, but for what has been sent to it already.
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        draining: bool,
    ) -> Poll<Result<ParsedRequest, NoRequest>> {
        loop {
            if !self.inbuf.is_empty() {
                match wire::parse_request(
                    &mut self.inbuf,
                    &mut self.scan,
                    &self.settings.header_limits,
                ) {
                    Ok(Some(request)) => {
                        self.asked = Asked::Yes;
                        self.read_deadline.clear();
                        self.begin_body(&request);
                        return Poll::Ready(Ok(request));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let glimpse = self.scan.take_glimpse();
                        return Poll::Ready(Err(NoRequest::Invalid(error, glimpse)));
                    }
                }
            }
            let idle = self.inbuf.is_empty();
            match self.stream.poll_fill(cx, &mut self.inbuf, SMALL_READ) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    if idle {
                        self.read_deadline.set(Phase::RequestHeaders, self.settings.header_timeout);
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Err(NoRequest::Ended)),
                Poll::Pending => {
                    if idle && draining && self.is_over() {
                        return Poll::Ready(Err(NoRequest::Ended));
                    }
                    if self.inbuf.is_empty() {
                        // Nobody knows for how long; what the last request needed is given back.
                        self.inbuf = BytesMut::new();
                        self.out.shrink();
                    }
                    return match ready!(self.read_deadline.poll_passed(cx)) {
                        Phase::RequestHeaders if !self.inbuf.is_empty() => {
                            let glimpse = wire::glimpse(&self.inbuf).map(Box::new);
                            Poll::Ready(Err(NoRequest::TooSlow(glimpse)))
                        }
                        _ => Poll::Ready(Err(NoRequest::Ended)),
                    };
                }
            }
        }
    }

    /// Whether an idle connection has nothing more to say. Of whoever has connected and asked for nothing yet, the first request is on its
    /// way already; and so is what the system has and the runtime was not told of.
    fn is_over(&mut self) -> bool {
        match self.asked {
            Asked::Yes if !self.stream.has_waiting() => return true,
            Asked::Yes | Asked::Never => {
                self.asked = Asked::Soon;
                self.read_deadline.set(Phase::KeepAlive, LAST_CHANCE);
            }
            Asked::Soon => {}
        }
        false
    }

    fn begin_body(&mut self, request: &ParsedRequest) {
        self.decoder = match request.framing {
            Framing::None | Framing::Length(0) => None,
            framing => Some(BodyDecoder::new(framing, Direction::Request)),
        };
        self.owes_continue = request.expect_continue && self.decoder.is_some();
        self.pace = Pace::default();
    }

    /// Whether the current request's body has been read to its end.
    pub(super) fn body_is_read(&self) -> bool {
        self.decoder.as_ref().is_none_or(BodyDecoder::is_done)
    }

    /// Ready when the visitor has gone away while we work for it. Reads ahead what it may send meanwhile.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // While a body is under way its reader notices the end.
        while self.body_is_read() && self.inbuf.len() < READ_AHEAD {
            match ready!(self.stream.poll_fill(cx, &mut self.inbuf, SMALL_READ)) {
                Ok(n) if n > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Writes what waits. Ready(Err) when the visitor is gone or has taken nothing for too long.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let before = self.out.len();
        let written = self.stream.poll_drain(cx, &mut self.out);
        match written {
            Poll::Ready(Ok(())) => {
                self.write_deadline.clear();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(BodyError::Visitor)),
            Poll::Pending => {
                if self.out.len() < before || !self.write_deadline.is_set() {
                    self.write_deadline.set(Phase::VisitorWrite, self.settings.write_idle);
                }
                ready!(self.write_deadline.poll_passed(cx));
                Poll::Ready(Err(BodyError::Stalled))
            }
        }
    }

    /// Sends what a pipe holds, to its last byte, under the same deadline.
    pub(super) fn poll_pour_out(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Result<(), BodyError>> {
        while !pipe.is_empty() {
            match self.stream.poll_pour_out(cx, pipe) {
                Poll::Ready(Ok(moved)) if moved > 0 => self.write_deadline.clear(),
                Poll::Ready(_) => return Poll::Ready(Err(BodyError::Visitor)),
                Poll::Pending => {
                    if !self.write_deadline.is_set() {
                        self.write_deadline.set(Phase::VisitorWrite, self.settings.write_idle);
                    }
                    ready!(self.write_deadline.poll_passed(cx));
                    return Poll::Ready(Err(BodyError::Stalled));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Polled {
        loop {
            let Some(decoder) = &mut self.decoder else { return Poll::Ready(None) };
            match decoder.decode(&mut self.inbuf) {
                Err(_) => return Poll::Ready(Some(Err(BodyError::Visitor))),
                Ok(Decoded::Data(data)) => {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.pace.took(length);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Decoded::Done) => {
                    self.read_deadline.clear();
                    return Poll::Ready(None);
                }
                Ok(Decoded::NeedMore) => {}
            }
            if self.owes_continue {
                // Somebody wants the body now, so the visitor may send it (RFC 9110 section 10.1.1).
                self.owes_continue = false;
                self.out.push(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n"));
            }
            // The serving loop flushes as well, but only after us, and a "100 Continue" must not wait for it.
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(decoder) = &mut self.decoder else { return Poll::Ready(None) };
            let room = if decoder.remaining().is_none_or(|left| left > 16 << 10) {
                LARGE_READ
            } else {
                SMALL_READ
            };
            match self.stream.poll_fill(cx, &mut self.inbuf, room) {
                Poll::Ready(Ok(n)) if n > 0 => self.pace.resumed(),
                Poll::Ready(_) => return Poll::Ready(Some(Err(BodyError::Visitor))),
                Poll::Pending => {
                    if self.pace.waits() {
                        self.read_deadline.set(Phase::RequestBody, self.settings.body_idle);
                    }
                    if self.pace.is_too_slow(&self.settings) {
                        return Poll::Ready(Some(Err(BodyError::Stalled)));
                    }
                    ready!(self.read_deadline.poll_passed(cx));
                    return Poll::Ready(Some(Err(BodyError::Stalled)));
                }
            }
        }
    }

    fn body_hint(&self) -> SizeHint {
        match &self.decoder {
            None => SizeHint::with_exact(0),
            Some(decoder) => {
                decoder.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// The body of the request being served, read from the link on demand.
#[derive(Debug)]
pub(super) struct RequestBody(pub(super) Rc<RefCell<Link>>);

impl Streamed for RequestBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        self.0.borrow_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().body_is_read()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().body_hint()
    }
}
