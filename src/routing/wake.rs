//! What a worker asks of the control plane when a visit may wake a sandbox, and what it is told.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::model::{SandboxId, TenantId};

/// A visit that wakes.
#[derive(Debug)]
pub struct Waking {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What the tenant's own policy allows a minute.
    pub per_minute: Option<u32>,
    /// By whom, for the log.
    pub by: String,
    /// The port that was asked for.
    pub port: u16,
    /// The id of the request, for the log.
    pub request: String,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It runs, or will never: judge again.
    Judge,
    /// It takes longer than anybody is held, or too many wait already.
    Waiting,
    /// The tenant's budget is spent.
    Spent,
    /// Its end user may have no more running.
    Refused,
}

/// A visit that wakes, on its way to the control plane.
#[derive(Debug)]
pub struct Call {
    /// What is asked for.
    pub waking: Waking,
    /// Where the visitor waits.
    pub reply: oneshot::Sender<Woken>,
    /// A place in the waiting room, kept for as long as somebody may still be waiting.
    pub place: OwnedSemaphorePermit,
}
