//! Writing one response to a visitor's HTTP/1 connection: headers, body, framing, and the end of it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::StatusCode;
use http_body::Body;

use super::link::Link;
use crate::edge::body::{BodyError, POUR_FROM, Payload};
use crate::edge::message::{Framing, Minor};
use crate::edge::pipe::Pipe;
use crate::edge::visitor::EdgeResponse;
use crate::edge::wire::{self, ConnectionField};

/// How much may wait to be written before more of the body is asked for.
const HIGH_WATER: usize = 64 << 10;

/// What the visitor's request allows for the response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) minor: Minor,
    pub(super) headers_only: bool,
    pub(super) keep_alive: bool,
}

/// Writes a response to its end. Tells whether the connection can serve another request.
pub(super) async fn send(
    link: &Rc<RefCell<Link>>,
    response: EdgeResponse,
    terms: Terms,
) -> Result<bool, BodyError> {
    let EdgeResponse { parts, framing, body, close } = response;
    let framing = match (framing, terms.minor) {
        // A visitor of HTTP/1.0 knows no chunks: the end of the connection ends the body.
        (Framing::Chunked | Framing::UntilClose, Minor::Zero) => Framing::UntilClose,
        (Framing::UntilClose, Minor::One) => Framing::Chunked,
        (framing, _) => framing,
    };
    // A response given before its request has been read to the end leaves bytes behind that must never be taken for a request.
    let early = matches!(body, Payload::Empty | Payload::Full(_)) && !link.borrow().body_is_read();
    let mut keep = terms.keep_alive && !close && !early && framing != Framing::UntilClose;
    let field = match (keep, terms.minor) {
        (false, _) => ConnectionField::Close,
        (true, Minor::Zero) => ConnectionField::KeepAlive,
        (true, Minor::One) => ConnectionField::None,
    };
    link.borrow_mut().out.write_with(|out| wire::write_response(out, &parts, framing, field));
    // Such responses may tell a length, and no byte of it follows (RFC 9112 section 6.3).
    let told_only = terms.headers_only || parts.status == StatusCode::NOT_MODIFIED;
    let body = if told_only { Payload::Empty } else { body };
    let mut sending = Sending {
        body,
        framing: (!told_only).then_some(framing),
        sent: 0,
        done: false,
        starved: false,
        broken: None,
        pipe: None,
    };
    poll_fn(|cx| sending.poll(cx, link)).await?;
    keep &= link.borrow().body_is_read();
    Ok(keep)
}

struct Sending {
    body: Payload,
    /// `None` when no byte of the body follows (HEAD).
    framing: Option<Framing>,
    sent: u64,
    done: bool,
    starved: bool,
    broken: Option<BodyError>,
    pipe: Option<Pipe>,
}

