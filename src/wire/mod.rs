//! HTTP/1 on the wire, without I/O: strict parsing of heads and body framing, canonical writing of both.
//!
//! One rule: what is ambiguous is refused with a named reason, and what is written is always one canonical form.
//! The same code judges visitors' requests and sandboxes' responses. It does not know hosts, tokens or sockets.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use crate::message::{Framing, Minor, RequestHead, ResponseHead};

/// Sizes a head may have. Every one of them is configurable.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole head, octets (default 64 KiB).
    pub head_bytes: usize,
    /// One field line, octets (default 16 KiB).
    pub line_bytes: usize,
    /// Number of field lines (default 100).
    pub fields: usize,
    /// The request target, octets (default 16 KiB).
    pub target_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 64 << 10, line_bytes: 16 << 10, fields: 100, target_bytes: 16 << 10 }
    }
}

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

/// A response whose head is complete.
#[derive(Debug)]
pub struct ParsedResponse {
    /// The head, canonical.
    pub head: ResponseHead,
    /// How its body is framed, given the request's method.
    pub framing: Framing,
    /// Whether the sandbox will keep the connection open.
    pub keep_alive: bool,
    /// `Keep-Alive: timeout=N`, seconds.
    pub keep_alive_timeout: Option<u32>,
}
