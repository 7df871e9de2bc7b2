//! A switched connection: bytes both ways until both ends are done, or access ends.
//!
//! An idle tunnel holds no buffer: all tunnels of a worker read into one scratch buffer, and only what a slow receiver has
//! not taken yet is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::frames::FrameTracker;
use super::upgrade::close_frame;
use crate::edge::connection::Stream;
use crate::edge::deadline::{Deadline, Phase};
use crate::edge::limits::Shaper;

/// How long a frame of the app's may take to end before a close frame of ours is given up.
const LAST_FRAME: Duration = Duration::from_millis(50);
/// How long the visitor's end may take to acknowledge a close.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both ends were done, or one of them vanished.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// We ended it; the visitor was told this code where the protocol has a way.
    Ended(u16),
}

/// What went through a tunnel, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelTally {
    /// From the visitor.
    pub from_visitor: u64,
    /// From the sandbox.
    pub from_sandbox: u64,
}

impl TunnelTally {
    fn of(up: &Half, down: &Half) -> Self {
        Self { from_visitor: up.bytes, from_sandbox: down.bytes }
    }

    fn since(self, before: Self) -> Self {
        Self {
            from_visitor: self.from_visitor - before.from_visitor,
            from_sandbox: self.from_sandbox - before.from_sandbox,
        }
    }
}

/// The sandbox's side of a switched connection, waiting for the visitor's.
#[derive(Debug)]
pub struct Tunnel {
    pub(super) sandbox: Stream,
    pub(super) sandbox_in: BytesMut,
    pub(super) is_websocket: bool,
    pub(super) deadline: Deadline,
    pub(super) idle: Duration,
    /// What makes each direction wait, the visitor's first.
    pub(super) shapers: [Option<Box<Shaper>>; 2],
}

impl Tunnel {
    /// Lets each direction pass as fast as its shaper allows.
    #[must_use]
    pub fn shaped(self, shapers: [Option<Box<Shaper>>; 2]) -> Self {
        Self { shapers, ..self }
    }

    /// Runs the tunnel. `over` is polled whenever something happens; when it is ready the tunnel ends with that code and reason. `moved`
    /// learns of what has passed as soon as it has.
    pub async fn run(
        mut self,
        (mut visitor, visitor_in): (Stream, BytesMut),
        scratch: &RefCell<Vec<u8>>,
        mut moved: impl FnMut(TunnelTally),
        mut over: impl FnMut(&mut Context<'_>) -> Poll<(u16, &'static str)>,
    ) -> (TunnelEnd, TunnelTally) {
        let [upward, downward] = std::mem::take(&mut self.shapers);
        let mut up = Half::new(visitor_in, upward);
        let mut down = Half::new(std::mem::take(&mut self.sandbox_in), downward);
        down.frames.advance(&down.pending);
        self.deadline.set(Phase::TunnelIdle, self.idle);
        let end = poll_fn(|cx| {
            if let Poll::Ready(why) = over(cx) {
                return Poll::Ready(Err(why));
            }
            let before = TunnelTally::of(&up, &down);
            let scratch = &mut *scratch.borrow_mut();
            let upward = up.poll(cx, &mut visitor, &mut self.sandbox, scratch);
            let downward = down.poll(cx, &mut self.sandbox, &mut visitor, scratch);
            let now = TunnelTally::of(&up, &down);
            if now != before {
                moved(now.since(before));
                self.deadline.set(Phase::TunnelIdle, self.idle);
            }
            match (upward, downward) {
                (Poll::Ready(Err(_)), _)
                | (_, Poll::Ready(Err(_)))
                | (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(TunnelEnd::Closed)),
                _ => {
                    ready!(self.deadline.poll_passed(cx));
                    Poll::Ready(Ok(TunnelEnd::Idle))
                }
            }
        })
        .await;
        let end = match end {
            Ok(end) => end,
            Err((code, reason)) => {
                if self.is_websocket {
                    let before = TunnelTally::of(&up, &down);
                    // The visitor may be gone already; then there is nobody to say goodbye to.
                    drop(
                        farewell(&mut self.sandbox, &mut visitor, &mut down, (code, reason)).await,
                    );
                    moved(TunnelTally::of(&up, &down).since(before));
                }
                TunnelEnd::Ended(code)
            }
        };
        (end, TunnelTally::of(&up, &down))
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    pending: BytesMut,
    frames: FrameTracker,
    ended: bool,
    finished: bool,
    bytes: u64,
    shaper: Option<Box<Shaper>>,
}

impl Half {
    /// Begins with what was read before there was a tunnel.
    fn new(pending: BytesMut, mut shaper: Option<Box<Shaper>>) -> Self {
        if let Some(shaper) = &mut shaper {
            shaper.passed(pending.len());
        }
        Self { pending, shaper, ..Self::default() }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        scratch: &mut [u8],
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_pending(cx, to))?;
            if self.ended {
                if !self.finished {
                    ready!(to.poll_finish(cx))?;
                    self.finished = true;
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(shaper) = &mut self.shaper {
                ready!(shaper.poll_due(cx));
            }
            let read = ready!(from.poll_read_slice(cx, scratch))?;
            if let Some(shaper) = &mut self.shaper {
                shaper.passed(read);
            }
            if read == 0 {
                self.ended = true;
                continue;
            }
            self.pass(cx, to, scratch.get(..read).unwrap_or_default())?;
        }
    }

    /// Writes what a slow receiver left over, and gives its buffer back when it is empty.
    fn poll_pending(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(to.poll_write_slice(cx, &self.pending))?;
            self.count(written);
            self.pending.advance(written);
        }
        if self.pending.capacity() > 0 {
            self.pending = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes bytes on, keeping what the receiver does not take now.
    fn pass(&mut self, cx: &mut Context<'_>, to: &mut Stream, mut bytes: &[u8]) -> io::Result<()> {
        self.frames.advance(bytes);
        while !bytes.is_empty() {
            match to.poll_write_slice(cx, bytes) {
                Poll::Ready(Ok(written)) => {
                    self.count(written);
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.pending.extend_from_slice(bytes);
                    break;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }
}

/// Lets the app's frame that is under way end, then closes the WebSocket with a code the visitor's script can read.
async fn farewell(
    sandbox: &mut Stream,
    visitor: &mut Stream,
    down: &mut Half,
    (code, reason): (u16, &str),
) -> io::Result<()> {
    let mut scratch = vec![0_u8; 4 << 10];
    let last_frame = async {
        loop {
            poll_fn(|cx| down.poll_pending(cx, visitor)).await?;
            if down.frames.at_boundary() {
                return Ok::<_, io::Error>(());
            }
            let read = poll_fn(|cx| sandbox.poll_read_slice(cx, &mut scratch)).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let bytes = scratch.get(..read).unwrap_or_default();
            let rest = bytes.get(..down.frames.rest_of_frame(bytes)).unwrap_or_default();
            poll_fn(|cx| Poll::Ready(down.pass(cx, visitor, rest))).await?;
        }
    };
    tokio::time::timeout(LAST_FRAME, last_frame).await.map_err(io::Error::from)??;
    let frame = close_frame(code, reason);
    let mut left = &frame[..];
    let goodbye = async {
        while !left.is_empty() {
            let written = poll_fn(|cx| visitor.poll_write_slice(cx, left)).await?;
            left = left.get(written..).unwrap_or_default();
        }
        poll_fn(|cx| visitor.poll_finish(cx)).await?;
        while poll_fn(|cx| visitor.poll_read_slice(cx, &mut scratch)).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(GOODBYE, goodbye).await.map_err(io::Error::from)?
}
