//! Where a body ends: lengths, chunks, or the end of the connection.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http::header;

use super::error::DecodeError;
use super::header_lines;
use crate::edge::headers::is_untrusted;
use crate::edge::message::Framing;

/// The longest chunk-size line without its extension: 16 hex digits.
const MAX_SIZE_DIGITS: usize = 16;
/// The longest chunk. Nobody sends one, and what is close to the end of the number's range is counted differently by others.
const MAX_CHUNK: u64 = 1 << 56;
/// Extensions of all chunks of a message together, bytes. They are read and dropped.
const MAX_EXTENSIONS: usize = 16 << 10;
/// A trailer section, bytes and fields.
const MAX_TRAILERS: usize = 16 << 10;
const MAX_TRAILER_FIELDS: usize = 64;

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a visitor.
    Request,
    /// From a sandbox.
    Response,
}

/// What one step of decoding gives.
#[derive(Debug)]
pub enum Decoded {
    /// More bytes are needed.
    NeedMore,
    /// A piece of the body, never empty.
    Data(Bytes),
    /// Trailer fields that may be passed on; `Done` follows.
    Trailers(HeaderMap),
    /// The body is over; what is left in the buffer belongs to the next message.
    Done,
}

#[derive(Debug)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// Decodes one body.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    direction: Direction,
    extensions: usize,
    trailers: Option<HeaderMap>,
    trailer_fields: usize,
    trailer_bytes: usize,
}

impl BodyDecoder {
    /// A decoder for a body framed like this.
    pub fn new(framing: Framing, direction: Direction) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            // A request never ends with its connection: there would be nobody left to respond to.
            Framing::UntilClose if direction == Direction::Request => State::Done,
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            direction,
            extensions: 0,
            trailers: None,
            trailer_fields: 0,
            trailer_bytes: 0,
        }
    }

    /// Whether the body is over.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes left of the whole body, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Notes that bytes of a body of known length went another way, no more than are left.
    pub fn passed(&mut self, bytes: u64) {
        if let State::Length(left) = self.state {
            let left = left.saturating_sub(bytes);
            self.state = if left == 0 { State::Done } else { State::Length(left) };
        }
    }

    /// Takes what it can from the front of `buf`, without copying.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, DecodeError> {
        loop {
            match self.state {
                State::Done => {
                    return Ok(self.trailers.take().map_or(Decoded::Done, Decoded::Trailers));
                }
                _ if buf.is_empty() => return Ok(Decoded::NeedMore),
                State::UntilClose => return Ok(Decoded::Data(buf.split().freeze())),
                State::Length(left) => {
                    let (data, left) = take(buf, left);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkData(left) => {
                    let (data, left) = take(buf, left);
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkSize => match self.chunk_size(buf)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::ChunkData(size),
                },
                State::ChunkEnd => match (buf.first(), buf.get(1)) {
                    (Some(b'\r'), Some(b'\n')) => {
                        buf.advance(2);
                        self.state = State::ChunkSize;
                    }
                    (Some(b'\r'), None) => return Ok(Decoded::NeedMore),
                    _ => return Err(DecodeError::Chunk),
                },
                State::Trailers => {
                    if !self.trailer_line(buf)? {
                        return Ok(Decoded::NeedMore);
                    }
                }
            }
        }
    }

    /// The other end closed the connection: an error unless the body was over or ends that way.
    pub fn end_of_stream(&mut self) -> Result<(), DecodeError> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(DecodeError::Truncated),
        }
    }

    fn chunk_size(&mut self, buf: &mut BytesMut) -> Result<Option<u64>, DecodeError> {
        let digits =
            buf.iter().take(MAX_SIZE_DIGITS + 1).take_while(|b| b.is_ascii_hexdigit()).count();
        if digits > MAX_SIZE_DIGITS {
            return Err(DecodeError::Chunk);
        }
        let rest = buf.get(digits..).unwrap_or_default();
        let Some(first) = rest.first() else { return Ok(None) };
        if digits == 0 || !matches!(first, b';' | b'\r') {
            return Err(DecodeError::Chunk);
        }
        let Some(lf) = memchr::memchr(b'\n', rest) else {
            // Until the line ends it may only hold an extension, within its limit.
            return self.extension(rest.strip_suffix(b"\r").unwrap_or(rest)).map(|_| None);
        };
        let extension =
            rest.get(..lf).and_then(|line| line.strip_suffix(b"\r")).ok_or(DecodeError::Chunk)?;
        self.extensions = self.extension(extension)?;
        if !extension.is_empty() && !is_extension(extension) {
            return Err(DecodeError::Chunk);
        }
        let size = buf.iter().take(digits).try_fold(0_u64, |sum, digit| {
            let value = char::from(*digit).to_digit(16)?;
            sum.checked_mul(16)?.checked_add(u64::from(value))
        });
        buf.advance(digits + lf + 1);
        size.filter(|size| *size <= MAX_CHUNK).map(Some).ok_or(DecodeError::Chunk)
    }

    /// Judges a chunk extension and gives the new total.
    fn extension(&self, extension: &[u8]) -> Result<usize, DecodeError> {
        let starts_well = extension.first().is_none_or(|b| *b == b';');
        let plain = extension.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e | 0x80..));
        if !starts_well || !plain {
            return Err(DecodeError::Chunk);
        }
        let total = self.extensions + extension.len();
        if total > MAX_EXTENSIONS { Err(DecodeError::Extensions) } else { Ok(total) }
    }

    /// Reads one line of the trailer section; false when more bytes are needed.
    fn trailer_line(&mut self, buf: &mut BytesMut) -> Result<bool, DecodeError> {
        let Some(lf) = memchr::memchr(b'\n', buf) else {
            let too_long = self.trailer_bytes + buf.len() > MAX_TRAILERS;
            return if too_long { Err(DecodeError::Trailers) } else { Ok(false) };
        };
        self.trailer_bytes += lf + 1;
        if lf == 0 || buf.get(lf - 1) != Some(&b'\r') || self.trailer_bytes > MAX_TRAILERS {
            return Err(DecodeError::Trailers);
        }
        let line = buf.split_to(lf + 1).freeze();
        if line.len() == 2 {
            self.state = State::Done;
            return Ok(true);
        }
        self.trailer_fields += 1;
        if self.trailer_fields > MAX_TRAILER_FIELDS {
            return Err(DecodeError::Trailers);
        }
        let (name, value) =
            header_lines::field(&line, (0, lf - 1)).map_err(|_| DecodeError::Trailers)?;
        if may_trail(&name, self.direction) {
            self.trailers.get_or_insert_default().append(name, value);
        }
        Ok(true)
    }
}

