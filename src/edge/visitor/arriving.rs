//! A request as it comes from a connection, whatever the protocol.

use std::rc::Rc;

use crate::edge::body::Payload;
use crate::edge::identity::Peer;
use crate::edge::message::{Framing, Interim, RequestParts};
use crate::model::certificate::Shown;

/// A request as it comes from a connection.
#[derive(Debug)]
pub struct Arriving {
    /// Its headers.
    pub parts: RequestParts,
    /// How its body is framed.
    pub framing: Framing,
    /// Its body.
    pub body: Payload,
    /// Who it is from.
    pub peer: Rc<Peer>,
    /// Whether the connection is secure.
    pub secure: bool,
    /// What a TLS handshake of ours showed the visitor.
    pub shown: Option<Rc<Shown>>,
    /// Where interim responses go.
    pub interim: Interim,
}
