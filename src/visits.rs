//! How much share links are used. Every worker counts for itself, without a lock; once a second it hands over what it has counted, and
//! a task of the control plane writes the sums to the store every few seconds. What a process that dies has not written is lost, and
//! that is a few seconds of counting.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxBuildHasher;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::model::{ShareId, ShareTally};
use crate::store::Store;

/// How often sums are written.
const WRITE: Duration = Duration::from_secs(5);
/// Sums of workers that wait to be written. While it is full, workers go on counting for themselves.
const WAITING: usize = 256;

/// Tallies by link. The tables are the only source of ids, so there are no more of them than links.
type Tallies = HashMap<ShareId, ShareTally>;

/// Where workers hand over what they have counted.
#[derive(Clone, Debug)]
pub struct Counter(mpsc::Sender<Vec<(ShareId, ShareTally)>>);

impl Counter {
    /// Starts the task that writes. It ends, with everything written, when the last handle and the last worker's [`Visits`] are gone;
    /// until then it keeps `staying`.
    pub fn start(store: Store, staying: impl Send + 'static) -> Self {
        let (counter, counted) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            write(store, counted).await;
            drop(staying);
        });
        Self(counter)
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

async fn write(store: Store, mut counted: mpsc::Receiver<Vec<(ShareId, ShareTally)>>) {
    let mut sums = Tallies::new();
    let mut tick = tokio::time::interval(WRITE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            more = counted.recv() => match more {
                Some(more) => {
                    for (share, tally) in more {
                        sums.entry(share).or_default().add(tally);
                    }
                }
                None => break,
            },
            _ = tick.tick() => save(&store, &mut sums).await,
        }
    }
    save(&store, &mut sums).await;
}

/// Sums that cannot be written are kept for the next time.
async fn save(store: &Store, sums: &mut Tallies) {
    if sums.is_empty() {
        return;
    }
    match store.add_share_tallies(sums).await {
        Ok(()) => sums.clear(),
        Err(error) => {
            tracing::warn!(%error, "how share links were used cannot be written yet");
        }
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
        let first: Tallies = counted.recv().await.unwrap().into_iter().collect();
        assert_eq!(first, Tallies::from([(one, tally(1, 1, 5)), (other, tally(1, 1, 6))]));
        drop(visits);
        assert_eq!(counted.recv().await.unwrap(), [(one, tally(0, 1, 9))]);
        assert!(counted.recv().await.is_none());
    }
}
