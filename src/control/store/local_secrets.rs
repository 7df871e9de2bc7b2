//! Small secrets of the installation's own.

use sqlx::Row as _;

use super::{Store, StoreError};

impl Store {
    /// A small secret of the installation's own, such as the API key that `dev` prints at every start.
    pub async fn local_secret(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM local_secrets WHERE name = ?1")
            .bind(name)
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
        let Some(row) = row else { return Ok(None) };
        let value = self.secrets.open(name, row.get::<&[u8], _>(0))?;
        String::from_utf8(value).map(Some).map_err(|_| StoreError::Corrupt("local secret"))
    }

    /// Keeps a small secret, encrypted.
    pub async fn put_local_secret(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let sealed = self.secrets.seal(name, value.as_bytes())?;
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO local_secrets (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2")
            .bind(name)
            .bind(sealed)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.end(tx).await
    }
}
