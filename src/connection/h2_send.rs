//! A body on its way out over one stream of HTTP/2: as fast as the other end takes it, never more of it in memory than the window allows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::body::{BodyError, Payload};
use crate::deadline::{Deadline, Phase};
use crate::message::Framing;

/// The most handed to the library at once, so that streams of one connection take turns.
const PIECE: usize = 16 << 10;

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
        Self { body, send, left: Bytes::new(), owed, deadline, phase, patience }
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
                    self.settled()?;
                    let ended = self.send.send_data(Bytes::new(), true);
                    return Poll::Ready(ended.map_err(|_| H2SendError::Gone));
                }
                Poll::Ready(Some(frame)) => match frame.map_err(H2SendError::Body)?.into_data() {
                    Ok(data) => self.take(data)?,
                    Err(frame) => {
                        self.settled()?;
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let ended = self.send.send_trailers(trailers);
                        return Poll::Ready(ended.map_err(|_| H2SendError::Gone));
                    }
                },
            }
        }
    }

    /// Ends the stream as broken.
    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
    }

    fn take(&mut self, data: Bytes) -> Result<(), H2SendError> {
        if let Some(owed) = &mut self.owed {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let left = owed.checked_sub(length);
            *owed = left.ok_or(H2SendError::Body(BodyError::Sandbox))?;
        }
        self.left = data;
        Ok(())
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
        let piece = self.left.split_to(wanted.min(self.send.capacity()));
        let last = self.left.is_empty() && self.body.is_empty() && self.settled().is_ok();
        Poll::Ready(self.send.send_data(piece, last).map_err(|_| H2SendError::Gone))
    }
}
