//! What is counted, by kind: the words that the parts use to tell of it.

/// Who gave an answer.
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

/// What became of a visit that could wake a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// It began a start.
    Started,
    /// A start that somebody waited for succeeded.
    Woken,
    /// It did not.
    Failed,
    /// Too many wait already.
    Full,
    /// The tenant's budget is spent.
    Spent,
}

/// What became of a command of the operator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandResult {
    /// It did what it was asked.
    Done,
    /// It did not, or said so in a way that makes no sense.
    Failed,
    /// It did not in time.
    TimedOut,
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
    /// Octets a second at one sandbox: made to wait.
    Bandwidth,
}
