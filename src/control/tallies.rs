//! Writes how much share links are used: what the workers have counted, added up and written every few seconds. What a process that
//! dies has not written is lost, and that is a few seconds of counting.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::base::condition::warn_seldom;
use crate::control::store::Store;
use crate::model::{ShareId, ShareTally};

/// How often sums are written.
const WRITE: Duration = Duration::from_secs(5);

/// Tallies by link. The tables are the only source of ids, so there are no more of them than links.
type Tallies = HashMap<ShareId, ShareTally>;

/// Writes until the last worker is gone, and what is left then.
pub async fn write(store: Store, mut counted: mpsc::Receiver<Vec<(ShareId, ShareTally)>>) {
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
            warn_seldom("usage counts of share links cannot be written; retrying", &error);
        }
    }
}
