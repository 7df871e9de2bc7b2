//! What end users may have: each by itself, and the tenant's default for all; and what a preview may use at once.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::{Fields, whole};
use super::shapes::{
    DefaultQuotasData, EffectivePolicy, PoliciesData, PoliciesOrder, QuotasData, QuotasOrder,
};
use super::{ApiState, Problem, credits};
use crate::control::store::QuotaUsage;
use crate::model::{KeyScope, PreviewLimits, QuotaSource, Quotas};

/// The longest id of an end user, characters.
const EXTERNAL_ID: usize = 255;
/// The highest cap: what every client can read as a number.
const MAX_CAP: u64 = (1 << 53) - 1;
/// Bounds of what a preview may use at once.
const COUNTS: (u64, u64) = (1, 1_000_000);
const BANDWIDTH: (u64, u64) = (16 << 10, 1 << 40);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(default, set_default, delete_default))
        .routes(routes!(show, set, delete))
        .routes(routes!(policy, set_policy, delete_policy))
        .routes(routes!(user_policy, set_user_policy, delete_user_policy))
        .routes(routes!(effective_policy))
}

/// The part of a tenant's policy about what a preview may use at once. Not sent: nothing is said.
pub(super) fn preview_limits(fields: &mut Fields) -> PreviewLimits {
    let Some(sent) = fields.object("limits") else { return PreviewLimits::default() };
    let mut number = |name: &str, (least, most): (u64, u64)| match sent.get(name) {
        None | Some(Value::Null) => None,
        Some(value) => {
            let number = whole(value).filter(|number| (least..=most).contains(number));
            if number.is_none() {
                let must = format!("{name} must be null or a whole number from {least} to {most}");
                fields.fault("limits", &must);
            }
            number
        }
    };
    let mut count = |name| number(name, COUNTS).and_then(|count| u32::try_from(count).ok());
    PreviewLimits {
        requests_in_flight: count("requests_in_flight"),
        sockets: count("sockets"),
        requests_per_second: count("requests_per_second"),
        burst: count("burst"),
        bytes_per_second: number("bytes_per_second", BANDWIDTH),
    }
}

/// All caps as sent: what is not named is not capped.
fn read(fields: &mut Fields) -> Quotas {
    let must = format!("must be null or a whole number from 0 to {MAX_CAP}");
    let mut cap = |name| {
        let read = |value: &Value| whole(value).filter(|cap| *cap <= MAX_CAP);
        fields.get(name, &must, read).flatten()
    };
    Quotas {
        max_sandboxes: cap("max_sandboxes"),
        max_concurrent: cap("max_concurrent"),
        max_storage_gb: cap("max_storage_gb"),
        max_credit_cents: cap("max_credit_cents"),
    }
}

fn caps(quotas: Quotas) -> Map<String, Value> {
    quotas.named().into_iter().map(|(name, cap)| (name.to_owned(), json!(cap))).collect()
}

/// Both shapes that clients know: the caps by themselves, and within `limits`.
fn both(quotas: Option<Quotas>) -> Map<String, Value> {
    let flat = caps(quotas.unwrap_or_default());
    let mut shown = flat.clone();
    shown.insert("limits".into(), Value::Object(flat));
    shown
}

fn shown_usage(usage: QuotaUsage, credit_cents: u64) -> Value {
    let gib = f64::from(u32::try_from(usage.storage_mb).unwrap_or(u32::MAX)) / 1024.0;
    json!({
        "sandboxes": usage.sandboxes,
        "total_sandboxes": usage.sandboxes,
        "concurrent": usage.concurrent,
        "storage_gb": gib,
        "credit_cents": credit_cents,
    })
}

fn checked(user: &str) -> Result<&str, Problem> {
    if (1..=EXTERNAL_ID).contains(&user.chars().count()) {
        return Ok(user);
    }
    Err(Problem::field("external_user_id", "must be 1 to 255 characters"))
}

