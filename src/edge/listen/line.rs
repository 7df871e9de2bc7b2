//! What all requests of one connection have in common.

use std::rc::Rc;

use crate::edge::body::Payload;
use crate::edge::identity::Identity;
use crate::edge::message::{Framing, Interim, RequestParts};
use crate::edge::visitor::Arriving;
use crate::model::certificate::Shown;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Who is at the other end.
    pub(super) identity: Identity,
    /// What a TLS handshake showed the visitor.
    pub(super) shown: Option<Rc<Shown>>,
    /// Where a visitor of a connection that only leads on to https is sent: the port there.
    pub(super) leads_to: Option<u16>,
}

impl Line {
    /// A request of this connection.
    pub(super) fn arriving(
        &self,
        parts: RequestParts,
        (framing, body): (Framing, Payload),
        interim: Interim,
    ) -> Arriving {
        let (peer, secure) = self.identity.of_request(&parts.headers);
        Arriving { parts, framing, body, peer, secure, shown: self.shown.clone(), interim }
    }
}
