//! Beginning and ending writes, and trying one while none succeeds.

use std::time::Duration;

use super::rows::Tx;
use super::{Store, StoreError};
use crate::base::condition::{Condition, Standing};
use crate::base::shutdown::{Stage, Watcher};

/// How often a write is tried while none succeeds.
const TRIED: Duration = Duration::from_secs(1);

impl Store {
    /// Begins a write: nobody else writes until it ends.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        let begun = self.write.begin_with("BEGIN IMMEDIATE").await;
        begun.map_err(|error| self.cannot_write(error))
    }

    /// Commits.
    pub(super) async fn end(&self, tx: Tx) -> Result<(), StoreError> {
        tx.commit().await.map_err(|error| self.cannot_write(error))?;
        self.health.writing.clear();
        Ok(())
    }

    fn cannot_write(&self, error: sqlx::Error) -> StoreError {
        let error = StoreError::Database(error);
        self.health.writing.raise(&error);
        error
    }

    /// Notes whether the log of changes could be read, as somebody does several times a second.
    pub(in crate::control) fn note_reading<T>(&self, read: &Result<T, StoreError>) {
        match read {
            Ok(_) => drop(self.health.reading.clear()),
            Err(error) => self.health.reading.raise(error),
        }
    }

    /// What does not work at the moment, and why.
    pub fn troubles(&self) -> Vec<Standing> {
        [&self.health.writing, &self.health.reading]
            .into_iter()
            .filter_map(Condition::stands)
            .collect()
    }

    /// While writes fail, tries one every second, so that the end of it is noticed without anybody's call.
    pub async fn keep_trying(self, mut watcher: Watcher) {
        loop {
            tokio::select! {
                () = watcher.reached(Stage::Draining) => return,
                () = tokio::time::sleep(TRIED) => {}
            }
            if self.health.writing.stands().is_some() {
                // A failure is noted where it happens.
                drop(self.try_to_write().await);
            }
        }
    }

    async fn try_to_write(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        // What is written as it was is not written at all.
        let sql = "INSERT INTO write_probe (id, tries) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET tries = tries + 1";
        let write = sqlx::query(sql).execute(&mut *tx).await;
        write.map_err(|error| self.cannot_write(error))?;
        self.end(tx).await
    }
}
