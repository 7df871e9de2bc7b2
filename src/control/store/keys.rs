//! API keys and the keys that sign preview tokens.

use aws_lc_rs::rand;
use sqlx::sqlite::SqliteRow;

use super::audit::Touched;
use super::rows::{Columns, from_json, hits, json, millis};
use super::{NewApiKey, Store, StoreError};
use crate::model::{ApiKey, Binding, KeyId, SigningKeyRecord, Subject, TenantId, Version};

/// Signing keys that are active at once: the newest signs, all verify.
const ACTIVE_SIGNING_KEYS: u32 = 2;

const COLUMNS: &str = "id, tenant, label, prefix, scopes, created_at, expires_at, revoked_at, external_user_id, workspace_id";

fn api_key(row: &SqliteRow) -> Result<ApiKey, StoreError> {
    let mut c = Columns::of(row);
    let mut key = ApiKey {
        id: c.id()?,
        tenant: c.id()?,
        label: c.take()?,
        prefix: c.take()?,
        scopes: from_json(c.take()?)?,
        created_at: c.moment()?,
        expires_at: c.optional_moment()?,
        revoked_at: c.optional_moment()?,
        binding: None,
    };
    let (user, workspace_id): (Option<String>, _) = (c.take()?, c.take()?);
    key.binding = user.map(|external_user_id| Binding {
        external_user_id,
        workspace_id,
        sandboxes: Vec::new(),
    });
    Ok(key)
}

impl Store {
    /// Keeps a new API key.
    pub async fn put_api_key(&self, new: NewApiKey) -> Result<ApiKey, StoreError> {
        let key = ApiKey {
            id: KeyId::new(),
            tenant: new.tenant,
            label: new.label,
            prefix: new.prefix,
            scopes: new.scopes,
            created_at: self.clock.now(),
            expires_at: new.expires_at,
            revoked_at: None,
            binding: new.binding,
        };
        let binding = key.binding.as_ref();
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO api_keys (id, tenant, label, prefix, hash, scopes, created_at, expires_at, external_user_id, workspace_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .bind(key.id.to_string())
        .bind(key.tenant.to_string())
        .bind(&key.label)
        .bind(&key.prefix)
        .bind(&new.hash[..])
        .bind(json(&key.scopes))
        .bind(millis(key.created_at))
        .bind(key.expires_at.map(millis))
        .bind(binding.map(|binding| &binding.external_user_id))
        .bind(binding.and_then(|binding| binding.workspace_id.as_ref()))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        let id = key.id.to_string();
        self.finish(tx, Touched { kind: "api_key", id, tenant: key.tenant }).await?;
        Ok(key)
    }

    /// The API key with this hash, revoked or not.
    pub async fn api_key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM api_keys WHERE hash = ?1"));
        let row = sqlx::query(sql).bind(&hash[..]).fetch_optional(&self.read).await;
        row.map_err(StoreError::Database)?.as_ref().map(api_key).transpose()
    }

    /// One of a tenant's API keys, revoked or not.
    pub async fn api_key(&self, tenant: TenantId, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM api_keys WHERE tenant = ?1 AND id = ?2"
        ));
        let row = sqlx::query(sql).bind(tenant.to_string()).bind(id.to_string());
        let row = row.fetch_optional(&self.read).await;
        row.map_err(StoreError::Database)?.as_ref().map(api_key).transpose()
    }

    /// A tenant's API keys, oldest first.
    pub async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM api_keys WHERE tenant = ?1 ORDER BY created_at, id"
        ));
        let rows = sqlx::query(sql).bind(tenant.to_string()).fetch_all(&self.read).await;
        rows.map_err(StoreError::Database)?.iter().map(api_key).collect()
    }

    /// Revokes an API key; revoking twice is no error.
    pub async fn revoke_api_key(&self, tenant: TenantId, key: KeyId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let query = sqlx::query("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?3) WHERE tenant = ?1 AND id = ?2")
            .bind(tenant.to_string())
            .bind(key.to_string())
            .bind(millis(self.clock.now()));
        hits(&mut tx, query).await?;
        self.finish(tx, Touched { kind: "api_key", id: key.to_string(), tenant }).await
    }

    /// The active signing keys, newest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT kid, secret, created_at FROM signing_keys ORDER BY created_at DESC, kid",
        )
        .fetch_all(&self.read)
        .await
        .map_err(StoreError::Database)?;
        let key = |row: &SqliteRow| {
            let mut c = Columns::of(row);
            let kid: String = c.take()?;
            let secret = self.secrets.open(&kid, c.take::<&[u8]>()?)?;
            Ok(SigningKeyRecord { kid, secret, created_at: c.moment()? })
        };
        rows.iter().map(key).collect()
    }

    /// Makes a new signing key and keeps the one before; older ones stop verifying.
    pub async fn rotate_signing_key(&self) -> Result<(SigningKeyRecord, Version), StoreError> {
        self.new_signing_key(ACTIVE_SIGNING_KEYS).await
    }

    /// Makes a new signing key; whatever was signed with others stops verifying at once.
    pub async fn replace_signing_keys(&self) -> Result<(SigningKeyRecord, Version), StoreError> {
        self.new_signing_key(1).await
    }

    async fn new_signing_key(
        &self,
        active: u32,
    ) -> Result<(SigningKeyRecord, Version), StoreError> {
        let mut secret = vec![0; 32];
        rand::fill(&mut secret).map_err(|_| StoreError::WrongSecretKey)?;
        let kid = uuid::Uuid::new_v4().simple().to_string();
        let key = SigningKeyRecord { kid, secret, created_at: self.clock.now() };
        let sealed = self.secrets.seal(&key.kid, &key.secret)?;
        let mut tx = self.begin().await?;
        // Never older than the key it replaces, whatever the clock did meanwhile.
        sqlx::query(
            "INSERT INTO signing_keys (kid, secret, created_at) \
             VALUES (?1, ?2, (SELECT max(?3, coalesce(max(created_at) + 1, 0)) FROM signing_keys))",
        )
        .bind(&key.kid)
        .bind(sealed)
        .bind(millis(key.created_at))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        sqlx::query("DELETE FROM signing_keys WHERE kid NOT IN (SELECT kid FROM signing_keys ORDER BY created_at DESC LIMIT ?1)")
            .bind(active)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let version = self.commit(tx, &[Subject::SigningKeys]).await?;
        Ok((key, version))
    }
}
