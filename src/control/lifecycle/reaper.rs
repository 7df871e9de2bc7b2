//! Ends what has run for longer than it may, and what nobody has visited for too long.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;

use crate::base::clock::Clock;
use crate::base::condition::warn_seldom;
use crate::base::shutdown::{Stage, Watcher};
use crate::base::telemetry::Metrics;
use crate::control::store::{Due, Emptied, Store, StoreError};
use crate::model::{Move, SandboxId, after};
use crate::routing::Routes;

/// How often it looks. Two looks at the ends of indices.
const TICK: Duration = Duration::from_secs(1);
/// Sandboxes in one look.
const BATCH: u32 = 500;
/// Steps in deleting a tenant in one look.
const STEPS: u32 = 20;
/// For how long an idle sandbox is left alone once it is overdue, seconds: another process that follows the same store may have seen a
/// visit, and puts it off as soon as it looks.
const GRACE: i64 = 2;

/// Ends sandboxes whose time is over.
#[derive(Debug)]
pub struct Reaper {
    /// The store.
    pub store: Store,
    /// The tables, which know of visits.
    pub routes: Arc<Routes>,
    /// Wall time.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl Reaper {
    /// Looks again and again until the process ends.
    pub async fn run(self, mut shutdown: Watcher) {
        // Of visits before it began this process knows nothing, so it takes them as having been then.
        let began = self.clock.now();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.reached(Stage::Draining) => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.empty().await {
                warn_seldom("a tenant cannot be deleted; trying again", &error);
            }
            if let Err(error) = self.look(began).await {
                warn_seldom("expired or idle sandboxes cannot be stopped; retrying", &error);
            }
        }
    }

    /// Goes on with tenants that are being deleted, a few steps at a time.
    async fn empty(&self) -> Result<(), StoreError> {
        for tenant in self.store.deleting_tenants().await? {
            for _ in 0..STEPS {
                if self.store.empty_tenant(tenant).await? != Emptied::Going {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn look(&self, began: Timestamp) -> Result<(), StoreError> {
        loop {
            let due = self.store.over_time(BATCH).await?;
            let mut put_off: Vec<(SandboxId, Timestamp)> = Vec::new();
            let mut ended = false;
            for due in due {
                match self.visited_until(&due, began) {
                    Some(until) => put_off.push((due.id, until)),
                    None => ended |= self.end(&due).await?,
                }
            }
            self.store.put_off_idleness(&put_off).await?;
            // What is left needs another look only if this one changed something.
            if !ended && put_off.is_empty() {
                return Ok(());
            }
        }
    }

    /// Until when a sandbox that seems idle is not, because it was visited.
    fn visited_until(&self, due: &Due, began: Timestamp) -> Option<Timestamp> {
        let limit = due.idle_after?;
        let route = self.routes.by_id(due.id)?;
        let last = route.activity.as_ref().map_or(0, |activity| activity.last());
        let last = Timestamp::from_millisecond(last).ok()?.max(began);
        after(last, limit).filter(|until| *until > due.since && *until > self.clock.now())
    }

    async fn end(&self, due: &Due) -> Result<bool, StoreError> {
        let idle = due.idle_after.is_some();
        if idle && self.clock.now().as_second() - due.since.as_second() < GRACE {
            return Ok(false);
        }
        let wanted = if idle { Move::IdleOut } else { Move::TimeOut };
        match self.store.move_sandbox(due.tenant, due.id, wanted).await {
            Ok((sandbox, Some(_))) => {
                let why = if idle { "idle" } else { "timeout" };
                self.metrics.machines.sandbox_ended(idle);
                tracing::info!(
                    target: "portico::lifecycle",
                    sandbox = %due.id, tenant = %due.tenant, why, state = ?sandbox.state,
                );
                Ok(true)
            }
            // It ended by itself, or was given more time meanwhile.
            Ok((_, None)) | Err(StoreError::NotFound | StoreError::State(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
