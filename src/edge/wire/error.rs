//! Every reason for which headers or a body are not accepted, and what a stranger is told of it.

use http::StatusCode;

use crate::base::failure::{Blame, Face, Failure, Recovery};

/// What is wrong with the lines of the headers, whichever direction it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineError {
    BareLf,
    HeadersTooLarge,
    TooManyFields,
    LineTooLong,
    Folded,
    Name,
    Value,
    NoColon,
}

/// Why a request is refused before anybody looks at what it asks for. The text is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A line that ends in LF without CR (RFC 9112 section 2.2).
    #[error("a line ends without CR")]
    BareLf,
    /// A field line that continues the one before (section 5.2).
    #[error("a header is folded over two lines")]
    Folded,
    /// A field line without a colon.
    #[error("a header line has no colon")]
    NoColon,
    /// A field name that is no token, or has white space before its colon (section 5.1).
    #[error("a header name is not a token")]
    Name,
    /// A field value with a control character (RFC 9110 section 5.5).
    #[error("a header value has a forbidden character")]
    Value,
    /// A request line that is not exactly `method SP target SP version`.
    #[error("the request line is malformed")]
    RequestLine,
    /// A target in none of the permitted forms.
    #[error("the request target is malformed")]
    Target,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("the HTTP version is not supported")]
    Version,
    /// No `Host`, more than one, an empty one, or one that contradicts an absolute target (section 3.2).
    #[error("there is not exactly one Host header")]
    Host,
    /// A `Content-Length` that is repeated or is not a number (section 6.3).
    #[error("Content-Length is malformed")]
    ContentLength,
    /// Both `Content-Length` and `Transfer-Encoding` (section 6.1).
    #[error("both Content-Length and Transfer-Encoding are present")]
    LengthAndCoding,
    /// A `Transfer-Encoding` that is repeated, obfuscated, or sent with HTTP/1.0.
    #[error("Transfer-Encoding is ambiguous")]
    Coding,
    /// A transfer coding that we do not implement.
    #[error("the transfer encoding is not supported")]
    UnknownCoding,
    /// A `Connection` field that is no list of tokens.
    #[error("the Connection header is malformed")]
    Connection,
    /// An expectation other than `100-continue`.
    #[error("the expectation cannot be met")]
    Expectation,
    /// The headers exceed its size.
    #[error("the headers are too large")]
    HeadersTooLarge,
    /// A line exceeds its size.
    #[error("a header line is too long")]
    LineTooLong,
    /// There are too many fields.
    #[error("there are too many headers")]
    TooManyFields,
    /// The target exceeds its size.
    #[error("the request target is too long")]
    TargetTooLong,
    /// An extended CONNECT for another protocol than WebSocket (RFC 8441 section 4).
    #[error("the requested protocol is not supported")]
    UnknownProtocol,
}

const fn visitor(
    status: StatusCode,
    label: &'static str,
    title: &'static str,
    text: &'static str,
) -> Face {
    Face { status, label, title, text, blame: Blame::Visitor, recovery: Recovery::None }
}

const UNCLEAR: &str = "This request is malformed";
static BAD_HEADER: Face =
    visitor(StatusCode::BAD_REQUEST, "bad_header", UNCLEAR, "One of its headers is not valid.");
static BAD_REQUEST_LINE: Face =
    visitor(StatusCode::BAD_REQUEST, "bad_request_line", UNCLEAR, "Its first line is not valid.");
