//! Waking: however many visitors come, one start; a bounded room for those who wait; and a budget for each tenant.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::base::shutdown::{Stage, Watcher};
use crate::base::telemetry::{Metrics, Wakes};
use crate::control::follow::Follower;
use crate::control::store::{Store, StoreError};
use crate::model::{Move, SandboxId, SandboxState, Subject, TenantId};
use crate::routing::wake::{Call, Waking, Woken};
use crate::routing::{Route, Routes};

/// How often flights are looked at for which nobody waits any more.
const SWEEP: Duration = Duration::from_secs(1);
/// Tenants whose budget is remembered; beyond it those with a full one are forgotten.
const BUDGETS: usize = 10_000;

/// How visitors wake sandboxes.
#[derive(Clone, Copy, Debug)]
pub struct WakeSettings {
    /// How long a visitor's request is held until the sandbox runs.
    pub hold: Duration,
    /// Visitors who may wait at the same time.
    pub waiting: usize,
    /// ... for one sandbox.
    pub waiting_per_sandbox: usize,
    /// Sandboxes of one tenant that may be woken a minute; zero: as many as anybody wants.
    pub per_minute: u32,
}

impl Default for WakeSettings {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(8),
            waiting: 1024,
            waiting_per_sandbox: 128,
            per_minute: 60,
        }
    }
}

#[derive(Debug)]
struct Waiter {
    reply: oneshot::Sender<Woken>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Flight {
    waiting: Vec<Waiter>,
    /// Whether the store is being told.
    is_starting: bool,
}

/// Wakes sandboxes for those who wait, one start at a time for each.
#[derive(Debug)]
pub struct Resumer {
    settings: watch::Receiver<WakeSettings>,
    store: Store,
    follower: Follower,
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    flights: HashMap<SandboxId, Flight>,
    budgets: HashMap<TenantId, Budget>,
    starting: JoinSet<(Waking, Result<bool, StoreError>)>,
}

impl Resumer {
    /// With nobody waiting yet.
    pub fn new(
        settings: watch::Receiver<WakeSettings>,
        (store, follower): (Store, Follower),
        routes: Arc<Routes>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            settings,
            store,
            follower,
            routes,
            metrics,
            flights: HashMap::new(),
            budgets: HashMap::new(),
            starting: JoinSet::new(),
        }
    }

    /// Takes calls until the process drains. `changes` are the follower's.
    pub async fn run(
        mut self,
        mut calls: mpsc::Receiver<Call>,
        mut changes: broadcast::Receiver<Subject>,
        mut shutdown: Watcher,
    ) {
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                () = shutdown.reached(Stage::Draining) => return,
                call = calls.recv() => match call {
                    Some(call) => self.admit(call),
                    None => return,
                },
                change = changes.recv() => match change {
                    Ok(Subject::Sandbox(id)) => self.settle(id),
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => self.settle_all(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(started) = self.starting.join_next() => if let Ok((waking, started)) = started {
                    self.started(&waking, &started);
                },
                _ = sweep.tick() => self.settle_all(),
            }
        }
    }

    fn admit(&mut self, Call { waking, reply, place }: Call) {
        let id = waking.sandbox;
        let Some(route) = self.routes.by_id(id).filter(|route| sleeps(route)) else {
            // It runs by now, or never will.
            return tell(reply, Woken::Judge);
        };
        let is_starting = self.flights.get(&id).is_some_and(|flight| flight.is_starting);
        let begins = !is_starting && route.state != SandboxState::Resuming;
        if begins && !self.pay(&waking) {
            self.metrics.machines.wake(Wakes::Spent);
            return tell(reply, Woken::Spent);
        }
        let settings = *self.settings.borrow();
        let flight = self.flights.entry(id).or_default();
        flight.waiting.retain(|waiter| !waiter.reply.is_closed());
        if flight.waiting.len() >= settings.waiting_per_sandbox && !begins {
            self.metrics.machines.wake(Wakes::Full);
            return tell(reply, Woken::Waiting);
        }
        flight.waiting.push(Waiter { reply, _place: place });
        if begins {
            flight.is_starting = true;
            let (store, follower) = (self.store.clone(), self.follower.clone());
            self.starting.spawn(async move {
                let moved = store.move_sandbox(waking.tenant, id, Move::Wake).await;
                if let Ok((_, Some(version))) = moved {
                    // Whoever comes from now on sees that it has begun. If that takes long, they are told by the next change.
                    let _in_effect = follower.reached(version).await;
                }
                (waking, moved.map(|(_, version)| version.is_some()))
            });
        }
    }

