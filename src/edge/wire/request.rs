//! Request headers.

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header;

use super::Limits;
use super::error::RequestError;
use super::header_lines::{self, HeaderScan, Lines, Options};
use crate::edge::headers::Headers;
use crate::edge::message::{Framing, Minor, RequestParts};

/// Room for the fields that are added on the way to a sandbox.
const ADDED: usize = 7;
/// The longest method, bytes. The longest that is registered has 18.
pub const MAX_METHOD: usize = 64;

/// A request whose headers are complete.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The headers, canonical.
    pub parts: RequestParts,
    /// How its body is framed (never `UntilClose`).
    pub framing: Framing,
    /// `Expect: 100-continue` was sent (and has been taken out of the headers).
    pub expect_continue: bool,
    /// Whether the visitor wants the connection kept open after this exchange.
    pub keep_alive: bool,
}

/// Reads request headers from the front of `buf`; `None` when more bytes are needed. The headers' bytes are split off without
/// copying: field values are slices of them.
pub fn parse_request(
    buf: &mut BytesMut,
    scan: &mut HeaderScan,
    limits: &Limits,
) -> Result<Option<ParsedRequest>, RequestError> {
    let end = match scan.scan(buf, limits) {
        Ok(Some(end)) => end,
        Ok(None) => return Ok(None),
        Err(error) => {
            scan.keep_glimpse(buf);
            return Err(first_line_error(error.into(), scan, buf));
        }
    };
    let lines = scan.take_lines();
    let section = buf.split_to(end).freeze();
    read(&section, lines, limits).map(Some).inspect_err(|_| scan.keep_glimpse(&section))
}

fn read(section: &Bytes, mut lines: Lines, limits: &Limits) -> Result<ParsedRequest, RequestError> {
    let line = request_line(section, lines.next().ok_or(RequestError::RequestLine)?, limits)?;
    let mut read =
        Reading { headers: Headers::with_capacity(lines.len() + ADDED), ..Reading::default() };
    for line in lines {
        read.field(section, line)?;
    }
    let framing = read.framing(line.minor)?;
    let keep_alive = read.options.persists(line.minor);
    let host = read.host.ok_or(RequestError::Host)?;
    let (target, authority) = target(line.target, &line.method, host)?;
    Ok(ParsedRequest {
        parts: RequestParts {
            method: line.method,
            target,
            authority,
            minor: line.minor,
            headers: read.headers,
        },
        framing,
        expect_continue: read.expect_continue && line.minor == Minor::One,
        keep_alive,
    })
}

/// A first line that never ends is a matter of the target, not of the fields, or of a method that never ends.
fn first_line_error(error: RequestError, scan: &HeaderScan, buf: &[u8]) -> RequestError {
    let begins = || buf.get(..=MAX_METHOD).is_some_and(|start| start.contains(&b' '));
    match error {
        RequestError::LineTooLong if scan.found() == 0 && begins() => RequestError::TargetTooLong,
        RequestError::LineTooLong if scan.found() == 0 => RequestError::RequestLine,
        error => error,
    }
}

struct RequestLine {
    method: Method,
    target: Bytes,
    minor: Minor,
}