impl Sending {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        link: &Rc<RefCell<Link>>,
    ) -> Poll<Result<(), BodyError>> {
        // Also while the visitor takes nothing, and so no more of the body is asked for.
        if let Poll::Ready(error) = self.body.poll_cut(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            ready!(self.poll_pour(cx, link))?;
            if self.broken.is_none() {
                match self.fill(cx, link) {
                    Ok(starved) => self.starved = starved,
                    Err(error) => self.broken = Some(error),
                }
            }
            if let Some(error) = self.broken {
                // What came before the break is still the visitor's, unless access to it has ended.
                if error == BodyError::AccessEnded {
                    return Poll::Ready(Err(error));
                }
                return link.borrow_mut().poll_flush(cx).map(|_| Err(error));
            }
            match link.borrow_mut().poll_flush(cx) {
                Poll::Ready(flushed) => flushed?,
                Poll::Pending => return Poll::Pending,
            }
            if self.done {
                return Poll::Ready(Ok(()));
            }
            if self.starved {
                ready!(link.borrow_mut().poll_gone(cx));
                return Poll::Ready(Err(BodyError::Visitor));
            }
        }
    }

    /// Moves a long body from socket to socket, for as long as both ends can do that. What follows is read and written.
    fn poll_pour(
        &mut self,
        cx: &mut Context<'_>,
        link: &Rc<RefCell<Link>>,
    ) -> Poll<Result<(), BodyError>> {
        loop {
            if let Some(pipe) = &mut self.pipe {
                ready!(link.borrow_mut().poll_pour_out(cx, pipe))?;
            }
            if !self.pours(&link.borrow()) {
                break;
            }
            let pipe = match &mut self.pipe {
                Some(pipe) => pipe,
                // Without descriptors for one the body is copied.
                None => match Pipe::new() {
                    Ok(pipe) => self.pipe.insert(pipe),
                    Err(_) => break,
                },
            };
            match self.body.poll_pour(cx, pipe) {
                None => break,
                Some(Poll::Ready(moved)) => {
                    self.sent += u64::try_from(moved?).unwrap_or(u64::MAX);
                }
                Some(Poll::Pending) => {
                    ready!(link.borrow_mut().poll_gone(cx));
                    return Poll::Ready(Err(BodyError::Visitor));
                }
            }
        }
        if let Some(pipe) = self.pipe.take() {
            pipe.give_back();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether much of the body is left, and nothing is to be written before it.
    fn pours(&self, link: &Link) -> bool {
        let Some(Framing::Length(length)) = self.framing else { return false };
        self.broken.is_none()
            && length.saturating_sub(self.sent) >= POUR_FROM
            && link.out.is_empty()
            && link.stream.splices()
    }

    /// Takes pieces of the body until enough waits to be written. Tells whether the body has nothing more at the moment.
    fn fill(&mut self, cx: &mut Context<'_>, link: &Rc<RefCell<Link>>) -> Result<bool, BodyError> {
        while !self.done && link.borrow().out.len() < HIGH_WATER {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return Ok(true);
            };
            let mut link = link.borrow_mut();
            match frame.transpose()? {
                None => {
                    self.finish(&mut link, None)?;
                }
                Some(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => self.send(&mut link, data)?,
                    Err(frame) => self.finish(&mut link, frame.into_trailers().ok().as_ref())?,
                },
            }
        }
        Ok(false)
    }

    fn send(&mut self, link: &mut Link, data: bytes::Bytes) -> Result<(), BodyError> {
        self.sent += u64::try_from(data.len()).unwrap_or(u64::MAX);
        match self.framing {
            Some(Framing::Chunked) => {
                link.out.write_with(|out: &mut BytesMut| wire::write_chunk_size(out, data.len()));
                link.out.push(data);
                link.out.write_with(|out| out.extend_from_slice(wire::CHUNK_TAIL));
            }
            Some(Framing::Length(length)) if self.sent > length => return Err(BodyError::Sandbox),
            Some(Framing::Length(_) | Framing::UntilClose) => link.out.push(data),
            Some(Framing::None) | None => {}
        }
        Ok(())
    }

    fn finish(
        &mut self,
        link: &mut Link,
        trailers: Option<&http::HeaderMap>,
    ) -> Result<(), BodyError> {
        self.done = true;
        match self.framing {
            Some(Framing::Chunked) => {
                link.out.write_with(|out| wire::write_last_chunk(out, trailers));
            }
            // A body shorter than promised must not look whole.
            Some(Framing::Length(length)) if self.sent != length => return Err(BodyError::Sandbox),
            _ => {}
        }
        Ok(())
    }
}

/// Writes a response to a connection that gets no place, as far as the kernel takes it at once, and ends it.
pub(super) fn turn_away(socket: &tokio::net::TcpStream, response: &EdgeResponse) {
    let Payload::Full(body) = &response.body else { return };
    let mut out = BytesMut::new();
    wire::write_response(&mut out, &response.parts, response.framing, ConnectionField::Close);
    out.extend_from_slice(body);
    // A flood must not cost more than this one attempt.
    drop(socket2::SockRef::from(socket).send(&out));
}
