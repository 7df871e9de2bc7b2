//! Quotas of end users: kept, counted, and held to in the transaction that would exceed them.

use serde_json::{Map, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, Sqlite};

use super::events::NewEvent;
use super::rows::{Columns, Tx, enum_name, millis};
use super::{QuotaExceeded, Store, StoreError};
use crate::model::{EventType, QuotaSource, Quotas, Sandbox, SandboxState, TenantId, Version};

/// An exceeded quota of a user is told at most once in this time, milliseconds.
const ALERT_EVERY: i64 = 60_000;
/// What is counted of an end user's sandboxes.
const COUNT: &str = "SELECT count(*), count(*) FILTER (WHERE state NOT IN ('paused', 'stopped', 'error')), \
     coalesce(sum(json_extract(attributes, '$.disk_size_mb')), 0) FROM sandboxes \
     WHERE tenant = ?1 AND external_user_id = ?2 AND destroyed_at IS NULL";
/// The caps that hold for a user: its own, else the tenant's.
const HOLDING: &str = "SELECT max_sandboxes, max_concurrent, max_storage_gb, max_credit_cents, scope FROM quotas \
     WHERE tenant = ?1 AND ((scope = 'user' AND subject = ?2) OR (scope = 'tenant' AND subject = '')) \
     ORDER BY scope = 'user' DESC LIMIT 1";

/// What an end user has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Sandboxes that are not destroyed.
    pub sandboxes: u64,
    /// ... of them those that run, or are about to.
    pub concurrent: u64,
    /// Disk of all of them, MiB.
    pub storage_mb: u64,
}

fn quotas(c: &mut Columns<'_>) -> Result<Quotas, StoreError> {
    let mut cap = || {
        let cap = c.take::<Option<i64>>()?;
        cap.map(|cap| u64::try_from(cap).map_err(|_| StoreError::Corrupt("quota"))).transpose()
    };
    Ok(Quotas {
        max_sandboxes: cap()?,
        max_concurrent: cap()?,
        max_storage_gb: cap()?,
        max_credit_cents: cap()?,
    })
}

fn holding(row: Option<SqliteRow>) -> Result<(Quotas, QuotaSource), StoreError> {
    let Some(row) = row else { return Ok((Quotas::default(), QuotaSource::Platform)) };
    let mut c = Columns::of(&row);
    Ok((quotas(&mut c)?, c.enum_value()?))
}

