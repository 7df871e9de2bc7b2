//! A token bucket in one number: the moment at which it will be full again. Taking from it moves that moment away, time passing
//! brings it closer. So a bucket has no timer, no lock and nothing to refill.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A second, in the unit of all moments here.
const SECOND: u64 = 1_000_000_000;

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    per_second: u64,
    /// How long it takes to fill, nanoseconds.
    depth: u64,
}

impl Rate {
    /// So much a second, and at most `burst` at once. `None` for a rate of zero, which means "no limit".
    pub(super) fn new(per_second: u64, burst: u64) -> Option<Self> {
        (per_second > 0).then(|| Self { per_second, depth: time(burst.max(1), per_second) })
    }

    fn time_of(self, amount: u64) -> u64 {
        time(amount, self.per_second)
    }
}

/// How long an amount takes at a rate, nanoseconds.
fn time(amount: u64, per_second: u64) -> u64 {
    amount.saturating_mul(SECOND).checked_div(per_second).unwrap_or(u64::MAX)
}

/// A bucket. A new one is full.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one, if there is one.
    pub(super) fn take(&self, rate: Rate, now: u64) -> bool {
        let taken = self.0.fetch_update(Relaxed, Relaxed, |full_at| {
            let after = full_at.max(now).saturating_add(rate.time_of(1));
            (after - now <= rate.depth).then_some(after)
        });
        taken.is_ok()
    }

    /// Takes an amount whatever there is, and gives the moment at which it will have been there. Whoever comes first is due first.
    pub(super) fn reserve(&self, rate: Rate, amount: u64, now: u64) -> u64 {
        let cost = rate.time_of(amount);
        let later = |full_at: u64| Some(full_at.max(now).saturating_add(cost));
        let (Ok(before) | Err(before)) = self.0.fetch_update(Relaxed, Relaxed, later);
        before.max(now).saturating_sub(rate.depth)
    }

    /// Makes a reservation right: `reserved` was asked for and `used` it became.
    pub(super) fn settle(&self, rate: Rate, reserved: u64, used: u64) {
        let (reserved, used) = (rate.time_of(reserved), rate.time_of(used));
        let corrected = |full_at: u64| Some(full_at.saturating_sub(reserved).saturating_add(used));
        let (Ok(_) | Err(_)) = self.0.fetch_update(Relaxed, Relaxed, corrected);
    }

    /// When it will be full again.
    pub(super) fn full_at(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Makes it full.
    pub(super) fn fill(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_as_many_as_the_rate_says() {
        let (bucket, rate) = (Bucket::default(), Rate::new(50, 200).unwrap());
        let start = 7 * SECOND;
        let passed = |now| (0..1000).filter(|_| bucket.take(rate, now)).count();
        assert_eq!(passed(start), 200);
        assert_eq!(passed(start), 0);
        assert_eq!(passed(start + SECOND / 10), 5);
        assert_eq!(passed(start + 2 * SECOND), 95);
        assert_eq!(passed(start + 60 * SECOND), 200, "no more is saved up than it holds");
        assert!(Rate::new(0, 10).is_none());
    }

    #[test]
    fn reservations_are_due_one_after_the_other_and_are_made_right() {
        let (bucket, rate) = (Bucket::default(), Rate::new(1000, 1000).unwrap());
        let now = 100 * SECOND;
        assert!(bucket.reserve(rate, 1000, now) <= now, "what is there passes at once");
        assert_eq!(bucket.reserve(rate, 500, now), now);
        assert_eq!(bucket.reserve(rate, 500, now), now + SECOND / 2);
        assert_eq!(bucket.reserve(rate, 1, now), now + SECOND);
        bucket.settle(rate, 500, 100);
        bucket.settle(rate, 1, 0);
        assert_eq!(bucket.full_at(), now + SECOND * 16 / 10);
    }

    proptest! {
        /// However requests come, no span of time sees more of them than the burst and what the rate gives in it.
        #[test]
        fn no_more_passes_than_burst_and_rate_allow(
            per_second in 1_u64..500,
            burst in 1_u64..300,
            steps in prop::collection::vec(0_u64..200_000_000, 1..400),
        ) {
            let (bucket, rate) = (Bucket::default(), Rate::new(per_second, burst).unwrap());
            let (mut now, mut passed) = (SECOND, Vec::new());
            for step in steps {
                now += step;
                if bucket.take(rate, now) {
                    passed.push(now);
                }
            }
            for (from, first) in passed.iter().enumerate() {
                for (to, last) in passed.iter().enumerate().skip(from) {
                    let most = burst + (last - first) * per_second / SECOND + 1;
                    prop_assert!(u64::try_from(to - from + 1).unwrap() <= most + 1);
                }
            }
        }
    }
}
