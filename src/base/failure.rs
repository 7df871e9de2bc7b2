//! What every error of the program must be able to say: who is to blame, and what a stranger may read.

use std::time::Duration;

use http::StatusCode;

/// Who caused an error. It is the metric label and decides the log level:
/// visitor = debug, limit = info, sandbox = warn, proxy = error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The visitor's request cannot be served as it was sent.
    Visitor,
    /// The sandbox is absent, silent, or sends what is not HTTP.
    Sandbox,
    /// A configured limit or deadline was reached.
    Limit,
    /// Our own failure: somebody should wake up.
    Proxy,
}

impl Blame {
    /// The metric label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Sandbox => "sandbox",
            Self::Limit => "limit",
            Self::Proxy => "proxy",
        }
    }
}

/// What a page may offer the visitor as the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing the visitor can do from here.
    None,
    /// A fresh link or token is needed; an embedding page is told by `postMessage`.
    NewCredential,
    /// The browser must be allowed to keep a session in a frame; the page asks for it, or opens itself in a tab of its own. An embedding
    /// page is told by `postMessage`.
    StorageAccess,
    /// The page probes the same URL and reloads itself when the app responds.
    /// `after` is sent as `Retry-After`.
    Reload {
        /// The first delay before probing.
        after: Duration,
    },
    /// The visitor may try again after this long; sent as `Retry-After`, no automatic reload.
    RetryAfter(Duration),
}

/// The public face of an error: all that a stranger ever learns of it, besides the request id.
#[derive(Debug, PartialEq, Eq)]
pub struct Face {
    /// The status of the response.
    pub status: StatusCode,
    /// Stable code: `X-Preview-Error`, the JSON `error.code`, and the metric label.
    pub label: &'static str,
    /// A page's heading, for the visitor, without a full stop.
    pub title: &'static str,
    /// One or two plain sentences below the heading.
    pub text: &'static str,
    /// Who caused it.
    pub blame: Blame,
    /// What can be done.
    pub recovery: Recovery,
}

/// An error that can be shown to a stranger. Deliberately not implemented for `anyhow::Error` or
/// boxed errors: what a stranger reads is written down, never a `Display` of something else.
pub trait Failure: std::error::Error {
    /// The public face. A new variant does not compile until it has one.
    fn face(&self) -> &'static Face;
}
