//! Why a visit can be refused, and what a stranger reads then.

use std::time::Duration;

use http::StatusCode;

use crate::base::failure::{Blame, Face, Failure, Recovery};

/// Why a visit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.face().label)]
pub enum RefusalReason {
    /// The authority is not well formed.
    BadHost,
    /// The connection was made for a host of another certificate (RFC 9110 section 15.5.20).
    Misdirected,
    /// TRACE or CONNECT.
    MethodNotAllowed,
    /// A malformed or doubled credential (two different values of one carrier).
    BadCredential,
    /// A body for our own endpoint that is too long for a token, or did not arrive whole.
    NotAToken,
    /// An upgrade that is not a bodyless HTTP/1.1 GET, or a WebSocket handshake with a wrong version or key.
    BadUpgrade,
    /// It has been through here before: the sandbox leads back to us.
    Loop,
    /// Tables not loaded yet.
    NotReady,
    /// No such zone, label, slug, id or custom domain; or a sandbox of another tenant. One response for all.
    NotFound,
    /// The operator has taken it down (RFC 7725).
    Blocked,
    /// The operator has suspended its tenant.
    Suspended,
    /// The port may not be previewed.
    PortForbidden,
    /// A private port and no credential.
    SignInNeeded,
    /// A link that was opened in a frame, in a browser that keeps no cookie there.
    CookiesBlocked,
    /// A credential that does not verify.
    InvalidToken,
    /// It verified but has expired.
    TokenExpired,
    /// It was revoked, by itself or with all of its sandbox.
    TokenRevoked,
    /// A share link whose time is over.
    ShareExpired,
    /// A share link that was revoked.
    ShareRevoked,
    /// It opens another sandbox or another port.
    WrongSubject,
    /// Its scope does not allow this method.
    InsufficientScope,
    /// A cookie-authenticated upgrade or unsafe method from a foreign origin.
    ForeignOrigin,
    /// The sandbox is being made.
    Starting,
    /// The sandbox is paused.
    Paused,
    /// The sandbox is being woken.
    Waking,
    /// It would be woken, but its tenant's sandboxes have been woken often enough for now.
    WakesSpent,
    /// The sandbox is stopped or broken.
    NotRunning,
}

