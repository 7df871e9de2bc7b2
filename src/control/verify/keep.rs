//! The keeper: looks at every name's DNS on a schedule.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::Verifier;
use crate::base::condition::warn_seldom;
use crate::base::shutdown::{Stage, Watcher};
use crate::control::store::{Actor, Store, StoreError};

/// Names of each kind that are taken on at a time.
const BATCH: u32 = 64;
/// Names that are looked at at once.
const AT_ONCE: usize = 8;
/// Bounds of the time between two looks for what is due.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(30);

impl Verifier {
    /// Looks at what is due until the process drains. What fails is due again at the next look.
    pub async fn keep(self, store: Store, mut watcher: Watcher) {
        if self.settings.recheck.is_zero() {
            return;
        }
        let store = store.on_behalf(Actor::system("domains"));
        let pause = (self.settings.recheck / 16).clamp(SHORTEST, LONGEST);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = watcher.reached(Stage::Draining) => return,
            }
            let round = async {
                if let Err(error) = self.round(&store).await {
                    warn_seldom("domains cannot be checked at the moment; retrying", &error);
                }
            };
            tokio::select! {
                () = round => {}
                () = watcher.reached(Stage::Draining) => return,
            }
        }
    }

    async fn round(&self, store: &Store) -> Result<(), StoreError> {
        let (domains, exact) = store.due_checks(BATCH).await?;
        let domains = domains
            .into_iter()
            .map(async |domain| ignore_gone(self.domain(store, &domain).await.map(drop)));
        let exact = exact
            .into_iter()
            .map(async |exact| ignore_gone(self.exact(store, &exact).await.map(drop)));
        let mut checks = stream::iter(domains).buffer_unordered(AT_ONCE);
        while let Some(checked) = checks.next().await {
            checked?;
        }
        drop(checks);
        let mut checks = stream::iter(exact).buffer_unordered(AT_ONCE);
        while let Some(checked) = checks.next().await {
            checked?;
        }
        Ok(())
    }
}

/// A name that was deleted while it was looked at is no error.
fn ignore_gone(done: Result<(), StoreError>) -> Result<(), StoreError> {
    match done {
        Err(StoreError::NotFound) => Ok(()),
        other => other,
    }
}
