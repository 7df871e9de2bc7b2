//! What became of deliveries: looking at them, repeating them, trying a webhook out.

use jiff::Timestamp;
use serde_json::json;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::events::{self, NewEvent};
use super::rows::{Columns, enum_name, millis};
use super::{Claim, Store, StoreError};
use crate::model::{
    Delivery, DeliveryId, DeliveryState, EventType, TenantId, Webhook, WebhookId, WebhookState,
};

/// The columns of a delivery, behind those of its event.
const COLUMNS: &str = "d.id, d.webhook, d.state, d.attempts, d.next_at, d.created_at, d.delivered_at, d.status, d.body, d.error, \
                       d.duration_ms, d.replay_of";

fn delivery(row: &SqliteRow) -> Result<Delivery, StoreError> {
    let mut c = Columns::of(row);
    let event = events::event(&mut c)?;
    Ok(Delivery {
        id: c.id()?,
        webhook: c.id()?,
        event,
        state: c.enum_value()?,
        attempts: c.take()?,
        next_at: c.optional_moment()?,
        created_at: c.moment()?,
        delivered_at: c.optional_moment()?,
        status: c.take()?,
        body: c.take()?,
        error: c.take()?,
        duration_ms: c.take::<Option<i64>>()?.and_then(|ms| u64::try_from(ms).ok()),
        replay_of: c.take::<Option<&str>>()?.and_then(|id| id.parse().ok()),
    })
}

impl Store {
    /// A webhook's deliveries, newest first, at most `limit`; only those before a moment, or before another delivery.
    pub async fn deliveries(
        &self,
        webhook: WebhookId,
        before: Result<Timestamp, DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (sql, bound) = match before {
            Ok(at) => ("d.created_at < CAST(?2 AS INTEGER)", millis(at).to_string()),
            Err(id) => (
                "(d.created_at, d.id) < (SELECT created_at, id FROM deliveries WHERE id = ?2)",
                id.to_string(),
            ),
        };
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {}, {COLUMNS} FROM deliveries d JOIN events e ON e.seq = d.event WHERE d.webhook = ?1 AND {sql} \
             ORDER BY d.created_at DESC, d.id DESC LIMIT ?3",
            events::COLUMNS
        ));
        let rows = sqlx::query(sql).bind(webhook.to_string()).bind(bound).bind(limit);
        let rows = rows.fetch_all(&self.read).await.map_err(StoreError::Database)?;
        rows.iter().map(delivery).collect()
    }

    /// One delivery of a webhook.
    pub async fn delivery(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Delivery, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {}, {COLUMNS} FROM deliveries d JOIN events e ON e.seq = d.event WHERE d.webhook = ?1 AND d.id = ?2",
            events::COLUMNS
        ));
        let row = sqlx::query(sql).bind(webhook.to_string()).bind(id.to_string());
        let row = row.fetch_optional(&self.read).await.map_err(StoreError::Database)?;
        row.as_ref().map_or(Err(StoreError::NotFound), delivery)
    }

    /// Queues a delivery's event once more. The same `replay_id` cannot be used twice.
    pub async fn replay_delivery(
        &self,
        tenant: TenantId,
        webhook: WebhookId,
        id: DeliveryId,
        replay_id: Option<&str>,
    ) -> Result<Delivery, StoreError> {
        let mut tx = self.begin().await?;
        if self.webhook_in(&mut tx, tenant, webhook).await?.state != WebhookState::Active {
            return Err(StoreError::WebhookInactive);
        }
        let event = sqlx::query("SELECT event FROM deliveries WHERE id = ?1 AND webhook = ?2")
            .bind(id.to_string())
            .bind(webhook.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(StoreError::Database)?
            .ok_or(StoreError::NotFound)?
            .get(0);
        let made = self.queue(&mut tx, webhook, event, Some((id, replay_id))).await?;
        // Those who deliver wait for events.
        self.emitting.fetch_max(event, std::sync::atomic::Ordering::Relaxed);
        self.commit(tx, &[]).await?;
        self.delivery(webhook, made).await
    }

    /// Writes down that a webhook is being tried out. The delivery counts as failed until it is settled.
    pub async fn begin_test(&self, webhook: &Webhook) -> Result<Claim, StoreError> {
        let mut tx = self.begin().await?;
        let data = json!({ "id": webhook.id, "name": webhook.name, "url": webhook.url });
        let data = data.as_object().cloned().unwrap_or_default();
        let mut new = NewEvent::of_tenant(webhook.tenant, EventType::WebhookTest, data);
        new.workspace.clone_from(&webhook.workspace);
        let (_, seq) = self.insert_event(&mut tx, &new).await?;
        let id = DeliveryId::new();
        sqlx::query(
            "INSERT INTO deliveries (id, webhook, event, state, attempts, created_at, error) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)",
        )
        .bind(id.to_string())
        .bind(webhook.id.to_string())
        .bind(seq)
        .bind(enum_name(&DeliveryState::Failed))
        .bind(millis(self.clock.now()))
        .bind("the test did not come to an end")
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        self.commit(tx, &[]).await?;
        let event = self.delivery(webhook.id, id).await?.event;
        Ok(Claim { delivery: id, webhook: webhook.clone(), event, attempt: 1 })
    }
}
