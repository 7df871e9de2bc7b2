//! Work on many sandboxes at once: rows, so that it survives a restart and goes on.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _};

use super::audit::Touched;
use super::find::narrow;
use super::rows::{Columns, millis};
use super::{SandboxFilter, Store, StoreError};
use crate::model::{JobId, SandboxId, TenantId};

/// How long a finished job can be asked for, milliseconds: a week.
const KEPT: i64 = 7 * 24 * 3600 * 1000;
/// Jobs of one tenant that may be under way.
const OPEN: i64 = 16;
/// Failures that are told of one by one.
const TOLD: i64 = 100;
/// What is written of a sandbox that was destroyed.
const DONE: &str = "";

/// Which sandboxes a job is about.
#[derive(Clone, Debug)]
pub enum JobTarget {
    /// Those that the filter finds now.
    Filter(Box<SandboxFilter>),
    /// These.
    Ids(Vec<SandboxId>),
}

/// A job as it stands.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: String,
    /// Sandboxes in all.
    pub total: u64,
    /// Those that are done with, one way or the other.
    pub done: u64,
    /// Those for which it failed.
    pub failed: u64,
    /// The first of those, and why.
    pub failures: Vec<(String, String)>,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Store {
    /// Orders the destruction of many sandboxes. Gives the job and how many it is about.
    pub async fn order_destruction(
        &self,
        tenant: TenantId,
        target: JobTarget,
    ) -> Result<(JobId, u64), StoreError> {
        let (id, now) = (JobId::new(), millis(self.clock.now()));
        let mut tx = self.begin().await?;
        let open =
            sqlx::query("SELECT count(*) FROM jobs WHERE tenant = ?1 AND finished_at IS NULL");
        let open = open.bind(tenant.to_string()).fetch_one(&mut *tx).await;
        if open.map_err(StoreError::Database)?.get::<i64, _>(0) >= OPEN {
            return Err(StoreError::Busy);
        }
        for sql in [
            "DELETE FROM job_items WHERE job IN (SELECT id FROM jobs WHERE tenant = ?1 AND finished_at < ?2)",
            "DELETE FROM jobs WHERE tenant = ?1 AND finished_at < ?2",
        ] {
            let old = sqlx::query(sql).bind(tenant.to_string()).bind(now - KEPT);
            old.execute(&mut *tx).await.map_err(StoreError::Database)?;
        }
        sqlx::query("INSERT INTO jobs (id, tenant, kind, total, created_at) VALUES (?1, ?2, 'destroy', 0, ?3)")
            .bind(id.to_string())
            .bind(tenant.to_string())
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let total = match target {
            JobTarget::Filter(filter) => {
                let mut query = QueryBuilder::new("INSERT INTO job_items (job, sandbox) SELECT ");
                query.push_bind(id.to_string()).push(", id FROM sandboxes WHERE tenant = ");
                query.push_bind(tenant.to_string());
                narrow(&mut query, &filter);
                let done = query.build().execute(&mut *tx).await;
                done.map_err(StoreError::Database)?.rows_affected()
            }
            JobTarget::Ids(ids) => {
                let mut total = 0;
                for sandbox in ids {
                    let row = sqlx::query(
                        "INSERT INTO job_items (job, sandbox) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    );
                    let done = row.bind(id.to_string()).bind(sandbox.to_string());
                    let done = done.execute(&mut *tx).await.map_err(StoreError::Database)?;
                    total += done.rows_affected();
                }
                total
            }
        };
        sqlx::query("UPDATE jobs SET total = ?2, finished_at = CASE WHEN ?2 = 0 THEN created_at END WHERE id = ?1")
            .bind(id.to_string())
            .bind(i64::try_from(total).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.finish(tx, Touched { kind: "job", id: id.to_string(), tenant }).await?;
        Ok((id, total))
    }

    /// Jobs that are not finished, and whose they are, oldest first.
    pub async fn open_jobs(&self) -> Result<Vec<(JobId, TenantId)>, StoreError> {
        let sql = "SELECT id, tenant FROM jobs WHERE finished_at IS NULL ORDER BY created_at, id";
        let rows = sqlx::query(sql).fetch_all(&self.read).await.map_err(StoreError::Database)?;
        let job = |row| {
            let mut c = Columns::of(row);
            Ok((c.id()?, c.id()?))
        };
        rows.iter().map(job).collect()
    }

    /// The next sandboxes of a job.
    pub async fn job_items(&self, job: JobId, limit: u32) -> Result<Vec<SandboxId>, StoreError> {
        let sql = "SELECT sandbox FROM job_items WHERE job = ?1 AND outcome IS NULL LIMIT ?2";
        let rows = sqlx::query(sql).bind(job.to_string()).bind(limit).fetch_all(&self.read).await;
        rows.map_err(StoreError::Database)?.iter().map(|row| Columns::of(row).id()).collect()
    }

    /// Notes what became of some of a job's sandboxes (`None`: it was done), and that it is finished once nothing is left.
    pub async fn job_done(
        &self,
        job: JobId,
        outcomes: &[(SandboxId, Option<String>)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for (sandbox, failure) in outcomes {
            sqlx::query("UPDATE job_items SET outcome = ?3 WHERE job = ?1 AND sandbox = ?2")
                .bind(job.to_string())
                .bind(sandbox.to_string())
                .bind(failure.as_deref().unwrap_or(DONE))
                .execute(&mut *tx)
                .await
                .map_err(StoreError::Database)?;
        }
        sqlx::query(
            "UPDATE jobs SET finished_at = ?2 WHERE id = ?1 AND finished_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM job_items WHERE job = ?1 AND outcome IS NULL)",
        )
        .bind(job.to_string())
        .bind(millis(self.clock.now()))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        self.end(tx).await
    }

    /// A tenant's job as it stands.
    pub async fn job(&self, tenant: TenantId, id: JobId) -> Result<Job, StoreError> {
        let row = sqlx::query(
            "SELECT kind, total, created_at, finished_at, \
             (SELECT count(*) FROM job_items WHERE job = jobs.id AND outcome IS NOT NULL), \
             (SELECT count(*) FROM job_items WHERE job = jobs.id AND outcome <> '') \
             FROM jobs WHERE id = ?1 AND tenant = ?2",
        )
        .bind(id.to_string())
        .bind(tenant.to_string())
        .fetch_optional(&self.read)
        .await
        .map_err(StoreError::Database)?
        .ok_or(StoreError::NotFound)?;
        let failures = sqlx::query(
            "SELECT sandbox, outcome FROM job_items WHERE job = ?1 AND outcome <> '' LIMIT ?2",
        );
        let failures = failures.bind(id.to_string()).bind(TOLD).fetch_all(&self.read).await;
        let failure = |row| {
            let mut c = Columns::of(row);
            Ok((c.take()?, c.take()?))
        };
        let mut c = Columns::of(&row);
        Ok(Job {
            id,
            kind: c.take()?,
            total: c.count()?,
            created_at: c.moment()?,
            finished_at: c.optional_moment()?,
            done: c.count()?,
            failed: c.count()?,
            failures: failures
                .map_err(StoreError::Database)?
                .iter()
                .map(failure)
                .collect::<Result<_, StoreError>>()?,
        })
    }
}
