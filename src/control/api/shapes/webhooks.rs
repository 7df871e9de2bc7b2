//! Webhooks, deliveries, and streams of events.

use jiff::Timestamp;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Object;
use crate::model::{DeliveryState, EventType, WebhookState};

envelopes!(
    WebhookList(Vec<Webhook>),
    WebhookData(Webhook),
    DeliveryData(Delivery),
    TestData(TestedDelivery),
);

/// A webhook.
#[derive(ToSchema)]
pub(in crate::control::api) struct Webhook {
    #[schema(examples("wh_0190b6e2a1c47d3f8e5b2a9c4d6f1e70"))]
    id: String,
    tenant_id: Uuid,
    /// Only events of this workspace are delivered.
    workspace_id: Option<String>,
    name: Option<String>,
    description: Option<String>,
    url: String,
    /// Patterns of events; none means all.
    events: Vec<String>,
    /// The secret, shown when it has just changed.
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    secret: String,
    /// The end of the secret.
    secret_preview: String,
    /// Until when the secret before signs as well.
    previous_secret_expires_at: Option<Timestamp>,
    state: WebhookState,
    /// Whether events are delivered to it.
    active: bool,
    /// The same as `active`.
    enabled: bool,
    /// Further header fields of every delivery.
    headers: Object,
    /// How often a delivery is tried again.
    retry_count: u32,
    /// Attempts that failed one after the other.
    failure_count: u64,
    last_triggered_at: Option<Timestamp>,
    last_status_code: Option<u16>,
    metadata: Object,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A webhook that was just registered.
#[derive(ToSchema)]
pub(in crate::control::api) struct MadeWebhook {
    data: Webhook,
    /// What deliveries are signed with, shown this once.
    #[schema(examples("whsec_Zk3vQ1aZk3vQ1aZk3vQ1aZk3vQ1aZk3vQ1aZk3vQ1a"))]
    secret: String,
}

/// A webhook that was changed.
#[derive(ToSchema)]
pub(in crate::control::api) struct ChangedWebhook {
    data: Webhook,
    /// The secret, if it has just changed.
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    secret: String,
}

/// What may be said about a webhook.
#[derive(ToSchema)]
pub(in crate::control::api) struct WebhookChange {
    /// `https`, without a user name; the host is public.
    #[schema(max_length = 2048, examples("https://hooks.example.com/in"))]
    url: Option<String>,
    /// Names of events, families such as `sandbox.*`, or `*`; none means all.
    #[schema(max_items = 64)]
    events: Option<Vec<String>>,
    #[schema(max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// Further header fields of every delivery, at most 20.
    headers: Option<Object>,
    /// How often a delivery is tried again; 3 when nothing is said.
    #[schema(minimum = 0, maximum = 10)]
    retry_count: Option<u32>,
    metadata: Option<Object>,
    /// The secret that signs deliveries; generated when it is not sent.
    #[schema(min_length = 16, max_length = 256, pattern = "^[!-~]*$")]
    secret: Option<String>,
    /// Whether events are delivered to it.
    active: Option<bool>,
    /// The same as `active`.
    enabled: Option<bool>,
    /// The same as a string.
    #[schema(inline)]
    state: Option<WebhookStanding>,
}

/// What a webhook may be set to.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum WebhookStanding {
    Active,
    Inactive,
}

/// A webhook to be registered.
#[derive(ToSchema)]
#[schema(examples(json!({"url": "https://hooks.example.com/in", "events": ["sandbox.*"]})))]
pub(in crate::control::api) struct WebhookOrder {
    /// `https`, without a user name; the host is public.
    #[schema(max_length = 2048)]
    url: String,
    /// Only events of this workspace are delivered.
    #[schema(max_length = 255)]
    workspace_id: Option<String>,
    #[schema(inline)]
    #[serde(flatten)]
    more: WebhookChange,
}

