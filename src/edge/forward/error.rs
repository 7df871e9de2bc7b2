//! Everything that can go wrong on the way to a sandbox, and what a visitor is told of it.

use std::time::Duration;

use http::StatusCode;

use crate::base::failure::{Blame, Face, Failure, Recovery};
use crate::edge::body::BodyError;
use crate::edge::limits::OVERLOADED;
use crate::edge::upstream::{DialError, ExchangeError};
use crate::edge::wire::RequestError;

/// Why a request could not be carried to its sandbox and back.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection came about.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A connection was there; no usable response came.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The sandbox agreed to a protocol switch in a way that does not match the request.
    #[error("the sandbox's upgrade does not match the request")]
    BadSwitch,
    /// A protocol switch was asked of a port that speaks HTTP/2, which has none.
    #[error("an h2c port does not support upgrades")]
    NoSwitch,
}

const RETRY: Recovery = Recovery::Reload { after: Duration::from_secs(1) };

const fn sandbox(
    status: StatusCode,
    label: &'static str,
    title: &'static str,
    text: &'static str,
) -> Face {
    Face { status, label, title, text, blame: Blame::Sandbox, recovery: RETRY }
}

static NOTHING_LISTENING: Face = sandbox(
    StatusCode::BAD_GATEWAY,
    "nothing_listening",
    "Nothing is listening on {port} yet",
    "The app has not been started, or it uses another port.",
);
static NO_TLS: Face = Face {
    status: StatusCode::BAD_GATEWAY,
    label: "no_tls",
    title: "The app does not use HTTPS on {port}",
    text: "It was published as https, and the TLS handshake failed.",
    blame: Blame::Sandbox,
    recovery: Recovery::None,
};
static NO_H2C: Face = Face {
    status: StatusCode::BAD_GATEWAY,
    label: "no_h2c",
    title: "The app does not use HTTP/2 on {port}",
    text: "It was published as h2c, and its response is not HTTP/2.",
    blame: Blame::Sandbox,
    recovery: Recovery::None,
};
static NO_SWITCH: Face = Face {
    status: StatusCode::NOT_IMPLEMENTED,
    label: "no_upgrade",
    title: "WebSockets do not work on {port}",
    text: "It was published as h2c, which does not support upgrades.",
    blame: Blame::Visitor,
    recovery: Recovery::None,
};
static UNREACHABLE: Face = sandbox(
    StatusCode::BAD_GATEWAY,
    "sandbox_unreachable",
    "This preview cannot be reached",
    "The machine behind it does not respond.",
);
static CONNECT_TIMEOUT: Face = sandbox(
    StatusCode::GATEWAY_TIMEOUT,
    "connect_timeout",
    "This preview cannot be reached in time",
    "The machine behind it did not accept a connection in time.",
);
static FIRST_BYTE_TIMEOUT: Face = Face {
    status: StatusCode::GATEWAY_TIMEOUT,
    label: "response_timeout",
    title: "The app takes too long to respond",
    text: "It accepted the request and did not respond in time.",
    blame: Blame::Sandbox,
    recovery: Recovery::None,
};
static CLOSED: Face = sandbox(
    StatusCode::BAD_GATEWAY,
    "connection_closed",
    "The app closed the connection",
    "It did so before it responded. It may have crashed or be restarting.",
);
static BAD_RESPONSE: Face = Face {
    status: StatusCode::BAD_GATEWAY,
    label: "bad_response",
    title: "The app sent an invalid response",
    text: "It is not valid HTTP. Perhaps {port} serves something other than a web app.",
    blame: Blame::Sandbox,
    recovery: Recovery::None,
};
static FORBIDDEN_ADDRESS: Face = Face {
    status: StatusCode::BAD_GATEWAY,
    label: "address_forbidden",
    title: "This preview cannot be reached",
    text: "Its address is outside the networks that previews may use.",
    blame: Blame::Sandbox,
    recovery: Recovery::None,
};
static BODY_BROKEN: Face = Face {
    status: StatusCode::BAD_REQUEST,
    label: "request_body_broken",
    title: "The request was incomplete",
    text: "The connection closed before all of it was sent. Send it again.",
    blame: Blame::Visitor,
    recovery: Recovery::None,
};
static BODY_STALLED: Face = Face {
    status: StatusCode::REQUEST_TIMEOUT,
    label: "request_body_timeout",
    title: "The request took too long",
    text: "It stopped in the middle for too long. Send it again.",
    blame: Blame::Limit,
    recovery: Recovery::None,
};

impl Failure for ForwardError {
    fn face(&self) -> &'static Face {
        match self {
            Self::Dial(DialError::Refused(_)) => &NOTHING_LISTENING,
            Self::Dial(
                DialError::NoAddress | DialError::Resolve(_) | DialError::Unreachable(_),
            ) => &UNREACHABLE,
            Self::Dial(DialError::Forbidden) => &FORBIDDEN_ADDRESS,
            Self::Dial(DialError::Tls(_)) => &NO_TLS,
            Self::Dial(DialError::TimedOut) => &CONNECT_TIMEOUT,
            Self::Dial(DialError::Exhausted(_)) => &OVERLOADED,
            Self::Exchange(
                ExchangeError::ClosedBeforeResponse(_)
                | ExchangeError::ClosedInHeaders(_)
                | ExchangeError::Http2(_),
            ) => &CLOSED,
            Self::Exchange(
                ExchangeError::BadResponse(_)
                | ExchangeError::TooManyInterim
                | ExchangeError::Malformed(_)
                | ExchangeError::BadStatus
                | ExchangeError::HeadersTooLarge
                | ExchangeError::BadLength,
            )
            | Self::BadSwitch => &BAD_RESPONSE,
            Self::Exchange(ExchangeError::NotHttp2(_)) => &NO_H2C,
            Self::Exchange(ExchangeError::Unsayable) => RequestError::Target.face(),
            Self::NoSwitch => &NO_SWITCH,
            Self::Exchange(ExchangeError::TimedOut) => &FIRST_BYTE_TIMEOUT,
            Self::Exchange(ExchangeError::Request(BodyError::Stalled)) => &BODY_STALLED,
            Self::Exchange(ExchangeError::Request(_)) => &BODY_BROKEN,
        }
    }
}
