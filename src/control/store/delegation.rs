//! Delegation tokens: remembered by id with what they are bound to. The token itself is not kept.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use super::audit::Touched;
use super::rows::{Columns, hits, json, millis};
use super::{Store, StoreError};
use crate::model::{ApiKey, Binding, KeyId, ScopedToken, ScopedTokenId, TenantId};

/// How long tokens that have expired are still listed, milliseconds.
const LISTED: i64 = 30 * 24 * 3600 * 1000;
const COLUMNS: &str = "id, tenant, minted_by, user_id, external_user_id, workspace_id, sandboxes, scopes, created_at, expires_at, revoked_at";

fn scoped_token(row: &SqliteRow) -> Result<ScopedToken, StoreError> {
    let mut c = Columns::of(row);
    Ok(ScopedToken {
        id: c.id()?,
        tenant: c.id()?,
        minted_by: c.id()?,
        user_id: c.take()?,
        binding: Binding {
            external_user_id: c.take()?,
            workspace_id: c.take()?,
            sandboxes: c.json()?,
        },
        scopes: c.json()?,
        created_at: c.moment()?,
        expires_at: c.moment()?,
        revoked_at: c.optional_moment()?,
    })
}

/// Leaves, of sandboxes, what a binding admits.
pub(super) fn restrict(query: &mut QueryBuilder<Sqlite>, binding: Binding) {
    query.push(" AND (external_user_id = ").push_bind(binding.external_user_id);
    for id in binding.sandboxes {
        query.push(" OR id = ").push_bind(id.to_string());
    }
    query.push(")");
    if let Some(workspace) = binding.workspace_id {
        query.push(" AND coalesce(json_extract(attributes, '$.workspace_id'), ");
        query.push_bind(workspace.clone()).push(") = ").push_bind(workspace);
    }
}

impl Store {
    /// Remembers a minted token, and forgets those that expired long ago.
    pub async fn record_scoped_token(&self, token: &ScopedToken) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM scoped_tokens WHERE expires_at < ?1")
            .bind(millis(self.clock.now()) - LISTED)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let sql = sqlx::AssertSqlSafe(format!(
            "INSERT INTO scoped_tokens ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, NULL)"
        ));
        sqlx::query(sql)
            .bind(token.id.to_string())
            .bind(token.tenant.to_string())
            .bind(token.minted_by.to_string())
            .bind(&token.user_id)
            .bind(&token.binding.external_user_id)
            .bind(&token.binding.workspace_id)
            .bind(json(&token.binding.sandboxes))
            .bind(json(&token.scopes))
            .bind(millis(token.created_at))
            .bind(millis(token.expires_at))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let id = token.id.to_string();
        self.finish(tx, Touched { kind: "scoped_token", id, tenant: token.tenant }).await
    }

    /// A token and the key that minted it, each revoked, expired or not.
    pub async fn scoped_token(
        &self,
        id: ScopedTokenId,
    ) -> Result<Option<(ScopedToken, ApiKey)>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM scoped_tokens WHERE id = ?1"));
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&self.read).await;
        let Some(row) = row.map_err(StoreError::Database)? else { return Ok(None) };
        let token = scoped_token(&row)?;
        let key = self.api_key(token.tenant, token.minted_by).await?;
        Ok(key.map(|key| (token, key)))
    }

    /// A tenant's tokens, newest first: those that come behind `before`, and only those of one key if it is named.
    pub async fn scoped_tokens(
        &self,
        tenant: TenantId,
        minted_by: Option<KeyId>,
        (before, limit): (Option<ScopedTokenId>, u32),
    ) -> Result<Vec<ScopedToken>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM scoped_tokens WHERE tenant = ?1 AND (?2 IS NULL OR minted_by = ?2) \
             AND (?3 IS NULL OR id < ?3) ORDER BY id DESC LIMIT ?4"
        ));
        let rows = sqlx::query(sql)
            .bind(tenant.to_string())
            .bind(minted_by.map(|key| key.to_string()))
            .bind(before.map(|token| token.to_string()))
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .map_err(StoreError::Database)?;
        rows.iter().map(scoped_token).collect()
    }

    /// Revokes a token, if it is of the key that is named. Twice is no error.
    pub async fn revoke_scoped_token(
        &self,
        tenant: TenantId,
        minted_by: Option<KeyId>,
        id: ScopedTokenId,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let query = sqlx::query(
            "UPDATE scoped_tokens SET revoked_at = coalesce(revoked_at, ?4) \
             WHERE tenant = ?1 AND id = ?2 AND (?3 IS NULL OR minted_by = ?3)",
        )
        .bind(tenant.to_string())
        .bind(id.to_string())
        .bind(minted_by.map(|key| key.to_string()))
        .bind(millis(self.clock.now()));
        hits(&mut tx, query).await?;
        self.finish(tx, Touched { kind: "scoped_token", id: id.to_string(), tenant }).await
    }
}
