//! A request as the gate sees it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::message::RequestHead;

use super::{Carrier, Credential, RefusalReason};

/// Facts about how a request arrived that are not in its head.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The visitor's address.
    pub peer: IpAddr,
    /// Whether it came by TLS (or a trusted front said so).
    pub secure: bool,
    /// The port visitors use to reach us, for URLs we build.
    pub public_port: u16,
    /// Whether the request has a body.
    pub has_body: bool,
}

/// What a request is for, from `Sec-Fetch-*`, `Accept`, `Purpose`, `Upgrade`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A document is being opened, at the top or in a frame.
    Navigation,
    /// A browser fetches ahead of the visitor, or a program makes a link preview.
    Prefetch,
    /// A protocol switch that is a WebSocket handshake.
    WebSocket,
    /// Any other protocol switch.
    OtherUpgrade,
    /// Anything else.
    Fetch,
}

/// A request, read.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The head.
    pub head: &'a RequestHead,
    /// How it arrived.
    pub arrival: Arrival,
    /// The host asked for, well formed, lower case.
    pub authority: crate::host::Authority,
    /// What it is for.
    pub intent: Intent,
    /// The credentials found, explicit ones (query, header, subprotocol) before the cookie.
    pub credentials: Vec<Credential>,
}

impl<'a> Visit<'a> {
    /// Reads a request head. Refuses what is malformed in itself: host, methods, upgrades, doubled credentials.
    pub fn read(_head: &'a RequestHead, _arrival: Arrival) -> Result<Self, RefusalReason> {
        let _ = (Arc::<u8>::new(0), Carrier::Query);
        todo!("gate helper")
    }
}
