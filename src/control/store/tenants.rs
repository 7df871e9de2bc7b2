//! Tenants, their faces and rules.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::rows::{Columns, from_json, hits, json, millis, moment};
use super::{Store, StoreError};
use crate::model::{Branding, SandboxState, Subject, Tenant, TenantId, TenantPolicy, Version};

pub(super) fn tenant(row: &SqliteRow) -> Result<Tenant, StoreError> {
    let mut c = Columns::of(row);
    Ok(Tenant {
        id: c.id()?,
        name: c.take()?,
        branding: c.optional_json()?,
        branding_version: c.count()?,
        policy: c.json()?,
        created_at: c.moment()?,
        blocked: named(row, "blocked", |text: &str| from_json(text))?,
        suspended: named(row, "suspended", |text: &str| from_json(text))?,
        deleted_at: named(row, "deleted_at", moment)?,
    })
}

/// What was added to the table later is read by its name, wherever it stands.
fn named<'r, T, R>(
    row: &'r SqliteRow,
    name: &str,
    read: impl FnOnce(T) -> Result<R, StoreError>,
) -> Result<Option<R>, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    let value: Option<T> = row.try_get(name).map_err(StoreError::Database)?;
    value.map(read).transpose()
}

impl Store {
    /// Makes a tenant. Names are unique.
    pub async fn create_tenant(&self, name: &str) -> Result<(Tenant, Version), StoreError> {
        let tenant = Tenant {
            id: TenantId::new(),
            name: name.to_owned(),
            branding: None,
            branding_version: 0,
            policy: TenantPolicy::default(),
            created_at: self.clock.now(),
            blocked: None,
            suspended: None,
            deleted_at: None,
        };
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO tenants (id, name, policy, created_at) VALUES (?1, ?2, ?3, ?4)")
            .bind(tenant.id.to_string())
            .bind(name)
            .bind(json(&tenant.policy))
            .bind(millis(tenant.created_at))
            .execute(&mut *tx)
            .await
            .map_err(|error| unique(error, || StoreError::Exists))?;
        let version = self.commit(tx, &[Subject::Tenant(tenant.id)]).await?;
        Ok((tenant, version))
    }

    /// All tenants, oldest first.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let rows = sqlx::query("SELECT * FROM tenants ORDER BY created_at, id")
            .fetch_all(&self.read)
            .await;
        rows.map_err(StoreError::Database)?.iter().map(tenant).collect()
    }

    /// A tenant.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let row = sqlx::query("SELECT * FROM tenants WHERE id = ?1")
            .bind(id.to_string())
            .fetch_optional(&self.read);
        row.await.map_err(StoreError::Database)?.as_ref().map(tenant).transpose()
    }

    /// How many sandboxes a tenant has, by state, without those that are destroyed.
    pub async fn count_sandboxes(
        &self,
        id: TenantId,
    ) -> Result<BTreeMap<SandboxState, u64>, StoreError> {
        let rows = sqlx::query(
            "SELECT state, count(*) FROM sandboxes WHERE tenant = ?1 AND destroyed_at IS NULL GROUP BY state",
        )
        .bind(id.to_string())
        .fetch_all(&self.read)
        .await
        .map_err(StoreError::Database)?;
        let count = |row: &SqliteRow| {
            let mut c = Columns::of(row);
            Ok((c.enum_value()?, c.count()?))
        };
        rows.iter().map(count).collect()
    }

    /// Sets or removes a tenant's face.
    pub async fn set_branding(
        &self,
        id: TenantId,
        branding: Option<&Branding>,
    ) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        let query = sqlx::query("UPDATE tenants SET branding = ?2, branding_version = branding_version + 1 WHERE id = ?1")
            .bind(id.to_string())
            .bind(branding.map(json));
        hits(&mut tx, query).await?;
        self.commit(tx, &[Subject::Tenant(id)]).await
    }

    /// Sets a tenant's rules.
    pub async fn set_policy(
        &self,
        id: TenantId,
        policy: &TenantPolicy,
    ) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        // Session-expired pages name the allowed origins, so they are rendered anew with the rules.
        let query = sqlx::query(
            "UPDATE tenants SET policy = ?2, branding_version = branding_version + 1 WHERE id = ?1",
        )
        .bind(id.to_string())
        .bind(json(policy));
        hits(&mut tx, query).await?;
        self.commit(tx, &[Subject::Tenant(id)]).await
    }
}

/// Tells a broken uniqueness apart from every other failure.
pub(super) fn unique(error: sqlx::Error, taken: impl FnOnce() -> StoreError) -> StoreError {
    match &error {
        sqlx::Error::Database(cause) if cause.is_unique_violation() => taken(),
        _ => StoreError::Database(error),
    }
}
