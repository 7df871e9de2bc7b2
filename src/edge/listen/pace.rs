//! How fast a request body comes, counting only the time we stood waiting for it.

use std::time::Duration;

use tokio::time::Instant;

use super::Settings;

/// The pace of one body.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// Counts what came.
    pub(super) fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Notes that we wait. Tells whether the wait has just begun.
    pub(super) fn waits(&mut self) -> bool {
        let begins = self.waiting_since.is_none();
        if begins {
            self.waiting_since = Some(Instant::now());
        }
        begins
    }

    /// Notes that something came.
    pub(super) fn resumed(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Whether too little came in the time we waited. Nothing is judged before that adds up to the idle deadline.
    pub(super) fn is_too_slow(&self, settings: &Settings) -> bool {
        if settings.body_idle.is_zero() || self.waited < settings.body_idle {
            return false;
        }
        let due = self.waited.as_secs().saturating_mul(u64::from(settings.body_min_rate));
        self.bytes < due
    }
}
