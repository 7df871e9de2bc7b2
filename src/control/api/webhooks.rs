//! Webhooks: registering, changing and removing them, and the catalogue of events.

use aws_lc_rs::rand;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{
    self, ChangedWebhook, EventCatalogue, MadeWebhook, WebhookData, WebhookList, WebhookOrder,
};
use super::{ApiState, Problem};
use crate::control::store::{NewWebhook, StoreError, WebhookPatch};
use crate::control::webhooks::{header_fault, our_headers};
use crate::model::{
    EventFilter, EventType, KeyScope, TenantId, UnknownEvent, Webhook, WebhookSecret, WebhookState,
};

/// Longest texts, characters.
const NAME: usize = 200;
const DESCRIPTION: usize = 1000;
const WORKSPACE: usize = 255;
const URL: usize = 2048;
/// Patterns of events, and the longest.
const PATTERNS: (usize, usize) = (64, 100);
/// Further header fields, and the longest value.
const HEADERS: (usize, usize) = (20, 1024);
/// Attempts after the first, at most and when nobody says.
const RETRIES: (u64, u32) = (10, 3);
/// A secret that a tenant chooses, characters.
const SECRET: std::ops::RangeInclusive<usize> = 16..=256;
/// The part of all events that belong to workspaces.
const OF_WORKSPACES: &str = "sandbox";

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(catalogue))
        .routes(routes!(show, update, remove))
        .routes(routes!(rotate))
}

/// A tenant's webhook.
pub(super) async fn find(
    state: &ApiState,
    tenant: TenantId,
    text: &str,
) -> Result<Webhook, Problem> {
    let id = text.parse().map_err(|_| Problem::not_found("webhook"))?;
    state.store.webhook(tenant, id).await.map_err(|error| match error {
        StoreError::NotFound => Problem::not_found("webhook"),
        other => other.into(),
    })
}

fn render(webhook: &Webhook) -> Value {
    let active = webhook.state == WebhookState::Active;
    json!({
        "id": webhook.id,
        "tenant_id": webhook.tenant,
        "workspace_id": webhook.workspace,
        "name": webhook.name,
        "description": webhook.description,
        "url": webhook.url,
        "events": webhook.events,
        "secret_preview": webhook.secret_preview,
        "previous_secret_expires_at": webhook.old_secret.as_ref().map(|(_, until)| until),
        "state": webhook.state,
        "active": active,
        "enabled": active,
        "headers": webhook.headers,
        "retry_count": webhook.retry_count,
        "failure_count": webhook.failures,
        "last_triggered_at": webhook.last_triggered_at,
        "last_status_code": webhook.last_status,
        "metadata": webhook.metadata,
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    })
}

/// List webhooks.
///
/// Without their secrets.
#[utoipa::path(
    get, path = "/webhooks", tag = "Webhooks", operation_id = "list_webhooks", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = WebhookList)),
)]
async fn list(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let webhooks = state.store.webhooks(caller.tenant).await?;
    Ok(Json(json!({ "data": webhooks.iter().map(render).collect::<Vec<_>>() })))
}

/// Get a webhook.
///
/// Without its secret.
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "Webhooks", operation_id = "get_webhook", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = WebhookData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    Ok(Json(json!({ "data": render(&find(&state, caller.tenant, &id).await?) })))
}

/// What may be sent about a webhook, new or known.
struct Sent {
    patch: WebhookPatch,
    secret: Option<WebhookSecret>,
}

fn read(fields: &mut Fields, state: &ApiState) -> Result<Sent, Problem> {
    let url = fields.text("url", URL).flatten();
    if let Some(url) = &url
        && let Err(error) = state.webhooks.check(url)
    {
        fields.fault("url", &error.to_string());
    }
    let patterns = fields.texts("events", PATTERNS);
    let secret = fields
        .get("secret", "must be 16 to 256 visible ASCII characters", |value| {
            let text = value.as_str()?;
            let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            (visible && SECRET.contains(&text.len())).then(|| WebhookSecret(text.to_owned()))
        })
        .flatten();
    let retries = fields.number("retry_count", (0, RETRIES.0));
    let patch = WebhookPatch {
        name: fields.text("name", NAME),
        description: fields.text("description", DESCRIPTION),
        url,
        events: None,
        secret: None,
        state: standing(fields),
        headers: headers(fields, &state.webhooks.settings().header_word),
        retry_count: retries.and_then(|retries| u32::try_from(retries).ok()),
        metadata: fields.free("metadata"),
    };
    fields.finish()?;
    let events = patterns.map(EventFilter::known).transpose().map_err(|UnknownEvent(name)| {
        let reason = format!("there is no event {name}; GET /webhooks/events lists them");
        Problem::field("events", &reason).with_code("UNKNOWN_EVENT_TYPE")
    })?;
    Ok(Sent { patch: WebhookPatch { events, ..patch }, secret })
}

/// Whether it is told of events: as a word or as a yes or no, by either name.
fn standing(fields: &mut Fields) -> Option<WebhookState> {
    let words = "active, inactive";
    let word = fields.word::<WebhookState>("state", words);
    if word == Some(WebhookState::Failed) {
        fields.fault("state", "must be one of active, inactive");
    }
    let flag = fields.flag("active").or_else(|| fields.flag("enabled"));
    let flag = flag.map(|on| if on { WebhookState::Active } else { WebhookState::Inactive });
    word.or(flag)
}

fn headers(fields: &mut Fields, word: &str) -> Option<Map<String, Value>> {
    let sent = fields.object("headers")?;
    if sent.len() > HEADERS.0 {
        fields.fault("headers", "must be at most 20 headers");
    }
    for (name, value) in &sent {
        let fault = match value.as_str() {
            Some(value) if value.len() <= HEADERS.1 => header_fault(name, value, word),
            _ => Some("must be a string of at most 1024 characters"),
        };
        if let Some(fault) = fault {
            fields.fault("headers", &format!("{name} {fault}"));
        }
    }
    Some(sent)
}

