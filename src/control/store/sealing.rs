//! What tenants entrust to the store that opens something elsewhere: environments of sandboxes and headers of webhooks. It lies there
//! encrypted, like the store's own secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value};

use super::rows::{Columns, all, from_json, json};
use super::{Store, StoreError};
use crate::model::{SandboxId, SealedEnv, WebhookId};

/// Rows that one write seals.
const BATCH: usize = 500;

fn env_of(sandbox: SandboxId) -> String {
    format!("sandbox {sandbox} env")
}

fn headers_of(webhook: WebhookId) -> String {
    format!("webhook {webhook} headers")
}

impl Store {
    /// Encrypts a sandbox's environment.
    pub fn seal_env(
        &self,
        sandbox: SandboxId,
        env: &Map<String, Value>,
    ) -> Result<SealedEnv, StoreError> {
        if env.is_empty() {
            return Ok(SealedEnv::default());
        }
        let sealed = self.secrets.seal(&env_of(sandbox), json(env).as_bytes())?;
        Ok(SealedEnv(Some(STANDARD_NO_PAD.encode(sealed))))
    }

    /// A sandbox's environment.
    pub fn open_env(
        &self,
        sandbox: SandboxId,
        SealedEnv(env): &SealedEnv,
    ) -> Result<Map<String, Value>, StoreError> {
        let Some(sealed) = env else { return Ok(Map::new()) };
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| StoreError::Corrupt("env"))?;
        read(&self.secrets.open(&env_of(sandbox), &sealed)?)
    }

    pub(super) fn seal_headers(
        &self,
        webhook: WebhookId,
        headers: &Map<String, Value>,
    ) -> Result<Vec<u8>, StoreError> {
        self.secrets.seal(&headers_of(webhook), json(headers).as_bytes())
    }

    pub(super) fn open_headers(
        &self,
        webhook: WebhookId,
        sealed: &[u8],
    ) -> Result<Map<String, Value>, StoreError> {
        read(&self.secrets.open(&headers_of(webhook), sealed)?)
    }

    /// Encrypts what an older version has left in the clear, and what the file still holds of it.
    pub(super) async fn seal_what_is_clear(&self) -> Result<(), StoreError> {
        let listed = sqlx::query("SELECT 1 FROM unsealed LIMIT 1").fetch_optional(&self.read).await;
        if listed.map_err(StoreError::Database)?.is_none() {
            return Ok(());
        }
        let on_file = |sql: &'static str| async move {
            let done = sqlx::query(sql).execute(&self.write).await;
            done.map(drop).map_err(StoreError::Database)
        };
        on_file("PRAGMA secure_delete = ON").await?;
        while self.seal_some().await? {}
        // Pages that are free now hold it still, and so does the log of writes.
        on_file("VACUUM").await?;
        on_file("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        tracing::info!("environments of sandboxes and headers of webhooks are encrypted now");
        Ok(())
    }

    /// Encrypts some rows; false when none is left.
    async fn seal_some(&self) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let sql = format!(
            "SELECT id, json_extract(attributes, '$.env') FROM sandboxes WHERE id IN (SELECT id FROM unsealed) \
             AND json_type(attributes, '$.env') = 'object' LIMIT {BATCH}"
        );
        let sandboxes = all(&mut tx, sql, &[]).await?;
        for row in &sandboxes {
            let mut c = Columns::of(row);
            let (id, env): (SandboxId, Map<_, _>) = (c.id()?, c.json()?);
            let SealedEnv(sealed) = self.seal_env(id, &env)?;
            let sql =
                "UPDATE sandboxes SET attributes = json_set(attributes, '$.env', ?2) WHERE id = ?1";
            let written =
                sqlx::query(sql).bind(id.to_string()).bind(sealed).execute(&mut *tx).await;
            written.map_err(StoreError::Database)?;
        }
        let sql = format!(
            "SELECT id, headers FROM webhooks WHERE id IN (SELECT id FROM unsealed) AND typeof(headers) = 'text' LIMIT {BATCH}"
        );
        let webhooks = all(&mut tx, sql, &[]).await?;
        for row in &webhooks {
            let mut c = Columns::of(row);
            let (id, headers): (WebhookId, Map<_, _>) = (c.id()?, c.json()?);
            let sealed = self.seal_headers(id, &headers)?;
            let written = sqlx::query("UPDATE webhooks SET headers = ?2 WHERE id = ?1");
            let written = written.bind(id.to_string()).bind(sealed).execute(&mut *tx).await;
            written.map_err(StoreError::Database)?;
        }
        let is_over = sandboxes.is_empty() && webhooks.is_empty();
        if is_over {
            all(&mut tx, "DELETE FROM unsealed".to_owned(), &[]).await?;
        }
        self.end(tx).await?;
        Ok(!is_over)
    }
}

fn read(opened: &[u8]) -> Result<Map<String, Value>, StoreError> {
    from_json(std::str::from_utf8(opened).map_err(|_| StoreError::Corrupt("sealed value"))?)
}
