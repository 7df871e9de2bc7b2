//! Webhooks, deliveries, and streams of events.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Object;
use crate::model::{self, DeliveryState, EventType, WebhookState};

envelopes!(
    WebhookList(Vec<Webhook>),
    WebhookData(Webhook),
    DeliveryData(Delivery),
    TestData(TestedDelivery),
);

shapes! {
    /// A webhook.
    Webhook(webhook: &model::Webhook) with {
        let is_active = webhook.state == WebhookState::Active;
    } {
        id: String [examples("wh_0190b6e2a1c47d3f8e5b2a9c4d6f1e70")] = webhook.id,
        tenant_id: Uuid = webhook.tenant,
        /// Only events of this workspace are delivered.
        workspace_id: Option<String> = webhook.workspace,
        name: Option<String> = webhook.name,
        description: Option<String> = webhook.description,
        url: String = webhook.url,
        /// Patterns of events; none means all.
        events: Vec<String> = webhook.events,
        /// The secret, shown when it has just changed.
        secret: String [extensions(("x-may-be-missing" = json!(true)))],
        /// The end of the secret.
        secret_preview: String = webhook.secret_preview,
        /// Until when the secret before signs as well.
        previous_secret_expires_at: Option<Timestamp> = webhook.old_secret.as_ref().map(|(_, until)| until),
        state: WebhookState = webhook.state,
        /// Whether events are delivered to it.
        active: bool = is_active => enabled,
        /// Further header fields of every delivery.
        headers: Object = webhook.headers,
        /// How often a delivery is tried again.
        retry_count: u32 = webhook.retry_count,
        /// Attempts that failed one after the other.
        failure_count: u64 = webhook.failures,
        last_triggered_at: Option<Timestamp> = webhook.last_triggered_at,
        last_status_code: Option<u16> = webhook.last_status,
        metadata: Object = webhook.metadata,
        created_at: Timestamp = webhook.created_at,
        updated_at: Timestamp = webhook.updated_at,
    }

    /// A webhook that was just registered.
    MadeWebhook(webhook: Object, signed_with: &str) {
        data: Webhook = webhook,
        /// What deliveries are signed with, shown this once.
        secret: String [examples("whsec_Zk3vQ1aZk3vQ1aZk3vQ1aZk3vQ1aZk3vQ1aZk3vQ1a")] = signed_with,
    }

    /// A webhook that was changed.
    ChangedWebhook {
        data: Webhook,
        /// The secret, if it has just changed.
        secret: String [extensions(("x-may-be-missing" = json!(true)))],
    }

    /// What may be said about a webhook.
    WebhookChange {
        /// `https`, without a user name; the host is public.
        url: Option<String> [max_length = 2048, examples("https://hooks.example.com/in")],
        /// Names of events, families such as `sandbox.*`, or `*`; none means all.
        events: Option<Vec<EventPattern>> [max_items = 64],
        name: Option<String> [max_length = 200],
        description: Option<String> [max_length = 1000],
        /// Further header fields of every delivery, at most 20.
        headers: Option<Object>,
        /// How often a delivery is tried again; 3 when nothing is said.
        retry_count: Option<u32> [minimum = 0, maximum = 10],
        metadata: Option<Object>,
        /// The secret that signs deliveries; generated when it is not sent.
        secret: Option<String> [min_length = 16, max_length = 256, pattern = "^[!-~]*$"],
        /// Whether events are delivered to it.
        active: Option<bool> => enabled,
        /// The same as a string.
        state: Option<WebhookStanding> [inline],
    }

    /// The name of an event, a family such as `sandbox.*`, or `*`.
    EventPattern = String [max_length = 100];

    /// What a webhook may be set to.
    WebhookStanding: active, inactive;

    /// A webhook to be registered.
    #[schema(examples(json!({"url": "https://hooks.example.com/in", "events": ["sandbox.*"]})))]
    WebhookOrder {
        ..more: WebhookChange,
        /// `https`, without a user name; the host is public.
        url: String [max_length = 2048],
        /// Only events of this workspace are delivered.
        workspace_id: Option<String> [max_length = 255],
    }

    /// A change of a webhook: what is not named stays.
    WebhookPatch {
        ..more: WebhookChange,
        /// Whether to rotate the secret.
        rotate_secret: Option<bool>,
    }

    /// The event types, and how deliveries are signed.
    EventCatalogue(of_workspaces: &str, our_headers: Vec<String>) with {
        let mut families = Object::new();
        for kind in EventType::ALL {
            let of_family = families.entry(kind.category()).or_insert_with(|| json!([]));
            if let Value::Array(names) = of_family {
                names.push(json!(kind));
            }
        }
    } {
        /// Names by family.
        data: Object = families,
        events: Vec<EventType> = EventType::ALL,
        /// Families that belong to workspaces.
        workspace_scoped_categories: Vec<String> = [of_workspaces],
        /// Header fields and formats of signatures.
        signing: Object = json!({
            "header": "x-miosa-signature",
            "algorithm": "hmac-sha256",
            "format": "sha256=<hex>",
            "timestamped_header": "miosa-signature",
            "timestamped_format": "t=<unix seconds>,v1=<hex>",
        }),
        /// Header fields of every delivery.
        delivery_headers: Vec<String> = our_headers,
    }

    /// An event on its way to a webhook.
    Delivery(delivery: &model::Delivery) {
        id: String [examples("dlv_0190b6e2a1c47d3f8e5b2a9c4d6f1e71")] = delivery.id,
        webhook_id: String = delivery.webhook,
        /// The event; the same in every delivery of it.
        event_id: String [examples("evt_0190b6e2a1c47d3f8e5b2a9c4d6f1e72")] = delivery.event.id,
        event_type: EventType = delivery.event.kind => event,
        state: DeliveryState = delivery.state => status,
        /// Whether it was taken.
        success: bool = delivery.state == DeliveryState::Delivered,
        /// The status of the last response.
        response_status: Option<u16> = delivery.status => status_code,
        /// The beginning of the last response's body.
        response_body: Option<String> = delivery.body,
        attempts: u32 = delivery.attempts => attempt_count,
        /// When it is tried (again), or, while it is being tried, when that is taken for lost.
        next_retry_at: Option<Timestamp> = delivery.next_at,
        delivered_at: Option<Timestamp> = delivery.delivered_at,
        created_at: Timestamp = delivery.created_at => inserted_at,
        /// The delivery that this one repeats.
        replay_of: Option<String> = delivery.replay_of,
        /// How long the last attempt took.
        duration_ms: Option<u64> = delivery.duration_ms,
        /// Why the last attempt failed.
        error: Option<String> = delivery.error,
    }

    /// How trying a webhook out went.
    TestedDelivery(tried: &model::Delivery, was_taken: bool) {
        ..delivery: Delivery = Delivery::of(tried),
        /// Whether it was taken.
        delivered: bool = was_taken,
    }

    /// Deliveries, newest first.
    DeliveryPage {
        data: Vec<Delivery>,
        /// What to send as `before` for the next page.
        next_cursor: Option<String>,
    }

    /// A repetition of a delivery.
    ReplayOrder {
        /// The caller's own id of the repetition: it can be used once.
        replay_id: Option<String> [max_length = 200],
    }

    /// Which deliveries are listed.
    in Query DeliveryQuery {
        /// At most so many; 50 when nothing is said.
        limit: Option<u32> [minimum = 1, maximum = 100],
        /// Only those before a moment, or before a delivery: the `next_cursor` of the page before.
        before: Option<String>,
        /// Another name of `before`.
        cursor: Option<String>,
    }

    /// Which events are streamed.
    in Query StreamQuery {
        /// Names or families of events (`sandbox.*`), separated by commas.
        types: Option<String>,
        /// For clients that cannot send the header field.
        last_event_id: Option<String> [pattern = "^(evt_[0-9a-f]{32})?$"],
    }

    /// Whose events are streamed.
    in Query ScopeQuery {
        /// `all`, `workspace:{id}` or `external_user:{id}`.
        scope: Option<String> [pattern = "^(all|workspace:.+|external_user:.+)?$"],
    }

    /// Where a stream goes on.
    in Header LastEventHeader {
        /// The last event that was seen: the stream goes on after it.
        last_event_id: Option<String> [rename = "Last-Event-ID", pattern = "^(evt_[0-9a-f]{32})?$"],
    }
}
