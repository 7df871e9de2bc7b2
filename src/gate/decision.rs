//! What `decide` can say.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;

use crate::fault::{Blame, Face, Fault, Recovery};
use crate::model::{Profile, Protocol, SandboxId, ShareId, TokenId, TokenScope};
use crate::routes::{Route, TenantView};

/// The verdict on a visit.
#[derive(Debug)]
pub enum Decision {
    /// Forward it.
    Forward(Box<Plan>),
    /// Set the session cookie and redirect (303) to the same URL without the credential.
    SignIn(SignIn),
    /// Redirect (307) to the canonical preview host (`preview.<zone>/p/{id}`), keeping the credential.
    Moved(Moved),
    /// Answer for our own endpoint.
    Session(Box<Session>),
    /// A neutral 200 without a session for link unfurlers and prefetchers that carry a query credential, and for HEAD.
    Neutral(Subject),
    /// Refuse it.
    Refuse(Refusal),
}

/// Everything the forwarder needs.
#[derive(Debug)]
pub struct Plan {
    /// The sandbox.
    pub route: Arc<Route>,
    /// Its tenant.
    pub tenant: Arc<TenantView>,
    /// The port.
    pub port: u16,
    /// What the access rests on; re-judged while the exchange is open.
    pub grant: Grant,
    /// The share link that the visitor came by, if any: on a public port too, where access does not rest on it.
    pub share: Option<ShareId>,
    /// Whether the link itself was opened, and not what it leads to.
    pub opens_link: bool,
    /// How the request is presented to the app.
    pub profile: Profile,
    /// How the app is spoken to.
    pub protocol: Protocol,
    /// Whether it came with a credential that holds, needed or not.
    pub by_credential: bool,
    /// What must be taken out before forwarding.
    pub strip: Strip,
    /// `Set-Cookie` value to add to the answer (a query credential on something that is no navigation).
    pub session_cookie: Option<String>,
    /// The request wants to switch protocols.
    pub upgrade: bool,
}

/// What access rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The port is public, whoever asks and whatever token they have.
    Public,
    /// A preflight (CORS) from the sandbox's own or the tenant's origins, which carries no credential by design.
    Preflight,
    /// A verified preview token.
    Token {
        /// `jti`.
        id: TokenId,
        /// The generation it was minted under.
        generation: u64,
        /// When it expires.
        expires_at: Timestamp,
        /// What it allows.
        scope: TokenScope,
    },
    /// A share link.
    Share {
        /// Which.
        id: ShareId,
        /// When it ends by itself; `None` = never.
        expires_at: Option<Timestamp>,
        /// What it allows.
        scope: TokenScope,
    },
}

impl Grant {
    /// What it allows; `None` = everything.
    pub fn scope(&self) -> Option<TokenScope> {
        match self {
            Self::Public | Self::Preflight => None,
            Self::Token { scope, .. } | Self::Share { scope, .. } => Some(*scope),
        }
    }

    /// The share link it is.
    pub fn share(&self) -> Option<ShareId> {
        match self {
            Self::Share { id, .. } => Some(*id),
            Self::Public | Self::Preflight | Self::Token { .. } => None,
        }
    }
}

/// What of ours a request carries. `forward` removes exactly this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strip {
    /// The target without our query parameters, if it had any; every other byte as it was.
    pub target: Option<Bytes>,
    /// Remove the `Authorization` field.
    pub authorization: bool,
    /// Remove these elements (ours) from `Sec-WebSocket-Protocol`.
    pub subprotocols: Vec<String>,
    // `x-miosa-preview-token`, our cookie pair and a Referer's credential are always removed, by name; no flag needed.
}

/// A session to set.
#[derive(Debug)]
pub struct SignIn {
    /// `Set-Cookie` value.
    pub cookie: String,
    /// `Location`: path and query of this request without the credential, or with it under the name of a link that comes back. Starts with exactly one `/`, never `//` or `/\`.
    pub location: Bytes,
    /// What it opens, for the log.
    pub subject: Subject,
    /// The share link that it is, if it is one and is opened now: not when it comes back to show that the session was kept.
    pub share: Option<ShareId>,
}

/// A sandbox and a port of it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The sandbox.
    pub route: Arc<Route>,
    /// The port.
    pub port: u16,
}

/// What our own endpoint answers.
#[derive(Debug)]
pub struct Session {
    /// What it is about, for the log.
    pub subject: Subject,
    /// Its tenant.
    pub tenant: Arc<TenantView>,
    /// Whether the page that asks may read the answer: its `Origin` is one that may embed the preview.
    pub readable: bool,
    /// What it says.
    pub says: Says,
}

