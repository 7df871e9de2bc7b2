//! The workers' end of waking: a bounded room for visitors who wait, and no wait without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    terms: Arc<Terms>,
    metrics: Arc<Metrics>,
}

/// What may change while visitors wait.
#[derive(Debug)]
struct Terms {
    hold_ms: AtomicU64,
    waiting: AtomicUsize,
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
        let terms = Terms { hold_ms: millis(hold).into(), waiting: waiting.into() };
        (Self { calls, room, terms: Arc::new(terms), metrics }, incoming)
    }

    /// Other limits from now on. Where there is less room, places go as they become free.
    pub fn set(&self, hold: Duration, waiting: usize) {
        self.terms.hold_ms.store(millis(hold), Ordering::Relaxed);
        let before = self.terms.waiting.swap(waiting, Ordering::Relaxed);
        if waiting >= before {
            return self.room.add_permits(waiting - before);
        }
        for _ in waiting..before {
            let room = Arc::clone(&self.room);
            tokio::spawn(async move {
                if let Ok(place) = room.acquire_owned().await {
                    place.forget();
                }
            });
        }
    }

    /// Has a sandbox woken, and waits until it runs, but not for long.
    pub async fn wake(&self, waking: Waking) -> Woken {
        let full = || {
            self.metrics.machines.wake(Wakes::Full);
            Woken::Waiting
        };
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { return full() };
        let (reply, response) = oneshot::channel();
        if self.calls.try_send(Call { waking, reply, place }).is_err() {
            return full();
        }
        let hold = Duration::from_millis(self.terms.hold_ms.load(Ordering::Relaxed));
        match tokio::time::timeout(hold, response).await {
            Ok(Ok(woken)) => woken,
            // Too late, or the control plane is ending.
            Ok(Err(_)) | Err(_) => Woken::Waiting,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
