//! HTTP messages as they are passed between the parts, whatever the protocol they came in by: headers and framing.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::edge::headers::Headers;

/// Which HTTP/1 minor version the peer spoke. HTTP/2 counts as [`Minor::One`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minor {
    /// HTTP/1.0: no chunked coding, no persistent connection unless asked for.
    Zero,
    /// HTTP/1.1 and later.
    One,
}

/// The headers of a request. `Host` is never among `headers`: it is `authority`.
#[derive(Clone, Debug)]
pub struct RequestParts {
    /// The method.
    pub method: Method,
    /// Origin-form target (`/path?query`, always starting with `/`) or `*`, byte for byte as sent.
    pub target: Bytes,
    /// The authority the visitor asked for: from an absolute-form target, else from `Host`. Exactly one, not yet parsed.
    pub authority: Bytes,
    /// The HTTP/1 minor version.
    pub minor: Minor,
    /// Every field but `Host`; `Transfer-Encoding` and `Content-Length` have been taken out by the codec (see `Framing`).
    pub headers: Headers,
}

/// The headers of a response.
#[derive(Clone, Debug)]
pub struct ResponseParts {
    /// The status, 100 to 599.
    pub status: StatusCode,
    /// The reason phrase as sent; empty means the standard one.
    pub reason: Bytes,
    /// Every field; `Transfer-Encoding` and `Content-Length` have been taken out by the codec (see `Framing`).
    pub headers: Headers,
}

impl ResponseParts {
    /// A response with a status, the standard reason and no fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, reason: Bytes::new(), headers: Headers::new() }
    }
}

/// How the end of a message body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body and no length field: requests without one; 1xx, 204 and 304 responses.
    None,
    /// `Content-Length`. For a response to HEAD (or a 304) the length is told but no byte of it follows.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Responses only: the body ends when the connection does.
    UntilClose,
}

/// Interim responses (1xx) on their way to a visitor while the final one is awaited.
#[derive(Clone, Debug, Default)]
pub struct Interim(Rc<RefCell<Vec<ResponseParts>>>);

impl Interim {
    /// Hands an interim response over; it is written before anything else.
    pub fn send(&self, parts: ResponseParts) {
        self.0.borrow_mut().push(parts);
    }

    /// Takes what has been handed over.
    pub fn take_each(&self, mut each: impl FnMut(&ResponseParts)) {
        if !self.0.borrow().is_empty() {
            self.0.borrow_mut().drain(..).for_each(|parts| each(&parts));
        }
    }
}