impl Store {
    /// Sets a user's quotas, or the tenant's default for all of its users (`None`); without any, takes them away.
    pub async fn set_quotas(
        &self,
        tenant: TenantId,
        user: Option<&str>,
        quotas: Option<&Quotas>,
    ) -> Result<Version, StoreError> {
        let scope = if user.is_some() { QuotaSource::User } else { QuotaSource::Tenant };
        let mut tx = self.begin().await?;
        let query = match quotas {
            None => {
                sqlx::query("DELETE FROM quotas WHERE tenant = ?1 AND scope = ?2 AND subject = ?3")
            }
            Some(_) => sqlx::query(
                "INSERT OR REPLACE INTO quotas (tenant, scope, subject, max_sandboxes, max_concurrent, max_storage_gb, \
                 max_credit_cents, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            ),
        };
        let mut query = query
            .bind(tenant.to_string())
            .bind(enum_name(&scope))
            .bind(user.unwrap_or_default().to_owned());
        if let Some(quotas) = quotas {
            for (_, cap) in quotas.named() {
                query = query.bind(cap.map(|cap| i64::try_from(cap).unwrap_or(i64::MAX)));
            }
            query = query.bind(millis(self.clock.now()));
        }
        query.execute(&mut *tx).await.map_err(StoreError::Database)?;
        // The proxies know nothing of quotas.
        self.commit(tx, &[]).await
    }

    /// What was set for one user, or as the tenant's default; `None` when nothing was.
    pub async fn own_quotas(
        &self,
        tenant: TenantId,
        user: Option<&str>,
    ) -> Result<Option<Quotas>, StoreError> {
        let scope = if user.is_some() { QuotaSource::User } else { QuotaSource::Tenant };
        let row = sqlx::query(
            "SELECT max_sandboxes, max_concurrent, max_storage_gb, max_credit_cents FROM quotas \
             WHERE tenant = ?1 AND scope = ?2 AND subject = ?3",
        )
        .bind(tenant.to_string())
        .bind(enum_name(&scope))
        .bind(user.unwrap_or_default().to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(StoreError::Database)?;
        row.map(|row| quotas(&mut Columns::of(&row))).transpose()
    }

    /// The quotas that hold for a user, and whose they are.
    pub async fn quotas_of(
        &self,
        tenant: TenantId,
        user: &str,
    ) -> Result<(Quotas, QuotaSource), StoreError> {
        let query = sqlx::query(HOLDING).bind(tenant.to_string()).bind(user.to_owned());
        holding(query.fetch_optional(&self.read).await.map_err(StoreError::Database)?)
    }

    /// What a user has.
    pub async fn quota_usage(
        &self,
        tenant: TenantId,
        user: &str,
    ) -> Result<QuotaUsage, StoreError> {
        count(&self.read, tenant, user).await
    }
}

async fn count<'e>(
    executor: impl Executor<'e, Database = Sqlite>,
    tenant: TenantId,
    user: &str,
) -> Result<QuotaUsage, StoreError> {
    let query = sqlx::query(COUNT).bind(tenant.to_string()).bind(user.to_owned());
    let row = query.fetch_one(executor).await.map_err(StoreError::Database)?;
    let mut c = Columns::of(&row);
    Ok(QuotaUsage { sandboxes: c.count()?, concurrent: c.count()?, storage_mb: c.count()? })
}

/// What one sandbox is to its user's quotas.
fn share(sandbox: &Sandbox) -> QuotaUsage {
    let concurrent = match sandbox.state {
        SandboxState::Paused
        | SandboxState::Stopped
        | SandboxState::Error
        | SandboxState::Destroyed => 0,
        SandboxState::Creating
        | SandboxState::Running
        | SandboxState::Pausing
        | SandboxState::Resuming => 1,
    };
    let storage_mb = sandbox.attributes.disk_size_mb.map_or(0, u64::from);
    QuotaUsage { sandboxes: 1, concurrent, storage_mb }
}

impl Store {
    /// Gives a transaction back unless a sandbox as it will be (`after`) makes its user exceed a quota; then nothing of it happens, and
    /// who listens for events is told. Call it before the change is written: writers are serialised, so whoever is admitted is counted
    /// before the next one asks.
    pub(super) async fn within_quotas(
        &self,
        mut tx: Tx,
        before: Option<&Sandbox>,
        after: &Sandbox,
    ) -> Result<Tx, StoreError> {
        match judge(&mut tx, before, after).await {
            Ok(()) => Ok(tx),
            Err(StoreError::QuotaExceeded(exceeded)) => {
                tx.rollback().await.map_err(StoreError::Database)?;
                Err(self.refused(after.tenant, *exceeded).await)
            }
            Err(error) => Err(error),
        }
    }

    /// The error of an exceeded quota, of which who listens for events is told.
    pub async fn refused(&self, tenant: TenantId, exceeded: QuotaExceeded) -> StoreError {
        if let Err(error) = self.tell_exceeded(tenant, &exceeded).await {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the event quota.exceeded could not be written");
        }
        StoreError::QuotaExceeded(Box::new(exceeded))
    }

