//! Takes what the workers have counted and writes it, each batch once. What cannot be written yet is kept and written later.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use crate::base::clock::Clock;
use crate::base::condition::warn_seldom;
use crate::base::shutdown::Watcher;
use crate::base::telemetry::Metrics;
use crate::control::store::Store;
use crate::model::{Counted, MINUTE, Place, Traffic};

/// Rows written by one transaction.
const ROWS: usize = 10_000;
/// Rows that wait for a store that fails, before they are told apart by hours instead of minutes.
const PATIENCE: usize = 200_000;
/// How often old buckets are made coarser.
const ROLL_UP: Duration = Duration::from_mins(10);

/// How far the counts in the store go.
#[derive(Clone, Debug)]
pub struct Progress(Arc<AtomicI64>);

impl Progress {
    /// Everything that this process counted before this moment is in the store.
    pub fn complete_until(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

/// The other end of all meters.
#[derive(Debug)]
pub struct Collector {
    receiver: Receiver<Vec<Counted>>,
    clock: Clock,
    flush: Duration,
    progress: Progress,
    /// One run of one process: no two of them write under the same name, and none writes again after it has ended.
    node: String,
    sequence: i64,
    /// A batch that may or may not have been written: it is written again as it is until that is certain.
    uncertain: Option<Vec<Counted>>,
    pending: FxHashMap<(i64, Place), Traffic>,
}

impl Collector {
    /// Collects what the meters send, and writes it every `flush`.
    pub fn new(receiver: Receiver<Vec<Counted>>, clock: Clock, flush: Duration) -> Self {
        let progress = Progress(Arc::new(AtomicI64::new(clock.now().as_millisecond())));
        Self {
            receiver,
            clock,
            flush,
            progress,
            node: Uuid::now_v7().to_string(),
            sequence: 0,
            uncertain: None,
            pending: FxHashMap::default(),
        }
    }

    /// How far the counts in the store go.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Collects and writes until the last meter is gone. The process waits for `staying`, so that the last counts are written.
    pub async fn run(mut self, store: Store, metrics: Arc<Metrics>, staying: Watcher) {
        let mut writing = tokio::time::interval(self.flush);
        let mut rolling = tokio::time::interval(ROLL_UP);
        writing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        rolling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = self.receiver.recv() => match batch {
                    Some(batch) => self.take(batch),
                    None => break,
                },
                _ = writing.tick() => self.write(&store, &metrics).await,
                _ = rolling.tick() => {
                    if let Err(error) = store.roll_up_traffic().await {
                        warn_seldom("old usage could not be aggregated", &error);
                    }
                }
            }
            metrics.usage_pending.set(i64::try_from(self.waiting()).unwrap_or(i64::MAX));
        }
        self.write(&store, &metrics).await;
        drop(staying);
    }

    pub(super) fn waiting(&self) -> usize {
        self.pending.len() + self.uncertain.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn take(&mut self, batch: Vec<Counted>) {
        for counted in batch {
            *self.pending.entry((counted.minute, counted.place)).or_default() += counted.traffic;
        }
        if self.pending.len() > PATIENCE {
            self.coarsen();
        }
    }

    /// Puts minutes together, so that a store that is gone for hours does not fill the memory.
    pub(super) fn coarsen(&mut self) {
        for ((minute, place), traffic) in std::mem::take(&mut self.pending) {
            let hour = minute - minute.rem_euclid(60 * MINUTE);
            *self.pending.entry((hour, place)).or_default() += traffic;
        }
    }

    pub(super) async fn write(&mut self, store: &Store, metrics: &Metrics) {
        let (began, now) = (Instant::now(), self.clock.now());
        loop {
            if self.uncertain.is_none() {
                self.uncertain = self.next_batch();
            }
            let Some(batch) = &self.uncertain else { break };
            if let Err(error) = store.add_traffic(&self.node, self.sequence, batch).await {
                metrics.usage_write_failures.inc();
                warn_seldom("usage could not be written; retrying", &error);
                return;
            }
            self.uncertain = None;
        }
        // Workers hand over as often as this writes; what they had not handed over may be as old as that.
        let lag = i64::try_from(2 * self.flush.as_millis()).unwrap_or(i64::MAX);
        self.progress.0.fetch_max(now.as_millisecond().saturating_sub(lag), Ordering::Relaxed);
        tracing::trace!(took = ?began.elapsed(), "usage is written");
    }

    fn next_batch(&mut self) -> Option<Vec<Counted>> {
        let places: Vec<(i64, Place)> = self.pending.keys().copied().take(ROWS).collect();
        let take = |(minute, place)| {
            let traffic = self.pending.remove(&(minute, place))?;
            Some(Counted { minute, place, traffic })
        };
        let batch: Vec<Counted> = places.into_iter().filter_map(take).collect();
        if batch.is_empty() {
            return None;
        }
        self.sequence += 1;
        Some(batch)
    }
}

#[cfg(test)]
impl Collector {
    /// Writes a batch without noticing that it worked.
    pub(super) async fn doubts(&mut self, store: &Store) {
        self.uncertain = self.next_batch();
        let batch = self.uncertain.as_ref().unwrap();
        store.add_traffic(&self.node, self.sequence, batch).await.unwrap();
    }
}
