//! Settings that may change while requests are judged by them: plain loads for who reads, and nothing to wait for.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the operator allows each preview. Zero means "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Requests under way.
    pub requests: u32,
    /// Switched connections (`WebSockets` and others) open. They have a bound of their own, so that many of them do not keep pages from
    /// loading.
    pub sockets: u32,
    /// Requests a second.
    pub rate: u32,
    /// Requests that may come at once after a pause; zero: those of one second.
    pub burst: u32,
    /// Bytes a second, both directions together.
    pub bandwidth: u64,
    /// Requests a second of one address without a credential.
    pub public_rate: u32,
    /// ... and how many may come at once after a pause.
    pub public_burst: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requests: 1024,
            sockets: 1024,
            rate: 0,
            burst: 0,
            bandwidth: 0,
            public_rate: 50,
            public_burst: 200,
        }
    }
}

/// The settings in force. Two of them that change at the same time may be seen one after the other.
#[derive(Debug)]
pub(super) struct Knobs {
    counts: [AtomicU32; 6],
    bandwidth: AtomicU64,
}

impl Knobs {
    pub(super) fn new(settings: Settings) -> Self {
        let knobs = Self { counts: Default::default(), bandwidth: AtomicU64::default() };
        knobs.set(settings);
        knobs
    }

    pub(super) fn set(&self, settings: Settings) {
        let Settings { requests, sockets, rate, burst, bandwidth, public_rate, public_burst } =
            settings;
        let values = [requests, sockets, rate, burst, public_rate, public_burst];
        for (count, value) in self.counts.iter().zip(values) {
            count.store(value, Ordering::Relaxed);
        }
        self.bandwidth.store(bandwidth, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Settings {
        let [requests, sockets, rate, burst, public_rate, public_burst] =
            self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let bandwidth = self.bandwidth.load(Ordering::Relaxed);
        Settings { requests, sockets, rate, burst, bandwidth, public_rate, public_burst }
    }
}
