//! Tenants, their faces, rules and domains.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use super::rows::{Columns, json, millis};
use super::{Store, StoreError};
use crate::model::{
    Branding, CustomDomain, SandboxState, Subject, Tenant, TenantDomain, TenantId, TenantPolicy,
    Version,
};

pub(super) fn tenant(row: &SqliteRow) -> Result<Tenant, StoreError> {
    let mut c = Columns::of(row);
    Ok(Tenant {
        id: c.id()?,
        name: c.take()?,
        branding: c.optional_json()?,
        branding_version: c.count()?,
        policy: c.json()?,
        created_at: c.moment()?,
    })
}

pub(super) fn domain(row: &SqliteRow) -> Result<TenantDomain, StoreError> {
    let mut c = Columns::of(row);
    Ok(TenantDomain { domain: c.take()?, tenant: c.id()?, verified_at: c.optional_moment()? })
}

pub(super) fn custom_domain(row: &SqliteRow) -> Result<CustomDomain, StoreError> {
    let mut c = Columns::of(row);
    Ok(CustomDomain { fqdn: c.take()?, sandbox: c.id()?, port: c.optional_port()? })
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
            Ok((c.word()?, c.count()?))
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
        let done = sqlx::query("UPDATE tenants SET branding = ?2, branding_version = branding_version + 1 WHERE id = ?1")
            .bind(id.to_string())
            .bind(branding.map(json))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
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
        let done = sqlx::query(
            "UPDATE tenants SET policy = ?2, branding_version = branding_version + 1 WHERE id = ?1",
        )
        .bind(id.to_string())
        .bind(json(policy))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        if done.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
        self.commit(tx, &[Subject::Tenant(id)]).await
    }

    /// Registers a domain for a tenant, or notes when its DNS was verified. First come, first served.
    pub async fn put_domain(
        &self,
        name: &str,
        tenant: TenantId,
        verified_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO domains (domain, tenant, verified_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (domain) DO UPDATE SET verified_at = ?3 WHERE tenant = ?2",
        )
        .bind(name)
        .bind(tenant.to_string())
        .bind(verified_at.map(millis))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        if done.rows_affected() == 0 {
            return Err(StoreError::DomainTaken);
        }
        let mut subjects = vec![Subject::Domain(name.to_owned())];
        if verified_at.is_some() {
            subjects.extend(self.claim_slugs_below(&mut tx, name, tenant).await?);
        }
        self.commit(tx, &subjects).await
    }

    /// The tenant's sandboxes answer below its new domain as well.
    async fn claim_slugs_below(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        domain: &str,
        tenant: TenantId,
    ) -> Result<Vec<Subject>, StoreError> {
        let rows = sqlx::query(
            "INSERT INTO slugs (scope, slug, sandbox) SELECT ?1, slug, id FROM sandboxes \
             WHERE tenant = ?2 AND destroyed_at IS NULL ON CONFLICT DO NOTHING RETURNING sandbox",
        )
        .bind(domain)
        .bind(tenant.to_string())
        .fetch_all(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
        rows.iter().map(|row| Ok(Subject::Sandbox(Columns::of(row).id()?))).collect()
    }

    /// A registered domain.
    pub async fn domain(&self, name: &str) -> Result<Option<TenantDomain>, StoreError> {
        let row = sqlx::query("SELECT domain, tenant, verified_at FROM domains WHERE domain = ?1")
            .bind(name);
        row.fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?
            .as_ref()
            .map(domain)
            .transpose()
    }

    /// A tenant's domains.
    pub async fn domains(&self, tenant: TenantId) -> Result<Vec<TenantDomain>, StoreError> {
        let rows = sqlx::query(
            "SELECT domain, tenant, verified_at FROM domains WHERE tenant = ?1 ORDER BY domain",
        );
        let rows = rows.bind(tenant.to_string()).fetch_all(&self.read).await;
        rows.map_err(StoreError::Database)?.iter().map(domain).collect()
    }

    /// Removes a domain and the claims below it.
    pub async fn delete_domain(&self, name: &str) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        let done =
            sqlx::query("DELETE FROM domains WHERE domain = ?1").bind(name).execute(&mut *tx).await;
        if done.map_err(StoreError::Database)?.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
        let gone = sqlx::query("DELETE FROM slugs WHERE scope = ?1 RETURNING sandbox")
            .bind(name)
            .fetch_all(&mut *tx);
        let mut subjects = vec![Subject::Domain(name.to_owned())];
        for row in gone.await.map_err(StoreError::Database)? {
            subjects.push(Subject::Sandbox(Columns::of(&row).id()?));
        }
        self.commit(tx, &subjects).await
    }

    /// Lets an exact host name lead to a sandbox.
    pub async fn put_custom_domain(&self, exact: CustomDomain) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO custom_domains (fqdn, sandbox, port) VALUES (?1, ?2, ?3) \
             ON CONFLICT (fqdn) DO UPDATE SET sandbox = ?2, port = ?3",
        )
        .bind(&exact.fqdn)
        .bind(exact.sandbox.to_string())
        .bind(exact.port)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        self.commit(tx, &[Subject::CustomDomain(exact.fqdn)]).await
    }

    /// An exact host name.
    pub async fn custom_domain(&self, fqdn: &str) -> Result<Option<CustomDomain>, StoreError> {
        let row = sqlx::query("SELECT fqdn, sandbox, port FROM custom_domains WHERE fqdn = ?1")
            .bind(fqdn);
        row.fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?
            .as_ref()
            .map(custom_domain)
            .transpose()
    }

    /// Removes an exact host name.
    pub async fn delete_custom_domain(&self, fqdn: &str) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM custom_domains WHERE fqdn = ?1")
            .bind(fqdn)
            .execute(&mut *tx)
            .await;
        if done.map_err(StoreError::Database)?.rows_affected() == 0 {
            return Err(StoreError::NotFound);
        }
        self.commit(tx, &[Subject::CustomDomain(fqdn.to_owned())]).await
    }
}

/// Tells a broken uniqueness apart from every other failure.
pub(super) fn unique(error: sqlx::Error, taken: impl FnOnce() -> StoreError) -> StoreError {
    match &error {
        sqlx::Error::Database(cause) if cause.is_unique_violation() => taken(),
        _ => StoreError::Database(error),
    }
}
