//! A byte stream to a visitor or a sandbox, and the queue of bytes waiting to go out on one.

mod h2_send;
mod h2_stream;
mod outbox;
mod tls;

pub use h2_send::{H2Send, H2SendError};
pub use h2_stream::H2Stream;
pub use outbox::Outbox;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use crate::edge::pipe::Pipe;
use outbox::MAX_SLICES;
use tls::Tls;

/// Up to this much is read into one buffer a thread, and what has come is copied to where it is wanted: that buffer stays in the
/// processor's cache, and what is kept is no larger than what came.
const SMALL: usize = 8 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SMALL].into());
}

/// A byte stream. One type for every transport, so that nothing above is generic over it.
#[derive(Debug)]
pub struct Stream(Transport);

#[derive(Debug)]
enum Transport {
    Tcp(TcpStream),
    Tls(Box<Tls>),
    H2(Box<H2Stream>),
}

impl Stream {
    /// Takes over a connected TCP socket.
    pub fn tcp(socket: TcpStream) -> Self {
        Self(Transport::Tcp(socket))
    }

    /// Takes over a socket on which a TLS handshake has been completed.
    pub fn tls(socket: TcpStream, session: impl Into<rustls::Connection>) -> io::Result<Self> {
        Ok(Self(Transport::Tls(Box::new(Tls::new(socket, session.into())?))))
    }

    /// Takes over one stream of an HTTP/2 connection, both directions of it.
    pub fn h2(stream: H2Stream) -> Self {
        Self(Transport::H2(Box::new(stream)))
    }

    /// Reads to the end of `buf`, about `room` bytes at most. Ready(0) is the end of the stream.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Transport::Tcp(socket) if room <= SMALL => SCRATCH.with_borrow_mut(|scratch| {
                let mut read = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
                ready!(Pin::new(socket).poll_read(cx, &mut read))?;
                buf.extend_from_slice(read.filled());
                Poll::Ready(Ok(read.filled().len()))
            }),
            Transport::Tcp(socket) => {
                // Wait without reserving: an idle connection should not hold a buffer.
                ready!(socket.poll_read_ready(cx))?;
                buf.reserve(room);
                // `poll_read` notices a short read and spares the call that would only say "nothing more".
                poll_read_buf(Pin::new(socket), cx, buf)
            }
            Transport::Tls(tls) => tls.poll_fill(cx, buf, room),
            Transport::H2(stream) => stream.poll_fill(cx, buf),
        }
    }

    /// Reads what is there into a slice, without waiting.
    pub fn poll_read_slice(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Transport::Tcp(socket) => {
                let mut buf = ReadBuf::new(into);
                ready!(Pin::new(socket).poll_read(cx, &mut buf))?;
                Poll::Ready(Ok(buf.filled().len()))
            }
            Transport::Tls(tls) => tls.poll_read_slice(cx, into),
            Transport::H2(stream) => stream.poll_read_slice(cx, into),
        }
    }

    /// Writes some of `bytes`, to the last transport below. After a Pending, the same bytes must be offered again first.
    pub fn poll_write_slice(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Transport::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Transport::Tls(tls) => tls.poll_write_through(cx, &[IoSlice::new(bytes)]),
            Transport::H2(stream) => stream.poll_write_slice(cx, bytes),
        }
    }

    /// Writes some of the queue; Ready(Ok) when it is empty.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, queue: &mut Outbox) -> Poll<io::Result<()>> {
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = queue.slices(&mut slices);
            let used = slices.get(..count).unwrap_or_default();
            let written = match (&mut self.0, used) {
                (Transport::Tcp(socket), [one]) => ready!(Pin::new(socket).poll_write(cx, one))?,
                (Transport::Tcp(socket), used) => {
                    ready!(Pin::new(socket).poll_write_vectored(cx, used))?
                }
                (Transport::Tls(tls), used) => ready!(tls.poll_write_through(cx, used))?,
                (Transport::H2(stream), used) => {
                    let first = used.first().map(|slice| &**slice).unwrap_or_default();
                    ready!(stream.poll_write_slice(cx, first))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            queue.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether its bytes can be moved to another socket by the kernel.
    pub fn splices(&self) -> bool {
        matches!(self.0, Transport::Tcp(_))
    }

    /// Moves at most so many bytes that have come into an empty pipe. Ready(0) is the end of the stream.
    pub fn poll_pour_into(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        let Transport::Tcp(socket) = &mut self.0 else { return unsupported() };
        loop {
            ready!(socket.poll_read_ready(cx))?;
            match socket.try_io(Interest::READABLE, || pipe.fill(&*socket, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return Poll::Ready(moved),
            }
        }
    }

    /// Sends what a pipe holds, as far as that goes. Ready when something has gone.
    pub fn poll_pour_out(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<io::Result<usize>> {
        let Transport::Tcp(socket) = &mut self.0 else { return unsupported() };
        loop {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || pipe.drain(&*socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return Poll::Ready(moved),
            }
        }
    }

    /// Ends our direction (`close_notify`, FIN, `END_STREAM`).
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Transport::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(tls) => tls.poll_finish(cx),
            Transport::H2(stream) => Poll::Ready(stream.finish()),
        }
    }

    /// Whether something has come that was not read: by the system's word, and not by what the runtime was told of last.
    pub fn has_waiting(&self) -> bool {
        let socket = match &self.0 {
            Transport::Tcp(socket) => socket,
            Transport::Tls(tls) => tls.socket(),
            Transport::H2(_) => return false,
        };
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        socket2::SockRef::from(socket).peek(&mut byte).is_ok_and(|count| count > 0)
    }

    /// Makes the coming drop a reset rather than an orderly end, so that a broken-off body is not taken for a whole one.
    pub fn abort(&mut self) {
        let socket = match &mut self.0 {
            Transport::Tcp(socket) => &*socket,
            Transport::Tls(tls) => tls.socket(),
            Transport::H2(stream) => return stream.abort(),
        };
        // Failing to set the option only makes the end less abrupt.
        drop(socket2::SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO)));
    }

    /// Whether an idle connection is still good: open, and silent. Anything readable on it (an end, or bytes nobody asked
    /// for) makes it unfit for another request.
    pub fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.0 {
            Transport::Tcp(socket) => match socket.poll_read_ready(cx) {
                Poll::Pending => true,
                Poll::Ready(_) => {
                    let mut probe = [0_u8; 1];
                    matches!(socket.try_read(&mut probe), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
                }
            },
            Transport::Tls(tls) => tls.is_quiet(cx),
            Transport::H2(_) => false,
        }
    }
}

/// Nobody pours what [`Stream::splices`] says no to.
fn unsupported() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
}

/// For the HTTP/2 library, which reads and writes through these traits.
impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Transport::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(tls) => tls.poll_read(cx, buf),
            Transport::H2(stream) => {
                let read = ready!(stream.poll_read_slice(cx, buf.initialize_unfilled()))?;
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Transport::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Transport::Tls(tls) => tls.poll_write(cx, slices),
            Transport::H2(stream) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                stream.poll_write_slice(cx, first.map(|slice| &**slice).unwrap_or_default())
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Transport::Tls(tls) => tls.poll_flush(cx),
            Transport::Tcp(_) | Transport::H2(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx)
    }
}
