//! Works off jobs: each of them a few sandboxes at a time in turn, so that a large one does not keep the others waiting.

use std::time::Duration;

use crate::base::condition::warn_seldom;
use crate::base::shutdown::{Stage, Watcher};
use crate::control::follow::Follower;
use crate::control::store::{Store, StoreError};
use crate::model::{JobId, TenantId};

/// How often jobs are looked for although nobody said that something was written: another process may have ordered one.
const POLL: Duration = Duration::from_secs(1);
/// Sandboxes of one job before it is the next one's turn.
const TURN: u32 = 50;

/// Works off jobs until the process ends. What is not finished then goes on after the next start.
pub async fn work_off(store: Store, follower: Follower, mut shutdown: Watcher) {
    let mut written = store.write_hint();
    loop {
        tokio::select! {
            biased;
            () = shutdown.reached(Stage::Draining) => return,
            worked = round(&store, &follower) => match worked {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    warn_seldom("a bulk job failed; retrying", &error);
                    tokio::time::sleep(POLL).await;
                }
            }
        }
        tokio::select! {
            () = shutdown.reached(Stage::Draining) => return,
            // An error means that the store is gone, and everything with it.
            changed = written.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Gives every job its turn. False when there was none.
async fn round(store: &Store, follower: &Follower) -> Result<bool, StoreError> {
    let jobs = store.open_jobs().await?;
    for (job, tenant) in &jobs {
        turn(store, follower, *job, *tenant).await?;
    }
    Ok(!jobs.is_empty())
}

/// Destroying twice is no error, so a crash between the destruction and the note of it does no harm.
async fn turn(
    store: &Store,
    follower: &Follower,
    job: JobId,
    tenant: TenantId,
) -> Result<(), StoreError> {
    let mut outcomes = Vec::new();
    let mut last = None;
    for sandbox in store.job_items(job, TURN).await? {
        let failure = match store.destroy_sandbox(tenant, sandbox).await {
            Ok((_, version)) => {
                last = last.max(Some(version));
                None
            }
            Err(StoreError::NotFound) => Some("There is no such sandbox.".to_owned()),
            Err(error) => return Err(error),
        };
        outcomes.push((sandbox, failure));
    }
    if let Some(version) = last
        && let Err(behind) = follower.reached(version).await
    {
        tracing::warn!(%behind, "a bulk job continues before its changes are in effect");
    }
    store.job_done(job, &outcomes).await
}
