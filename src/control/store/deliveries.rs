//! Deliveries: the queue between events and webhooks. One that is being tried is not taken out but hidden until its attempt must be
//! over, so that what a killed process had begun comes up again by itself.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::events;
use super::rows::{Columns, Tx, enum_name, millis};
use super::tenants::unique;
use super::{Store, StoreError};
use crate::model::{DeliveryId, DeliveryState, Event, TenantId, Webhook, WebhookId};

/// Webhooks that are looked at for one that may be told something. Beyond them others have waited longer.
const LOOKED_AT: u32 = 2000;

/// How many deliveries may be begun.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// To webhooks whose last attempt went well, or that have had none.
    pub sound: usize,
    /// To those whose last attempt failed.
    pub failing: usize,
    /// At once to the same one that is sound; a failing one gets one at a time.
    pub per_webhook: usize,
    /// At once to all that are sound, or all that are failing, of the same tenant.
    pub per_tenant: usize,
    /// Until when an attempt is over for certain.
    pub lease: Duration,
}

/// What is on its way.
#[derive(Clone, Debug, Default)]
pub struct Busy {
    to_webhooks: HashMap<WebhookId, usize>,
    of_tenants: HashMap<(TenantId, bool), usize>,
}

impl Busy {
    /// Notes that an attempt begins.
    pub fn begin(&mut self, claim: &Claim) {
        *self.to_webhooks.entry(claim.webhook.id).or_default() += 1;
        *self.of_tenants.entry((claim.webhook.tenant, claim.is_failing())).or_default() += 1;
    }

    /// Notes that it has ended.
    pub fn end(&mut self, webhook: WebhookId, of: (TenantId, bool)) {
        less(&mut self.to_webhooks, webhook);
        less(&mut self.of_tenants, of);
    }

    /// Attempts to a webhook.
    fn with(&self, webhook: WebhookId) -> usize {
        self.to_webhooks.get(&webhook).copied().unwrap_or(0)
    }

    /// Attempts to webhooks that are failing, or to those that are sound.
    pub fn count(&self, failing: bool) -> usize {
        self.of_tenants.iter().filter(|((_, of), _)| *of == failing).map(|(_, n)| n).sum()
    }
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() = count.get().saturating_sub(1);
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// A delivery to be tried now.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its id.
    pub delivery: DeliveryId,
    /// Where to.
    pub webhook: Webhook,
    /// What.
    pub event: Event,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

impl Claim {
    /// Whether the last attempt to its webhook failed.
    pub fn is_failing(&self) -> bool {
        self.webhook.failures > 0
    }
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it was taken.
    Delivered,
    /// Another attempt.
    Retry(Timestamp),
    /// Nothing: it is given up.
    GivenUp,
    /// Nothing for any delivery to this webhook: it does not want to be told any more.
    SwitchedOff,
    /// Nothing: a test is not repeated.
    TestFailed,
}

/// How an attempt went.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// To which webhook.
    pub webhook: WebhookId,
    /// What comes next.
    pub verdict: Verdict,
    /// The response's status.
    pub status: Option<u16>,
    /// The beginning of its body.
    pub body: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// How much is waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries that are not settled.
    pub deliveries: u64,
    /// For how long the first of those that are due has been so, milliseconds.
    pub overdue_ms: u64,
}

