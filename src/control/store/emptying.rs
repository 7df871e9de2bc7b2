//! A tenant is deleted in steps, each a transaction of bounded size: first nothing of it works any more, then everything of it ends as if it
//! had ended it itself, then its rows go. The audit log and the operator's blocks stay.

use super::rows::{Columns, hits, json, millis};
use super::{Store, StoreError};
use crate::model::{Blocked, SandboxId, Subject, TenantId, Version};

/// Sandboxes that are destroyed in a step.
const SANDBOXES: i64 = 100;
/// Rows that are deleted in a step.
const ROWS: i64 = 2000;

/// What its owner reads of a deleted tenant for as long as it is there.
const REASON: &str = "This account has been deleted.";

/// How far the deletion of a tenant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptied {
    /// There is more to do.
    Going,
    /// So many machines are still to be destroyed by the operator's commands.
    Machines(u64),
    /// Nothing is left.
    Gone,
}

/// What belongs to a tenant, in the order in which it can go.
const OWNED: [&str; 17] = [
    "DELETE FROM usage_traffic WHERE (owner, bucket, grain, port, share, node) IN \
     (SELECT t.owner, t.bucket, t.grain, t.port, t.share, t.node FROM usage_owners o \
      JOIN usage_traffic t ON t.owner = o.id WHERE o.tenant = ?1 LIMIT ?2)",
    "DELETE FROM usage_spans WHERE id IN (SELECT s.id FROM usage_owners o \
     JOIN usage_spans s ON s.owner = o.id WHERE o.tenant = ?1 LIMIT ?2)",
    "DELETE FROM usage_owners WHERE id IN (SELECT id FROM usage_owners WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM deliveries WHERE id IN (SELECT d.id FROM webhooks w \
     JOIN deliveries d ON d.webhook = w.id WHERE w.tenant = ?1 LIMIT ?2)",
    "DELETE FROM webhooks WHERE id IN (SELECT id FROM webhooks WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM shares WHERE id IN (SELECT h.id FROM sandboxes s \
     JOIN shares h ON h.sandbox = s.id WHERE s.tenant = ?1 LIMIT ?2)",
    "DELETE FROM previews WHERE id IN (SELECT p.id FROM sandboxes s \
     JOIN previews p ON p.sandbox = s.id WHERE s.tenant = ?1 LIMIT ?2)",
    "DELETE FROM tokens WHERE id IN (SELECT t.id FROM sandboxes s \
     JOIN tokens t ON t.sandbox = s.id WHERE s.tenant = ?1 LIMIT ?2)",
    "DELETE FROM job_items WHERE (job, sandbox) IN (SELECT i.job, i.sandbox FROM jobs j \
     JOIN job_items i ON i.job = j.id WHERE j.tenant = ?1 LIMIT ?2)",
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM scoped_tokens WHERE id IN (SELECT id FROM scoped_tokens WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM workspaces WHERE id IN (SELECT id FROM workspaces WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM quotas WHERE (tenant, scope, subject) IN \
     (SELECT tenant, scope, subject FROM quotas WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM quota_alerts WHERE (tenant, external_user_id, quota) IN \
     (SELECT tenant, external_user_id, quota FROM quota_alerts WHERE tenant = ?1 LIMIT ?2)",
    "DELETE FROM sandboxes WHERE id IN (SELECT id FROM sandboxes WHERE tenant = ?1 LIMIT ?2)",
];

impl Store {
    /// From now on nothing of a tenant works any more: its keys are revoked, its previews closed. Doing it twice is no error.
    pub async fn begin_deleting(&self, tenant: TenantId) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let closed = Blocked { reason: REASON.to_owned(), since: now, ports: None };
        let query = sqlx::query(
            "UPDATE tenants SET suspended = ?2, deleted_at = coalesce(deleted_at, ?3) WHERE id = ?1",
        )
        .bind(tenant.to_string())
        .bind(json(&closed))
        .bind(millis(now));
        hits(&mut tx, query).await?;
        sqlx::query("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE tenant = ?1")
            .bind(tenant.to_string())
            .bind(millis(now))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.commit(tx, &[Subject::Tenant(tenant)]).await
    }

    /// Tenants that are being deleted.
    pub async fn deleting_tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM tenants WHERE deleted_at IS NOT NULL LIMIT 10")
            .fetch_all(&self.read)
            .await
            .map_err(StoreError::Database)?;
        rows.iter().map(|row| Columns::of(row).id()).collect()
    }

    /// Takes one step further in deleting a tenant. Several may do so at once.
    pub async fn empty_tenant(&self, tenant: TenantId) -> Result<Emptied, StoreError> {
        let deleting = self.tenant(tenant).await?.is_some_and(|of| of.deleted_at.is_some());
        if !deleting {
            return Ok(Emptied::Gone);
        }
        if self.end_sandboxes(tenant).await? || self.end_domains(tenant).await? {
            return Ok(Emptied::Going);
        }
        let machines: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM sandboxes WHERE tenant = ?1 AND wanted IS NOT NULL",
        )
        .bind(tenant.to_string())
        .fetch_one(&self.read)
        .await
        .map_err(StoreError::Database)?;
        if machines > 0 {
            return Ok(Emptied::Machines(machines.unsigned_abs()));
        }
        for sql in OWNED {
            let mut tx = self.begin().await?;
            let done = sqlx::query(sql).bind(tenant.to_string()).bind(ROWS).execute(&mut *tx).await;
            if done.map_err(StoreError::Database)?.rows_affected() > 0 {
                self.end(tx).await?;
                return Ok(Emptied::Going);
            }
        }
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM tenants WHERE id = ?1")
            .bind(tenant.to_string())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.commit(tx, &[Subject::Tenant(tenant)]).await?;
        Ok(Emptied::Gone)
    }

    /// Destroys some of a tenant's sandboxes; false when none is left.
    async fn end_sandboxes(&self, tenant: TenantId) -> Result<bool, StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM sandboxes WHERE tenant = ?1 AND destroyed_at IS NULL LIMIT ?2",
        )
        .bind(tenant.to_string())
        .bind(SANDBOXES)
        .fetch_all(&self.read)
        .await
        .map_err(StoreError::Database)?;
        for row in &rows {
            let id: SandboxId = Columns::of(row).id()?;
            match self.destroy_sandbox(tenant, id).await {
                // Somebody else destroyed it first, and its row is gone.
                Ok(_) | Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(!rows.is_empty())
    }

    /// Removes a tenant's domains; false when none is left.
    async fn end_domains(&self, tenant: TenantId) -> Result<bool, StoreError> {
        let domains = self.domains(tenant).await?;
        let exact = self.exact_domains(tenant).await?;
        for domain in &domains {
            gone(self.delete_domain(&domain.route.domain).await)?;
        }
        for exact in &exact {
            gone(self.delete_custom_domain(&exact.route.fqdn).await)?;
        }
        Ok(!domains.is_empty() || !exact.is_empty())
    }
}

