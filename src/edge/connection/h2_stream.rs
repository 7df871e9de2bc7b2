//! One stream of an HTTP/2 connection as a byte stream, both directions: what a tunnel through extended CONNECT is (RFC 8441).

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};

/// The most sent at once, so that one tunnel does not keep others of its connection waiting.
const MOST: usize = 16 << 10;

/// One stream of an HTTP/2 connection.
#[derive(Debug)]
pub struct H2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// Received, and not wanted yet.
    ahead: Bytes,
    finished: bool,
}

impl H2Stream {
    /// Both directions of a stream.
    pub fn new(send: SendStream<Bytes>, recv: RecvStream) -> Self {
        Self { send, recv, ahead: Bytes::new(), finished: false }
    }

    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let there = std::mem::take(&mut self.ahead);
        buf.extend_from_slice(&there);
        Poll::Ready(self.release(there.len()))
    }

    pub(super) fn poll_read_slice(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let fits = self.ahead.len().min(into.len());
        if let Some(room) = into.get_mut(..fits) {
            self.ahead.copy_to_slice(room);
        }
        if self.ahead.is_empty() {
            // An empty rest would keep its whole frame in memory.
            self.ahead = Bytes::new();
        }
        Poll::Ready(self.release(fits))
    }

    /// Waits until something is there, or nothing more will be.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                None => break,
                Some(data) => self.ahead = data.map_err(broken)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What was taken makes room for as much again.
    fn release(&mut self, taken: usize) -> io::Result<usize> {
        self.recv.flow_control().release_capacity(taken).map_err(broken)?;
        Ok(taken)
    }

    pub(super) fn poll_write_slice(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = bytes.len().min(MOST);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.send.capacity() == 0 {
            self.send.reserve_capacity(wanted);
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let fits = wanted.min(self.send.capacity());
        let piece = Bytes::copy_from_slice(bytes.get(..fits).unwrap_or_default());
        self.send.send_data(piece, false).map_err(broken)?;
        Poll::Ready(Ok(fits))
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.finished {
            return Ok(());
        }
        self.finished = true;
        self.send.send_data(Bytes::new(), true).map_err(broken)
    }

    pub(super) fn abort(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
