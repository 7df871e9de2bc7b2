//! Webhooks: the endpoints that are told of events, and the secrets that sign what they are told.

use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::rows::{Columns, Tx, enum_name, hits, json, millis};
use super::{Store, StoreError};
use crate::model::{EventFilter, TenantId, Webhook, WebhookId, WebhookSecret, WebhookState};

/// Characters at the end of a secret that may be shown again.
const SHOWN: usize = 4;

/// The columns of a webhook, in the order in which [`Store::webhook_row`] reads them.
const COLUMNS: &str = "id, tenant, workspace, name, description, url, events, secret, old_secret, old_secret_until, secret_preview, \
                       state, headers, retry_count, metadata, failures, last_triggered_at, last_status, created_at, updated_at";

/// A new webhook.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Told only of what belongs to this workspace.
    pub workspace: Option<String>,
    /// What people call it.
    pub name: Option<String>,
    /// What people say about it.
    pub description: Option<String>,
    /// Where it is.
    pub url: String,
    /// What it is told of.
    pub events: EventFilter,
    /// What deliveries are signed with.
    pub secret: WebhookSecret,
    /// Whether it is told from the beginning.
    pub state: WebhookState,
    /// Further fields of each delivery.
    pub headers: Map<String, Value>,
    /// How often a delivery is tried again.
    pub retry_count: u32,
    /// Free-form data.
    pub metadata: Map<String, Value>,
}

/// A change to a webhook: `None` leaves a field alone; inner `None` clears it.
#[derive(Clone, Debug, Default)]
pub struct WebhookPatch {
    /// What people call it.
    pub name: Option<Option<String>>,
    /// What people say about it.
    pub description: Option<Option<String>>,
    /// Where it is.
    pub url: Option<String>,
    /// What it is told of.
    pub events: Option<EventFilter>,
    /// The new secret, and until when the one before is used beside it.
    pub secret: Option<(WebhookSecret, Timestamp)>,
    /// Whether it is told.
    pub state: Option<WebhookState>,
    /// Further fields of each delivery.
    pub headers: Option<Map<String, Value>>,
    /// How often a delivery is tried again.
    pub retry_count: Option<u32>,
    /// Free-form data.
    pub metadata: Option<Map<String, Value>>,
}

fn sealed_as(id: WebhookId) -> String {
    format!("webhook {id}")
}

fn preview(secret: &WebhookSecret) -> String {
    let beginning = if secret.0.starts_with("whsec_") { "whsec_" } else { "" };
    let skipped = secret.0.chars().count().saturating_sub(SHOWN);
    format!("{beginning}…{}", secret.0.chars().skip(skipped).collect::<String>())
}

impl Store {
    fn webhook_row(&self, row: &SqliteRow) -> Result<Webhook, StoreError> {
        let mut c = Columns::of(row);
        let id = c.id()?;
        let open = |sealed: &[u8]| {
            let secret = self.secrets.open(&sealed_as(id), sealed)?;
            let text = String::from_utf8(secret).map_err(|_| StoreError::Corrupt("secret"))?;
            Ok::<_, StoreError>(WebhookSecret(text))
        };
        let now = self.clock.now();
        Ok(Webhook {
            id,
            tenant: c.id()?,
            workspace: c.take()?,
            name: c.take()?,
            description: c.take()?,
            url: c.take()?,
            events: c.json()?,
            secret: open(c.take()?)?,
            old_secret: {
                let sealed = c.take::<Option<&[u8]>>()?;
                let until = c.optional_moment()?.filter(|until| *until > now);
                match sealed.zip(until) {
                    Some((sealed, until)) => Some((open(sealed)?, until)),
                    None => None,
                }
            },
            secret_preview: c.take()?,
            state: c.enum_value()?,
            headers: self.open_headers(id, c.take()?)?,
            retry_count: c.take()?,
            metadata: c.json()?,
            failures: c.count()?,
            last_triggered_at: c.optional_moment()?,
            last_status: c.take()?,
            created_at: c.moment()?,
            updated_at: c.moment()?,
        })
    }

    /// Registers a webhook, unless the tenant has `most` already.
    pub async fn create_webhook(
        &self,
        tenant: TenantId,
        new: NewWebhook,
        most: usize,
    ) -> Result<Webhook, StoreError> {
        let (id, now) = (WebhookId::new(), self.clock.now());
        let mut tx = self.begin().await?;
        let count = sqlx::query("SELECT count(*) FROM webhooks WHERE tenant = ?1")
            .bind(tenant.to_string())
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        if usize::try_from(count.get::<i64, _>(0)).is_ok_and(|count| count >= most) {
            return Err(StoreError::TooManyWebhooks);
        }
        sqlx::query(
            "INSERT INTO webhooks (id, tenant, workspace, name, description, url, events, secret, secret_preview, state, headers, \
             retry_count, metadata, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14)",
        )
        .bind(id.to_string())
        .bind(tenant.to_string())
        .bind(&new.workspace)
        .bind(&new.name)
        .bind(&new.description)
        .bind(&new.url)
        .bind(json(&new.events))
        .bind(self.secrets.seal(&sealed_as(id), new.secret.0.as_bytes())?)
        .bind(preview(&new.secret))
        .bind(enum_name(&new.state))
        .bind(self.seal_headers(id, &new.headers)?)
        .bind(new.retry_count)
        .bind(json(&new.metadata))
        .bind(millis(now))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        let made = self.webhook_in(&mut tx, tenant, id).await?;
        self.commit(tx, &[]).await?;
        Ok(made)
    }

