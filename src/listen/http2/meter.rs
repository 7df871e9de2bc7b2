//! A limit on frames that cost us work and the visitor nothing: SETTINGS, PING, PRIORITY and what nobody knows (CVE-2019-9512, -9515).
//! The library answers them all; this watches them pass and tells when it is too many.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::connection::Stream;

/// Such frames a connection may send at once ...
const BURST: u32 = 1000;
/// ... how soon it may send another one on top ...
const REFILL: Duration = Duration::from_millis(10);
/// ... and how many more each request allows: browsers say how urgent each of theirs is.
const PER_REQUEST: u32 = 8;
/// The preface of a connection, which is no frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

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
    /// Octets before the next frame header.
    skip: usize,
    header: [u8; FRAME_HEADER],
    have: usize,
}

impl Frames {
    /// Follows bytes that were read and calls `each` with the type of every frame that begins.
    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8)) {
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
                let [a, b, c, kind, ..] = self.header;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.have = 0;
                each(kind);
            }
        }
    }
}

/// A stream whose incoming frames are counted.
#[derive(Debug)]
pub(super) struct Metered {
    stream: Stream,
    frames: Frames,
    allowed: u32,
    refilled: Instant,
    alarm: Alarm,
}

impl Metered {
    pub(super) fn new(stream: Stream) -> (Self, Alarm) {
        let alarm = Alarm::default();
        let frames = Frames { skip: PREFACE, header: [0; FRAME_HEADER], have: 0 };
        let metered =
            Self { stream, frames, allowed: BURST, refilled: Instant::now(), alarm: alarm.clone() };
        (metered, alarm)
    }

    fn count(&mut self, bytes: &[u8]) {
        let (mut cheap, mut requests) = (0_u32, 0_u32);
        self.frames.follow(bytes, |kind| match kind {
            HEADERS => requests += 1,
            // Held in bounds by flow control and by the library's own limits.
            DATA | RST_STREAM | GOAWAY | WINDOW_UPDATE | CONTINUATION => {}
            _ => cheap += 1,
        });
        let more = requests.saturating_mul(PER_REQUEST);
        self.allowed = self.allowed.saturating_add(more).min(BURST);
        if cheap == 0 {
            return;
        }
        let waited = self.refilled.elapsed().as_millis() / REFILL.as_millis();
        if waited > 0 {
            let refill = u32::try_from(waited).unwrap_or(BURST);
            self.allowed = self.allowed.saturating_add(refill).min(BURST);
            self.refilled = Instant::now();
        }
        match self.allowed.checked_sub(cheap) {
            Some(left) => self.allowed = left,
            None => self.alarm.0.set(true),
        }
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
        self.count(read);
        Poll::Ready(Ok(()))
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
                bytes.extend([0, high, low, *kind, 0, 0, 0, 0, 1]);
                bytes.extend(std::iter::repeat_n(0xee, *length));
            }
            let mut frames = Frames { skip: PREFACE, header: [0; FRAME_HEADER], have: 0 };
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                frames.follow(piece, |kind| seen.push(kind));
            }
            let sent: Vec<u8> = lengths.iter().map(|(_, kind)| *kind).collect();
            prop_assert_eq!(seen, sent);
        }
    }
}
