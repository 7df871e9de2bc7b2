//! What visitors moved, written: a batch is counted once however often it is written, and old buckets become coarser ones.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::{Sqlite, Transaction};

use super::rows::{Columns, millis};
use super::{Store, StoreError};
use crate::model::{Counted, MINUTE};

const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// How long buckets of a length are kept before they become buckets of the next.
const KEPT: [(i64, i64, SignedDuration); 2] = [
    (MINUTE, HOUR, SignedDuration::from_hours(48)),
    (HOUR, DAY, SignedDuration::from_hours(90 * 24)),
];
/// How long a writer that has nothing to say is remembered. Nobody writes a batch again after so long.
const REMEMBERED: i64 = 2 * DAY;

impl Store {
    /// Adds a batch of counts. `sequence` grows with every batch of a node: one that was written before is not counted again, and that
    /// is what `false` says.
    pub async fn add_traffic(
        &self,
        node: &str,
        sequence: i64,
        batch: &[Counted],
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let now = millis(self.clock.now());
        let taken = sqlx::query(
            "INSERT INTO usage_writers (node, sequence, seen_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (node) DO UPDATE SET sequence = ?2, seen_at = ?3 WHERE sequence < ?2",
        )
        .bind(node)
        .bind(sequence)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        if taken.rows_affected() == 0 {
            return Ok(false);
        }
        add(&mut tx, node, batch).await?;
        self.end(tx).await?;
        Ok(true)
    }

    /// Makes old buckets coarser: minutes become hours after two days, hours become days after ninety. Each step is one transaction, and
    /// doing it again changes nothing.
    pub async fn roll_up_traffic(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        for (from, to, kept) in KEPT {
            let before = millis(now.checked_sub(kept).unwrap_or(Timestamp::MIN));
            while self.roll_up_one(from, to, before - before.rem_euclid(to)).await? {}
        }
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM usage_writers WHERE seen_at < ?1")
            .bind(millis(now) - REMEMBERED)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.end(tx).await
    }

    /// Makes one bucket of `to` of the oldest buckets of `from`; false when none is old enough. A bucket at a time, so that no writer
    /// waits for long.
    async fn roll_up_one(&self, from: i64, to: i64, before: i64) -> Result<bool, StoreError> {
        let row =
            sqlx::query("SELECT min(bucket) FROM usage_traffic WHERE grain = ?1 AND bucket < ?2")
                .bind(from)
                .bind(before)
                .fetch_one(&self.read)
                .await
                .map_err(StoreError::Database)?;
        let Some(oldest) = Columns::of(&row).take::<Option<i64>>()? else { return Ok(false) };
        let bucket = oldest - oldest.rem_euclid(to);
        let mut tx = self.begin().await?;
        for sql in [
            "INSERT INTO usage_traffic SELECT owner, ?3, ?2, port, share, '', sum(requests), sum(bytes_in), sum(bytes_out), \
             sum(websocket_ms), sum(status_1xx), sum(status_2xx), sum(status_3xx), sum(status_4xx), sum(status_5xx) \
             FROM usage_traffic WHERE grain = ?1 AND bucket >= ?3 AND bucket < ?3 + ?2 GROUP BY owner, port, share \
             ON CONFLICT (owner, bucket, grain, port, share, node) DO UPDATE SET requests = requests + excluded.requests, \
             bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out, \
             websocket_ms = websocket_ms + excluded.websocket_ms, status_1xx = status_1xx + excluded.status_1xx, \
             status_2xx = status_2xx + excluded.status_2xx, status_3xx = status_3xx + excluded.status_3xx, \
             status_4xx = status_4xx + excluded.status_4xx, status_5xx = status_5xx + excluded.status_5xx",
            "DELETE FROM usage_traffic WHERE grain = ?1 AND bucket >= ?3 AND bucket < ?3 + ?2",
        ] {
            let done = sqlx::query(sql).bind(from).bind(to).bind(bucket).execute(&mut *tx).await;
            done.map_err(StoreError::Database)?;
        }
        self.end(tx).await?;
        Ok(true)
    }
}

