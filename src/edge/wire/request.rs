//! Request heads.

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header;

use super::Limits;
use super::fault::RequestFault;
use super::head::{self, HeadScan, Lines, Options};
use crate::edge::headers::Headers;
use crate::edge::message::{Framing, Minor, RequestHead};

/// Room for the fields that are added on the way to a sandbox.
const ADDED: usize = 7;
/// The longest method, octets. The longest that is registered has 18.
pub const MAX_METHOD: usize = 64;

/// A request whose head is complete.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The head, canonical.
    pub head: RequestHead,
    /// How its body is framed (never `UntilClose`).
    pub framing: Framing,
    /// `Expect: 100-continue` was sent (and has been taken out of the head).
    pub expect_continue: bool,
    /// Whether the visitor wants the connection kept open after this exchange.
    pub keep_alive: bool,
}

/// Reads a request head from the front of `buf`; `None` when more bytes are needed. The head's bytes are split off without
/// copying: field values are slices of them.
pub fn parse_request(
    buf: &mut BytesMut,
    scan: &mut HeadScan,
    limits: &Limits,
) -> Result<Option<ParsedRequest>, RequestFault> {
    let end = match scan.scan(buf, limits) {
        Ok(Some(end)) => end,
        Ok(None) => return Ok(None),
        Err(fault) => {
            scan.keep_glimpse(buf);
            return Err(first_line_fault(fault.into(), scan, buf));
        }
    };
    let lines = scan.take_lines();
    let head = buf.split_to(end).freeze();
    read(&head, lines, limits).map(Some).inspect_err(|_| scan.keep_glimpse(&head))
}

fn read(head: &Bytes, mut lines: Lines, limits: &Limits) -> Result<ParsedRequest, RequestFault> {
    let line = request_line(head, lines.next().ok_or(RequestFault::RequestLine)?, limits)?;
    let mut read =
        Reading { headers: Headers::with_capacity(lines.len() + ADDED), ..Reading::default() };
    for line in lines {
        read.field(head, line)?;
    }
    let framing = read.framing(line.minor)?;
    let keep_alive = read.options.persists(line.minor);
    let host = read.host.ok_or(RequestFault::Host)?;
    let (target, authority) = target(line.target, &line.method, host)?;
    Ok(ParsedRequest {
        head: RequestHead {
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
fn first_line_fault(fault: RequestFault, scan: &HeadScan, buf: &[u8]) -> RequestFault {
    let begins = || buf.get(..=MAX_METHOD).is_some_and(|start| start.contains(&b' '));
    match fault {
        RequestFault::LineTooLong if scan.found() == 0 && begins() => RequestFault::TargetTooLong,
        RequestFault::LineTooLong if scan.found() == 0 => RequestFault::RequestLine,
        fault => fault,
    }
}

struct RequestLine {
    method: Method,
    target: Bytes,
    minor: Minor,
}

fn request_line(
    head: &Bytes,
    (start, end): (usize, usize),
    limits: &Limits,
) -> Result<RequestLine, RequestFault> {
    let line = head.get(start..end).unwrap_or_default();
    let method_end = memchr::memchr(b' ', line).ok_or(RequestFault::RequestLine)?;
    let target_end = memchr::memrchr(b' ', line)
        .filter(|at| *at > method_end)
        .ok_or(RequestFault::RequestLine)?;
    let method = line.get(..method_end).unwrap_or_default();
    if method.is_empty() || method.len() > MAX_METHOD || !method.iter().all(|b| head::is_token(*b))
    {
        return Err(RequestFault::RequestLine);
    }
    let method = Method::from_bytes(method).map_err(|_| RequestFault::RequestLine)?;
    let minor = match line.get(target_end + 1..).unwrap_or_default() {
        b"HTTP/1.1" => Minor::One,
        b"HTTP/1.0" => Minor::Zero,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(RequestFault::Version);
        }
        _ => return Err(RequestFault::RequestLine),
    };
    let target = head.slice(start + method_end + 1..start + target_end);
    if target.len() > limits.target_bytes {
        return Err(RequestFault::TargetTooLong);
    }
    // Only visible ASCII: a space here would be a second one in the line, and a fragment has no meaning for a server.
    if target.is_empty() || !target.iter().all(|b| matches!(b, 0x21..=0x7e) && *b != b'#') {
        return Err(RequestFault::Target);
    }
    Ok(RequestLine { method, target, minor })
}

/// The target in origin-form and the one authority.
fn target(target: Bytes, method: &Method, host: Bytes) -> Result<(Bytes, Bytes), RequestFault> {
    match target.first() {
        Some(b'/') => return Ok((target, host)),
        // Refused by the gate, with an answer that says so.
        _ if *method == Method::CONNECT => return Ok((target, host)),
        Some(b'*') if target.len() == 1 && *method == Method::OPTIONS => return Ok((target, host)),
        _ => {}
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .ok_or(RequestFault::Target)?;
    let rest = target.slice(scheme.len()..);
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let authority = rest.slice(..end);
    // A Host that says something else than the target is an attempt to be two requests at once.
    if authority.is_empty() || !authority.eq_ignore_ascii_case(&host) {
        return Err(RequestFault::Host);
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
    fn field(&mut self, head: &Bytes, line: (usize, usize)) -> Result<(), RequestFault> {
        let (name, value) = head::field(head, line)?;
        match name {
            header::HOST => {
                let host = head.slice_ref(value.as_bytes());
                if host.is_empty() || self.host.replace(host).is_some() {
                    return Err(RequestFault::Host);
                }
            }
            header::CONTENT_LENGTH => {
                let length = head::content_length(&value).ok_or(RequestFault::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(RequestFault::ContentLength);
                }
            }
            header::TRANSFER_ENCODING => {
                if self.chunked {
                    return Err(RequestFault::Coding);
                }
                self.chunked = is_chunked(value.as_bytes())?;
            }
            header::EXPECT => {
                if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestFault::Expectation);
                }
                self.expect_continue = true;
            }
            name => {
                if name == header::CONNECTION {
                    self.options.read(&value).ok_or(RequestFault::Connection)?;
                }
                self.headers.append(name, value);
            }
        }
        Ok(())
    }

    fn framing(&self, minor: Minor) -> Result<Framing, RequestFault> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(RequestFault::LengthAndCoding),
            (None, true) if minor == Minor::Zero => Err(RequestFault::Coding),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) => Ok(Framing::Length(length)),
            (None, false) => Ok(Framing::None),
        }
    }
}

/// `chunked` and nothing else. A plain other coding is "not implemented"; anything that tries to look like chunked is refused.
fn is_chunked(value: &[u8]) -> Result<bool, RequestFault> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let plain = !value.is_empty() && value.iter().all(u8::is_ascii_lowercase);
    let similar = value.windows(5).any(|part| part.eq_ignore_ascii_case(b"chunk"));
    Err(if plain && !similar { RequestFault::UnknownCoding } else { RequestFault::Coding })
}
