//! What became of deliveries: looking at them, repeating one, trying a webhook out.

use jiff::Timestamp;

use super::prelude::*;
use super::webhooks::find;
use crate::control::store::{Settlement, StoreError, Verdict};
use crate::model::DeliveryId;

/// Deliveries in a list, when nobody says how many, and at most.
const PAGE: (u32, u32) = (50, 100);

endpoints!([test_webhook], [list_deliveries], [get_delivery], [replay_delivery]);

/// List a webhook's deliveries.
///
/// Newest first.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries", security(("api_key" = ["tenant:read"])), params(shapes::DeliveryQuery),
    responses((status = 200, body = shapes::DeliveryPage)))]
async fn list_deliveries(caller: Caller, Path(path): Path<String>, Query(query): Asked) -> Shown {
    let webhook = find(&caller, &path).await?;
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
    let found = caller.state.store.deliveries(webhook.id, before, limit).await?;
    let full = u32::try_from(found.len()).is_ok_and(|count| count == limit);
    // An id: of deliveries that began in the same moment none is passed over.
    let next = found.last().filter(|_| full).map(|last| last.id);
    let shown: Vec<_> = found.iter().map(shapes::Delivery::of).collect();
    Ok(Json(json!({ "data": shown, "next_cursor": next })))
}

/// Get a delivery.
#[utoipa::path(get, path = "/webhooks/{id}/deliveries/{delivery}", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::DeliveryData)))]
async fn get_delivery(caller: Caller, Path((path, delivery)): Path<(String, String)>) -> Shown {
    let webhook = find(&caller, &path).await?;
    let found = caller.state.store.delivery(webhook.id, id(&delivery, "delivery")?).await;
    data(shapes::Delivery::of(&found.map_err(missing("delivery"))?))
}

/// Replay a delivery.
///
/// Sends the same event again.
#[utoipa::path(post, path = "/webhooks/{id}/deliveries/{delivery}/replay", security(("api_key" = ["tenant:write"])), request_body = shapes::ReplayOrder,
    responses((status = 202, body = shapes::DeliveryData),
    (status = 409, description = "`CONFLICT`: the replay id was used before. `RESOURCE_STATE`: the webhook is not active")))]
async fn replay_delivery(
    caller: Caller,
    Path((path, delivery)): Path<(String, String)>,
    mut fields: Fields,
) -> Made {
    let webhook = find(&caller, &path).await?;
    let replay_id = fields.text("replay_id").flatten();
    fields.finish()?;
    let made = caller
        .state
        .store
        .replay_delivery(
            caller.tenant,
            webhook.id,
            id(&delivery, "delivery")?,
            replay_id.as_deref(),
        )
        .await
        .map_err(|error| match error {
            StoreError::Exists => {
                Problem::new(StatusCode::CONFLICT, "CONFLICT", "Replay ID already used")
            }
            other => missing("delivery")(other),
        })?;
    Ok((StatusCode::ACCEPTED, data(shapes::Delivery::of(&made))?))
}

/// Test a webhook.
///
/// Sends an event and waits for the response. A failed delivery is not an error of this call.
#[utoipa::path(post, path = "/webhooks/{id}/test", security(("api_key" = ["tenant:write"])), responses((status = 200, body = shapes::TestData)))]
async fn test_webhook(caller: Caller, Path(path): Path<String>) -> Shown {
    let webhook = find(&caller, &path).await?;
    let store = &caller.state.store;
    let claim = store.begin_test(&webhook).await?;
    let attempt = caller.state.webhooks.try_out(&claim).await;
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
    let failed_after = caller.state.webhooks.settings().failed_after;
    store.settle_deliveries(&[settlement], failed_after).await?;
    let tried = store.delivery(webhook.id, claim.delivery).await.map_err(missing("delivery"))?;
    data(shapes::TestedDelivery::of(&tried, delivered))
}