/// See [`Session`].
#[derive(Debug, PartialEq, Eq)]
pub enum Says {
    /// A page may ask (the answer to a preflight).
    Approved,
    /// The session is renewed.
    Renewed {
        /// `Set-Cookie` value.
        cookie: String,
        /// What may stay open longer by it.
        renewal: Option<Renewal>,
    },
    /// How the session stands.
    Standing {
        /// Whether the port needs none.
        public: bool,
        /// Until when the session that came holds (`None`: it has no end), or why it does not; `None` when no cookie came.
        cookie: Option<Result<Option<Timestamp>, RefusalReason>>,
    },
    /// No.
    Refused(RefusalReason),
}

/// What is open under one token goes on under another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The port.
    pub port: u16,
    /// The visitor's address.
    pub peer: IpAddr,
    /// The token of the session that the request came with.
    pub former: TokenId,
    /// What access rests on from now on.
    pub grant: Grant,
}

/// Another host.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// `Location`, absolute.
    pub location: String,
}

/// A refusal and what the page may say about its subject.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// Whose face the page wears, when the host belongs to somebody.
    pub tenant: Option<Arc<TenantView>>,
    /// What it was about, if that is known. For the log: a stranger must not learn that it exists.
    pub about: Option<Subject>,
    /// Whether the visitor may know of it.
    pub is_known: bool,
}

impl Refusal {
    /// What a page may say it was about.
    pub fn subject(&self) -> Option<&Subject> {
        self.about.as_ref().filter(|_| self.is_known)
    }
}

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
    /// Tables not loaded yet.
    NotReady,
    /// No such zone, label, slug, id or custom domain; or a sandbox of another tenant. One answer for all.
    NotFound,
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
    /// A share link that was withdrawn.
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
    /// The sandbox is stopped or broken.
    NotRunning,
}

impl Fault for RefusalReason {
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
                    "This connection leads elsewhere",
                    "It was made for another address. Reload the page.",
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
                    "This is no token",
                    "The body of this request must be a preview token and nothing else.",
                );
                &F
            }
            Self::BadUpgrade => {
                const F: Face = visitor(
                    StatusCode::BAD_REQUEST,
                    "bad_upgrade",
                    "This connection cannot be opened",
                    "The request to switch protocols is not well formed.",
                );
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
                    "Open it from the place that shared it with you, or ask for a link.",
                );
                &F
            }
            Self::CookiesBlocked => {
                const F: Face = Face {
                    status: StatusCode::UNAUTHORIZED,
                    label: "cookies_blocked",
                    title: "Your browser keeps no session here",
                    text: "It blocks cookies of pages that are shown inside other sites. You can allow them for this preview, or open it in a tab of its own.",
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
                    "Whoever shared it has withdrawn access. Ask them for a new link.",
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
                    "This link was withdrawn",
                    "Whoever shared it no longer does. Ask them for a new one.",
                );
                &F
            }
            Self::WrongSubject => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "forbidden",
                    "This link opens something else",
                    "Your access is for another preview than this one.",
                );
                &F
            }
            Self::InsufficientScope => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "insufficient_scope",
                    "You can look, but not change anything",
                    "Your access to this preview is read-only.",
                );
                &F
            }
            Self::ForeignOrigin => {
                const F: Face = visitor(
                    StatusCode::FORBIDDEN,
                    "foreign_origin",
                    "This request came from another site",
                    "Another site tried to use your access to this preview. It was stopped.",
                );
                &F
            }
            Self::Starting => {
                const F: Face = Face {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    label: "sandbox_starting",
                    title: "Your preview is starting",
                    text: "This page opens it as soon as it is ready.",
                    blame: Blame::Sandbox,
                    recovery: Recovery::Reload { after: Duration::from_secs(2) },
                };
                &F
            }
            Self::Paused => {
                const F: Face = Face {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    label: "sandbox_paused",
                    title: "This preview is paused",
                    text: "It continues when its owner resumes it. This page opens it then.",
                    blame: Blame::Sandbox,
                    recovery: Recovery::Reload { after: Duration::from_secs(5) },
                };
                &F
            }
            Self::NotRunning => {
                const F: Face = Face {
                    status: StatusCode::BAD_GATEWAY,
                    label: "sandbox_not_running",
                    title: "This preview is not running",
                    text: "It has been stopped. Its owner can start it again.",
                    blame: Blame::Sandbox,
                    recovery: Recovery::Reload { after: Duration::from_secs(5) },
                };
                &F
            }
        }
    }
}
