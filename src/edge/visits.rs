//! How much share links are used. Every worker counts for itself, without a lock, and once a second hands over what it has counted.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use rustc_hash::FxBuildHasher;
use tokio::sync::mpsc;

use crate::model::{ShareId, ShareTally};

/// Sums of workers that wait to be written. While it is full, workers go on counting for themselves.
const WAITING: usize = 256;

/// What a worker has counted since it last handed over.
pub type Sums = Vec<(ShareId, ShareTally)>;

/// Where workers hand over what they have counted.
#[derive(Clone, Debug)]
pub struct Counter(mpsc::Sender<Sums>);

impl Counter {
    /// The workers' end and the control plane's.
    pub fn channel() -> (Self, mpsc::Receiver<Sums>) {
        let (counter, counted) = mpsc::channel(WAITING);
        (Self(counter), counted)
    }

    /// A worker's own count.
    pub fn visits(self) -> Visits {
        Visits { counter: self, tallies: RefCell::default() }
    }
}

/// What one worker has counted. Handed over when it is dropped, too.
#[derive(Debug)]
pub struct Visits {
    counter: Counter,
    tallies: RefCell<HashMap<ShareId, ShareTally, FxBuildHasher>>,
}

impl Visits {
    /// A link was opened.
    pub fn opened(&self, share: ShareId, now: Timestamp) {
        self.count(share, ShareTally { visits: 1, requests: 0, last_visited_at: Some(now) });
    }

    /// A request that came by a link went on to the app; `opens_link`: it was the link itself.
    pub fn passed(&self, share: ShareId, opens_link: bool, now: Timestamp) {
        let visits = u64::from(opens_link);
        self.count(share, ShareTally { visits, requests: 1, last_visited_at: Some(now) });
    }

    fn count(&self, share: ShareId, tally: ShareTally) {
        self.tallies.borrow_mut().entry(share).or_default().add(tally);
    }

    /// Hands over what was counted. When too much is waiting, it is kept and goes with the next.
    pub fn hand_over(&self) {
        let mut tallies = self.tallies.borrow_mut();
        if !tallies.is_empty()
            && let Ok(place) = self.counter.0.try_reserve()
        {
            place.send(tallies.drain().collect());
        }
    }
}

impl Drop for Visits {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn what_was_counted_is_handed_over_once_and_kept_while_nobody_takes_it() {
        let (counter, mut counted) = mpsc::channel(1);
        let visits = Counter(counter).visits();
        let (one, other) = (ShareId::new(), ShareId::new());
        visits.hand_over();
        assert!(counted.try_recv().is_err(), "nothing was counted");
        visits.opened(one, at(5));
        visits.passed(one, false, at(4));
        visits.passed(other, true, at(6));
        visits.hand_over();
        visits.passed(one, false, at(9));
        // There is no place for this yet.
        visits.hand_over();
        let tally = |visits, requests, last| ShareTally {
            visits,
            requests,
            last_visited_at: Some(at(last)),
        };
        let first: HashMap<ShareId, ShareTally> =
            counted.recv().await.unwrap().into_iter().collect();
        assert_eq!(first, HashMap::from([(one, tally(1, 1, 5)), (other, tally(1, 1, 6))]));
        drop(visits);
        assert_eq!(counted.recv().await.unwrap(), [(one, tally(0, 1, 9))]);
        assert!(counted.recv().await.is_none());
    }
}
