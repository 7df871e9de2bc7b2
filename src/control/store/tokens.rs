//! Preview tokens: remembered by id so that they can be listed and revoked. The token itself is not kept.

use sqlx::sqlite::SqliteRow;

use super::audit::Touched;
use super::rows::{Columns, enum_name, hits, millis};
use super::sandboxes::live;
use super::{Store, StoreError};
use crate::model::{PreviewTokenRecord, SandboxId, Subject, TenantId, TokenId, Version};

fn token(row: &SqliteRow) -> Result<PreviewTokenRecord, StoreError> {
    let mut c = Columns::of(row);
    Ok(PreviewTokenRecord {
        id: c.id()?,
        sandbox: c.id()?,
        port: c.optional_port()?,
        scope: c.enum_value()?,
        created_at: c.moment()?,
        expires_at: c.moment()?,
        revoked_at: c.optional_moment()?,
    })
}

impl Store {
    /// Remembers a minted token. Nobody needs to hear of it before it is revoked, so nothing is logged.
    pub async fn record_token(
        &self,
        tenant: TenantId,
        token: &PreviewTokenRecord,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        live(&mut tx, tenant, token.sandbox).await?;
        sqlx::query("INSERT INTO tokens (id, sandbox, port, scope, created_at, expires_at, minted_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            .bind(token.id.to_string())
            .bind(token.sandbox.to_string())
            .bind(token.port)
            .bind(enum_name(&token.scope))
            .bind(millis(token.created_at))
            .bind(millis(token.expires_at))
            .bind(self.minter())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let id = token.id.to_string();
        self.finish(tx, Touched { kind: "preview_token", id, tenant }).await
    }

    /// A sandbox's tokens, newest first.
    pub async fn tokens(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
    ) -> Result<Vec<PreviewTokenRecord>, StoreError> {
        self.sandbox(tenant, sandbox).await?;
        let rows =
            sqlx::query("SELECT * FROM tokens WHERE sandbox = ?1 ORDER BY created_at DESC, id")
                .bind(sandbox.to_string())
                .fetch_all(&self.read)
                .await
                .map_err(StoreError::Database)?;
        rows.iter().map(token).collect()
    }

    /// Revokes one token. Twice is no error.
    pub async fn revoke_token(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
        token: TokenId,
    ) -> Result<Version, StoreError> {
        self.sandbox(tenant, sandbox).await?;
        let mut tx = self.begin().await?;
        let query = sqlx::query("UPDATE tokens SET revoked_at = coalesce(revoked_at, ?3) WHERE id = ?1 AND sandbox = ?2")
            .bind(token.to_string())
            .bind(sandbox.to_string())
            .bind(millis(self.clock.now()));
        hits(&mut tx, query).await?;
        self.commit(tx, &[Subject::Token(token)]).await
    }

    /// Revokes every token of a sandbox, those that were never remembered included.
    pub async fn revoke_all_tokens(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
    ) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        live(&mut tx, tenant, sandbox).await?;
        for sql in [
            "UPDATE tokens SET revoked_at = ?2 WHERE sandbox = ?1 AND revoked_at IS NULL",
            "UPDATE sandboxes SET token_generation = token_generation + 1, updated_at = ?2 WHERE id = ?1",
        ] {
            let done = sqlx::query(sql).bind(sandbox.to_string()).bind(millis(self.clock.now()));
            done.execute(&mut *tx).await.map_err(StoreError::Database)?;
        }
        self.commit(tx, &[Subject::Sandbox(sandbox)]).await
    }

    /// When a token that was revoked by itself expires; `None` when it was not revoked.
    pub async fn revoked_token(
        &self,
        token: TokenId,
    ) -> Result<Option<jiff::Timestamp>, StoreError> {
        let row =
            sqlx::query("SELECT expires_at FROM tokens WHERE id = ?1 AND revoked_at IS NOT NULL")
                .bind(token.to_string())
                .fetch_optional(&self.read)
                .await
                .map_err(StoreError::Database)?;
        row.as_ref().map(|row| Columns::of(row).moment()).transpose()
    }
}