/// Adds to the buckets. The database takes the whole batch as one text: a statement a row costs ten times what the rows do.
async fn add(
    tx: &mut Transaction<'static, Sqlite>,
    node: &str,
    batch: &[Counted],
) -> Result<(), StoreError> {
    let rows = batch.iter().map(|counted| {
        let (place, t) = (counted.place, counted.traffic);
        let share = place.share.map(|share| share.to_string()).unwrap_or_default();
        let r = t.responses;
        json!([
            counted.minute,
            place.sandbox,
            place.port,
            share,
            t.requests,
            t.bytes_in,
            t.bytes_out,
            t.websocket_ms,
            r[0],
            r[1],
            r[2],
            r[3],
            r[4]
        ])
    });
    let rows = serde_json::Value::Array(rows.collect()).to_string();
    sqlx::query(
        "INSERT INTO usage_traffic SELECT o.id, v ->> 0, ?3, v ->> 2, v ->> 3, ?2, v ->> 4, v ->> 5, v ->> 6, v ->> 7, \
         v ->> 8, v ->> 9, v ->> 10, v ->> 11, v ->> 12 \
         FROM (SELECT value AS v FROM json_each(?1)) JOIN usage_owners o ON o.sandbox = v ->> 1 AND o.until IS NULL WHERE true \
         ON CONFLICT (owner, bucket, grain, port, share, node) DO UPDATE SET requests = requests + excluded.requests, \
         bytes_in = bytes_in + excluded.bytes_in, bytes_out = bytes_out + excluded.bytes_out, \
         websocket_ms = websocket_ms + excluded.websocket_ms, status_1xx = status_1xx + excluded.status_1xx, \
         status_2xx = status_2xx + excluded.status_2xx, status_3xx = status_3xx + excluded.status_3xx, \
         status_4xx = status_4xx + excluded.status_4xx, status_5xx = status_5xx + excluded.status_5xx",
    )
    .bind(rows)
    .bind(node)
    .bind(MINUTE)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(StoreError::Database)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    use super::*;
    use crate::base::clock::Clock;
    use crate::control::store::{UsageFilter, UsageGroup};
    use crate::model::SandboxId;

    /// The store as it was before usage was counted, with sandboxes in it.
    async fn older(data: &std::path::Path, ids: &[(SandboxId, &str)], tenant: &str) {
        std::fs::write(data.join("secret.key"), "0".repeat(64)).unwrap();
        let options = SqliteConnectOptions::new().filename(data.join("portico.db"));
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options.create_if_missing(true)).await.unwrap();
        let mut migrator = crate::control::store::migrations::migrator();
        let before: Vec<_> = migrator.iter().filter(|m| m.version < 4).cloned().collect();
        migrator.migrations = Cow::Owned(before);
        migrator.run(&pool).await.unwrap();
        let made = "INSERT INTO tenants (id, name, policy, created_at) VALUES (?1, 'a', '{}', 0)";
        sqlx::query(made).bind(tenant).execute(&pool).await.unwrap();
        for (id, state) in ids {
            sqlx::query(
                "INSERT INTO sandboxes (id, tenant, slug, state, driver, default_port, profile, external_user_id, metadata, \
                 tags, attributes, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, 'loopback', 3000, 'forwarded', 'ada', '{}', \
                 '[]', '{\"cpu_count\": 4, \"disk_size_mb\": 1024, \"workspace_id\": \"w\"}', 0, 0)",
            )
            .bind(id.to_string())
            .bind(tenant)
            .bind(format!("slug-{state}"))
            .bind(*state)
            .execute(&pool)
            .await
            .unwrap();
        }
        pool.close().await;
    }

    #[tokio::test]
    async fn what_there_is_already_is_counted_from_the_upgrade_on() {
        let data = tempfile::tempdir().unwrap();
        let tenant = crate::model::TenantId::new();
        let [running, paused, gone] = [(); 3].map(|()| SandboxId::new());
        let ids = [(running, "running"), (paused, "paused"), (gone, "destroyed")];
        older(data.path(), &ids, &tenant.to_string()).await;
        let clock = Clock::system();
        let before = clock.now();
        let store = Store::open_dir(data.path(), clock.clone()).await.unwrap();
        let filter = UsageFilter {
            tenant,
            external_user_id: Some("ada".into()),
            external_project_id: None,
            external_workspace_id: None,
            workspace_id: Some("w".into()),
            sandbox: None,
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::MAX,
        };
        let mut spans = Vec::new();
        store.each_span(&filter, |span| spans.push(span.clone())).await.unwrap();
        spans.sort_by_key(|span| !span.shape.running);
        let [one, two] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((one.sandbox, one.shape.vcpus, two.sandbox), (running, 4, paused));
        assert!(one.shape.running && !two.shape.running && one.ended_at.is_none());
        // The database's clock may be a moment behind ours.
        let early = before.checked_sub(SignedDuration::from_secs(1)).unwrap();
        assert!(one.started_at >= early && one.started_at <= clock.now());
        store.destroy_sandbox(tenant, running).await.unwrap();
        let used = store.usage(&filter, UsageGroup::Sandbox).await.unwrap();
        assert!(used.iter().all(|(_, used)| used.provisioned.wall_ms < 60_000), "{used:?}");
    }
}
