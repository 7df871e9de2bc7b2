//! How workers tell each other of renewed sessions.

use tokio::sync::broadcast::{Receiver, Sender};

use crate::edge::gate::Renewal;

/// Renewals that a worker may be behind. What it misses ends when the old token does, and is opened again by its app.
const RENEWALS: usize = 1024;

/// How workers tell each other of renewed sessions: each holds some of what is open.
#[derive(Clone, Debug)]
pub struct Renewals(Sender<Renewal>);

impl Default for Renewals {
    fn default() -> Self {
        Self(Sender::new(RENEWALS))
    }
}

impl Renewals {
    pub(super) fn subscribe(&self) -> Receiver<Renewal> {
        self.0.subscribe()
    }

    pub(super) fn send(&self, renewal: Renewal) {
        // Every worker listens for as long as it serves.
        drop(self.0.send(renewal));
    }
}
