//! The decision, in its fixed order.

use jiff::Timestamp;

use super::{Decision, Evidence, Grant, RefusalReason, Visit};
use crate::routes::{Route, Routes};

/// Ports that are never previewed (SSH, telnet, SMTP …), and other settings of the gate.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Ports that are refused on every sandbox.
    pub forbidden_ports: Vec<u16>,
}

/// Judges a visit.
pub fn decide(
    _visit: &Visit<'_>,
    _evidence: &Evidence,
    _routes: &Routes,
    _rules: &Rules,
    _now: Timestamp,
) -> Decision {
    todo!("gate helper")
}

/// Judges again what an open exchange rests on, from fresh knowledge.
pub fn still_allowed(
    _grant: &Grant,
    _route: &Route,
    _port: u16,
    _routes: &Routes,
    _now: Timestamp,
) -> Result<(), RefusalReason> {
    todo!("gate helper")
}
