//! Where a credential may ride, and how each carrier is read and stripped byte for byte.

use std::sync::Arc;

use crate::token::{Claims, KeyRing, TokenError, Verifier};

/// The session cookie on secure connections and on loopback names that browsers treat as secure.
pub const SESSION_COOKIE: &str = "__Host-preview";

/// Where a credential rode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The query string.
    Query,
    /// `x-miosa-preview-token`.
    Header,
    /// `Authorization: Bearer`.
    Bearer,
    /// An element of `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// Our cookie.
    Cookie,
}

/// A credential found on a request, not judged yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it rode.
    pub carrier: Carrier,
    /// The token, `mp_…`.
    pub token: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

/// The verified verdicts on a visit's credentials, in the same order.
#[derive(Debug, Default)]
pub struct Evidence(pub Vec<Result<Arc<Claims>, TokenError>>);

impl Evidence {
    /// Verifies every credential through a worker's cache.
    pub fn gather(_credentials: &[Credential], _ring: &KeyRing, _verifier: &mut Verifier) -> Self {
        todo!("gate helper")
    }
}