    /// Changes a webhook. Becoming active again forgets past failures, and goes on with what was waiting.
    pub async fn update_webhook(
        &self,
        tenant: TenantId,
        id: WebhookId,
        patch: WebhookPatch,
    ) -> Result<Webhook, StoreError> {
        let mut tx = self.begin().await?;
        let before = self.webhook_in(&mut tx, tenant, id).await?;
        if let Some((secret, until)) = &patch.secret {
            sqlx::query(
                "UPDATE webhooks SET old_secret = secret, old_secret_until = ?2, secret = ?3, secret_preview = ?4 WHERE id = ?1",
            )
            .bind(id.to_string())
            .bind(millis(*until))
            .bind(self.secrets.seal(&sealed_as(id), secret.0.as_bytes())?)
            .bind(preview(secret))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        }
        let state = patch.state.unwrap_or(before.state);
        let revived = state == WebhookState::Active && before.state != WebhookState::Active;
        sqlx::query(
            "UPDATE webhooks SET name = ?2, description = ?3, url = ?4, events = ?5, state = ?6, headers = ?7, retry_count = ?8, \
             metadata = ?9, updated_at = ?10, failures = CASE WHEN ?11 THEN 0 ELSE failures END, \
             given_up = CASE WHEN ?11 THEN 0 ELSE given_up END WHERE id = ?1",
        )
        .bind(id.to_string())
        .bind(patch.name.unwrap_or(before.name))
        .bind(patch.description.unwrap_or(before.description))
        .bind(patch.url.unwrap_or(before.url))
        .bind(json(&patch.events.unwrap_or(before.events)))
        .bind(enum_name(&state))
        .bind(self.seal_headers(id, &patch.headers.unwrap_or(before.headers))?)
        .bind(patch.retry_count.unwrap_or(before.retry_count))
        .bind(json(&patch.metadata.unwrap_or(before.metadata)))
        .bind(millis(self.clock.now()))
        .bind(revived)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        self.reschedule(&mut tx, id).await?;
        let changed = self.webhook_in(&mut tx, tenant, id).await?;
        self.commit(tx, &[]).await?;
        Ok(changed)
    }

    /// Removes a webhook and everything on its way to it.
    pub async fn delete_webhook(&self, tenant: TenantId, id: WebhookId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let query = sqlx::query("DELETE FROM webhooks WHERE id = ?1 AND tenant = ?2")
            .bind(id.to_string())
            .bind(tenant.to_string());
        hits(&mut tx, query).await?;
        self.commit(tx, &[]).await.map(drop)
    }

    /// A tenant's webhooks, oldest first.
    pub async fn webhooks(&self, tenant: TenantId) -> Result<Vec<Webhook>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM webhooks WHERE tenant = ?1 ORDER BY created_at, id"
        ));
        let rows = sqlx::query(sql).bind(tenant.to_string()).fetch_all(&self.read).await;
        rows.map_err(StoreError::Database)?.iter().map(|row| self.webhook_row(row)).collect()
    }

    /// A webhook of a tenant.
    pub async fn webhook(&self, tenant: TenantId, id: WebhookId) -> Result<Webhook, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM webhooks WHERE id = ?1 AND tenant = ?2"
        ));
        let row = sqlx::query(sql).bind(id.to_string()).bind(tenant.to_string());
        let row = row.fetch_optional(&self.read).await.map_err(StoreError::Database)?;
        row.as_ref().map_or(Err(StoreError::NotFound), |row| self.webhook_row(row))
    }

    pub(super) async fn webhook_in(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        id: WebhookId,
    ) -> Result<Webhook, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM webhooks WHERE id = ?1 AND tenant = ?2"
        ));
        let row = sqlx::query(sql).bind(id.to_string()).bind(tenant.to_string());
        let row = row.fetch_optional(&mut **tx).await.map_err(StoreError::Database)?;
        row.as_ref().map_or(Err(StoreError::NotFound), |row| self.webhook_row(row))
    }

    /// A webhook, whosever it is, if it is active.
    pub(super) async fn active_webhook(
        &self,
        tx: &mut Tx,
        id: WebhookId,
    ) -> Result<Option<Webhook>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM webhooks WHERE id = ?1 AND state = 'active'"
        ));
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&mut **tx).await;
        row.map_err(StoreError::Database)?.map(|row| self.webhook_row(&row)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_its_end() {
        let shown = |secret: &str| preview(&WebhookSecret(secret.into()));
        assert_eq!(shown("whsec_abcdefgh1234"), "whsec_…1234");
        assert_eq!(shown("my own long secret"), "…cret");
        assert_eq!(format!("{:?}", WebhookSecret("x".into())), "WebhookSecret");
    }
}