/// Whether a chunk extension is well formed (RFC 9112 section 7.1.1): `;name`, `;name=token` and `;name="text"`, with blanks between them.
fn is_extension(mut rest: &[u8]) -> bool {
    fn token(rest: &[u8]) -> Option<&[u8]> {
        let end = rest.iter().position(|b| !header_lines::is_token(*b)).unwrap_or(rest.len());
        rest.get(end..).filter(|_| end > 0)
    }
    fn quoted(rest: &[u8]) -> Option<&[u8]> {
        let mut bytes = rest.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => return rest.get(at + 1..),
                b'\\' => drop(bytes.next()?),
                _ => {}
            }
        }
        None
    }
    loop {
        rest = rest.trim_ascii_start();
        let Some(after) = rest.strip_prefix(b";") else { return rest.is_empty() };
        let Some(after) = token(after.trim_ascii_start()) else { return false };
        rest = after.trim_ascii_start();
        let Some(value) = rest.strip_prefix(b"=") else { continue };
        let value = value.trim_ascii_start();
        let after = match value.strip_prefix(b"\"") {
            Some(text) => quoted(text),
            None => token(value),
        };
        let Some(after) = after else { return false };
        rest = after;
    }
}

fn take(buf: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
    let taken = u64::try_from(n).unwrap_or(u64::MAX);
    (buf.split_to(n).freeze(), left - taken)
}

/// What of a trailer section may be passed on, of sections that came by another protocol than this one.
pub fn trailing(mut trailers: HeaderMap, direction: Direction) -> HeaderMap {
    let refused: Vec<_> =
        trailers.keys().filter(|name| !may_trail(name, direction)).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
    trailers
}

/// Fields that frame, route, authenticate or steer a message have no place behind it (RFC 9110 section 6.5.1), nor do those that only a
/// proxy may say, in whatever spelling they would be taken for the same.
fn may_trail(name: &header::HeaderName, direction: Direction) -> bool {
    if is_untrusted(name.as_str()) {
        return false;
    }
    let canonical = name.as_str().replace('_', "-");
    let refused = matches!(
        &*canonical,
        "host"
            | "content-length"
            | "transfer-encoding"
            | "content-encoding"
            | "content-type"
            | "content-range"
            | "cookie"
            | "set-cookie"
            | "authorization"
            | "www-authenticate"
            | "connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "expect"
            | "range"
            | "cache-control"
            | "location"
            | "refresh"
            | "referer"
            | "origin"
            | "forwarded"
            | "clear-site-data"
            | "strict-transport-security"
    );
    let prefixed = ["x-forwarded", "x-miosa-", "sec-", "proxy", "keep-alive"];
    let request_only = direction == Direction::Request && canonical.starts_with("if-");
    !refused && !request_only && !prefixed.iter().any(|prefix| canonical.starts_with(prefix))
}
