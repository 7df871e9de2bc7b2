//! What became of deliveries: looking at them, repeating one, trying a webhook out.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{DeliveryData, DeliveryPage, DeliveryQuery, ReplayOrder, TestData};
use super::webhooks::find;
use super::{ApiState, Problem};
use crate::control::store::{Settlement, StoreError, Verdict};
use crate::model::{Delivery, DeliveryId, DeliveryState, KeyScope};

/// Deliveries in a list, when nobody says how many, and at most.
const PAGE: (u32, u32) = (50, 100);
/// The longest id of a replay, characters.
const REPLAY_ID: usize = 200;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(test))
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(replay))
}

fn render(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "webhook_id": delivery.webhook,
        "event_id": delivery.event.id,
        "event_type": delivery.event.kind,
        "event": delivery.event.kind,
        "state": delivery.state,
        "status": delivery.state,
        "success": delivery.state == DeliveryState::Delivered,
        "response_status": delivery.status,
        "status_code": delivery.status,
        "response_body": delivery.body,
        "attempts": delivery.attempts,
        "attempt_count": delivery.attempts,
        "next_retry_at": delivery.next_at,
        "delivered_at": delivery.delivered_at,
        "created_at": delivery.created_at,
        "inserted_at": delivery.created_at,
        "replay_of": delivery.replay_of,
        "duration_ms": delivery.duration_ms,
        "error": delivery.error,
    })
}

fn delivery_id(text: &str) -> Result<DeliveryId, Problem> {
    text.parse().map_err(|_| Problem::not_found("delivery"))
}

fn missing(error: StoreError) -> Problem {
    match error {
        StoreError::NotFound => Problem::not_found("delivery"),
        other => other.into(),
    }
}

/// List a webhook's deliveries.
///
/// Newest first.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries", tag = "Webhooks", operation_id = "list_deliveries", security(("api_key" = ["tenant:read"])),
    params(DeliveryQuery),
    responses((status = 200, body = DeliveryPage)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let webhook = find(&state, caller.tenant, &path).await?;
    let limit = match query.get("limit") {
        None => PAGE.0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE.1).contains(limit))
            .ok_or_else(|| Problem::field("limit", "must be a whole number from 1 to 100"))?,
    };
    let before = query.get("before").or_else(|| query.get("cursor"));
    let before = match before.map(String::as_str).filter(|text| !text.is_empty()) {
        None => Ok(Timestamp::MAX),
        Some(text) => match (text.parse::<Timestamp>(), text.parse::<DeliveryId>()) {
            (Ok(at), _) => Ok(at),
            (_, Ok(id)) => Err(id),
            _ => {
                let must = "must be a time such as 2026-01-31T12:00:00Z, or a delivery's id";
                return Err(Problem::field("before", must));
            }
        },
    };
    let found = state.store.deliveries(webhook.id, before, limit).await?;
    let full = u32::try_from(found.len()).is_ok_and(|count| count == limit);
    // An id: of deliveries that began in the same moment none is passed over.
    let next = found.last().filter(|_| full).map(|last| last.id);
    let items: Vec<Value> = found.iter().map(render).collect();
    Ok(Json(json!({ "data": items, "next_cursor": next })))
}

/// Get a delivery.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries/{delivery}", tag = "Webhooks", operation_id = "get_delivery", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = DeliveryData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, delivery)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let webhook = find(&state, caller.tenant, &path).await?;
    let found = state.store.delivery(webhook.id, delivery_id(&delivery)?).await.map_err(missing)?;
    Ok(Json(json!({ "data": render(&found) })))
}

/// Replay a delivery.
///
/// Sends the same event again.
#[utoipa::path(
    post, path = "/webhooks/{id}/deliveries/{delivery}/replay", tag = "Webhooks", operation_id = "replay_delivery", security(("api_key" = ["tenant:write"])), request_body = ReplayOrder,
    responses((status = 202, body = DeliveryData),
        (status = 409, description = "`CONFLICT`: the replay id was used before. `RESOURCE_STATE`: the webhook is not active")),
)]
async fn replay(
    State(state): State<ApiState>,
    caller: Caller,
    Path((path, delivery)): Path<(String, String)>,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let webhook = find(&state, caller.tenant, &path).await?;
    let replay_id = fields.text("replay_id", REPLAY_ID).flatten();
    fields.finish()?;
    let made = caller
        .store(&state)
        .replay_delivery(caller.tenant, webhook.id, delivery_id(&delivery)?, replay_id.as_deref())
        .await
        .map_err(|error| match error {
            StoreError::Exists => {
                Problem::new(StatusCode::CONFLICT, "CONFLICT", "Replay ID already used")
            }
            other => missing(other),
        })?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "data": render(&made) }))).into_response())
}

/// Test a webhook.
///
/// Sends an event and waits for the response. A failed delivery is not an error of this call.
#[utoipa::path(
    post, path = "/webhooks/{id}/test", tag = "Webhooks", operation_id = "test_webhook", security(("api_key" = ["tenant:write"])),
    responses((status = 200, body = TestData)),
)]
async fn test(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let webhook = find(&state, caller.tenant, &path).await?;
    let store = caller.store(&state);
    let claim = store.begin_test(&webhook).await?;
    let attempt = state.webhooks.try_out(&claim).await;
    let delivered = attempt.status.is_some_and(|status| (200..300).contains(&status));
    let settlement = Settlement {
        delivery: claim.delivery,
        webhook: webhook.id,
        verdict: if delivered { Verdict::Delivered } else { Verdict::TestFailed },
        status: attempt.status,
        body: attempt.body,
        error: attempt.error,
        took: attempt.took,
    };
    let failed_after = state.webhooks.settings().failed_after;
    store.settle_deliveries(&[settlement], failed_after).await?;
    let mut shown =
        render(&state.store.delivery(webhook.id, claim.delivery).await.map_err(missing)?);
    if let Value::Object(shown) = &mut shown {
        shown.insert("delivered".into(), json!(delivered));
    }
    Ok(Json(json!({ "data": shown })))
}
