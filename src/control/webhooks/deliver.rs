//! The task that delivers: it takes what is due from the store, as far as there is room, and writes down how it went. All that it
//! must remember is in the store, so it may be killed at any moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::schedule::verdict;
use super::send::Sender;
use crate::base::clock::Clock;
use crate::base::condition::warn_seldom;
use crate::base::shutdown::{Stage, Watcher};
use crate::base::telemetry::{DeliveryOutcome, Metrics};
use crate::control::store::{Busy, Claim, Room, Settlement, Store, StoreError, Verdict};
use crate::model::TenantId;

/// How often the queue is looked at although nobody said that something was queued: another process may have.
const POLL: Duration = Duration::from_secs(1);
/// How long a failing database is left alone.
const BACKOFF: Duration = Duration::from_secs(1);
/// How often the length of the queue is told.
const MEASURED: Duration = Duration::from_secs(5);
/// How often what is no longer kept is removed.
const PRUNED: Duration = Duration::from_mins(1);
/// Beyond its own deadline an attempt needs this for its response's body and for being written down.
const LEASE: Duration = Duration::from_secs(5);
/// The part of each half of the room that one tenant may fill.
const TENANTS_PART: usize = 8;

/// What an attempt gives: how it went, and as whose it counts.
type Done = (Settlement, (TenantId, bool));

/// Starts delivering. It ends when the process drains, and lets attempts under way come to their end.
pub fn start(store: Store, sender: Sender, metrics: Arc<Metrics>, clock: Clock, watcher: Watcher) {
    let deliverer = Deliverer {
        store,
        sender,
        metrics,
        clock,
        busy: Busy::default(),
        running: JoinSet::new(),
        settled: Vec::new(),
    };
    tokio::spawn(deliverer.run(watcher));
}

struct Deliverer {
    store: Store,
    sender: Sender,
    metrics: Arc<Metrics>,
    clock: Clock,
    busy: Busy,
    running: JoinSet<Done>,
    /// Not written down yet.
    settled: Vec<Settlement>,
}

impl Deliverer {
    async fn run(mut self, mut watcher: Watcher) {
        let mut hint = self.store.event_hint();
        let mut measure = tokio::time::interval(MEASURED);
        let mut prune = tokio::time::interval(PRUNED);
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                () = watcher.reached(Stage::Draining) => break,
                Some(done) = self.running.join_next() => self.ended(done.ok()),
                hinted = hint.changed() => if hinted.is_err() { break },
                () = tokio::time::sleep(wait) => {}
                _ = measure.tick() => self.measure().await,
                _ = prune.tick() => self.prune().await,
            }
            match self.step().await {
                Ok(next) => wait = next,
                Err(error) => {
                    warn_seldom(
                        "the database is unavailable; webhook deliveries are delayed",
                        &error,
                    );
                    tokio::time::sleep(BACKOFF).await;
                }
            }
        }
        self.finish(watcher).await;
    }

    /// Writes down what has ended, and begins what is due. Gives how long there is nothing to do.
    async fn step(&mut self) -> Result<Duration, StoreError> {
        while let Some(done) = self.running.try_join_next() {
            self.ended(done.ok());
        }
        self.settle().await?;
        for claim in self.store.claim_deliveries(self.room(), &self.busy).await? {
            self.begin(claim);
        }
        let next = self.store.next_delivery().await?;
        let next = next.map(|at| at.duration_since(self.clock.now()));
        let next = next.map(|wait| Duration::try_from(wait).unwrap_or_default());
        Ok(next.unwrap_or(POLL).clamp(Duration::from_millis(1), POLL))
    }

    fn room(&self) -> Room {
        let settings = self.sender.settings();
        let half = settings.concurrency.div_ceil(2);
        Room {
            sound: half.saturating_sub(self.busy.count(false)),
            failing: half.saturating_sub(self.busy.count(true)),
            per_webhook: settings.concurrency_per_webhook,
            per_tenant: (half / TENANTS_PART).max(settings.concurrency_per_webhook),
            lease: settings.timeout + LEASE,
        }
    }

    fn begin(&mut self, claim: Claim) {
        self.busy.begin(&claim);
        let (sender, clock) = (self.sender.clone(), self.clock.clone());
        self.running.spawn(async move {
            let attempt = sender.send(&claim).await;
            let tries = (claim.attempt, claim.webhook.retry_count);
            let verdict =
                verdict(&attempt, tries, &sender.settings(), (clock.now(), fastrand::f64()));
            let settlement = Settlement {
                delivery: claim.delivery,
                webhook: claim.webhook.id,
                verdict,
                status: attempt.status,
                body: attempt.body,
                error: attempt.error,
                took: attempt.took,
            };
            (settlement, (claim.webhook.tenant, claim.is_failing()))
        });
    }

    fn ended(&mut self, done: Option<Done>) {
        // An attempt that panicked comes up again when its lease ends; until then its seat stays taken.
        let Some((settlement, of)) = done else { return };
        self.busy.end(settlement.webhook, of);
        self.metrics.webhook_told(match settlement.verdict {
            Verdict::Delivered => DeliveryOutcome::Delivered,
            Verdict::Retry(_) => DeliveryOutcome::Retried,
            Verdict::GivenUp | Verdict::SwitchedOff | Verdict::TestFailed => {
                DeliveryOutcome::GivenUp
            }
        });
        self.settled.push(settlement);
    }

    async fn settle(&mut self) -> Result<(), StoreError> {
        if self.settled.is_empty() {
            return Ok(());
        }
        let failed_after = self.sender.settings().failed_after;
        self.store.settle_deliveries(&self.settled, failed_after).await?;
        self.settled.clear();
        Ok(())
    }

    async fn measure(&self) {
        if let Ok(backlog) = self.store.delivery_backlog().await {
            self.metrics.webhook_backlog(backlog.deliveries, backlog.overdue_ms);
        }
    }

    async fn prune(&self) {
        let settings = self.sender.settings();
        if let Err(error) = self.store.prune_events(settings.keep, settings.keep_per_tenant).await {
            warn_seldom("old events could not be deleted", &error);
        }
    }

    async fn finish(mut self, mut watcher: Watcher) {
        let ending = async {
            while let Some(done) = self.running.join_next().await {
                self.ended(done.ok());
            }
        };
        tokio::select! {
            () = ending => {}
            // What is still under way comes up again after the next start.
            () = watcher.reached(Stage::Cut) => {}
        }
        drop(self.settle().await);
    }
}
