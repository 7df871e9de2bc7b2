//! When a sandbox was last visited. Written by whoever serves a visitor, read by whoever looks for idle sandboxes.

use std::sync::atomic::{AtomicI64, Ordering};

/// The moment of the last visit, milliseconds since 1970; zero before the first that this process saw. Several threads write it and
/// none waits for another: of two moments that are almost the same, either will do.
#[derive(Debug, Default)]
pub struct Activity(AtomicI64);

impl Activity {
    /// Notes a visit.
    pub fn touch(&self, millis: i64) {
        self.0.store(millis, Ordering::Relaxed);
    }

    /// When the last visit was.
    pub fn last(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}
