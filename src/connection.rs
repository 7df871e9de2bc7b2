//! A byte stream to a visitor or a sandbox, and the queue of bytes waiting to go out on one.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// Pieces below this are copied together rather than sent as a slice of their own.
const COPY_BELOW: usize = 2048;
/// Slices handed to one `writev`.
const MAX_SLICES: usize = 16;

/// A connected socket. One type for every transport, so that nothing above is generic over it.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl Stream {
    /// Takes over a connected TCP socket.
    pub fn tcp(socket: TcpStream) -> Self {
        Self(socket)
    }

    /// Ready when there may be something to read, without holding a buffer meanwhile.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    /// Reads into the spare capacity of `buf`, at least `room` bytes of it. Ready(0) is the end of the stream.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        // Wait without reserving: an idle connection should not hold a buffer.
        ready!(self.0.poll_read_ready(cx))?;
        buf.reserve(room);
        // `poll_read` notices a short read and spares the call that would only say "nothing more".
        poll_read_buf(Pin::new(&mut self.0), cx, buf)
    }

    /// Reads what is there into a slice, without waiting.
    pub fn poll_read_slice(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(into);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes some of `bytes`.
    pub fn poll_write_slice(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    /// Writes some of the queue; Ready(Ok) when it is empty.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, queue: &mut Outbox) -> Poll<io::Result<()>> {
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = queue.slices(&mut slices);
            let used = slices.get(..count).unwrap_or_default();
            let written = if let [one] = used {
                ready!(Pin::new(&mut self.0).poll_write(cx, one))?
            } else {
                ready!(Pin::new(&mut self.0).poll_write_vectored(cx, used))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            queue.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends our direction (FIN).
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    /// Makes the coming drop a reset rather than an orderly end, so that a broken-off body is not taken for a whole one.
    pub fn abort(&self) {
        // Failing to set the option only makes the end less abrupt.
        drop(socket2::SockRef::from(&self.0).set_linger(Some(std::time::Duration::ZERO)));
    }

    /// Whether an idle connection is still good: open, and silent. Anything readable on it (an end, or bytes nobody asked
    /// for) makes it unfit for another request.
    pub fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        match self.0.poll_read_ready(cx) {
            Poll::Pending => true,
            Poll::Ready(_) => {
                let mut probe = [0_u8; 1];
                matches!(self.0.try_read(&mut probe), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
            }
        }
    }
}

/// Bytes waiting to be written, small pieces copied together and large ones kept as they are.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Bytes>,
    tail: BytesMut,
    length: usize,
}

impl Outbox {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Lets a writer append to the tail.
    pub fn write_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.length += self.tail.len() - before;
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() < COPY_BELOW {
            self.tail.extend_from_slice(&piece);
            return;
        }
        if !self.tail.is_empty() {
            self.queue.push_back(self.tail.split().freeze());
        }
        self.queue.push_back(piece);
    }

    fn slices<'a>(&'a self, into: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let pieces = self.queue.iter().map(|piece| &piece[..]);
        let all = pieces.chain((!self.tail.is_empty()).then_some(&self.tail[..]));
        let mut count = 0;
        for (slot, piece) in into.iter_mut().zip(all) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        self.length -= written;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
        if written >= self.tail.len() {
            // `clear` keeps the buffer for the next answer on this connection.
            self.tail.clear();
        } else {
            self.tail.advance(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbox.slices(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
            let n = step.min(all.len());
            out.extend_from_slice(&all[..n]);
            outbox.advance(n);
        }
        out
    }

    #[test]
    fn pieces_leave_in_order_whatever_their_size_and_however_little_is_written() {
        for step in [1, 7, 2048, 5000, 1 << 20] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (i, len) in [10, 3000, 0, 5, 2048, 2047, 1, 9000].into_iter().enumerate() {
                let piece = vec![u8::try_from(i).unwrap(); len];
                expected.extend_from_slice(&piece);
                if i % 3 == 0 {
                    outbox.write_with(|tail| tail.extend_from_slice(&piece));
                } else {
                    outbox.push(Bytes::from(piece));
                }
            }
            assert_eq!(outbox.len(), expected.len());
            assert_eq!(drained(&mut outbox, step), expected, "step {step}");
        }
    }
}