static BAD_HOST: Face = visitor(
    StatusCode::BAD_REQUEST,
    "bad_host",
    "This address is not valid",
    "Check the address for typing mistakes.",
);
static BAD_FRAMING: Face = visitor(
    StatusCode::BAD_REQUEST,
    "bad_framing",
    UNCLEAR,
    "It does not say clearly where its body ends.",
);
static VERSION: Face = visitor(
    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    "bad_version",
    UNCLEAR,
    "Only HTTP/1.0 and HTTP/1.1 are supported here.",
);
static PROTOCOL: Face = visitor(
    StatusCode::NOT_IMPLEMENTED,
    "unknown_protocol",
    UNCLEAR,
    "It asks for a protocol that is not supported.",
);
static CODING: Face = visitor(
    StatusCode::NOT_IMPLEMENTED,
    "unknown_transfer_coding",
    UNCLEAR,
    "The encoding of its body is not supported.",
);
static EXPECTATION: Face = visitor(
    StatusCode::EXPECTATION_FAILED,
    "bad_expectation",
    UNCLEAR,
    "Its Expect header is not supported.",
);
static HEADERS_TOO_LARGE: Face = Face {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    label: "headers_too_large",
    title: "This request is too large",
    text: "Its headers, perhaps its cookies, are too large. Deleting this site's cookies may help.",
    blame: Blame::Limit,
    recovery: Recovery::None,
};
static TARGET_TOO_LONG: Face = Face {
    status: StatusCode::URI_TOO_LONG,
    label: "target_too_long",
    title: "This address is too long",
    text: "The URL is longer than the limit.",
    blame: Blame::Limit,
    recovery: Recovery::None,
};

impl Failure for RequestError {
    fn face(&self) -> &'static Face {
        match self {
            Self::BareLf
            | Self::Folded
            | Self::NoColon
            | Self::Name
            | Self::Value
            | Self::Connection => &BAD_HEADER,
            Self::RequestLine | Self::Target => &BAD_REQUEST_LINE,
            Self::Version => &VERSION,
            Self::Host => &BAD_HOST,
            Self::ContentLength | Self::LengthAndCoding | Self::Coding => &BAD_FRAMING,
            Self::UnknownCoding => &CODING,
            Self::UnknownProtocol => &PROTOCOL,
            Self::Expectation => &EXPECTATION,
            Self::HeadersTooLarge | Self::LineTooLong | Self::TooManyFields => &HEADERS_TOO_LARGE,
            Self::TargetTooLong => &TARGET_TOO_LONG,
        }
    }
}

impl From<LineError> for RequestError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::BareLf => Self::BareLf,
            LineError::HeadersTooLarge => Self::HeadersTooLarge,
            LineError::TooManyFields => Self::TooManyFields,
            LineError::LineTooLong => Self::LineTooLong,
            LineError::Folded => Self::Folded,
            LineError::Name => Self::Name,
            LineError::Value => Self::Value,
            LineError::NoColon => Self::NoColon,
        }
    }
}

/// Why a sandbox's response is not passed on. The text is for the log; visitors are told only that it was not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The first line is no status line: another protocol, HTTP/0.9, an impossible status.
    #[error("the first line is not a status line")]
    StatusLine,
    /// A line that ends in LF without CR, a folded field, a bad name or value.
    #[error("a header line is malformed")]
    Field,
    /// A `Content-Length` that is repeated or is not a number.
    #[error("Content-Length is malformed")]
    ContentLength,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("both Content-Length and Transfer-Encoding are present")]
    LengthAndCoding,
    /// A transfer coding other than exactly `chunked` with HTTP/1.1.
    #[error("the transfer encoding is not supported")]
    Coding,
    /// A limit of the headers were exceeded.
    #[error("the headers are too large")]
    TooLarge,
}

impl ResponseError {
    /// The reason, for the log.
    pub fn reason(self) -> String {
        self.to_string()
    }
}

impl From<LineError> for ResponseError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::HeadersTooLarge | LineError::TooManyFields | LineError::LineTooLong => {
                Self::TooLarge
            }
            LineError::BareLf
            | LineError::Folded
            | LineError::Name
            | LineError::Value
            | LineError::NoColon => Self::Field,
        }
    }
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A chunk's size line is malformed, or its data is not followed by CRLF.
    #[error("a chunk is malformed")]
    Chunk,
    /// Chunk extensions exceed their limit.
    #[error("chunk extensions are too long")]
    Extensions,
    /// The trailer section is malformed or too large.
    #[error("the trailers are malformed")]
    Trailers,
    /// The connection ended before the body did.
    #[error("the body ended early")]
    Truncated,
}