async fn answer(state: &ApiState, caller: &Caller, user: &str) -> Result<Json<Value>, Problem> {
    let own = state.store.own_quotas(caller.tenant, Some(user)).await?;
    let (holding, source) = state.store.quotas_of(caller.tenant, user).await?;
    let usage = state.store.quota_usage(caller.tenant, user).await?;
    let spent = credits::spent(state, caller.tenant, user).await?;
    let mut shown = both(own);
    shown.insert("external_user_id".into(), json!(user));
    shown.insert("usage".into(), shown_usage(usage, spent));
    let mut effective = caps(holding);
    effective.insert("source".into(), json!(source));
    shown.insert("effective".into(), Value::Object(effective));
    Ok(Json(json!({ "data": shown })))
}

/// Get an end user's quotas.
///
/// With what the end user has.
#[utoipa::path(
    get, path = "/quotas/external/{*external_user_id}", tag = "Quotas", operation_id = "get_quotas", security(("api_key" = ["quotas:read"]), ("api_key" = ["tenant:read"])),
    responses((status = 200, body = QuotasData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::QuotasRead, KeyScope::TenantRead])?;
    answer(&state, &caller, checked(&user)?).await
}

/// Set an end user's quotas.
///
/// Replaces all of them.
#[utoipa::path(
    put, path = "/quotas/external/{*external_user_id}", tag = "Quotas", operation_id = "set_quotas", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])), request_body = QuotasOrder,
    responses((status = 200, body = QuotasData)),
)]
async fn set(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    let mut fields = fields.unwrapped("limits");
    write(&state, &caller, Some(checked(&user)?), Some(&mut fields)).await?;
    answer(&state, &caller, &user).await
}

/// Delete an end user's quotas.
///
/// The tenant's default applies again.
#[utoipa::path(
    delete, path = "/quotas/external/{*external_user_id}", tag = "Quotas", operation_id = "delete_quotas", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    write(&state, &caller, Some(checked(&user)?), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get default quotas.
///
/// They apply to end users without quotas of their own.
#[utoipa::path(
    get, path = "/quotas/default", tag = "Quotas", operation_id = "get_default_quotas", security(("api_key" = ["quotas:read"]), ("api_key" = ["tenant:read"])),
    responses((status = 200, body = DefaultQuotasData)),
)]
async fn default(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::QuotasRead, KeyScope::TenantRead])?;
    Ok(Json(json!({ "data": both(state.store.own_quotas(caller.tenant, None).await?) })))
}

/// Set default quotas.
///
/// They apply to end users without quotas of their own. Replaces all of them.
#[utoipa::path(
    put, path = "/quotas/default", tag = "Quotas", operation_id = "set_default_quotas", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])), request_body = QuotasOrder,
    responses((status = 200, body = DefaultQuotasData)),
)]
async fn set_default(
    state: State<ApiState>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    let mut fields = fields.unwrapped("limits");
    let set = write(&state, &caller, None, Some(&mut fields)).await?;
    Ok(Json(json!({ "data": both(set) })))
}

/// Delete default quotas.
#[utoipa::path(
    delete, path = "/quotas/default", tag = "Quotas", operation_id = "delete_default_quotas", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn delete_default(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    write(&state, &caller, None, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets what was sent in the place of what there was, or takes it away.
async fn write(
    state: &ApiState,
    caller: &Caller,
    user: Option<&str>,
    sent: Option<&mut Fields>,
) -> Result<Option<Quotas>, Problem> {
    caller.needs(&[KeyScope::QuotasWrite, KeyScope::TenantWrite])?;
    let quotas = match sent {
        None => None,
        Some(fields) => {
            let quotas = read(fields);
            fields.finish()?;
            Some(quotas)
        }
    };
    let store = caller.store(state);
    store.set_quotas(caller.tenant, user, quotas.as_ref()).await?;
    Ok(quotas)
}

/// A policy of which quotas are the only section so far.
fn sections(quotas: Option<Quotas>) -> Json<Value> {
    let sections = quotas.map_or_else(|| json!({}), |quotas| json!({ "quotas": caps(quotas) }));
    Json(json!({ "data": sections }))
}

/// Get the policy of all end users.
#[utoipa::path(
    get, path = "/tenant/policy", tag = "Quotas", operation_id = "get_policy", security(("api_key" = ["quotas:read"]), ("api_key" = ["tenant:read"])),
    responses((status = 200, body = PoliciesData)),
)]
async fn policy(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::QuotasRead, KeyScope::TenantRead])?;
    Ok(sections(state.store.own_quotas(caller.tenant, None).await?))
}

