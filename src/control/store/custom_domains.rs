//! Exact host names that lead to one sandbox.

use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::blocks::is_host_held;
use super::domains::{Rival, displace, registration, remove_exact};
use super::former::{held, was_anothers};
use super::rows::{Columns, all, hits, millis};
use super::sandboxes::live;
use super::tenants::unique;
use super::{Store, StoreError};
use crate::model::{CustomDomain, ExactDomain, Registration, Subject, TenantId, Version};

/// The columns of an exact name, in the order in which they are read.
pub(super) const EXACT: &str = "id, tenant, fqdn, sandbox, port, verified_at, created_at, vouched, standing, report, must_prove";

pub(super) fn exact_domain(row: &SqliteRow) -> Result<ExactDomain, StoreError> {
    let mut c = Columns::of(row);
    Ok(ExactDomain {
        id: c.id()?,
        tenant: c.id()?,
        route: CustomDomain { fqdn: c.take()?, sandbox: c.id()?, port: c.optional_port()? },
        verified_at: c.optional_moment()?,
        record: registration(&mut c)?,
    })
}

/// What routing knows of an exact name.
pub(super) fn custom_domain(row: &SqliteRow) -> Result<CustomDomain, StoreError> {
    let mut c = Columns::of(row);
    Ok(CustomDomain { fqdn: c.take()?, sandbox: c.id()?, port: c.optional_port()? })
}

impl Store {
    /// Lets an exact host name that the operator vouches for lead to a sandbox.
    pub async fn put_custom_domain(&self, exact: CustomDomain) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        if is_host_held(&mut tx, &exact.fqdn, exact.sandbox).await? {
            return Err(StoreError::DomainTaken);
        }
        let query = sqlx::query(
            "INSERT INTO custom_domains (fqdn, sandbox, port, id, tenant, verified_at, vouched, created_at) \
             SELECT ?1, id, ?3, ?4, tenant, ?5, 1, ?5 FROM sandboxes WHERE id = ?2 \
             ON CONFLICT (fqdn) DO UPDATE SET sandbox = excluded.sandbox, tenant = excluded.tenant, port = ?3, \
             verified_at = ?5, vouched = 1",
        )
        .bind(&exact.fqdn)
        .bind(exact.sandbox.to_string())
        .bind(exact.port)
        .bind(Uuid::new_v4().to_string())
        .bind(millis(self.clock.now()));
        hits(&mut tx, query).await?;
        let sql = "SELECT tenant FROM custom_domains WHERE fqdn = ?1".to_owned();
        for row in all(&mut tx, sql, &[&exact.fqdn]).await? {
            held(&mut tx, &exact.fqdn, Columns::of(&row).id()?, self.clock.now()).await?;
        }
        self.commit(tx, &[Subject::CustomDomain(exact.fqdn)]).await
    }

    /// Registers an exact host name for a sandbox of a tenant's. Rivals that are not among those that `yield_to_it` refuse it.
    pub async fn register_custom_domain(
        &self,
        exact: CustomDomain,
        tenant: TenantId,
        yield_to_it: &[Rival],
    ) -> Result<(ExactDomain, Version), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        live(&mut tx, tenant, exact.sandbox).await?;
        if is_host_held(&mut tx, &exact.fqdn, exact.sandbox).await? {
            return Err(StoreError::DomainTaken);
        }
        let mut subjects = displace(&mut tx, &exact.fqdn, (tenant, now), yield_to_it).await?;
        let must_prove = was_anothers(&mut tx, &exact.fqdn, tenant).await?;
        let record = Registration { created_at: now, must_prove, ..Registration::default() };
        let id = Uuid::new_v4();
        let made = ExactDomain { id, tenant, route: exact, verified_at: None, record };
        sqlx::query(
            "INSERT INTO custom_domains (fqdn, sandbox, port, id, tenant, created_at, must_prove) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(&made.route.fqdn)
        .bind(made.route.sandbox.to_string())
        .bind(made.route.port)
        .bind(id.to_string())
        .bind(tenant.to_string())
        .bind(millis(now))
        .bind(must_prove)
        .execute(&mut *tx)
        .await
        .map_err(|error| unique(error, || StoreError::DomainTaken))?;
        subjects.push(Subject::CustomDomain(made.route.fqdn.clone()));
        let version = self.commit(tx, &subjects).await?;
        Ok((made, version))
    }

    /// Where an exact host name leads, once it is verified.
    pub async fn custom_domain(&self, fqdn: &str) -> Result<Option<CustomDomain>, StoreError> {
        let row = sqlx::query(
            "SELECT fqdn, sandbox, port FROM custom_domains WHERE fqdn = ?1 AND verified_at IS NOT NULL",
        )
        .bind(fqdn)
        .fetch_optional(&self.read);
        row.await.map_err(StoreError::Database)?.as_ref().map(custom_domain).transpose()
    }

    /// A tenant's exact host name, by id or by itself.
    pub async fn exact_domain(
        &self,
        tenant: TenantId,
        named: &str,
    ) -> Result<ExactDomain, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let sql = format!(
            "SELECT {EXACT} FROM custom_domains WHERE tenant = ?1 AND (id = ?2 OR fqdn = ?2)"
        );
        let rows = all(&mut tx, sql, &[&tenant.to_string(), named]).await?;
        rows.first().map(exact_domain).transpose()?.ok_or(StoreError::NotFound)
    }

    /// A tenant's exact host names, oldest first.
    pub async fn exact_domains(&self, tenant: TenantId) -> Result<Vec<ExactDomain>, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let sql = format!(
            "SELECT {EXACT} FROM custom_domains WHERE tenant = ?1 ORDER BY created_at, fqdn"
        );
        all(&mut tx, sql, &[&tenant.to_string()]).await?.iter().map(exact_domain).collect()
    }

    /// Removes an exact host name, whoever's it is.
    pub async fn delete_custom_domain(&self, fqdn: &str) -> Result<Version, StoreError> {
        self.delete_exact(fqdn, None).await
    }

    /// Removes a tenant's exact host name.
    pub async fn delete_custom_domain_of(
        &self,
        fqdn: &str,
        tenant: TenantId,
    ) -> Result<Version, StoreError> {
        self.delete_exact(fqdn, Some(tenant)).await
    }

    async fn delete_exact(
        &self,
        fqdn: &str,
        tenant: Option<TenantId>,
    ) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        if !remove_exact(&mut tx, fqdn, tenant).await? {
            return Err(StoreError::NotFound);
        }
        self.commit(tx, &[Subject::CustomDomain(fqdn.to_owned())]).await
    }
}
