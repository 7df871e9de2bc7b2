//! The workers' end of waking: a bounded room for visitors who wait, and no wait without an end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::base::telemetry::{Metrics, Wakes};
use crate::routing::wake::{Call, Waking, Woken};

/// Calls on their way to the control plane.
const CALLS: usize = 1024;

/// The workers' end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Waker {
    calls: mpsc::Sender<Call>,
    room: Arc<Semaphore>,
    hold: Duration,
    metrics: Arc<Metrics>,
}

impl Waker {
    /// A waker for workers, and the calls that the control plane takes. A visitor is held for `hold` at most, and so many may be
    /// `waiting` at once.
    pub fn channel(
        hold: Duration,
        waiting: usize,
        metrics: Arc<Metrics>,
    ) -> (Self, mpsc::Receiver<Call>) {
        let (calls, incoming) = mpsc::channel(CALLS);
        let room = Arc::new(Semaphore::new(waiting));
        (Self { calls, room, hold, metrics }, incoming)
    }

    /// Has a sandbox woken, and waits until it runs, but not for long.
    pub async fn wake(&self, waking: Waking) -> Woken {
        let full = || {
            self.metrics.machines.wake(Wakes::Full);
            Woken::Waiting
        };
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { return full() };
        let (reply, answer) = oneshot::channel();
        if self.calls.try_send(Call { waking, reply, place }).is_err() {
            return full();
        }
        match tokio::time::timeout(self.hold, answer).await {
            Ok(Ok(woken)) => woken,
            // Too late, or the control plane is ending.
            Ok(Err(_)) | Err(_) => Woken::Waiting,
        }
    }
}
