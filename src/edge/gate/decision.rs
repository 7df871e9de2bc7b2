//! What `decide` can say.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::RefusalReason;
use crate::model::{Profile, Protocol, SandboxId, ShareId, TokenId, TokenScope};
use crate::routing::{Found, Route, TenantView};

/// Settings of the gate.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Ports that are refused on every sandbox.
    pub forbidden_ports: Vec<u16>,
    /// All that is served, where that is one port of one sandbox: everything else is not found, whatever it is.
    pub only: Option<(SandboxId, u16)>,
    /// Whether strangers are told the same of a private preview and of one that is not there.
    pub hide_names: bool,
}

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
    /// Approve a preflight (CORS), here and without asking anybody. About a sandbox, if there is one.
    Approve(Option<Subject>),
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
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
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
    /// How the response is kept from other origins' pages.
    pub isolation: Isolation,
    /// Whether only those embed the response whom the tenant names one by one, and not all that is below its domain.
    pub narrow_framing: bool,
    /// What the browser is told besides, if it may have known the host's former holder.
    pub takeover: Option<Box<Takeover>>,
    /// The request wants to switch protocols.
    pub upgrade: bool,
}

/// How a response is kept from the pages of other origins. Browsers share their caches between all previews of a zone, so what the
/// preview's own page has loaded must not be another's to load again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// It is not: whoever has the link, or anybody, may load it.
    None,
    /// It came by session: browsers give it to its own origin only, unless the app says otherwise.
    SameOrigin,
    /// The same, but this once another origin may have it. It is not kept.
    NoStore,
}

/// What a browser is told that may have known the host's former holder.
#[derive(Debug, Default)]
pub struct Takeover {
    /// Values of `Set-Cookie`, before the app's own.
    pub cookies: Vec<String>,
    /// Whether its storage and cache are cleared: where the mark is sure to be kept, so that it happens once.
    pub clears: bool,
}

/// What access rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The port is public, whoever asks and whatever token they have.
    Public,
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
            Self::Public => None,
            Self::Token { scope, .. } | Self::Share { scope, .. } => Some(*scope),
        }
    }

    /// The share link it is.
    pub fn share(&self) -> Option<ShareId> {
        match self {
            Self::Share { id, .. } => Some(*id),
            Self::Public | Self::Token { .. } => None,
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
    /// Remove every cookie, not only ours.
    pub cookies: bool,
    /// Remove these elements (ours) from `Sec-WebSocket-Protocol`.
    pub subprotocols: Vec<String>,
    // `x-miosa-preview-token`, our cookie pair and a Referer's credential are always removed, by name; no flag needed.
}

/// A session to set.
#[derive(Debug)]
pub struct SignIn {
    /// `Set-Cookie` value; `None` where a session is kept that is worth no less.
    pub cookie: Option<String>,
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
    /// What it is about, for the log, if there is anything.
    pub subject: Option<Subject>,
    /// Whose face its errors wear.
    pub tenant: Option<Arc<TenantView>>,
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

impl Found {
    pub(super) fn subject(&self) -> Subject {
        Subject { route: Arc::clone(&self.route), port: self.port }
    }

    /// A refusal. Only where `is_known` may the visitor learn what it was about.
    pub(super) fn refuse(&self, reason: RefusalReason, is_known: bool) -> Decision {
        let tenant = Some(Arc::clone(&self.tenant));
        Decision::Refuse(Refusal { reason, tenant, about: Some(self.subject()), is_known })
    }
}