/// Set the policy of all end users.
#[utoipa::path(
    put, path = "/tenant/policy", tag = "Quotas", operation_id = "set_policy", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])), request_body = PoliciesOrder,
    responses((status = 200, body = PoliciesData)),
)]
async fn set_policy(
    State(state): State<ApiState>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    put_policy(&state, &caller, None, fields).await
}

/// A policy without the section has none of its caps.
async fn put_policy(
    state: &ApiState,
    caller: &Caller,
    user: Option<&str>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    let mut fields = fields.unwrapped("policy");
    let has_section = fields.object("quotas").is_some();
    fields.finish()?;
    let mut fields = fields.unwrapped("quotas");
    let set = write(state, caller, user, has_section.then_some(&mut fields)).await?;
    Ok(sections(set))
}

/// Delete the policy of all end users.
#[utoipa::path(
    delete, path = "/tenant/policy", tag = "Quotas", operation_id = "delete_policy", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn delete_policy(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    write(&state, &caller, None, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the policy of one end user.
#[utoipa::path(
    get, path = "/external-users/{external_user_id}/policy", tag = "Quotas", operation_id = "get_user_policy", security(("api_key" = ["quotas:read"]), ("api_key" = ["tenant:read"])),
    responses((status = 200, body = PoliciesData)),
)]
async fn user_policy(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::QuotasRead, KeyScope::TenantRead])?;
    Ok(sections(state.store.own_quotas(caller.tenant, Some(checked(&user)?)).await?))
}

/// Set the policy of one end user.
#[utoipa::path(
    put, path = "/external-users/{external_user_id}/policy", tag = "Quotas", operation_id = "set_user_policy", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])), request_body = PoliciesOrder,
    responses((status = 200, body = PoliciesData)),
)]
async fn set_user_policy(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    put_policy(&state, &caller, Some(checked(&user)?), fields).await
}

/// Delete the policy of one end user.
#[utoipa::path(
    delete, path = "/external-users/{external_user_id}/policy", tag = "Quotas", operation_id = "delete_user_policy", security(("api_key" = ["quotas:write"]), ("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn delete_user_policy(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    write(&state, &caller, Some(checked(&user)?), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the effective policy of one end user.
///
/// Each limit with its source.
#[utoipa::path(
    get, path = "/external-users/{external_user_id}/effective-policy", tag = "Quotas", operation_id = "get_effective_policy", security(("api_key" = ["quotas:read"]), ("api_key" = ["tenant:read"])),
    responses((status = 200, body = EffectivePolicy)),
)]
async fn effective_policy(
    State(state): State<ApiState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::QuotasRead, KeyScope::TenantRead])?;
    let (holding, source) = state.store.quotas_of(caller.tenant, checked(&user)?).await?;
    Ok(Json(json!({ "quotas": with_source(holding, source) })))
}

fn with_source(quotas: Quotas, source: QuotaSource) -> Map<String, Value> {
    let field = |(name, cap): (&str, Option<u64>)| {
        (name.to_owned(), json!({ "value": cap, "source": source }))
    };
    quotas.named().into_iter().map(field).collect()
}