/// A change of a webhook: what is not named stays.
#[derive(ToSchema)]
pub(in crate::control::api) struct WebhookPatch {
    /// Whether to rotate the secret.
    rotate_secret: Option<bool>,
    #[schema(inline)]
    #[serde(flatten)]
    more: WebhookChange,
}

/// The event types, and how deliveries are signed.
#[derive(ToSchema)]
pub(in crate::control::api) struct EventCatalogue {
    /// Names by family.
    data: Object,
    events: Vec<EventType>,
    /// Families that belong to workspaces.
    workspace_scoped_categories: Vec<String>,
    /// Header fields and formats of signatures.
    signing: Object,
    /// Header fields of every delivery.
    delivery_headers: Vec<String>,
}

/// An event on its way to a webhook.
#[derive(ToSchema)]
pub(in crate::control::api) struct Delivery {
    #[schema(examples("dlv_0190b6e2a1c47d3f8e5b2a9c4d6f1e71"))]
    id: String,
    webhook_id: String,
    /// The event; the same in every delivery of it.
    #[schema(examples("evt_0190b6e2a1c47d3f8e5b2a9c4d6f1e72"))]
    event_id: String,
    event_type: EventType,
    /// The same as `event_type`.
    event: EventType,
    state: DeliveryState,
    /// The same as `state`.
    status: DeliveryState,
    /// Whether it was taken.
    success: bool,
    /// The status of the last response.
    response_status: Option<u16>,
    /// The same as `response_status`.
    status_code: Option<u16>,
    /// The beginning of the last response's body.
    response_body: Option<String>,
    attempts: u32,
    /// The same as `attempts`.
    attempt_count: u32,
    /// When it is tried (again), or, while it is being tried, when that is taken for lost.
    next_retry_at: Option<Timestamp>,
    delivered_at: Option<Timestamp>,
    created_at: Timestamp,
    /// The same as `created_at`.
    inserted_at: Timestamp,
    /// The delivery that this one repeats.
    replay_of: Option<String>,
    /// How long the last attempt took.
    duration_ms: Option<u64>,
    /// Why the last attempt failed.
    error: Option<String>,
}

/// How trying a webhook out went.
#[derive(ToSchema)]
pub(in crate::control::api) struct TestedDelivery {
    /// Whether it was taken.
    delivered: bool,
    #[schema(inline)]
    #[serde(flatten)]
    delivery: Delivery,
}

/// Deliveries, newest first.
#[derive(ToSchema)]
pub(in crate::control::api) struct DeliveryPage {
    data: Vec<Delivery>,
    /// What to send as `before` for the next page.
    next_cursor: Option<String>,
}

/// A repetition of a delivery.
#[derive(ToSchema)]
pub(in crate::control::api) struct ReplayOrder {
    /// The caller's own id of the repetition: it can be used once.
    #[schema(max_length = 200)]
    replay_id: Option<String>,
}

/// Which deliveries are listed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct DeliveryQuery {
    /// At most so many; 50 when nothing is said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// Only those before a moment, or before a delivery: the `next_cursor` of the page before.
    before: Option<String>,
    /// Another name of `before`.
    cursor: Option<String>,
}

/// Which events are streamed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct StreamQuery {
    /// Names or families of events (`sandbox.*`), separated by commas.
    types: Option<String>,
    /// For clients that cannot send the header field.
    #[param(pattern = "^(evt_[0-9a-f]{32})?$")]
    last_event_id: Option<String>,
}

/// Whose events are streamed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct ScopeQuery {
    /// `all`, `workspace:{id}` or `external_user:{id}`.
    #[param(pattern = "^(all|workspace:.+|external_user:.+)?$")]
    scope: Option<String>,
}

/// Where a stream goes on.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::control::api) struct LastEventHeader {
    /// The last event that was seen: the stream goes on after it.
    #[param(rename = "Last-Event-ID", pattern = "^(evt_[0-9a-f]{32})?$")]
    last_event_id: Option<String>,
}
