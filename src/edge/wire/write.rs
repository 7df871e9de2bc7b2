//! Canonical writing: one space, one CRLF, one length, names in lower case.

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::edge::message::{Framing, RequestParts, ResponseParts};

/// What ends the data of a chunk.
pub const CHUNK_TAIL: &[u8] = b"\r\n";

/// What a response says of the connection it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionField {
    /// Nothing: it stays open, or the headers themselves say what becomes of it (101).
    None,
    /// `close`.
    Close,
    /// `keep-alive`, for visitors of HTTP/1.0.
    KeepAlive,
}

/// Writes request headers. `authority` becomes the one `Host`, in first place.
pub fn write_request(out: &mut BytesMut, parts: &RequestParts, framing: Framing) {
    out.reserve(64 + parts.target.len() + parts.authority.len() + size(parts.headers.iter()));
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(&parts.target);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(&parts.authority);
    out.extend_from_slice(b"\r\n");
    fields(out, parts.headers.iter());
    length(out, framing);
    out.extend_from_slice(b"\r\n");
}

/// Writes the headers of a final response.
pub fn write_response(
    out: &mut BytesMut,
    parts: &ResponseParts,
    framing: Framing,
    connection: ConnectionField,
) {
    out.reserve(96 + size(parts.headers.iter()));
    status_line(out, parts);
    fields(out, parts.headers.iter());
    length(out, framing);
    out.extend_from_slice(match connection {
        ConnectionField::None => b"\r\n",
        ConnectionField::Close => b"connection: close\r\n\r\n",
        ConnectionField::KeepAlive => b"connection: keep-alive\r\n\r\n",
    });
}

/// Writes an interim (1xx) response.
pub fn write_interim(out: &mut BytesMut, parts: &ResponseParts) {
    status_line(out, parts);
    fields(out, parts.headers.iter());
    out.extend_from_slice(b"\r\n");
}

/// Writes the line before `length` bytes of chunk data. `length` must not be 0: that would end the body.
pub fn write_chunk_size(out: &mut BytesMut, length: usize) {
    debug_assert!(length > 0, "an empty chunk ends the body");
    let mut shift = usize::BITS - (length | 1).leading_zeros();
    shift = shift.div_ceil(4) * 4;
    while shift > 0 {
        shift -= 4;
        let digit = u32::try_from((length >> shift) & 0xf).unwrap_or_default();
        let digit = char::from_digit(digit, 16).unwrap_or('0');
        let mut utf8 = [0; 4];
        out.extend_from_slice(digit.encode_utf8(&mut utf8).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body.
pub fn write_last_chunk(out: &mut BytesMut, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        fields(out, trailers.iter());
    }
    out.extend_from_slice(b"\r\n");
}

/// A field as it is written: of the headers, or of a trailer section.
type Field<'a> = (&'a HeaderName, &'a HeaderValue);

fn size<'a>(headers: impl Iterator<Item = Field<'a>>) -> usize {
    headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn status_line(out: &mut BytesMut, parts: &ResponseParts) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    if parts.reason.is_empty() {
        out.extend_from_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    } else {
        out.extend_from_slice(&parts.reason);
    }
    out.extend_from_slice(b"\r\n");
}

fn fields<'a>(out: &mut BytesMut, headers: impl Iterator<Item = Field<'a>>) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn length(out: &mut BytesMut, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}
