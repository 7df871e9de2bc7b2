//! The body of a sandbox's response, read from its connection on demand.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};

use super::exchange::{Exchange, FIRST_READ};
use super::pool::{Pool, PoolKey};
use crate::edge::body::{BodyError, POUR_FROM, Payload, Polled, Streamed};
use crate::edge::deadline::Phase;
use crate::edge::message::Framing;
use crate::edge::pipe::Pipe;
use crate::edge::wire::{BodyDecoder, Decoded, Direction, ParsedResponse};

/// At most this much is read at once when a large body streams.
const LARGE_READ: usize = 256 << 10;

/// The body of a response, read from the sandbox on demand.
#[derive(Debug)]
pub struct ResponseBody {
    exchange: Option<Box<Exchange>>,
    decoder: BodyDecoder,
    reuse: Option<(Rc<Pool>, PoolKey)>,
    idle: Duration,
    room: usize,
}

impl Exchange {
    /// The response's body. When it has been read to its end and everything is in order, the connection goes to `pool`.
    pub fn into_body(
        mut self,
        parsed: &ParsedResponse,
        reuse: (Rc<Pool>, PoolKey),
        idle: Duration,
    ) -> Payload {
        if let Some(seconds) = parsed.keep_alive_timeout {
            self.conn.learn_timeout(seconds);
        }
        let keep = parsed.keep_alive && parsed.framing != Framing::UntilClose;
        let bodiless = matches!(parsed.framing, Framing::None | Framing::Length(0))
            || self.method == Method::HEAD
            || parsed.parts.status == StatusCode::NOT_MODIFIED;
        if bodiless && self.upload_is_over() {
            self.end(keep, reuse);
            return Payload::Empty;
        }
        if let Framing::Length(length) = parsed.framing
            && let Ok(length) = usize::try_from(length)
            && length <= self.conn.inbuf.len()
            && self.upload_is_over()
        {
            // It came with its headers, as most small ones do.
            let whole = self.conn.inbuf.split_to(length).freeze();
            self.end(keep, reuse);
            return Payload::Full(whole);
        }
        let framing = if bodiless { Framing::None } else { parsed.framing };
        self.conn.deadline.clear();
        Payload::stream(ResponseBody::new(self, framing, keep.then_some(reuse), idle))
    }
}

impl ResponseBody {
    /// A body whose headers have come over `exchange`, whose connection may be used again when `reuse` says where to keep it.
    pub(super) fn new(
        exchange: Exchange,
        framing: Framing,
        reuse: Option<(Rc<Pool>, PoolKey)>,
        idle: Duration,
    ) -> Self {
        let decoder = BodyDecoder::new(framing, Direction::Response);
        Self { exchange: Some(Box::new(exchange)), decoder, reuse, idle, room: FIRST_READ }
    }

    /// Ready when the sandbox has sent nothing for too long.
    fn poll_stalled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(exchange) = &self.exchange else { return Poll::Pending };
        let deadline = &exchange.conn.deadline;
        if !deadline.is_set() {
            deadline.set(Phase::ResponseIdle, self.idle);
        }
        deadline.poll_passed(cx).map(|_| ())
    }

    fn end(&mut self) {
        if let (Some(exchange), Some(reuse)) = (self.exchange.take(), self.reuse.take()) {
            exchange.end(true, reuse);
        }
    }
}

impl Streamed for ResponseBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
        if let Poll::Ready(Err(error)) = exchange.poll_upload(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        let conn = &mut exchange.conn;
        loop {
            match self.decoder.decode(&mut conn.inbuf).map_err(|_| BodyError::Sandbox)? {
                Decoded::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Decoded::Trailers(trailers) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Decoded::Done => {
                    self.end();
                    return Poll::Ready(None);
                }
                Decoded::NeedMore => {}
            }
            match conn.stream.poll_fill(cx, &mut conn.inbuf, self.room) {
                Poll::Ready(Ok(0)) => {
                    self.decoder.end_of_stream().map_err(|_| BodyError::Sandbox)?;
                    self.reuse = None;
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(read)) => {
                    conn.deadline.clear();
                    // A full buffer says that more is waiting: ask for more at once the next time.
                    if read >= self.room {
                        self.room = (self.room * 4).min(LARGE_READ);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(BodyError::Sandbox))),
                Poll::Pending => {
                    ready!(self.poll_stalled(cx));
                    return Poll::Ready(Some(Err(BodyError::Stalled)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.exchange {
            None => SizeHint::with_exact(0),
            Some(_) => {
                self.decoder.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }

    fn poll_pour(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Option<Poll<Result<usize, BodyError>>> {
        let left = self.decoder.remaining().filter(|left| *left >= POUR_FROM)?;
        let exchange = self.exchange.as_mut()?;
        let is_over = exchange.upload_is_over();
        let conn = &mut exchange.conn;
        if !is_over || !conn.inbuf.is_empty() || !conn.stream.splices() {
            return None;
        }
        Some(match conn.stream.poll_pour_into(cx, pipe, left) {
            Poll::Ready(Ok(moved)) if moved > 0 => {
                conn.deadline.clear();
                self.decoder.passed(u64::try_from(moved).unwrap_or(u64::MAX));
                if self.decoder.is_done() {
                    self.end();
                }
                Poll::Ready(Ok(moved))
            }
            Poll::Ready(_) => Poll::Ready(Err(BodyError::Sandbox)),
            Poll::Pending => self.poll_stalled(cx).map(|()| Err(BodyError::Stalled)),
        })
    }
}
