//! Streamed message bodies, the same type in both directions and for every protocol.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::edge::pipe::Pipe;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The visitor went away, or sent a body that is not framed correctly.
    #[error("the visitor closed the connection in the middle of the body")]
    Visitor,
    /// The sandbox closed or reset the connection, or framed its body wrongly.
    #[error("the sandbox closed the connection in the middle of the body")]
    Sandbox,
    /// No progress within the idle deadline.
    #[error("the body made no progress within the deadline")]
    Stalled,
    /// The visitor's access ended (token revoked or expired, sandbox destroyed).
    #[error("access was revoked or expired during the transfer")]
    AccessEnded,
    /// The process is shutting down and its hard deadline has passed.
    #[error("the process is shutting down")]
    Shutdown,
}

/// The next frame of a body.
pub type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// A body that comes piece by piece, as [`Body`] has it.
pub trait Streamed {
    /// The next frame.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled;

    /// Whether nothing more comes.
    fn is_end_stream(&self) -> bool;

    /// How much is left, as far as that is known.
    fn size_hint(&self) -> SizeHint;

    /// Ready with the reason once the body has been cut from outside. Whoever passes it on asks for the cut even while it takes no frames,
    /// because the other end takes none: a body that nobody reads would otherwise never learn that it is over.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let _ = cx;
        Poll::Pending
    }

    /// Moves bytes of a body that is still long into an empty pipe, and says how many. `None`: not this body, or not at this point;
    /// its frames are to be read.
    fn poll_pour(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Option<Poll<Result<usize, BodyError>>> {
        let _ = (cx, pipe);
        None
    }
}

/// What must be left of a body for [`Streamed::poll_pour`]: less than this is copied sooner than moved.
pub const POUR_FROM: u64 = 64 << 10;

/// A body: nothing, a whole in memory, or a stream.
#[derive(Default)]
pub enum Payload {
    /// No body.
    #[default]
    Empty,
    /// A body already in memory.
    Full(Bytes),
    /// A body that comes piece by piece. Dropping it cancels the exchange behind it.
    Stream(Box<dyn Streamed>),
}

impl Payload {
    /// Wraps a streaming body.
    pub fn stream(body: impl Streamed + 'static) -> Self {
        Self::Stream(Box::new(body))
    }

    /// Ready with the reason once the body has been cut.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        match self {
            Self::Empty | Self::Full(_) => Poll::Pending,
            Self::Stream(body) => body.poll_cut(cx),
        }
    }

    /// Moves bytes of a long body into an empty pipe, where that can be done (see [`Streamed::poll_pour`]).
    pub fn poll_pour(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Option<Poll<Result<usize, BodyError>>> {
        match self {
            Self::Empty | Self::Full(_) => None,
            Self::Stream(body) => body.poll_pour(cx, pipe),
        }
    }

    /// Whether there is nothing (more) to read.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let whole = std::mem::take(bytes);
                *self = Self::Empty;
                if whole.is_empty() {
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Ok(Frame::data(whole))))
            }
            Self::Stream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Stream(body) => body.size_hint(),
        }
    }
}
