//! Settings that may change while requests are judged by them: plain loads for who reads, and nothing to wait for.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Settings;

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
