//! HTTP/1 on the wire, without I/O: strict parsing of headers and body framing, canonical writing of both (RFC 9112).
//!
//! One rule: what is ambiguous is refused with a named reason, and what is written is always one canonical form.
//! The same code judges visitors' requests and sandboxes' responses. It does not know hosts, tokens or sockets.

mod body;
mod error;
mod glimpse;
mod header_lines;
mod names;
mod request;
mod response;
mod write;

#[cfg(test)]
mod tests;

pub use body::{BodyDecoder, Decoded, Direction, trailing};
pub use error::{DecodeError, RequestError, ResponseError};
pub use glimpse::glimpse;
pub use header_lines::HeaderScan;
pub use request::{MAX_METHOD, ParsedRequest, parse_request};
pub use response::{ParsedResponse, parse_response};
pub use write::{
    CHUNK_TAIL, ConnectionField, write_chunk_size, write_interim, write_last_chunk, write_request,
    write_response,
};

/// Sizes the headers may have. Every one of them is configurable.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole headers, bytes.
    pub header_bytes: usize,
    /// One line of it, bytes.
    pub line_bytes: usize,
    /// Number of field lines.
    pub fields: usize,
    /// The request target, bytes.
    pub target_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_bytes: 64 << 10, line_bytes: 16 << 10, fields: 100, target_bytes: 16 << 10 }
    }
}