impl Failure for RefusalReason {
    #[expect(clippy::too_many_lines, reason = "a table: one entry a reason")]
    fn face(&self) -> &'static Face {
        const fn visitor(
            status: StatusCode,
            label: &'static str,
            title: &'static str,
            text: &'static str,
        ) -> Face {
            Face { status, label, title, text, blame: Blame::Visitor, recovery: Recovery::None }
        }
        /// Of the sandbox, which may be back by itself: the page looks again after so many seconds.
        const fn sandbox(
            status: StatusCode,
            label: &'static str,
            title: &'static str,
            text: &'static str,
            seconds: u64,
        ) -> Face {
            let recovery = Recovery::Reload { after: Duration::from_secs(seconds) };
            Face { status, label, title, text, blame: Blame::Sandbox, recovery }
        }
        const fn credential(
            status: StatusCode,
            label: &'static str,
            title: &'static str,
            text: &'static str,
        ) -> Face {
            Face {
                status,
                label,
                title,
                text,
                blame: Blame::Visitor,
                recovery: Recovery::NewCredential,
            }
        }
        match self {
            Self::BadHost => {
                const F: Face = visitor(
                    StatusCode::BAD_REQUEST,
                    "bad_host",
                    "This address is not valid",
                    "Check the address for typing mistakes.",
                );
                &F
            }
            Self::Misdirected => {
                const F: Face = visitor(
                    StatusCode::MISDIRECTED_REQUEST,
                    "misdirected",
                    "This connection is for another site",
                    "It was opened for another address. Reload the page.",
                );
                &F
            }
            Self::MethodNotAllowed => {
                const F: Face = visitor(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "This method is not available here",
                    "Previews do not serve this kind of request.",
                );
                &F
            }
            Self::BadCredential => {
                const F: Face = visitor(
                    StatusCode::BAD_REQUEST,
                    "bad_credential",
                    "This link is not valid",
                    "It carries its access token more than once. Open the original link again.",
                );
                &F
            }
            Self::NotAToken => {
                const F: Face = visitor(
                    StatusCode::BAD_REQUEST,
                    "not_a_token",
                    "This is not a token",
                    "The body of this request must be a preview token and nothing else.",
                );
                &F
            }
            Self::BadUpgrade => {
                const F: Face = visitor(
                    StatusCode::BAD_REQUEST,
                    "bad_upgrade",
                    "This connection cannot be opened",
                    "The upgrade request is malformed.",
                );
                &F
            }
            Self::Loop => {
                const F: Face = Face {
                    status: StatusCode::LOOP_DETECTED,
                    label: "loop_detected",
                    title: "This preview leads back to itself",
                    text: "Its address is one of this service's own.",
                    blame: Blame::Sandbox,
                    recovery: Recovery::None,
                };
                &F
            }
            Self::NotReady => {
                const F: Face = Face {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    label: "not_ready",
                    title: "Just a moment",
                    text: "Previews are starting up and will be back in a few seconds.",
                    blame: Blame::Proxy,
                    recovery: Recovery::Reload { after: Duration::from_secs(1) },
                };
                &F
            }
            Self::NotFound => {
                const F: Face = visitor(
                    StatusCode::NOT_FOUND,
                    "not_found",
                    "There is no preview here",
                    "The link may be wrong, or what it showed has been removed.",
                );
                &F
            }
            Self::Blocked => {
                const F: Face = visitor(
                    StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
                    "blocked",
                    "This preview is not available",
                    "It has been taken down by the operator of this service.",
                );
                &F
            }
            Self::Suspended => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "suspended",
                    "This preview is suspended",
                    "The account that it belongs to is suspended.",
                );
                &F
            }
            Self::PortForbidden => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "port_forbidden",
                    "This port cannot be previewed",
                    "Serve the app on another port.",
                );
                &F
            }
            Self::SignInNeeded => {
                const F: Face = credential(
                    StatusCode::UNAUTHORIZED,
                    "sign_in_needed",
                    "This preview is private",
                    "Open it from where it was shared with you, or ask for a link. It may also have been removed.",
                );
                &F
            }
            Self::CookiesBlocked => {
                const F: Face = Face {
                    status: StatusCode::UNAUTHORIZED,
                    label: "cookies_blocked",
                    title: "Your browser blocks cookies in embedded pages",
                    text: "This preview needs a cookie to keep you signed in. You can allow it here, or open the preview in a new tab.",
                    blame: Blame::Visitor,
                    recovery: Recovery::StorageAccess,
                };
                &F
            }
            Self::InvalidToken => {
                const F: Face = credential(
                    StatusCode::UNAUTHORIZED,
                    "invalid_token",
                    "This link does not work",
                    "Its access token is not valid. Ask for a new link.",
                );
                &F
            }
            Self::TokenExpired => {
                const F: Face = credential(
                    StatusCode::UNAUTHORIZED,
                    "token_expired",
                    "Your session has expired",
                    "Go back to where you opened this preview and open it again.",
                );
                &F
            }
            Self::TokenRevoked => {
                const F: Face = credential(
                    StatusCode::UNAUTHORIZED,
                    "token_revoked",
                    "Access to this preview has ended",
                    "Whoever shared it has revoked access. Ask them for a new link.",
                );
                &F
            }
            Self::ShareExpired => {
                const F: Face = credential(
                    StatusCode::GONE,
                    "share_expired",
                    "This link has expired",
                    "It worked for a limited time only. Ask whoever shared it with you for a new one.",
                );
                &F
            }
            Self::ShareRevoked => {
                const F: Face = credential(
                    StatusCode::FORBIDDEN,
                    "share_revoked",
                    "This link has been revoked",
                    "Whoever shared it has turned it off. Ask them for a new one.",
                );
                &F
            }
            Self::WrongSubject => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "This link is for another preview",
                    "It does not open this one.",
                );
                &F
            }
            Self::InsufficientScope => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "insufficient_scope",
                    "This preview is read-only for you",
                    "You can look at it, but not send or change anything. Ask whoever shared it for a link that allows more.",
                );
                &F
            }
            Self::ForeignOrigin => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "foreign_origin",
                    "This request came from another site",
                    "Another site tried to use your access to this preview. The request was blocked.",
                );
                &F
            }
            Self::Starting => {
                const F: Face = sandbox(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "sandbox_starting",
                    "Your preview is starting",
                    "It will be ready in a moment.",
                    2,
                );
                &F
            }
            Self::Paused => {
                const F: Face = sandbox(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "sandbox_paused",
                    "This preview is paused",
                    "It continues when its owner resumes it.",
                    5,
                );
                &F
            }
            Self::Waking => {
                const F: Face = sandbox(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "sandbox_waking",
                    "Your preview is waking up",
                    "It was paused, and is being resumed.",
                    2,
                );
                &F
            }
            Self::WakesSpent => {
                const F: Face = Face {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    label: "wakes_spent",
                    title: "This preview cannot be resumed right now",
                    text: "Too many previews have been resumed in a short time. Try again in a minute.",
                    blame: Blame::Limit,
                    recovery: Recovery::RetryAfter(Duration::from_mins(1)),
                };
                &F
            }
            Self::NotRunning => {
                // Nobody can say when: a page that waits would promise too much.
                const F: Face = Face {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    label: "sandbox_not_running",
                    title: "This preview is not running",
                    text: "It has been stopped. Its owner can start it again.",
                    blame: Blame::Sandbox,
                    recovery: Recovery::None,
                };
                &F
            }
        }
    }
}
