//! Published ports.

use super::rows::{self, enum_name, json, millis};
use super::sandboxes::live;
use super::{NewPreview, Store, StoreError};
use crate::model::{Preview, PreviewId, SandboxId, Subject, TenantId, Version};

impl Store {
    /// Publishes a port, in place of its active record if it has one.
    pub async fn put_preview(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
        new: NewPreview,
    ) -> Result<(Preview, Version), StoreError> {
        let mut tx = self.begin().await?;
        live(&mut tx, tenant, sandbox).await?;
        let now = self.clock.now();
        let former: Option<String> = sqlx::query_scalar("UPDATE previews SET deleted_at = ?3 WHERE sandbox = ?1 AND port = ?2 AND deleted_at IS NULL RETURNING id")
            .bind(sandbox.to_string())
            .bind(new.port)
            .bind(millis(now))
            .fetch_optional(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let preview = Preview {
            id: PreviewId::new(),
            sandbox,
            port: new.port,
            name: new.name,
            visibility: new.visibility,
            profile: new.profile,
            protocol: new.protocol,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
            expires_at: new.expires_at,
            deleted_at: None,
        };
        sqlx::query(
            "INSERT INTO previews VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, NULL, ?10)",
        )
        .bind(preview.id.to_string())
        .bind(sandbox.to_string())
        .bind(preview.port)
        .bind(&preview.name)
        .bind(enum_name(&preview.visibility))
        .bind(preview.profile.as_ref().map(enum_name))
        .bind(json(&preview.metadata))
        .bind(millis(now))
        .bind(preview.expires_at.map(millis))
        .bind(enum_name(&preview.protocol))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        if let Some(former) = former {
            // The port goes on under another record, and so do the links that open it.
            sqlx::query("UPDATE shares SET preview = ?2 WHERE preview = ?1")
                .bind(former)
                .bind(preview.id.to_string())
                .execute(&mut *tx)
                .await
                .map_err(StoreError::Database)?;
        }
        let version = self.commit(tx, &[Subject::Sandbox(sandbox)]).await?;
        Ok((preview, version))
    }

    /// A sandbox's active previews, by port.
    pub async fn previews(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
    ) -> Result<Vec<Preview>, StoreError> {
        self.sandbox(tenant, sandbox).await?;
        let rows = sqlx::query(
            "SELECT * FROM previews WHERE sandbox = ?1 AND deleted_at IS NULL ORDER BY port",
        )
        .bind(sandbox.to_string())
        .fetch_all(&self.read)
        .await
        .map_err(StoreError::Database)?;
        rows.iter().map(rows::preview).collect()
    }

    /// One preview, deleted or not.
    pub async fn preview(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
        preview: PreviewId,
    ) -> Result<Preview, StoreError> {
        self.sandbox(tenant, sandbox).await?;
        let row = sqlx::query("SELECT * FROM previews WHERE id = ?1 AND sandbox = ?2")
            .bind(preview.to_string())
            .bind(sandbox.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
        row.as_ref().map(rows::preview).transpose()?.ok_or(StoreError::NotFound)
    }

    /// Takes a preview back: the port is private again, and the links to it are revoked. Twice is no error.
    pub async fn delete_preview(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
        preview: PreviewId,
    ) -> Result<Version, StoreError> {
        let whole = self.sandbox(tenant, sandbox).await?;
        self.preview(tenant, sandbox, preview).await?;
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE previews SET deleted_at = coalesce(deleted_at, ?2) WHERE id = ?1")
            .bind(preview.to_string())
            .bind(millis(self.clock.now()))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let mut subjects = self.end_preview_shares(&mut tx, &whole, preview).await?;
        subjects.push(Subject::Sandbox(sandbox));
        self.commit(tx, &subjects).await
    }
}
