//! Webhooks: registering, changing and removing them, and the catalogue of events.

use jiff::SignedDuration;

use super::keys;
use super::prelude::*;
use crate::control::store::{NewWebhook, WebhookPatch};
use crate::control::webhooks::{header_error, our_headers};
use crate::model::{
    EventFilter, EventType, KeyScope, UnknownEvent, Webhook, WebhookSecret, WebhookState,
};

/// Further header fields, and the longest value.
const HEADERS: (usize, usize) = (20, 1024);
/// Attempts after the first, when nobody says.
const RETRIES: u32 = 3;
/// The part of all events that belong to workspaces.
const OF_WORKSPACES: &str = "sandbox";

endpoints!(
    [list_webhooks, create_webhook],
    [list_event_types],
    [get_webhook, update_webhook, delete_webhook],
    [rotate_webhook_secret]
);

/// A tenant's webhook.
pub(super) async fn find(caller: &Caller, named: &str) -> Result<Webhook, Problem> {
    let webhook = caller.state.store.webhook(caller.tenant, id(named, "webhook")?).await;
    webhook.map_err(missing("webhook"))
}

/// A webhook as a caller may see it. Values of headers, and the path of a URL, are often passwords: who may change them is shown them, and
/// who may only read is told their names, and the host.
fn shown_to(caller: &Caller, mut webhook: Webhook) -> Webhook {
    if caller.needs(&[KeyScope::TenantWrite]).is_err() {
        webhook.headers.values_mut().for_each(|value| *value = Value::Null);
        let host = webhook.url.split_inclusive('/').take(3).collect::<String>();
        if host.len() < webhook.url.len() {
            webhook.url = format!("{host}…");
        }
    }
    webhook
}

/// List webhooks.
///
/// Without their secrets. To keys without `tenant:write`, `url` ends after the host, and the values of `headers` are null.
#[utoipa::path(get, path = "/webhooks", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::WebhookList)))]
async fn list_webhooks(caller: Caller) -> Shown {
    let webhooks = caller.state.store.webhooks(caller.tenant).await?;
    list(webhooks.into_iter().map(|webhook| shapes::Webhook::of(&shown_to(&caller, webhook))))
}

/// Get a webhook.
///
/// Without its secret. To keys without `tenant:write`, `url` ends after the host, and the values of `headers` are null.
#[utoipa::path(get, path = "/webhooks/{id}", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::WebhookData)))]
async fn get_webhook(caller: Caller, Path(id): Path<String>) -> Shown {
    data(shapes::Webhook::of(&shown_to(&caller, find(&caller, &id).await?)))
}

/// What may be sent about a webhook, new or known.
struct Sent {
    patch: WebhookPatch,
    secret: Option<WebhookSecret>,
}

fn read(fields: &mut Fields, caller: &Caller) -> Result<Sent, Problem> {
    let url = fields.text("url").flatten();
    if let Some(url) = &url
        && let Err(error) = caller.state.webhooks.check(url)
    {
        fields.error("url", &error.to_string());
    }
    let patterns = fields.list("events");
    let secret = fields.text("secret").flatten();
    if secret.as_ref().is_some_and(|text| !text.bytes().all(|byte| byte.is_ascii_graphic())) {
        fields.error("secret", "must be visible ASCII characters");
    }
    let patch = WebhookPatch {
        name: fields.text("name"),
        description: fields.text("description"),
        url,
        events: None,
        secret: None,
        state: standing(fields),
        headers: headers(fields, &caller.state.webhooks.settings().header_name),
        retry_count: fields.number("retry_count"),
        metadata: fields.free("metadata"),
    };
    fields.finish()?;
    let events = patterns.map(EventFilter::known).transpose().map_err(|UnknownEvent(name)| {
        let reason = format!("there is no event {name}; GET /webhooks/events lists them");
        Problem::field("events", &reason).with_code("UNKNOWN_EVENT_TYPE")
    })?;
    Ok(Sent { patch: WebhookPatch { events, ..patch }, secret: secret.map(WebhookSecret) })
}

/// Whether it is told of events: as a word or as a yes or no, by either name.
fn standing(fields: &mut Fields) -> Option<WebhookState> {
    let word = fields.one_of("state");
    let flag = fields
        .flag("active")
        .map(|on| if on { WebhookState::Active } else { WebhookState::Inactive });
    word.or(flag)
}

fn headers(fields: &mut Fields, word: &str) -> Option<Map<String, Value>> {
    let sent = fields.object("headers")?;
    if sent.len() > HEADERS.0 {
        fields.error("headers", "must be at most 20 headers");
    }
    for (name, value) in &sent {
        let error = match value.as_str() {
            Some(value) if value.len() <= HEADERS.1 => header_error(name, value, word),
            _ => Some("must be a string of at most 1024 characters"),
        };
        if let Some(error) = error {
            fields.error("headers", &format!("{name} {error}"));
        }
    }
    Some(sent)
}

/// A fresh secret.
fn generate() -> Result<WebhookSecret, Problem> {
    keys::secret("whsec_").map(WebhookSecret)
}

