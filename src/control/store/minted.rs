//! What a key or a delegation token has made that opens previews: preview tokens and share links. Each remembers who minted it.

use super::rows::{Columns, Tx, all, millis};
use super::{ActorKind, Store, StoreError};
use crate::model::{Sandbox, SandboxId, Subject, TenantId};

/// Tokens and links that one write revokes.
const BATCH: usize = 500;
/// Whatever was minted by `?2`, or by a token that was minted by it.
const BY: &str = "(minted_by = ?2 OR minted_by IN (SELECT id FROM scoped_tokens WHERE tenant = ?1 AND minted_by = ?2)) \
                  AND sandbox IN (SELECT id FROM sandboxes WHERE tenant = ?1)";

impl Store {
    /// Who mints what this store writes, if it is a key or a token.
    pub(super) fn minter(&self) -> Option<String> {
        let actor = self.actor.as_ref()?;
        matches!(actor.kind, ActorKind::ApiKey | ActorKind::DelegationToken)
            .then(|| actor.id.clone())
    }

    /// Revokes every preview token and share link that a key or a delegation token minted; of a key, those too that its tokens minted.
    pub async fn revoke_minted(&self, tenant: TenantId, minter: &str) -> Result<(), StoreError> {
        loop {
            let mut tx = self.begin().await?;
            let mut subjects = self.revoke_minted_tokens(&mut tx, tenant, minter).await?;
            subjects.extend(self.revoke_minted_shares(&mut tx, tenant, minter).await?);
            if subjects.is_empty() {
                return Ok(());
            }
            self.commit(tx, &subjects).await?;
        }
    }

    async fn revoke_minted_tokens(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        minter: &str,
    ) -> Result<Vec<Subject>, StoreError> {
        let sql = format!(
            "UPDATE tokens SET revoked_at = CAST(?3 AS INTEGER) WHERE id IN (SELECT id FROM tokens \
             WHERE revoked_at IS NULL AND expires_at > CAST(?3 AS INTEGER) AND {BY} LIMIT {BATCH}) RETURNING id"
        );
        let now = millis(self.clock.now()).to_string();
        let rows = all(tx, sql, &[&tenant.to_string(), minter, &now]).await?;
        rows.iter().map(|row| Ok(Subject::Token(Columns::of(row).id()?))).collect()
    }

    async fn revoke_minted_shares(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        minter: &str,
    ) -> Result<Vec<Subject>, StoreError> {
        let sql = format!(
            "SELECT id, sandbox FROM shares WHERE revoked_at IS NULL AND {BY} ORDER BY sandbox LIMIT {BATCH}"
        );
        let rows = all(tx, sql, &[&tenant.to_string(), minter]).await?;
        let mut subjects = Vec::with_capacity(rows.len());
        let mut last: Option<Sandbox> = None;
        for row in &rows {
            let mut c = Columns::of(row);
            let (share, id): (String, SandboxId) = (c.take()?, c.id()?);
            let sandbox = match last.take().filter(|sandbox| sandbox.id == id) {
                Some(sandbox) => sandbox,
                None => self.sandbox(tenant, id).await?,
            };
            subjects.extend(self.revoke_where(tx, &sandbox, ("id", share)).await?);
            last = Some(sandbox);
        }
        Ok(subjects)
    }
}
