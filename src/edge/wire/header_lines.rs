//! The lines of the headers: finding them without looking at any byte twice, and reading fields strictly.

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::Limits;
use super::error::LineError;
use super::names;
use crate::edge::message::RequestParts;

/// Remembers how far the headers have been scanned, so that headers that come byte by byte cost no more than those that come at once.
#[derive(Debug, Default)]
pub struct HeaderScan {
    scanned: usize,
    line_start: usize,
    /// The offsets after each line's CRLF.
    ends: SmallVec<[usize; 32]>,
    skipped_empty: bool,
    glimpse: Option<Box<RequestParts>>,
}

impl HeaderScan {
    /// Looks for the end of the headers. `Some` is its length; the lines are then known.
    pub(super) fn scan(
        &mut self,
        buf: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<usize>, LineError> {
        let from = self.scanned;
        let mut empty_line = None;
        for at in memchr::memchr_iter(b'\n', buf.get(from..).unwrap_or_default()) {
            let lf = from + at;
            let end = lf + 1;
            let length = lf - self.line_start;
            if length == 0 || buf.get(lf - 1) != Some(&b'\r') {
                return Err(LineError::BareLf);
            }
            self.scanned = end;
            if length == 1 {
                if self.ends.is_empty() && !self.skipped_empty {
                    empty_line = Some(end);
                    break;
                }
                self.check(buf, 0, end, limits)?;
                return Ok(Some(end));
            }
            self.check(buf, length + 1, end, limits)?;
            if self.ends.len() > limits.fields {
                return Err(LineError::TooManyFields);
            }
            self.ends.push(end);
            self.line_start = end;
        }
        if let Some(end) = empty_line {
            // One empty line before a request line is tolerated (RFC 9112 section 2.2).
            buf.advance(end);
            *self = Self { skipped_empty: true, ..Self::default() };
            return self.scan(buf, limits);
        }
        self.scanned = buf.len();
        self.check(buf, buf.len() - self.line_start, buf.len(), limits)?;
        Ok(None)
    }

    fn check(
        &self,
        buf: &BytesMut,
        line: usize,
        section: usize,
        limits: &Limits,
    ) -> Result<(), LineError> {
        if section > limits.header_bytes {
            return Err(LineError::HeadersTooLarge);
        }
        // The first line has its own limit, judged where it is parsed; here it is only kept from growing without end.
        let longest = if self.ends.is_empty() {
            limits.line_bytes.max(limits.target_bytes) + 64
        } else {
            limits.line_bytes
        };
        // Browsers put all cookies into one line, and whoever has set them cannot be asked: that line may fill the headers.
        if line > longest && !is_cookie(buf.get(self.line_start..).unwrap_or_default()) {
            return Err(LineError::LineTooLong);
        }
        Ok(())
    }

    /// The lines of complete headers, and a fresh start for the next one.
    pub(super) fn take_lines(&mut self) -> Lines {
        let ends = std::mem::take(&mut self.ends);
        *self = Self::default();
        Lines { ends, next: 0, start: 0 }
    }

    /// Keeps what can be told of the headers that are refused.
    pub(super) fn keep_glimpse(&mut self, section: &[u8]) {
        self.glimpse = super::glimpse(section).map(Box::new);
    }

    /// What can be told of the headers that were refused.
    pub fn take_glimpse(&mut self) -> Option<Box<RequestParts>> {
        self.glimpse.take()
    }

    /// How many lines have been found so far.
    pub(super) fn found(&self) -> usize {
        self.ends.len()
    }
}

fn is_cookie(line: &[u8]) -> bool {
    line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"cookie:"))
}

/// The lines of the headers as offsets, without their line ends.
#[derive(Debug)]
pub(super) struct Lines {
    ends: SmallVec<[usize; 32]>,
    next: usize,
    start: usize,
}

impl Iterator for Lines {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let end = *self.ends.get(self.next)?;
        let line = (self.start, end - 2);
        self.next += 1;
        self.start = end;
        Some(line)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ends.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Lines {}

/// Reads one field line: its name, and its value without a copy.
pub(super) fn field(
    section: &Bytes,
    (start, end): (usize, usize),
) -> Result<(HeaderName, HeaderValue), LineError> {
    let line = section.get(start..end).unwrap_or_default();
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(LineError::Folded);
    }
    // Names are short: looking at their bytes one by one is quicker than beginning a wide search.
    let colon = line.iter().position(|b| *b == b':').ok_or(LineError::NoColon)?;
    let name = line.get(..colon).unwrap_or_default();
    // Takes tokens only, so white space before the colon is refused here as well.
    let name = names::name(name).map_err(|_| LineError::Name)?;
    let raw = line.get(colon + 1..).unwrap_or_default();
    let leading = raw.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let trailing = raw.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let from = start + colon + 1 + leading;
    let value =
        if leading == raw.len() { Bytes::new() } else { section.slice(from..end - trailing) };
    // Refuses every control character but HTAB: a bare CR or NUL never passes.
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| LineError::Value)?;
    Ok((name, value))
}

/// A `Content-Length`: 1 to 19 digits and nothing else.
pub(super) fn content_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// What `Connection` says about the connection itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
}

impl Options {
    /// Reads one `Connection` field; `None` when it is no list of tokens.
    pub(super) fn read(&mut self, value: &HeaderValue) -> Option<()> {
        for option in value.as_bytes().split(|b| *b == b',') {
            let option = option.trim_ascii();
            if option.is_empty() {
                continue;
            }
            if !option.iter().all(|b| is_token(*b)) {
                return None;
            }
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        Some(())
    }

    /// Whether the connection persists (RFC 9112 section 9.3).
    pub(super) fn persists(self, minor: crate::edge::message::Minor) -> bool {
        match minor {
            crate::edge::message::Minor::One => !self.close,
            crate::edge::message::Minor::Zero => self.keep_alive && !self.close,
        }
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
