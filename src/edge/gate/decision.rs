//! What `decide` can say.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::RefusalReason;
use crate::model::{Profile, Protocol, SandboxId, ShareId, TokenId, TokenScope};
use crate::routing::{Route, TenantView};

/// The verdict on a visit.
#[derive(Debug)]
pub enum Decision {
    /// Forward it.
    Forward(Box<Plan>),
    /// Set the session cookie and redirect (303) to the same URL without the credential.
    SignIn(SignIn),
    /// Redirect (307) to the canonical preview host (`preview.<zone>/p/{id}`), keeping the credential.
    Moved(Moved),
    /// A response of our own endpoint.
    Session(Box<Session>),
    /// A neutral 200 without a session for link unfurlers and prefetchers that carry a query credential, and for HEAD.
    Neutral(Subject),
    /// Wake the sandbox, then judge again.
    Wake(Box<Wake>),
    /// Refuse it.
    Refuse(Refusal),
}

/// A visit for which a paused sandbox is worth waking: it passed every check but that of the sandbox's state.
#[derive(Debug)]
pub struct Wake {
    /// What is to be woken.
    pub subject: Subject,
    /// Whose it is.
    pub tenant: Arc<TenantView>,
    /// By whom, for the log.
    pub by: WokenBy,
}

/// What the visitor showed who wakes a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WokenBy {
    /// Nothing: the port is public.
    Anyone,
    /// A token.
    Token(TokenId),
    /// A share link.
    Share(ShareId),
}

impl Wake {
    /// A refusal that says why it does not serve. Whoever may wake a sandbox may know of it.
    pub fn refuse(&self, reason: RefusalReason) -> Refusal {
        let (tenant, about) = (Some(Arc::clone(&self.tenant)), Some(self.subject.clone()));
        Refusal { reason, tenant, about, is_known: true }
    }
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
    /// `Set-Cookie` value to add to the response (a query credential on something that is no navigation).
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

/// What our own endpoint says.
#[derive(Debug)]
pub struct Session {
    /// What it is about, for the log.
    pub subject: Subject,
    /// Its tenant.
    pub tenant: Arc<TenantView>,
    /// Whether the page that asks may read the response: its `Origin` is one that may embed the preview.
    pub readable: bool,
    /// What it says.
    pub says: Says,
}

/// See [`Session`].
#[derive(Debug, PartialEq, Eq)]
pub enum Says {
    /// A page may ask (the response to a preflight).
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
