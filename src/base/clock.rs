//! The one source of wall time, so that tests can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Reads wall time: the system's, or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `now` until [`Clock::advance`] is called on any clone of it.
    pub fn manual(now: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(now.as_millisecond()))))
    }

    /// The present moment, to the millisecond: what is stored reads the same as what was sent.
    #[expect(clippy::disallowed_methods, reason = "this is the Clock everybody else must ask")]
    pub fn now(&self) -> Timestamp {
        let millis = match &self.0 {
            None => Timestamp::try_from(std::time::SystemTime::now())
                .map_or(i64::MAX, Timestamp::as_millisecond),
            Some(millis) => millis.load(Ordering::SeqCst),
        };
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// Moves a manual clock forward. A system clock is not moved.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(ms) = &self.0 {
            ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}