/// A fresh secret.
fn generate() -> Result<WebhookSecret, Problem> {
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| StoreError::WrongSecretKey)?;
    Ok(WebhookSecret(format!("whsec_{}", URL_SAFE_NO_PAD.encode(random))))
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
#[utoipa::path(
    post, path = "/webhooks", tag = "Webhooks", operation_id = "create_webhook", security(("api_key" = ["tenant:write"])), request_body = WebhookOrder,
    responses((status = 201, body = MadeWebhook),
        (status = 422, description = "`UNKNOWN_EVENT_TYPE`, `EVENTS_NOT_WORKSPACE_SCOPABLE`: a pattern of `events` that matches nothing. `WEBHOOK_LIMIT_REACHED`: there are as many as there may be. `VALIDATION_ERROR`: every field that cannot be taken is named in `details`")),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let workspace = fields.text("workspace_id", WORKSPACE).flatten();
    if fields.raw_value("url").is_none_or(Value::is_null) {
        fields.fault("url", "is required");
    }
    let Sent { patch, secret } = read(&mut fields, &state)?;
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
        retry_count: patch.retry_count.unwrap_or(RETRIES.1),
        metadata: patch.metadata.unwrap_or_default(),
    };
    check_workspace(new.workspace.as_ref(), &new.events)?;
    let most = state.webhooks.settings().per_tenant;
    let made = caller.store(&state).create_webhook(caller.tenant, new, most).await?;
    // The secret beside the record, once.
    let answer = Json(json!({ "data": render(&made), "secret": secret.0 }));
    Ok((StatusCode::CREATED, answer).into_response())
}

/// Update a webhook.
///
/// A new secret is returned only this once; the previous one signs as well for a while.
#[utoipa::path(
    patch, path = "/webhooks/{id}", tag = "Webhooks", operation_id = "update_webhook", security(("api_key" = ["tenant:write"])), request_body = shapes::WebhookPatch,
    responses((status = 200, body = ChangedWebhook),
        (status = 422, description = "`UNKNOWN_EVENT_TYPE`, `EVENTS_NOT_WORKSPACE_SCOPABLE`: a pattern of `events` that matches nothing. `VALIDATION_ERROR`: every field that cannot be taken is named in `details`")),
)]
async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let before = find(&state, caller.tenant, &path).await?;
    let anew = fields.flag("rotate_secret") == Some(true);
    let Sent { patch, secret } = read(&mut fields, &state)?;
    if let Some(events) = &patch.events {
        check_workspace(before.workspace.as_ref(), events)?;
    }
    let secret = match secret {
        None if anew => Some(generate()?),
        sent => sent.filter(|secret| *secret != before.secret),
    };
    change(&state, &caller, &before, (patch, secret)).await
}

/// Rotate a webhook's secret.
///
/// The previous one signs as well for a while.
#[utoipa::path(
    post, path = "/webhooks/{id}/rotate-secret", tag = "Webhooks", operation_id = "rotate_webhook_secret", security(("api_key" = ["tenant:write"])),
    responses((status = 200, body = MadeWebhook)),
)]
async fn rotate(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let before = find(&state, caller.tenant, &path).await?;
    let secret = Some(generate()?);
    change(&state, &caller, &before, (WebhookPatch::default(), secret)).await
}

async fn change(
    state: &ApiState,
    caller: &Caller,
    before: &Webhook,
    (patch, secret): (WebhookPatch, Option<WebhookSecret>),
) -> Result<Json<Value>, Problem> {
    let overlap = SignedDuration::try_from(state.webhooks.settings().secret_overlap);
    let now = state.clock.now();
    let until = now.saturating_add(overlap.unwrap_or(SignedDuration::MAX)).unwrap_or(now);
    let patch = WebhookPatch { secret: secret.clone().map(|secret| (secret, until)), ..patch };
    let changed = caller.store(state).update_webhook(caller.tenant, before.id, patch).await?;
    let mut data = render(&changed);
    let Some(secret) = secret else { return Ok(Json(json!({ "data": data }))) };
    // Clients that look at the record only must find it as well.
    if let Value::Object(data) = &mut data {
        data.insert("secret".into(), json!(secret.0));
    }
    Ok(Json(json!({ "data": data, "secret": secret.0 })))
}

/// Delete a webhook.
///
/// Pending deliveries are dropped.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "Webhooks", operation_id = "delete_webhook", security(("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let webhook = find(&state, caller.tenant, &path).await?;
    caller.store(&state).delete_webhook(caller.tenant, webhook.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List event types.
///
/// With how deliveries are signed.
#[utoipa::path(
    get, path = "/webhooks/events", tag = "Webhooks", operation_id = "list_event_types", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = EventCatalogue)),
)]
async fn catalogue(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let mut categories: Map<String, Value> = Map::new();
    for kind in EventType::ALL {
        let of_category = categories.entry(kind.category()).or_insert_with(|| json!([]));
        if let Value::Array(names) = of_category {
            names.push(json!(kind));
        }
    }
    Ok(Json(json!({
        "data": categories,
        "events": EventType::ALL,
        "workspace_scoped_categories": [OF_WORKSPACES],
        "signing": {
            "header": "x-miosa-signature",
            "algorithm": "hmac-sha256",
            "format": "sha256=<hex>",
            "timestamped_header": "miosa-signature",
            "timestamped_format": "t=<unix seconds>,v1=<hex>",
        },
        "delivery_headers": our_headers(&state.webhooks.settings().header_word),
    })))
}