impl Store {
    /// Queues an event for a webhook; `replay` names the delivery that is repeated, and the caller's own word for that.
    pub(super) async fn queue(
        &self,
        tx: &mut Tx,
        webhook: WebhookId,
        event: i64,
        replay: Option<(DeliveryId, Option<&str>)>,
    ) -> Result<DeliveryId, StoreError> {
        let (id, now) = (DeliveryId::new(), millis(self.clock.now()));
        let (of, word_of) = replay.unzip();
        sqlx::query(
            "INSERT INTO deliveries (id, webhook, event, state, next_at, created_at, replay_of, replay_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)",
        )
        .bind(id.to_string())
        .bind(webhook.to_string())
        .bind(event)
        .bind(enum_name(&DeliveryState::Pending))
        .bind(now)
        .bind(of.map(|of| of.to_string()))
        .bind(word_of.flatten())
        .execute(&mut **tx)
        .await
        .map_err(|error| unique(error, || StoreError::Exists))?;
        sqlx::query("UPDATE webhooks SET due_at = min(coalesce(due_at, ?2), ?2) WHERE id = ?1")
            .bind(webhook.to_string())
            .bind(now)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::Database)?;
        Ok(id)
    }

    /// Notes on a webhook when the first of its deliveries is due.
    pub(super) async fn reschedule(
        &self,
        tx: &mut Tx,
        webhook: WebhookId,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE webhooks SET due_at = CASE WHEN state = 'active' THEN \
             (SELECT min(next_at) FROM deliveries WHERE webhook = ?1 AND next_at IS NOT NULL) END WHERE id = ?1",
        )
        .bind(webhook.to_string())
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(StoreError::Database)
    }

    /// Takes deliveries that are due, as far as there is room: webhooks take turns, and `busy` says what is on its way already.
    pub async fn claim_deliveries(
        &self,
        room: Room,
        busy: &Busy,
    ) -> Result<Vec<Claim>, StoreError> {
        let mut wanted = self.due(false, room, busy).await?;
        wanted.extend(self.due(true, room, busy).await?);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut claims = Vec::new();
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let lease = i64::try_from(room.lease.as_millis()).unwrap_or(i64::MAX / 2);
        for (id, count) in wanted {
            let Some(webhook) = self.active_webhook(&mut tx, id).await? else { continue };
            let taken = sqlx::query(
                "UPDATE deliveries SET next_at = ?3, attempts = attempts + 1 WHERE id IN \
                 (SELECT id FROM deliveries WHERE webhook = ?1 AND next_at <= ?2 ORDER BY next_at, id LIMIT ?4) \
                 RETURNING id, event, attempts",
            )
            .bind(id.to_string())
            .bind(millis(now))
            .bind(millis(now).saturating_add(lease))
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
            for row in &taken {
                let mut c = Columns::of(row);
                let (delivery, event, attempt) = (c.id()?, c.take::<i64>()?, c.take()?);
                let sql = sqlx::AssertSqlSafe(format!(
                    "SELECT {} FROM events e WHERE e.seq = ?1",
                    events::COLUMNS
                ));
                let row = sqlx::query(sql).bind(event).fetch_optional(&mut *tx).await;
                // Its event is no longer kept; the next pruning takes the delivery.
                let Some(row) = row.map_err(StoreError::Database)? else { continue };
                let event = events::event(&mut Columns::of(&row))?;
                claims.push(Claim { delivery, webhook: webhook.clone(), event, attempt });
            }
            self.reschedule(&mut tx, id).await?;
        }
        self.end(tx).await?;
        Ok(claims)
    }

    /// The webhooks that have something due, longest due first, and how many deliveries each may begin.
    async fn due(
        &self,
        failing: bool,
        room: Room,
        busy: &Busy,
    ) -> Result<Vec<(WebhookId, usize)>, StoreError> {
        let (mut left, per_webhook) =
            if failing { (room.failing, 1) } else { (room.sound, room.per_webhook) };
        if left == 0 {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(
            "SELECT id, tenant FROM webhooks WHERE (failures > 0) = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3",
        )
        .bind(failing)
        .bind(millis(self.clock.now()))
        .bind(LOOKED_AT)
        .fetch_all(&self.read)
        .await
        .map_err(StoreError::Database)?;
        let mut of_tenants = busy.of_tenants.clone();
        let mut wanted = Vec::new();
        for row in &rows {
            let mut c = Columns::of(row);
            let (id, tenant): (WebhookId, TenantId) = (c.id()?, c.id()?);
            let of_tenant = of_tenants.entry((tenant, failing)).or_default();
            let free = per_webhook.saturating_sub(busy.with(id));
            let count = free.min(left).min(room.per_tenant.saturating_sub(*of_tenant));
            if count > 0 {
                wanted.push((id, count));
                left -= count;
                *of_tenant += count;
            }
        }
        Ok(wanted)
    }

    /// Writes down how attempts went. After `failed_after` deliveries given up in a row a webhook counts as failed.
    pub async fn settle_deliveries(
        &self,
        settled: &[Settlement],
        failed_after: u32,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for one in settled {
            self.settle(&mut tx, one, failed_after).await?;
        }
        self.end(tx).await
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        one: &Settlement,
        failed_after: u32,
    ) -> Result<(), StoreError> {
        let now = millis(self.clock.now());
        let (state, next_at) = match one.verdict {
            Verdict::Delivered => (DeliveryState::Delivered, None),
            Verdict::Retry(at) => (DeliveryState::Retrying, Some(millis(at))),
            Verdict::GivenUp | Verdict::SwitchedOff => (DeliveryState::DeadLetter, None),
            Verdict::TestFailed => (DeliveryState::Failed, None),
        };
        let delivered = one.verdict == Verdict::Delivered;
        sqlx::query(
            "UPDATE deliveries SET state = ?2, next_at = ?3, status = ?4, body = ?5, error = ?6, duration_ms = ?7, \
             delivered_at = CASE WHEN ?8 THEN ?9 END WHERE id = ?1",
        )
        .bind(one.delivery.to_string())
        .bind(enum_name(&state))
        .bind(next_at)
        .bind(one.status)
        .bind(&one.body)
        .bind(&one.error)
        .bind(i64::try_from(one.took.as_millis()).unwrap_or(i64::MAX))
        .bind(delivered)
        .bind(now)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
        let given_up = matches!(one.verdict, Verdict::GivenUp | Verdict::SwitchedOff);
        sqlx::query(
            "UPDATE webhooks SET last_triggered_at = ?2, last_status = coalesce(?3, last_status), \
             failures = CASE WHEN ?4 THEN 0 ELSE failures + 1 END, given_up = CASE WHEN ?4 THEN 0 ELSE given_up + ?5 END, \
             state = CASE WHEN state <> 'active' THEN state WHEN ?6 THEN 'inactive' \
             WHEN ?5 AND given_up + 1 >= ?7 THEN 'failed' ELSE state END WHERE id = ?1",
        )
        .bind(one.webhook.to_string())
        .bind(now)
        .bind(one.status)
        .bind(delivered)
        .bind(given_up)
        .bind(one.verdict == Verdict::SwitchedOff)
        .bind(failed_after)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
        self.reschedule(tx, one.webhook).await
    }

    /// How much is waiting to be delivered.
    pub async fn delivery_backlog(&self) -> Result<Backlog, StoreError> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM deliveries WHERE next_at IS NOT NULL), \
             (SELECT min(due_at) FROM webhooks WHERE due_at IS NOT NULL)",
        )
        .fetch_one(&self.read)
        .await
        .map_err(StoreError::Database)?;
        let mut c = Columns::of(&row);
        let (deliveries, due) = (c.count()?, c.take::<Option<i64>>()?);
        let overdue = due.map_or(0, |due| millis(self.clock.now()).saturating_sub(due));
        Ok(Backlog { deliveries, overdue_ms: u64::try_from(overdue).unwrap_or(0) })
    }

    /// When the next delivery is due, if any is waiting for its time.
    pub async fn next_delivery(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query(
            "SELECT min(due_at) FROM webhooks WHERE due_at IS NOT NULL AND due_at > ?1",
        )
        .bind(millis(self.clock.now()))
        .fetch_one(&self.read)
        .await
        .map_err(StoreError::Database)?;
        Columns::of(&row).optional_moment()
    }
}