/// What somebody else removed first is gone as well.
fn gone(removed: Result<Version, StoreError>) -> Result<(), StoreError> {
    match removed {
        Ok(_) | Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::base::clock::Clock;
    use crate::control::store::{AuditFilter, Created, NewBlock, NewSandbox};
    use crate::model::{Attributes, BlockTarget, Driver, Profile, SandboxState};

    fn new(driver: Driver) -> NewSandbox {
        NewSandbox {
            id: SandboxId::new(),
            slug: None,
            name: None,
            state: SandboxState::Running,
            driver,
            upstream: None,
            default_port: 3000,
            profile: Profile::default(),
            external_user_id: Some("user".into()),
            external_project_id: None,
            external_workspace_id: None,
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            attributes: Attributes::default(),
        }
    }

    /// Every row of every table that names a tenant, by table.
    async fn rows_of(store: &Store, tenant: TenantId) -> Vec<(String, i64)> {
        let tables = sqlx::query(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.name = 'tenant'",
        );
        let mut found = Vec::new();
        for table in tables.fetch_all(&store.read).await.unwrap() {
            let table: String = table.get(0);
            let sql = format!("SELECT count(*) FROM {table} WHERE tenant = ?1");
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .bind(tenant.to_string())
                .fetch_one(&store.read)
                .await
                .unwrap();
            if count > 0 {
                found.push((table, count));
            }
        }
        found.sort();
        found
    }

    async fn emptied(store: &Store, tenant: TenantId) -> Emptied {
        loop {
            match store.empty_tenant(tenant).await.unwrap() {
                Emptied::Going => {}
                settled => return settled,
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_tenant_but_its_log_and_its_blocks_and_nobody_else_loses_anything()
    {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_dir(dir.path(), Clock::system()).await.unwrap();
        let mut tenants = Vec::new();
        for name in ["gone", "stays"] {
            let tenant = store.create_tenant(name).await.unwrap().0.id;
            for _ in 0..3 {
                let made = store.create_sandbox(tenant, new(Driver::Register), None).await.unwrap();
                let (Created::Fresh(sandbox, _) | Created::Replayed(sandbox)) = made;
                store
                    .put_domain(&format!("{name}.example"), tenant, Some(store.clock.now()))
                    .await
                    .unwrap();
                let exact = crate::model::CustomDomain {
                    fqdn: format!("{}.example", sandbox.id),
                    sandbox: sandbox.id,
                    port: None,
                };
                store.put_custom_domain(exact).await.unwrap();
                let target = BlockTarget::Sandbox(sandbox.id);
                let new = NewBlock { target, host: None, reason: "x".into() };
                store.block(new).await.unwrap();
            }
            tenants.push(tenant);
        }
        let (gone, stays) = (tenants[0], tenants[1]);
        let before = rows_of(&store, stays).await;
        assert!(before.len() > 5, "{before:?}");
        assert_eq!(store.empty_tenant(gone).await.unwrap(), Emptied::Gone, "nobody deletes it");
        store.begin_deleting(gone).await.unwrap();
        assert_eq!(store.deleting_tenants().await.unwrap(), [gone]);
        assert_eq!(emptied(&store, gone).await, Emptied::Gone);
        let left: Vec<String> =
            rows_of(&store, gone).await.into_iter().map(|(table, _)| table).collect();
        // Its names stay its own for a while, and are told apart from what comes after.
        assert_eq!(left, ["audit_log", "blocks", "former_slugs", "name_holders"]);
        assert!(store.tenant(gone).await.unwrap().is_none());
        assert_eq!(rows_of(&store, stays).await, before);
        let filter = AuditFilter { tenant: Some(gone), limit: 1000, ..AuditFilter::default() };
        assert!(store.audit_log(filter).await.unwrap().len() > 5);
        assert_eq!(emptied(&store, gone).await, Emptied::Gone, "twice is no error");
    }

    #[tokio::test]
    async fn machines_are_destroyed_before_their_rows_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_dir(dir.path(), Clock::system()).await.unwrap();
        let tenant = store.create_tenant("gone").await.unwrap().0.id;
        store.create_sandbox(tenant, new(Driver::Command), None).await.unwrap();
        store.begin_deleting(tenant).await.unwrap();
        assert_eq!(emptied(&store, tenant).await, Emptied::Machines(1));
        let asked = store.wanted(1).await.unwrap()[0];
        let asked = store.wanted_sandbox(asked).await.unwrap().unwrap();
        let done = crate::control::store::CommandEnd::Done(None);
        store.command_ended(&asked, done).await.unwrap();
        assert_eq!(emptied(&store, tenant).await, Emptied::Gone);
    }
}
