//! What is going on at each sandbox, over all workers. A sandbox that nobody visits has no entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;

use super::bucket::Bucket;
use crate::model::SandboxId;

/// Things of which a number may be under way.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU32);

impl Gauge {
    /// Counts one more, unless there are as many as there may be.
    pub(super) fn enter(&self, most: u32) -> bool {
        let more = |now: u32| (now < most).then(|| now + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(super) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// What is going on at one sandbox.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) requests: Gauge,
    pub(super) sockets: Gauge,
    pub(super) rate: Bucket,
    pub(super) bandwidth: Bucket,
}

impl Load {
    /// Whether a new one would be just the same.
    fn is_idle(&self, now: u64) -> bool {
        let full = |bucket: &Bucket| bucket.full_at() <= now;
        self.requests.get() == 0
            && self.sockets.get() == 0
            && full(&self.rate)
            && full(&self.bandwidth)
    }
}

/// The loads of the sandboxes that are visited at the moment, or were until lately.
#[derive(Debug, Default)]
pub(super) struct Loads(DashMap<SandboxId, Arc<Load>, FxBuildHasher>);

impl Loads {
    /// The load of a sandbox.
    pub(super) fn of(&self, sandbox: SandboxId) -> Arc<Load> {
        if let Some(found) = self.0.get(&sandbox) {
            return Arc::clone(&found);
        }
        Arc::clone(&self.0.entry(sandbox).or_default())
    }

    /// Forgets the sandboxes where nothing is going on any more.
    pub(super) fn sweep(&self, now: u64) {
        // Whoever holds one has taken it under the lock that this holds now, so none is forgotten under anybody's hands.
        self.0.retain(|_, load| Arc::strong_count(load) > 1 || !load.is_idle(now));
        if self.0.capacity() > 1024 && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to_fit();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Requests and sockets under way at all sandboxes.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> u32 {
        self.0.iter().map(|load| load.requests.get() + load.sockets.get()).sum()
    }
}
