//! TLS on a socket: rustls does the protocol, this moves the bytes. An idle connection holds no buffer of ours: ciphertext is read into one
//! buffer a thread, and what it decrypts to goes straight where it is wanted.

use std::cell::RefCell;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use rustls::Connection;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

/// The most ciphertext read at once.
const SCRATCH: usize = 64 << 10;
/// The least worth reading at once: a whole record and its header (RFC 8446 section 5.1).
const RECORD: usize = (16 << 10) + 256 + 5;

thread_local! {
    static CIPHERTEXT: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// A socket and its TLS session, after the handshake.
#[derive(Debug)]
pub(super) struct Tls {
    socket: TcpStream,
    session: Connection,
    /// Decrypted, and not wanted yet.
    plain: BytesMut,
    /// Plaintext that was taken from a caller who has not been told yet, because its ciphertext is not out.
    staged: usize,
    /// The other end has said that nothing follows.
    ended: bool,
    closing: bool,
}

impl Tls {
    /// Data that came with the end of the handshake is not lost.
    pub(super) fn new(socket: TcpStream, session: Connection) -> io::Result<Self> {
        let mut tls = Self {
            socket,
            session,
            plain: BytesMut::new(),
            staged: 0,
            ended: false,
            closing: false,
        };
        let state = tls.session.process_new_packets().map_err(invalid)?;
        tls.ended = state.peer_has_closed();
        decrypted(&mut tls.session, |bytes| tls.plain.extend_from_slice(bytes))?;
        Ok(tls)
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        if !self.plain.is_empty() {
            let there = self.plain.len();
            buf.unsplit(std::mem::take(&mut self.plain));
            return Poll::Ready(Ok(there));
        }
        self.poll_decrypt(cx, room.max(RECORD), |bytes| buf.extend_from_slice(bytes))
    }

    pub(super) fn poll_read_slice(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(into);
        ready!(self.poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Reads into `buf`, without touching more of it than is filled.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.plain.is_empty() {
            let mut plain = BytesMut::new();
            ready!(self.poll_decrypt(cx, buf.remaining().max(RECORD), |bytes| {
                let (now, later) = bytes.split_at(bytes.len().min(buf.remaining()));
                buf.put_slice(now);
                plain.extend_from_slice(later);
            }))?;
            self.plain = plain;
            return Poll::Ready(Ok(()));
        }
        buf.put_slice(&self.plain.split_to(self.plain.len().min(buf.remaining())));
        if self.plain.is_empty() {
            self.plain = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket and hands on what it decrypts to. Ready(0) is the end.
    fn poll_decrypt(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        mut sink: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            let Self { socket, session, ended, .. } = self;
            let fed = CIPHERTEXT.with_borrow_mut(|scratch| {
                let room = scratch.get_mut(..most.min(SCRATCH)).unwrap_or_default();
                let mut buf = ReadBuf::new(room);
                ready!(Pin::new(socket).poll_read(cx, &mut buf))?;
                if buf.filled().is_empty() {
                    // Without a close_notify anybody on the way may have cut the stream (RFC 8446 section 6.1).
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(feed(session, buf.filled(), ended, &mut sink))
            });
            let fed = match ready!(fed) {
                Ok(fed) => fed,
                Err(error) => {
                    // Whatever alert explains it; if it does not fit now, the other end learns less.
                    drop(self.poll_flush(cx));
                    return Poll::Ready(Err(error));
                }
            };
            if self.session.wants_write()
                && let Poll::Ready(Err(error)) = self.poll_flush(cx)
            {
                return Poll::Ready(Err(error));
            }
            // Tickets and key updates are no data: read on, so that we are woken when some comes.
            if fed > 0 {
                return Poll::Ready(Ok(fed));
            }
        }
    }

    /// Encrypts some of `slices` and sends it; says how much only once all of that has left.
    pub(super) fn poll_write_through(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        if self.staged == 0 {
            self.staged = self.session.writer().write_vectored(slices)?;
            ready!(self.poll_flush(cx))?;
        }
        Poll::Ready(Ok(std::mem::take(&mut self.staged)))
    }

    /// Encrypts some of `slices`; a flush sends it.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.session.writer().write_vectored(slices)?;
        if written > 0 || slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(written));
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(self.session.writer().write_vectored(slices))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut out = Writer { socket: &mut self.socket, cx };
            match self.session.write_tls(&mut out) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.session.send_close_notify();
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// Session tickets may come at any time and say nothing about whether the connection is good.
    pub(super) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        self.plain.is_empty() && self.poll_decrypt(cx, RECORD, |_| {}).is_pending()
    }
}

/// Feeds ciphertext to a session, record by record as far as it goes.
fn feed(
    session: &mut Connection,
    mut ciphertext: &[u8],
    ended: &mut bool,
    sink: &mut impl FnMut(&[u8]),
) -> io::Result<usize> {
    let mut fed = 0;
    while !ciphertext.is_empty() && !*ended {
        session.read_tls(&mut ciphertext)?;
        let state = session.process_new_packets().map_err(invalid)?;
        if state.plaintext_bytes_to_read() > 0 {
            fed += decrypted(session, &mut *sink)?;
        }
        *ended = state.peer_has_closed();
    }
    Ok(fed)
}

/// Takes out everything that is decrypted.
fn decrypted(session: &mut Connection, mut sink: impl FnMut(&[u8])) -> io::Result<usize> {
    let mut taken = 0;
    let mut reader = session.reader();
    loop {
        let length = match reader.fill_buf() {
            Ok(bytes) => {
                sink(bytes);
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if length == 0 {
            return Ok(taken);
        }
        reader.consume(length);
        taken += length;
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The socket as rustls writes to it.
struct Writer<'a, 'b> {
    socket: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Writer<'_, '_> {
    fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
        match polled {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl io::Write for Writer<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::now(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
