//! Forgetting events and deliveries that are no longer kept.

use std::time::Duration;

use sqlx::Row as _;

use super::rows::millis;
use super::{Store, StoreError};
use crate::model::TenantId;

/// Rows removed in one transaction, so that nobody waits long for the writer.
const PRUNED_AT_ONCE: u32 = 500;

impl Store {
    /// Forgets deliveries and events that are older than `keep`, and of each tenant's all but the newest `most`.
    pub async fn prune_events(&self, keep: Duration, most: u32) -> Result<(), StoreError> {
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let before = millis(self.clock.now()).saturating_sub(keep);
        self.remove("SELECT rowid FROM deliveries WHERE created_at < ?1", "deliveries", before)
            .await?;
        let unused = "SELECT seq FROM events e WHERE at < ?1 AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.seq)";
        self.remove(unused, "events", before).await?;
        let many = sqlx::query("SELECT tenant FROM events GROUP BY tenant HAVING count(*) > ?1")
            .bind(most)
            .fetch_all(&self.read)
            .await
            .map_err(StoreError::Database)?;
        for tenant in many {
            let tenant: String = tenant.get(0);
            let last = sqlx::query(
                "SELECT seq FROM events WHERE tenant = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2",
            )
            .bind(&tenant)
            .bind(most)
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
            let Some(last) = last.map(|row| row.get::<i64, _>(0)) else { continue };
            let id: TenantId = tenant.parse().map_err(|_| StoreError::Corrupt("id"))?;
            let of_tenant = format!("SELECT seq FROM events WHERE tenant = '{id}' AND seq <= ?1");
            let on_their_way = format!("SELECT rowid FROM deliveries WHERE event IN ({of_tenant})");
            self.remove(&on_their_way, "deliveries", last).await?;
            self.remove(&of_tenant, "events", last).await?;
        }
        Ok(())
    }

    /// Removes the rows that a query names, a few at a time.
    async fn remove(&self, which: &str, table: &str, bound: i64) -> Result<(), StoreError> {
        loop {
            let sql = sqlx::AssertSqlSafe(format!(
                "DELETE FROM {table} WHERE rowid IN ({which} LIMIT {PRUNED_AT_ONCE})"
            ));
            let mut tx = self.begin().await?;
            let done = sqlx::query(sql).bind(bound).execute(&mut *tx).await;
            let done = done.map_err(StoreError::Database)?;
            self.end(tx).await?;
            if done.rows_affected() < u64::from(PRUNED_AT_ONCE) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::control::store::{Busy, NewWebhook, Room};
    use crate::model::{EventFilter, WebhookSecret, WebhookState};

    #[tokio::test]
    async fn what_is_old_or_too_much_is_forgotten_and_the_rest_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let store = Store::open_dir(dir.path(), clock.clone()).await.unwrap();
        let tenant = store.create_tenant("t").await.unwrap().0.id;
        let new = NewWebhook {
            workspace: None,
            name: None,
            description: None,
            url: "https://a.example/".into(),
            events: EventFilter::default(),
            secret: WebhookSecret("whsec_0123456789".into()),
            state: WebhookState::Active,
            headers: serde_json::Map::new(),
            retry_count: 0,
            metadata: serde_json::Map::new(),
        };
        let webhook = store.create_webhook(tenant, new, 1).await.unwrap();
        let count = async || {
            let events = store.events_since(tenant, 0, 100).await.unwrap().len();
            let told = store.deliveries(webhook.id, Ok(jiff::Timestamp::MAX), 100).await.unwrap();
            (events, told.len())
        };
        let week = Duration::from_hours(7 * 24);
        let first = store.begin_test(&webhook).await.unwrap();
        store.begin_test(&webhook).await.unwrap();
        clock.advance(Duration::from_hours(7 * 24 - 1));
        // A repetition keeps its event, however old that is.
        store.replay_delivery(tenant, webhook.id, first.delivery, None).await.unwrap();
        clock.advance(Duration::from_hours(2));
        for _ in 0..3 {
            store.begin_test(&webhook).await.unwrap();
        }
        assert_eq!(count().await, (5, 6));
        store.prune_events(week, 100).await.unwrap();
        assert_eq!(count().await, (4, 4), "one event and both old deliveries are gone");
        store.prune_events(week, 2).await.unwrap();
        assert_eq!(
            count().await,
            (2, 2),
            "the newest stay, and what waited for the others is gone"
        );
        assert_eq!(store.delivery_backlog().await.unwrap().deliveries, 0);
        let room = Room {
            sound: 8,
            failing: 8,
            per_webhook: 4,
            per_tenant: 4,
            lease: Duration::from_secs(1),
        };
        assert!(store.claim_deliveries(room, &Busy::default()).await.unwrap().is_empty());
    }
}