    /// Emits the event of an exceeded quota, unless that was done a moment ago: whoever is refused tries again.
    async fn tell_exceeded(
        &self,
        tenant: TenantId,
        exceeded: &QuotaExceeded,
    ) -> Result<(), StoreError> {
        let QuotaExceeded { quota, limit, used, external_user_id } = exceeded;
        let now = millis(self.clock.now());
        let told = sqlx::query(
            "SELECT at FROM quota_alerts WHERE tenant = ?1 AND external_user_id = ?2 AND quota = ?3 AND at > ?4",
        )
        .bind(tenant.to_string())
        .bind(external_user_id)
        .bind(quota)
        .bind(now - ALERT_EVERY);
        if told.fetch_optional(&self.read).await.map_err(StoreError::Database)?.is_some() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let forgotten = sqlx::query("DELETE FROM quota_alerts WHERE tenant = ?1 AND at <= ?2")
            .bind(tenant.to_string())
            .bind(now - ALERT_EVERY);
        forgotten.execute(&mut *tx).await.map_err(StoreError::Database)?;
        let noted = sqlx::query(
            "INSERT INTO quota_alerts (tenant, external_user_id, quota, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.to_string())
        .bind(external_user_id)
        .bind(quota)
        .bind(now);
        // Somebody else may have told it between the two looks.
        if noted.execute(&mut *tx).await.map_err(StoreError::Database)?.rows_affected() == 0 {
            return Ok(());
        }
        let facts = [
            ("quota".to_owned(), json!(quota)),
            ("limit".to_owned(), json!(limit)),
            ("used".to_owned(), json!(used)),
            ("external_user_id".to_owned(), json!(external_user_id)),
        ];
        let event = NewEvent::of_tenant(tenant, EventType::QuotaExceeded, Map::from_iter(facts));
        let event = NewEvent { external_user_id: Some(external_user_id.clone()), ..event };
        self.emit(&mut tx, event).await?;
        // What was asked for was refused, so nobody has changed anything.
        self.in_nobodys_name().commit(tx, &[]).await.map(drop)
    }
}

/// Only what grows is judged: who has too much already, because a quota was lowered, can still do everything else.
async fn judge(tx: &mut Tx, before: Option<&Sandbox>, after: &Sandbox) -> Result<(), StoreError> {
    let Some(user) = &after.external_user_id else { return Ok(()) };
    let own = before.filter(|before| before.external_user_id.as_ref() == Some(user)).map(share);
    let (own, new) = (own.unwrap_or_default(), share(after));
    let grows = new.sandboxes > own.sandboxes
        || new.concurrent > own.concurrent
        || new.storage_mb > own.storage_mb;
    if !grows {
        return Ok(());
    }
    let query = sqlx::query(HOLDING).bind(after.tenant.to_string()).bind(user.clone());
    let row = query.fetch_optional(&mut **tx).await.map_err(StoreError::Database)?;
    let (caps, _) = holding(row)?;
    if caps == Quotas::default() {
        return Ok(());
    }
    let has = count(&mut **tx, after.tenant, user).await?;
    let storage = caps.max_storage_gb.map(|gb| gb.saturating_mul(1024));
    let judged = [
        ("max_sandboxes", caps.max_sandboxes, 1, (own.sandboxes, new.sandboxes, has.sandboxes)),
        (
            "max_concurrent",
            caps.max_concurrent,
            1,
            (own.concurrent, new.concurrent, has.concurrent),
        ),
        ("max_storage_gb", storage, 1024, (own.storage_mb, new.storage_mb, has.storage_mb)),
    ];
    for (quota, cap, unit, (own, new, has)) in judged {
        let after = has.saturating_sub(own).saturating_add(new);
        if let Some(cap) = cap.filter(|cap| new > own && after > *cap) {
            return Err(StoreError::QuotaExceeded(Box::new(QuotaExceeded {
                quota,
                limit: cap / unit,
                used: has.div_ceil(unit),
                external_user_id: user.clone(),
            })));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::base::clock::Clock;

    #[tokio::test]
    async fn counting_looks_at_an_index_and_at_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open_dir(data.path(), Clock::system()).await.unwrap();
        for (sql, index) in
            [(COUNT, "USING COVERING INDEX sandboxes_counted"), (HOLDING, "USING PRIMARY KEY")]
        {
            let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .bind("t")
                .bind("u")
                .fetch_all(&store.read)
                .await
                .unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
            let looks = plan.iter().filter(|step| step.starts_with("SCAN")).count();
            assert!(plan.iter().any(|step| step.contains(index)) && looks == 0, "{plan:?}");
        }
    }
}