    /// The store has been told, or could not be.
    fn started(&mut self, waking: &Waking, started: &Result<bool, StoreError>) {
        if let Some(flight) = self.flights.get_mut(&waking.sandbox) {
            flight.is_starting = false;
        }
        match started {
            Ok(true) => {
                self.metrics.machines.wake(Wakes::Started);
                tracing::info!(
                    target: "portico::lifecycle",
                    sandbox = %waking.sandbox, tenant = %waking.tenant, port = waking.port, by = %waking.by,
                    request_id = %waking.request, "resumed by a visit"
                );
            }
            // Somebody else was faster.
            Ok(false) => {}
            Err(StoreError::State(_) | StoreError::NotFound) => {
                self.respond(waking.sandbox, Woken::Judge);
            }
            Err(StoreError::QuotaExceeded(_)) => {
                self.metrics.machines.wake(Wakes::Spent);
                self.respond(waking.sandbox, Woken::Refused);
            }
            Err(error) => {
                tracing::warn!(sandbox = %waking.sandbox, %error, "a sandbox could not be resumed");
                self.metrics.machines.wake(Wakes::Failed);
                self.respond(waking.sandbox, Woken::Waiting);
            }
        }
        self.settle(waking.sandbox);
    }

    /// Replies to those who wait for a sandbox, if it is known by now what will become of it.
    fn settle(&mut self, id: SandboxId) {
        let Some(flight) = self.flights.get(&id) else { return };
        let route = self.routes.by_id(id);
        if route.as_ref().is_some_and(|route| sleeps(route)) {
            return;
        }
        if flight.is_starting {
            return;
        }
        let runs = route.is_some_and(|route| route.serves());
        self.metrics.machines.wake(if runs { Wakes::Woken } else { Wakes::Failed });
        self.respond(id, Woken::Judge);
    }

    fn settle_all(&mut self) {
        let ids: Vec<SandboxId> = self.flights.keys().copied().collect();
        for id in ids {
            self.settle(id);
        }
        self.flights.retain(|_, flight| {
            flight.waiting.retain(|waiter| !waiter.reply.is_closed());
            flight.is_starting || !flight.waiting.is_empty()
        });
    }

    fn respond(&mut self, id: SandboxId, woken: Woken) {
        let flight = self.flights.remove(&id).unwrap_or_default();
        for waiter in flight.waiting {
            tell(waiter.reply, woken);
        }
    }

    /// Takes one wake from the tenant's budget.
    fn pay(&mut self, waking: &Waking) -> bool {
        let own = waking.per_minute.unwrap_or(u32::MAX);
        let limit = match self.settings.borrow().per_minute {
            0 => own,
            limit => limit.min(own),
        };
        if limit == u32::MAX {
            return true;
        }
        let now = Instant::now();
        if self.budgets.len() >= BUDGETS {
            self.budgets.retain(|_, budget| !budget.is_full(now));
        }
        let full = Budget { left: f64::from(limit), limit, at: now };
        self.budgets.entry(waking.tenant).or_insert(full).take(limit, now)
    }
}

/// Responds to a visitor. One who has gone does not mind.
fn tell(reply: oneshot::Sender<Woken>, woken: Woken) {
    let _heard = reply.send(woken);
}

/// Whether there is something to wait for.
fn sleeps(route: &Route) -> bool {
    matches!(route.state, SandboxState::Pausing | SandboxState::Paused | SandboxState::Resuming)
}

/// A bucket that holds a minute's worth of wakes.
#[derive(Debug)]
struct Budget {
    left: f64,
    limit: u32,
    at: Instant,
}

impl Budget {
    fn take(&mut self, limit: u32, now: Instant) -> bool {
        self.left = self.filled(limit, now);
        (self.limit, self.at) = (limit, now);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }

    fn filled(&self, limit: u32, now: Instant) -> f64 {
        let limit = f64::from(limit);
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * limit / 60.0;
        (self.left + gained).min(limit)
    }

    fn is_full(&self, now: Instant) -> bool {
        self.filled(self.limit, now) >= f64::from(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_budget_is_spent_and_grows_again_and_never_beyond_a_minutes_worth() {
        let now = Instant::now();
        let mut budget = Budget { left: 6.0, limit: 6, at: now };
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!((0..9).filter(|_| budget.take(6, now)).count(), 6);
        assert!(!budget.take(6, later(9)), "one in ten seconds");
        assert!(budget.take(6, later(11)));
        assert!(budget.is_full(later(600)) && !budget.is_full(later(12)));
        assert_eq!((0..9).filter(|_| budget.take(6, later(3600))).count(), 6);
        // A narrower policy counts at once.
        assert_eq!((0..9).filter(|_| budget.take(2, later(9000))).count(), 2);
        assert!(!budget.take(0, later(99_000)));
    }
}
