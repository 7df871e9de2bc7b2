//! What is counted, by kind: the words that the parts use to tell of it.

/// Who gave a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The app in the sandbox.
    App,
    /// Ourselves.
    Proxy,
}

impl Source {
    /// The label value, also `X-Preview-Source`.
    pub fn label(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Proxy => "proxy",
        }
    }
}

/// How a connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// A TLS handshake with a certificate.
    Full,
    /// A TLS session resumed.
    Resumed,
    /// It came to nothing: TLS failed, or took too long, or a front did not say for whom it came.
    Failed,
}

/// How an attempt to tell a webhook went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It was taken.
    Delivered,
    /// It failed and will be repeated.
    Retried,
    /// It failed for good.
    GivenUp,
}

/// A limit of previews that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// Requests under way at one sandbox: refused.
    Requests,
    /// Sockets open at one sandbox: refused.
    Sockets,
    /// Requests a second at one sandbox: refused.
    Rate,
    /// Requests a second of one address: refused.
    Address,
    /// The memory of the whole process: refused.
    Memory,
    /// Bytes a second at one sandbox: made to wait.
    Bandwidth,
}
