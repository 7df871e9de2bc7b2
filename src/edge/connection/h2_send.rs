//! A body on its way out over one stream of HTTP/2: as fast as the other end takes it, never more of it in memory than the window allows.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use crate::edge::body::{BodyError, Payload, Polled, Streamed};
use crate::edge::deadline::{Deadline, Phase};
use crate::edge::message::Framing;

/// The most handed to the library at once, so that streams of one connection take turns.
const PIECE: usize = 16 << 10;
/// The library holds on to the last piece of a connection until the next one, and a piece is a slice of all that was read with it. So the
/// last one is copied if it is this small, and followed by an empty one if it is not.
const COPIED: usize = 1 << 10;

/// Why a body was not sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum H2SendError {
    /// The body itself broke off, or was not as long as it said.
    Body(BodyError),
    /// The other end wants no more of it.
    Gone,
    /// The other end takes nothing.
    Stalled,
}

/// A body being sent.
#[derive(Debug)]
pub struct H2Send {
    body: Payload,
    send: SendStream<Bytes>,
    left: Bytes,
    /// What `Content-Length` promised and has not been sent.
    owed: Option<u64>,
    deadline: Deadline,
    phase: Phase,
    patience: Duration,
    advanced: bool,
    /// Everything taken from the body so far, and how much more may be remembered; `None`: no longer.
    remembered: Option<(VecDeque<Bytes>, usize)>,
}

impl H2Send {
    /// A body and the stream it goes out on. The other end must take some of it within `patience`.
    pub fn new(
        body: Payload,
        send: SendStream<Bytes>,
        framing: Framing,
        (deadline, phase, patience): (Deadline, Phase, Duration),
    ) -> Self {
        let owed = match framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        Self {
            body,
            send,
            left: Bytes::new(),
            owed,
            deadline,
            phase,
            patience,
            advanced: false,
            remembered: None,
        }
    }

    /// Remembers what it sends, so that it can be sent again, as long as that is not more than `room`.
    #[must_use]
    pub fn remembering(self, room: usize) -> Self {
        Self { remembered: Some((VecDeque::new(), room)), ..self }
    }

    /// Remembers nothing any more.
    #[must_use]
    pub fn forgetting(self) -> Self {
        Self { remembered: None, ..self }
    }

    /// The whole body from its beginning, if it has been remembered.
    pub fn into_again(self) -> Option<Payload> {
        let (pieces, _) = self.remembered?;
        if pieces.is_empty() {
            return Some(self.body);
        }
        Some(Payload::stream(Again { pieces, rest: self.body }))
    }

    /// Whether the other end has taken some since this was asked last.
    pub fn advanced(&mut self) -> bool {
        std::mem::take(&mut self.advanced)
    }

    /// Ready when everything was handed over, or nothing more will be.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), H2SendError>> {
        // Also while the other end takes nothing, and so no more of the body is asked for.
        if let Poll::Ready(error) = self.body.poll_cut(cx) {
            return Poll::Ready(Err(H2SendError::Body(error)));
        }
        loop {
            while !self.left.is_empty() {
                ready!(self.poll_piece(cx))?;
                if self.left.is_empty() && self.body.is_empty() {
                    return Poll::Ready(self.settled());
                }
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    // While there is nothing to say, the other end may leave.
                    return self.send.poll_reset(cx).map(|_| Err(H2SendError::Gone));
                }
                Poll::Ready(None) => {
                    self.body = Payload::Empty;
                    self.settled()?;
                    let ended = self.send.send_data(Bytes::new(), true);
                    return Poll::Ready(ended.map_err(|_| H2SendError::Gone));
                }
                Poll::Ready(Some(frame)) => match frame.map_err(H2SendError::Body)?.into_data() {
                    Ok(data) => self.take(data)?,
                    Err(frame) => {
                        self.remembered = None;
                        self.settled()?;
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let ended = self.send.send_trailers(trailers);
                        return Poll::Ready(ended.map_err(|_| H2SendError::Gone));
                    }
                },
            }
        }
    }

    /// Ready when the other end wants no more of this.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(|_| ())
    }

    /// Ends the stream as broken. What still waits to leave is thrown away.
    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
    }

    /// Ends the stream in order, with trailers of ours instead of the rest.
    pub fn end_with(&mut self, trailers: HeaderMap) {
        // A stream that is gone has ended already.
        drop(self.send.send_trailers(trailers));
    }

    fn take(&mut self, data: Bytes) -> Result<(), H2SendError> {
        if let Some(owed) = &mut self.owed {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let left = owed.checked_sub(length);
            *owed = left.ok_or(H2SendError::Body(BodyError::Sandbox))?;
        }
        self.remember(&data);
        self.left = data;
        Ok(())
    }

    fn remember(&mut self, data: &Bytes) {
        let Some((pieces, room)) = &mut self.remembered else { return };
        match room.checked_sub(data.len()) {
            Some(less) => {
                *room = less;
                pieces.push_back(data.clone());
            }
            None => self.remembered = None,
        }
    }

    /// A body shorter than promised must not look whole.
    fn settled(&self) -> Result<(), H2SendError> {
        match self.owed {
            None | Some(0) => Ok(()),
            Some(_) => Err(H2SendError::Body(BodyError::Sandbox)),
        }
    }

    /// Hands over what the other end has room for.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), H2SendError>> {
        let wanted = self.left.len().min(PIECE);
        if self.send.capacity() == 0 {
            self.send.reserve_capacity(wanted);
            match self.send.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => self.deadline.clear(),
                Poll::Ready(_) => return Poll::Ready(Err(H2SendError::Gone)),
                Poll::Pending => {
                    if !self.deadline.is_set() {
                        self.deadline.set(self.phase, self.patience);
                    }
                    ready!(self.deadline.poll_passed(cx));
                    return Poll::Ready(Err(H2SendError::Stalled));
                }
            }
        }
        let mut piece = self.left.split_to(wanted.min(self.send.capacity()));
        let last = self.left.is_empty() && self.body.is_empty() && self.settled().is_ok();
        self.advanced = true;
        let is_small = piece.len() <= COPIED;
        if last && is_small {
            piece = Bytes::copy_from_slice(&piece);
        }
        let sent = self.send.send_data(piece, last && is_small);
        let ended = if last && !is_small {
            sent.and_then(|()| self.send.send_data(Bytes::new(), true))
        } else {
            sent
        };
        Poll::Ready(ended.map_err(|_| H2SendError::Gone))
    }
}

/// A body from its beginning: what had been taken of it, and the rest.
#[derive(Debug)]
struct Again {
    pieces: VecDeque<Bytes>,
    rest: Payload,
}

impl Streamed for Again {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
