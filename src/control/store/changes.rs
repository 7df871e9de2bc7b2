//! The log of changes: what was written, in order.

use sqlx::{Row as _, Sqlite, Transaction};

use super::rows::{Columns, millis};
use super::{Store, StoreError};
use crate::model::{Change, Subject, Version};

/// Changes that are kept. A follower that has fallen further behind loads a snapshot instead.
const KEPT: i64 = 100_000;
/// How often old changes are removed: with every version that this divides.
const PRUNE_EVERY: i64 = 1000;

impl Store {
    pub(super) async fn log(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        subject: &Subject,
    ) -> Result<Version, StoreError> {
        let (kind, key) = write_subject(subject);
        let row = sqlx::query(
            "INSERT INTO changes (at, kind, subject) VALUES (?1, ?2, ?3) RETURNING version",
        )
        .bind(millis(self.clock.now()))
        .bind(kind)
        .bind(key)
        .fetch_one(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
        let version: Version = row.get(0);
        if version % PRUNE_EVERY == 0 {
            sqlx::query("DELETE FROM changes WHERE version <= ?1")
                .bind(version - KEPT)
                .execute(&mut **tx)
                .await
                .map_err(StoreError::Database)?;
        }
        Ok(version)
    }

    /// Removes every change but the newest, as if very many had been written since.
    #[cfg(test)]
    pub(crate) async fn cut_log(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM changes WHERE version < (SELECT max(version) FROM changes)")
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.end(tx).await
    }

    /// The newest version.
    pub async fn version(&self) -> Result<Version, StoreError> {
        let row = sqlx::query("SELECT coalesce(max(version), 0) FROM changes")
            .fetch_one(&self.read)
            .await
            .map_err(StoreError::Database)?;
        Ok(row.get(0))
    }

    /// The changes after a version, oldest first, at most `limit`. `None` when some of them are no longer kept: only a snapshot
    /// tells what happened since.
    pub async fn changes_since(
        &self,
        version: Version,
        limit: u32,
    ) -> Result<Option<Vec<Change>>, StoreError> {
        let rows = sqlx::query("SELECT version, kind, subject FROM changes WHERE version > ?1 ORDER BY version LIMIT ?2")
            .bind(version)
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .map_err(StoreError::Database)?;
        let changes = rows.iter().map(|row| {
            let mut c = Columns::of(row);
            Ok(Change { version: c.take()?, subject: read_subject(c.take()?, c.take()?)? })
        });
        let changes: Vec<Change> = changes.collect::<Result<_, StoreError>>()?;
        // Versions are consecutive: writers are serialised and a rolled back write takes its versions back.
        let gap = changes.first().is_some_and(|first| first.version > version + 1);
        Ok((!gap).then_some(changes))
    }
}

pub(super) fn write_subject(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::Tenant(id) => ("tenant", id.to_string()),
        Subject::Domain(name) => ("domain", name.clone()),
        Subject::CustomDomain(name) => ("custom_domain", name.clone()),
        Subject::Sandbox(id) => ("sandbox", id.to_string()),
        Subject::Token(id) => ("token", id.to_string()),
        Subject::Share(id) => ("share", id.to_string()),
        Subject::SigningKeys => ("signing_keys", String::new()),
    }
}

fn read_subject(kind: &str, key: &str) -> Result<Subject, StoreError> {
    let corrupt = |_| StoreError::Corrupt("change");
    Ok(match kind {
        "tenant" => Subject::Tenant(key.parse().map_err(corrupt)?),
        "domain" => Subject::Domain(key.to_owned()),
        "custom_domain" => Subject::CustomDomain(key.to_owned()),
        "sandbox" => Subject::Sandbox(key.parse().map_err(corrupt)?),
        "token" => Subject::Token(key.parse().map_err(corrupt)?),
        "share" => Subject::Share(key.parse().map_err(corrupt)?),
        "signing_keys" => Subject::SigningKeys,
        _ => return Err(StoreError::Corrupt("change")),
    })
}
