//! Response headers. A sandbox is judged as strictly as a visitor: what is not clearly one response is not passed on.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use super::Limits;
use super::error::ResponseError;
use super::header_lines::{self, HeaderScan, Options};
use crate::edge::headers::Headers;
use crate::edge::message::{Framing, Minor, ResponseParts};

/// A response whose headers are complete.
#[derive(Debug)]
pub struct ParsedResponse {
    /// The headers, canonical.
    pub parts: ResponseParts,
    /// How its body is framed, given the request's method.
    pub framing: Framing,
    /// Whether the sandbox will keep the connection open.
    pub keep_alive: bool,
    /// `Keep-Alive: timeout=N`, seconds.
    pub keep_alive_timeout: Option<u32>,
}

/// Reads response headers from the front of `buf`; `None` when more bytes are needed. `method` is the request's.
pub fn parse_response(
    buf: &mut BytesMut,
    scan: &mut HeaderScan,
    method: &Method,
    limits: &Limits,
) -> Result<Option<ParsedResponse>, ResponseError> {
    // What does not begin like a status line never becomes one: no need to wait for a line end that may never come.
    let start = b"HTTP/1.";
    if scan.found() == 0 && !buf.iter().zip(start).all(|(is, should)| is == should) {
        return Err(ResponseError::StatusLine);
    }
    let Some(end) = scan.scan(buf, limits)? else { return Ok(None) };
    let mut lines = scan.take_lines();
    let section = buf.split_to(end).freeze();
    let first = lines.next().ok_or(ResponseError::StatusLine)?;
    let (minor, status, reason) = status_line(&section, first)?;
    let mut read =
        Reading { headers: Headers::with_capacity(lines.len() + 4), ..Reading::default() };
    for line in lines {
        read.field(&section, line)?;
    }
    let framing = read.framing(minor, status, method)?;
    Ok(Some(ParsedResponse {
        parts: ResponseParts { status, reason, headers: read.headers },
        framing,
        keep_alive: read.options.persists(minor),
        keep_alive_timeout: read.timeout,
    }))
}

fn status_line(
    section: &Bytes,
    (start, end): (usize, usize),
) -> Result<(Minor, StatusCode, Bytes), ResponseError> {
    let line = section.get(start..end).unwrap_or_default();
    let (version, rest) = line.split_at_checked(9).ok_or(ResponseError::StatusLine)?;
    let minor = match version {
        b"HTTP/1.1 " => Minor::One,
        b"HTTP/1.0 " => Minor::Zero,
        _ => return Err(ResponseError::StatusLine),
    };
    let (digits, reason) = rest.split_at_checked(3).ok_or(ResponseError::StatusLine)?;
    let status = StatusCode::from_bytes(digits).map_err(|_| ResponseError::StatusLine)?;
    // The space before an empty reason is often left out.
    let reason_ok = match reason {
        [] => true,
        [b' ', text @ ..] => text.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e | 0x80..)),
        _ => false,
    };
    if !reason_ok || status.as_u16() > 599 {
        return Err(ResponseError::StatusLine);
    }
    Ok((minor, status, section.slice(end.min(start + 13)..end)))
}

#[derive(Default)]
struct Reading {
    headers: Headers,
    length: Option<u64>,
    chunked: bool,
    options: Options,
    timeout: Option<u32>,
}

impl Reading {
    fn field(&mut self, section: &Bytes, line: (usize, usize)) -> Result<(), ResponseError> {
        let (name, value) = header_lines::field(section, line)?;
        match name {
            header::CONTENT_LENGTH => {
                let length =
                    header_lines::content_length(&value).ok_or(ResponseError::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(ResponseError::ContentLength);
                }
            }
            header::TRANSFER_ENCODING => {
                if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err(ResponseError::Coding);
                }
                self.chunked = true;
            }
            name => {
                if name == header::CONNECTION {
                    self.options.read(&value).ok_or(ResponseError::Field)?;
                } else if name.as_str() == "keep-alive" {
                    self.timeout = timeout(&value);
                }
                self.headers.append(name, value);
            }
        }
        Ok(())
    }

    /// RFC 9112 section 6.3, in its order.
    fn framing(
        &self,
        minor: Minor,
        status: StatusCode,
        method: &Method,
    ) -> Result<Framing, ResponseError> {
        if self.chunked && self.length.is_some() {
            return Err(ResponseError::LengthAndCoding);
        }
        if self.chunked && minor == Minor::Zero {
            return Err(ResponseError::Coding);
        }
        let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
        if bodiless {
            return Ok(Framing::None);
        }
        let tells_only = *method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
        Ok(match (self.length, self.chunked) {
            (Some(length), _) => Framing::Length(length),
            (None, _) if status == StatusCode::NOT_MODIFIED => Framing::None,
            (None, true) => Framing::Chunked,
            (None, false) if tells_only => Framing::None,
            (None, false) => Framing::UntilClose,
        })
    }
}

fn timeout(value: &HeaderValue) -> Option<u32> {
    value.to_str().ok()?.split(',').find_map(|item| {
        let (name, seconds) = item.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse().ok()).flatten()
    })
}
