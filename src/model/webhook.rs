//! Webhooks, and events on their way to them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{DeliveryId, Event, EventFilter, TenantId, WebhookId};

/// Whether events are delivered to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WebhookState {
    /// It is.
    Active,
    /// Its owner, or its response 410, has switched it off.
    Inactive,
    /// Too many deliveries came to nothing, one after the other.
    Failed,
}

/// What deliveries are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(pub String);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

/// An endpoint that is told of events.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose.
    pub tenant: TenantId,
    /// Only events of this workspace are delivered.
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
    /// The secret before, for as long as it is still used beside the new one.
    pub old_secret: Option<(WebhookSecret, Timestamp)>,
    /// The secret as it may be shown.
    pub secret_preview: String,
    /// Whether it is told.
    pub state: WebhookState,
    /// Further fields of each delivery.
    pub headers: Map<String, Value>,
    /// How often a delivery is tried again.
    pub retry_count: u32,
    /// Free-form data of the tenant's.
    pub metadata: Map<String, Value>,
    /// Attempts that failed one after the other.
    pub failures: u64,
    /// When something was last delivered, or tried.
    pub last_triggered_at: Option<Timestamp>,
    /// The status it last responded with.
    pub last_status: Option<u16>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed by its owner.
    pub updated_at: Timestamp,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Not tried yet.
    Pending,
    /// It will be tried again.
    Retrying,
    /// It was taken.
    Delivered,
    /// A test, which is not tried again, failed.
    Failed,
    /// It was given up.
    DeadLetter,
}

/// An event on its way to a webhook.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where to.
    pub webhook: WebhookId,
    /// What.
    pub event: Event,
    /// How far it has come.
    pub state: DeliveryState,
    /// Attempts begun.
    pub attempts: u32,
    /// When it is tried (again).
    pub next_at: Option<Timestamp>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it was taken.
    pub delivered_at: Option<Timestamp>,
    /// The status of the last response.
    pub status: Option<u16>,
    /// The beginning of the last response's body.
    pub body: Option<String>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// How long the last attempt took.
    pub duration_ms: Option<u64>,
    /// The delivery that this one repeats.
    pub replay_of: Option<DeliveryId>,
}