/// Of a workspace there are only events of its sandboxes.
fn check_workspace(workspace: Option<&String>, events: &EventFilter) -> Result<(), Problem> {
    let of_workspace = |kind: &&EventType| kind.category() == OF_WORKSPACES;
    let reachable = |pattern: &String| {
        let one = EventFilter::list(pattern);
        EventType::ALL.iter().filter(of_workspace).any(|kind| one.wants(*kind))
    };
    match events.patterns().iter().find(|pattern| !reachable(pattern)) {
        Some(pattern) if workspace.is_some() => {
            let reason = format!("{pattern} does not belong to any workspace");
            Err(Problem::field("events", &reason).with_code("EVENTS_NOT_WORKSPACE_SCOPABLE"))
        }
        _ => Ok(()),
    }
}

/// Create a webhook.
///
/// The secret is returned only this once.
#[utoipa::path(post, path = "/webhooks", security(("api_key" = ["tenant:write"])), request_body = shapes::WebhookOrder,
    responses((status = 201, body = shapes::MadeWebhook),
    (status = 422, description = "`UNKNOWN_EVENT_TYPE`, `EVENTS_NOT_WORKSPACE_SCOPABLE`: a pattern of `events` that matches nothing. `WEBHOOK_LIMIT_REACHED`: there are as many as there may be. `VALIDATION_ERROR`: every field that cannot be taken is named in `details`")))]
async fn create_webhook(caller: Caller, mut fields: Fields) -> Made {
    let workspace = fields.text("workspace_id").flatten();
    let Sent { patch, secret } = read(&mut fields, &caller)?;
    let secret = match secret {
        Some(secret) => secret,
        None => generate()?,
    };
    let new = NewWebhook {
        workspace,
        name: patch.name.flatten(),
        description: patch.description.flatten(),
        url: patch.url.unwrap_or_default(),
        events: patch.events.unwrap_or_default(),
        secret: secret.clone(),
        state: patch.state.unwrap_or(WebhookState::Active),
        headers: patch.headers.unwrap_or_default(),
        retry_count: patch.retry_count.unwrap_or(RETRIES),
        metadata: patch.metadata.unwrap_or_default(),
    };
    check_workspace(new.workspace.as_ref(), &new.events)?;
    let most = caller.state.webhooks.settings().per_tenant;
    let made = caller.state.store.create_webhook(caller.tenant, new, most).await?;
    // The secret beside the record, once.
    let shown = shapes::MadeWebhook::of(shapes::Webhook::of(&made), &secret.0);
    Ok((StatusCode::CREATED, Json(shown.into())))
}

/// Update a webhook.
///
/// A new secret is returned only this once; the previous one signs as well for a while.
#[utoipa::path(patch, path = "/webhooks/{id}", security(("api_key" = ["tenant:write"])), request_body = shapes::WebhookPatch,
    responses((status = 200, body = shapes::ChangedWebhook),
    (status = 422, description = "`UNKNOWN_EVENT_TYPE`, `EVENTS_NOT_WORKSPACE_SCOPABLE`: a pattern of `events` that matches nothing. `VALIDATION_ERROR`: every field that cannot be taken is named in `details`")))]
async fn update_webhook(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Shown {
    let before = find(&caller, &path).await?;
    let anew = fields.flag("rotate_secret") == Some(true);
    let Sent { patch, secret } = read(&mut fields, &caller)?;
    if let Some(events) = &patch.events {
        check_workspace(before.workspace.as_ref(), events)?;
    }
    let secret = match secret {
        None if anew => Some(generate()?),
        sent => sent.filter(|secret| *secret != before.secret),
    };
    change(&caller, &before, (patch, secret)).await
}

/// Rotate a webhook's secret.
///
/// The previous one signs as well for a while.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", security(("api_key" = ["tenant:write"])), responses((status = 200, body = shapes::MadeWebhook)))]
async fn rotate_webhook_secret(caller: Caller, Path(path): Path<String>) -> Shown {
    let before = find(&caller, &path).await?;
    let secret = Some(generate()?);
    change(&caller, &before, (WebhookPatch::default(), secret)).await
}

async fn change(
    caller: &Caller,
    before: &Webhook,
    (patch, secret): (WebhookPatch, Option<WebhookSecret>),
) -> Shown {
    let overlap = SignedDuration::try_from(caller.state.webhooks.settings().secret_overlap);
    let now = caller.state.clock.now();
    let until = now.saturating_add(overlap.unwrap_or(SignedDuration::MAX)).unwrap_or(now);
    let patch = WebhookPatch { secret: secret.clone().map(|secret| (secret, until)), ..patch };
    let changed = caller.state.store.update_webhook(caller.tenant, before.id, patch).await?;
    let mut shown = shapes::Webhook::of(&changed);
    let Some(secret) = secret else { return data(shown) };
    // Clients that look at the record only must find it as well.
    shown.insert("secret".into(), json!(secret.0));
    Ok(Json(shapes::MadeWebhook::of(shown, &secret.0).into()))
}

/// Delete a webhook.
///
/// Pending deliveries are dropped.
#[utoipa::path(delete, path = "/webhooks/{id}", security(("api_key" = ["tenant:write"])), responses((status = 204)))]
async fn delete_webhook(caller: Caller, Path(path): Path<String>) -> Done {
    let webhook = find(&caller, &path).await?;
    caller.state.store.delete_webhook(caller.tenant, webhook.id).await?;
    DONE
}

/// List event types.
///
/// With how deliveries are signed.
#[utoipa::path(get, path = "/webhooks/events", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::EventCatalogue)))]
async fn list_event_types(caller: Caller) -> Shown {
    let headers = our_headers(&caller.state.webhooks.settings().header_name);
    Ok(Json(shapes::EventCatalogue::of(OF_WORKSPACES, headers).into()))
}