fn request_line(
    section: &Bytes,
    (start, end): (usize, usize),
    limits: &Limits,
) -> Result<RequestLine, RequestError> {
    let line = section.get(start..end).unwrap_or_default();
    let method_end = memchr::memchr(b' ', line).ok_or(RequestError::RequestLine)?;
    let target_end = memchr::memrchr(b' ', line)
        .filter(|at| *at > method_end)
        .ok_or(RequestError::RequestLine)?;
    let method = line.get(..method_end).unwrap_or_default();
    if method.is_empty()
        || method.len() > MAX_METHOD
        || !method.iter().all(|b| header_lines::is_token(*b))
    {
        return Err(RequestError::RequestLine);
    }
    let method = Method::from_bytes(method).map_err(|_| RequestError::RequestLine)?;
    let minor = match line.get(target_end + 1..).unwrap_or_default() {
        b"HTTP/1.1" => Minor::One,
        b"HTTP/1.0" => Minor::Zero,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(RequestError::Version);
        }
        _ => return Err(RequestError::RequestLine),
    };
    let target = section.slice(start + method_end + 1..start + target_end);
    if target.len() > limits.target_bytes {
        return Err(RequestError::TargetTooLong);
    }
    // Only visible ASCII: a space here would be a second one in the line, and a fragment has no meaning for a server.
    if target.is_empty() || !target.iter().all(|b| matches!(b, 0x21..=0x7e) && *b != b'#') {
        return Err(RequestError::Target);
    }
    Ok(RequestLine { method, target, minor })
}

/// The target in origin-form and the one authority.
fn target(target: Bytes, method: &Method, host: Bytes) -> Result<(Bytes, Bytes), RequestError> {
    match target.first() {
        Some(b'/') => return Ok((target, host)),
        // Refused by the gate, with a response that says so.
        _ if *method == Method::CONNECT => return Ok((target, host)),
        Some(b'*') if target.len() == 1 && *method == Method::OPTIONS => return Ok((target, host)),
        _ => {}
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .ok_or(RequestError::Target)?;
    let rest = target.slice(scheme.len()..);
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let authority = rest.slice(..end);
    // A Host that says something else than the target is an attempt to be two requests at once.
    if authority.is_empty() || !authority.eq_ignore_ascii_case(&host) {
        return Err(RequestError::Host);
    }
    let path = rest.slice(end..);
    if path.first() == Some(&b'/') {
        return Ok((path, authority));
    }
    let mut whole = BytesMut::with_capacity(1 + path.len());
    whole.extend_from_slice(b"/");
    whole.extend_from_slice(&path);
    Ok((whole.freeze(), authority))
}

#[derive(Default)]
struct Reading {
    headers: Headers,
    host: Option<Bytes>,
    length: Option<u64>,
    chunked: bool,
    expect_continue: bool,
    options: Options,
}

impl Reading {
    fn field(&mut self, section: &Bytes, line: (usize, usize)) -> Result<(), RequestError> {
        let (name, value) = header_lines::field(section, line)?;
        match name {
            header::HOST => {
                let host = section.slice_ref(value.as_bytes());
                if host.is_empty() || self.host.replace(host).is_some() {
                    return Err(RequestError::Host);
                }
            }
            header::CONTENT_LENGTH => {
                let length =
                    header_lines::content_length(&value).ok_or(RequestError::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(RequestError::ContentLength);
                }
            }
            header::TRANSFER_ENCODING => {
                if self.chunked {
                    return Err(RequestError::Coding);
                }
                self.chunked = is_chunked(value.as_bytes())?;
            }
            header::EXPECT => {
                if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestError::Expectation);
                }
                self.expect_continue = true;
            }
            name => {
                if name == header::CONNECTION {
                    self.options.read(&value).ok_or(RequestError::Connection)?;
                }
                self.headers.append(name, value);
            }
        }
        Ok(())
    }

    fn framing(&self, minor: Minor) -> Result<Framing, RequestError> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(RequestError::LengthAndCoding),
            (None, true) if minor == Minor::Zero => Err(RequestError::Coding),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, false) => Ok(Framing::None),
        }
    }
}

/// `chunked` and nothing else. A plain other coding is "not implemented"; anything that tries to look like chunked is refused.
fn is_chunked(value: &[u8]) -> Result<bool, RequestError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let plain = !value.is_empty() && value.iter().all(u8::is_ascii_lowercase);
    let similar = value.windows(5).any(|part| part.eq_ignore_ascii_case(b"chunk"));
    Err(if plain && !similar { RequestError::UnknownCoding } else { RequestError::Coding })
}
