//! HTTP/1 on the wire, without I/O: strict parsing of heads and body framing, canonical writing of both (RFC 9112).
//!
//! One rule: what is ambiguous is refused with a named reason, and what is written is always one canonical form.
//! The same code judges visitors' requests and sandboxes' responses. It does not know hosts, tokens or sockets.

mod body;
mod fault;
mod glimpse;
mod head;
mod names;
mod request;
mod response;
mod write;

#[cfg(test)]
mod tests;

pub use body::{BodyDecoder, Decoded, Direction, trailing};
pub use fault::{BodyFault, RequestFault, ResponseFault};
pub use glimpse::glimpse;
pub use head::HeadScan;
pub use request::{MAX_METHOD, ParsedRequest, parse_request};
pub use response::{ParsedResponse, parse_response};
pub use write::{
    CHUNK_TAIL, ConnectionField, write_chunk_head, write_interim, write_last_chunk, write_request,
    write_response,
};

/// Sizes a head may have. Every one of them is configurable.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The whole head, octets.
    pub head_bytes: usize,
    /// One line of it, octets.
    pub line_bytes: usize,
    /// Number of field lines.
    pub fields: usize,
    /// The request target, octets.
    pub target_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 64 << 10, line_bytes: 16 << 10, fields: 100, target_bytes: 16 << 10 }
    }
}
