//! Creates that are remembered by the key their caller gave them, so that a repeated call gets what the first one made.

use sqlx::Row as _;

use super::rows::{self, Tx, millis};
use super::{Idempotency, Store, StoreError};
use crate::model::{Sandbox, SandboxId};

/// How long a create is remembered by its idempotency key, milliseconds.
const REMEMBERED: i64 = 24 * 3600 * 1000;

impl Store {
    /// What the same call made before. The same key with another payload is a mistake of its caller's.
    pub(super) async fn remembered(
        &self,
        tx: &mut Tx,
        idempotency: &Idempotency,
    ) -> Result<Option<Sandbox>, StoreError> {
        sqlx::query("DELETE FROM idempotency WHERE created_at < ?1")
            .bind(millis(self.clock.now()) - REMEMBERED)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::Database)?;
        let row = sqlx::query(
            "SELECT i.fingerprint, s.* FROM idempotency i JOIN sandboxes s ON s.id = i.sandbox WHERE i.id = ?1",
        )
        .bind(&idempotency.key)
        .fetch_optional(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
        let Some(row) = row else { return Ok(None) };
        if row.get::<&[u8], _>(0) != &idempotency.fingerprint[..] {
            return Err(StoreError::IdempotencyMismatch);
        }
        let sandbox = sqlx::query(
            "SELECT s.* FROM idempotency i JOIN sandboxes s ON s.id = i.sandbox WHERE i.id = ?1",
        )
        .bind(&idempotency.key)
        .fetch_one(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
        rows::sandbox(&sandbox).map(Some)
    }

    /// Whether the same call, with the same payload, has had its response before.
    pub async fn is_remembered(&self, idempotency: &Idempotency) -> Result<bool, StoreError> {
        let found = sqlx::query(
            "SELECT 1 FROM idempotency WHERE id = ?1 AND fingerprint = ?2 AND created_at >= ?3",
        )
        .bind(&idempotency.key)
        .bind(&idempotency.fingerprint[..])
        .bind(millis(self.clock.now()) - REMEMBERED);
        let found = found.fetch_optional(&self.read).await.map_err(StoreError::Database)?;
        Ok(found.is_some())
    }

    /// Remembers what a call made.
    pub(super) async fn remember(
        &self,
        tx: &mut Tx,
        idempotency: Idempotency,
        id: SandboxId,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO idempotency (id, fingerprint, sandbox, created_at) VALUES (?1, ?2, ?3, ?4)")
            .bind(idempotency.key)
            .bind(&idempotency.fingerprint[..])
            .bind(id.to_string())
            .bind(millis(self.clock.now()))
            .execute(&mut **tx)
            .await
            .map_err(StoreError::Database)?;
        Ok(())
    }
}
