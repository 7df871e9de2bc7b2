//! A limit on frames that cost us work and the visitor nothing: SETTINGS, PING, PRIORITY and what nobody knows (CVE-2019-9512, -9515),
//! and requests that are cancelled once they have become work for a sandbox (CVE-2023-44487). The library responds to them all; this watches
//! them pass and tells when it is too many.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::edge::connection::Stream;

/// Such frames a connection may send at once, and how soon it may send another one on top.
const CHEAP: Allowance = Allowance { burst: 1000, refill: Duration::from_millis(10) };
/// How many more of them each request allows: browsers say how urgent each of theirs is.
const PER_REQUEST: u32 = 8;
/// The same for cancelled requests. A browser that leaves a page gives up all that it waits for, and a list that is scrolled through
/// some more; neither goes on and on.
const RESETS: Allowance = Allowance { burst: 500, refill: Duration::from_millis(50) };
/// The preface of a connection, which is no frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;

/// Tells, to the serving loop, whether a connection has sent too much of that.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarm(Rc<Cell<bool>>);

impl Alarm {
    pub(super) fn rings(&self) -> bool {
        self.0.get()
    }
}

/// Where frames begin, in bytes that pass.
#[derive(Debug)]
struct Frames {
    /// Bytes before the next frame header.
    skip: usize,
    header: [u8; FRAME_HEADER],
    have: usize,
}

impl Frames {
    /// Follows bytes that were read and calls `each` with the type and the flags of every frame that begins.
    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = (FRAME_HEADER - self.have).min(bytes.len());
            if self.skip > 0 || wanted == 0 {
                continue;
            }
            let (now, later) = bytes.split_at(wanted);
            if let Some(room) = self.header.get_mut(self.have..self.have + wanted) {
                room.copy_from_slice(now);
            }
            self.have += wanted;
            bytes = later;
            if self.have == FRAME_HEADER {
                let [a, b, c, kind, flags, ..] = self.header;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.have = 0;
                each(kind, flags);
            }
        }
    }
}

/// How much of something a connection may send.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    burst: u32,
    /// After this long one more is allowed.
    refill: Duration,
}

/// What is left of an allowance.
#[derive(Debug)]
struct Budget {
    allowance: Allowance,
    left: u32,
    refilled: Instant,
}

impl Budget {
    fn new(allowance: Allowance) -> Self {
        Self { allowance, left: allowance.burst, refilled: Instant::now() }
    }

    fn add(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(self.allowance.burst);
    }

    /// Takes as much; false when there is not enough left.
    fn take(&mut self, count: u32) -> bool {
        if count == 0 {
            return true;
        }
        let Allowance { burst, refill } = self.allowance;
        let due = self.refilled.elapsed().as_millis() / refill.as_millis().max(1);
        if due > 0 {
            self.add(u32::try_from(due).unwrap_or(burst));
            self.refilled = Instant::now();
        }
        match self.left.checked_sub(count) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }
}

/// A stream whose incoming frames are counted.
#[derive(Debug)]
pub(super) struct Metered {
    stream: Stream,
    frames: Frames,
    /// The visitor has sent its settings, as it must first of all.
    has_begun: bool,
    cheap: Budget,
    resets: Budget,
    alarm: Alarm,
}

impl Metered {
    pub(super) fn new(stream: Stream) -> (Self, Alarm) {
        let alarm = Alarm::default();
        let frames = Frames { skip: PREFACE, header: [0; FRAME_HEADER], have: 0 };
        let (cheap, resets) = (Budget::new(CHEAP), Budget::new(RESETS));
        let has_begun = false;
        (Self { stream, frames, has_begun, cheap, resets, alarm: alarm.clone() }, alarm)
    }

    /// Counts frames. False when the connection does not begin as one of HTTP/2 (RFC 9113 section 3.4); the library takes any frame.
    fn count(&mut self, bytes: &[u8]) -> bool {
        let (mut cheap, mut requests, mut resets) = (0_u32, 0_u32, 0_u32);
        let (mut has_begun, mut begins_well) = (self.has_begun, true);
        self.frames.follow(bytes, |kind, flags| {
            if !has_begun {
                has_begun = true;
                begins_well = kind == SETTINGS && flags & ACK == 0;
            }
            match kind {
                HEADERS => requests += 1,
                RST_STREAM => resets += 1,
                // Held in bounds by flow control and by the library's own limits.
                DATA | GOAWAY | WINDOW_UPDATE | CONTINUATION => {}
                _ => cheap += 1,
            }
        });
        self.has_begun = has_begun;
        self.cheap.add(requests.saturating_mul(PER_REQUEST));
        if !(self.cheap.take(cheap) && self.resets.take(resets)) {
            self.alarm.0.set(true);
        }
        begins_well
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if self.count(read) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_frame_is_seen_once_however_the_reads_are_cut(
            lengths in proptest::collection::vec((0_usize..300, any::<u8>()), 0..30),
            step in 1_usize..400,
        ) {
            let mut bytes = vec![0xff; PREFACE];
            for (length, kind) in &lengths {
                let [high, low] = u16::try_from(*length).unwrap().to_be_bytes();
                bytes.extend([0, high, low, *kind, !kind, 0, 0, 0, 1]);
                bytes.extend(std::iter::repeat_n(0xee, *length));
            }
            let mut frames = Frames { skip: PREFACE, header: [0; FRAME_HEADER], have: 0 };
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                frames.follow(piece, |kind, flags| seen.push((kind, flags)));
            }
            let sent: Vec<_> = lengths.iter().map(|(_, kind)| (*kind, !kind)).collect();
            prop_assert_eq!(seen, sent);
        }
    }
}
