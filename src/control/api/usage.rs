//! What was used: by owner and over time, in sum, by lifetime, and by sandbox.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::listing::Paging;
use super::shapes::{
    GroupQuery, OwnerQuery, PageQuery, PeriodQuery, SandboxUsageData, UsageReport,
    UsageSessionPage, UsageSummary,
};
use super::{ApiState, Problem, render};
use crate::control::store::{UsageFilter, UsageGroup};
use crate::control::usage::{Bucket, Series, Window, WindowError};
use crate::model::{KeyScope, Owner, Provisioned, Sandbox, ShareId, Span, TenantId, Traffic, Used};

type Asked = HashMap<String, String>;

/// What the groups may be, and how their key is called in a row.
const GROUPS: [(&str, UsageGroup); 5] = [
    ("external_user_id", UsageGroup::ExternalUser),
    ("external_project_id", UsageGroup::ExternalProject),
    ("external_workspace_id", UsageGroup::ExternalWorkspace),
    ("workspace_id", UsageGroup::Workspace),
    ("sandbox_id", UsageGroup::Sandbox),
];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(by_group))
        .routes(routes!(summary))
        .routes(routes!(sessions))
        .routes(routes!(of_sandbox))
}

impl From<WindowError> for Problem {
    fn from(WindowError(name, reason): WindowError) -> Self {
        Self::field(name, reason)
    }
}

fn text<'a>(query: &'a Asked, name: &str) -> Option<&'a str> {
    query.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// The window that is asked for; either of the names that clients use for its ends will do.
fn window(query: &Asked, now: Timestamp, default: &str) -> Result<Window, Problem> {
    let start = text(query, "start").or_else(|| text(query, "period_start"));
    let end = text(query, "end").or_else(|| text(query, "period_end"));
    Ok(Window::read(text(query, "period"), (start, end), now, default)?)
}

fn filter(query: &Asked, tenant: TenantId, window: Window) -> Result<UsageFilter, Problem> {
    let id = |name: &str| text(query, name).map(str::to_owned);
    let sandbox = query.get("sandbox_id").map(|text| text.parse()).transpose();
    Ok(UsageFilter {
        tenant,
        external_user_id: id("external_user_id"),
        external_project_id: id("external_project_id"),
        external_workspace_id: id("external_workspace_id"),
        workspace_id: id("workspace_id"),
        sandbox: sandbox.map_err(|_| Problem::field("sandbox_id", "must be a sandbox's id"))?,
        start: window.start,
        end: window.end,
    })
}

/// Get usage by group.
///
/// What belongs to whom is what it belonged to then. Groups are ordered by their price, then by their key; what belongs to nobody is null,
/// and last among equals.
#[utoipa::path(
    get, path = "/usage", tag = "Usage", operation_id = "get_usage", security(("api_key" = ["usage:read"])),
    params(PeriodQuery, GroupQuery, OwnerQuery, PageQuery), responses((status = 200, body = UsageReport)),
)]
async fn by_group(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::UsageRead])?;
    let now = state.clock.now();
    let window = window(&query, now, "30d")?;
    let wanted = text(&query, "group_by").unwrap_or("external_user_id");
    let (name, group) = GROUPS.into_iter().find(|(name, _)| *name == wanted).ok_or_else(|| {
        let names = GROUPS.map(|(name, _)| name).join(", ");
        Problem::field("group_by", &format!("must be one of {names}"))
    })?;
    let bucket = text(&query, "bucket").map(bucket).transpose()?;
    let series = bucket.map(|bucket| Series::new(window, bucket, now)).transpose()?;
    let paging = Paging::read(&query)?;
    let filter = filter(&query, caller.tenant, window)?;

    let groups = state.store.usage(&filter, group).await?;
    let (total, results) = page(&state, groups, name, paging);
    let shown = u64::try_from(results.len()).unwrap_or(u64::MAX);
    let mut answer = json!({
        "period_start": window.start,
        "period_end": window.end,
        "group_by": name,
        "results": results,
        "total_groups": total,
        "truncated": paging.offset.saturating_add(shown) < total,
        "as_of": state.usage.complete_until(),
    });
    if let Some((mut series, bucket)) = series.zip(bucket) {
        state.store.each_span(&filter, |span| series.add_span(span)).await?;
        for (at, traffic) in state.store.traffic_over_time(&filter, bucket.unit()).await? {
            series.add_traffic(at, traffic);
        }
        let buckets = series.buckets.iter().map(|(bucket, used)| {
            let mut row = amounts(&state, used);
            row.insert("period_start".into(), json!(bucket.start));
            row.insert("period_end".into(), json!(bucket.end));
            Value::Object(row)
        });
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("timeseries".into(), buckets.collect());
        }
    }
    Ok(Json(answer))
}

fn bucket(word: &str) -> Result<Bucket, Problem> {
    match word {
        "hour" => Ok(Bucket::Hour),
        "day" => Ok(Bucket::Day),
        "month" => Ok(Bucket::Month),
        _ => Err(Problem::field("bucket", "must be one of hour, day, month")),
    }
}

/// How many groups there are, and those of a page: the dearest first, then by key, and what is nobody's last.
fn page(
    state: &ApiState,
    groups: Vec<(Option<String>, Used)>,
    name: &str,
    paging: Paging,
) -> (u64, Vec<Value>) {
    let price =
        |(key, used): (Option<String>, Used)| (state.settings.prices.cents(&used), key, used);
    let mut groups: Vec<_> = groups.into_iter().map(price).collect();
    groups.sort_unstable_by(|(cents, key, _), (other_cents, other_key, _)| {
        let by_key = (key.is_none(), key).cmp(&(other_key.is_none(), other_key));
        other_cents.cmp(cents).then(by_key)
    });
    let total = u64::try_from(groups.len()).unwrap_or(u64::MAX);
    let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let take = paging.limit.map_or(usize::MAX, whole);
    let rows = groups.into_iter().skip(whole(paging.offset)).take(take).map(|(_, key, used)| {
        let mut row = amounts(state, &used);
        row.insert(name.to_owned(), json!(key));
        Value::Object(row)
    });
    (total, rows.collect())
}

/// What was used, in the words and units of the API.
fn amounts(state: &ApiState, used: &Used) -> Map<String, Value> {
    let Provisioned { vcpu_ms, wall_ms, memory_mb_s, disk_mb_s } = used.provisioned;
    let mut row = moved(&used.traffic);
    for (name, value) in [
        ("sandbox_seconds", json!(vcpu_ms / 1000)),
        ("wall_seconds", json!(wall_ms / 1000)),
        ("memory_gb_hours", thousandths(memory_mb_s, 1024 * 3600)),
        ("computer_seconds", json!(0)),
        ("storage_gb_hours", thousandths(disk_mb_s, 1024 * 3600)),
        ("credit_cents", json!(state.settings.prices.cents(used))),
    ] {
        row.insert(name.into(), value);
    }
    row
}

fn moved(traffic: &Traffic) -> Map<String, Value> {
    let [s1, s2, s3, s4, s5] = traffic.responses;
    Map::from_iter([
        ("requests".into(), json!(traffic.requests)),
        ("bytes_in".into(), json!(traffic.bytes_in)),
        ("bytes_out".into(), json!(traffic.bytes_out)),
        ("websocket_seconds".into(), json!(traffic.websocket_ms / 1000)),
        ("responses".into(), json!({ "1xx": s1, "2xx": s2, "3xx": s3, "4xx": s4, "5xx": s5 })),
    ])
}

/// A quotient to three decimals.
fn thousandths(amount: u64, of: u64) -> Value {
    let thousandths = u128::from(amount) * 1000 / u128::from(of.max(1));
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    json!(text.parse::<f64>().unwrap_or_default())
}

/// Get total usage.
///
/// This month's unless another period is requested.
#[utoipa::path(
    get, path = "/usage/summary", tag = "Usage", operation_id = "get_usage_summary", security(("api_key" = ["usage:read"])),
    params(PeriodQuery, OwnerQuery), responses((status = 200, body = UsageSummary)),
)]
async fn summary(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::UsageRead])?;
    let window = window(&query, state.clock.now(), "mtd")?;
    let filter = filter(&query, caller.tenant, window)?;
    let mut used = Used::default();
    for (_, of_sandbox) in state.store.usage(&filter, UsageGroup::Sandbox).await? {
        used += of_sandbox;
    }
    let seconds = window.end.as_second().saturating_sub(window.start.as_second());
    let length = u64::try_from(seconds).unwrap_or(0);
    let bytes = used.traffic.bytes_in + used.traffic.bytes_out;
    let mut answer = amounts(&state, &used);
    for (name, value) in [
        ("period_start", json!(window.start)),
        ("period_end", json!(window.end)),
        ("as_of", json!(state.usage.complete_until())),
        ("compute_hours", thousandths(used.provisioned.vcpu_ms, 3_600_000)),
        // What was kept on average.
        ("storage_gb", thousandths(used.provisioned.disk_mb_s, 1024 * length.max(1))),
        ("bandwidth_gb", thousandths(bytes, 1 << 30)),
        ("ai_tokens", json!(0)),
        ("total_credits", json!(state.settings.prices.cents(&used))),
    ] {
        answer.insert(name.into(), value);
    }
    Ok(Json(Value::Object(answer)))
}

/// List run times of sandboxes.
///
/// Newest first.
#[utoipa::path(
    get, path = "/usage/sessions", tag = "Usage", operation_id = "list_usage_sessions", security(("api_key" = ["usage:read"])),
    params(PeriodQuery, OwnerQuery, PageQuery), responses((status = 200, body = UsageSessionPage)),
)]
async fn sessions(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::UsageRead])?;
    let now = state.clock.now();
    let paging = Paging::read(&query)?;
    let filter = filter(&query, caller.tenant, window(&query, now, "30d")?)?;
    let (spans, total) = state.store.sessions(&filter, (paging.offset, paging.limit)).await?;
    let items = spans.iter().map(|span| session(span, now)).collect();
    Ok(Json(paging.wrap(items, total)))
}

fn session(span: &Span, now: Timestamp) -> Value {
    let Owner { external_user_id, external_project_id, external_workspace_id, workspace_id } =
        &span.owner;
    let end = span.ended_at.unwrap_or(now).as_millisecond();
    let ms = u64::try_from(end - span.started_at.as_millisecond()).unwrap_or(0);
    json!({
        "id": span.id.to_string(),
        "sandbox_id": span.sandbox,
        "started_at": span.started_at,
        "ended_at": span.ended_at,
        "seconds": ms / 1000,
        "sandbox_seconds": span.shape.over(ms).vcpu_ms / 1000,
        "size": span.shape.size,
        "cpu_count": span.shape.vcpus,
        "memory_mb": span.shape.memory_mb,
        "disk_size_mb": span.shape.disk_mb,
        "external_user_id": external_user_id,
        "external_project_id": external_project_id,
        "external_workspace_id": external_workspace_id,
        "workspace_id": workspace_id,
    })
}

/// Get a sandbox's usage.
///
/// Over its whole life unless a period is requested.
#[utoipa::path(
    get, path = "/sandboxes/{id}/usage", tag = "Usage", operation_id = "get_sandbox_usage",
    security(("api_key" = ["usage:read"]), ("api_key" = ["sandboxes:read"])),
    params(PeriodQuery), responses((status = 200, body = SandboxUsageData)),
)]
async fn of_sandbox(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    Query(query): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::UsageRead, KeyScope::SandboxesRead])?;
    let sandbox = caller.sandbox(&state, &path).await?;
    let now = state.clock.now();
    let asks = ["period", "start", "end", "period_start", "period_end"];
    // From its first moment on, unless somebody asks for less. What is under way this very moment belongs to it.
    let whole = Window { start: sandbox.created_at.min(now), end: Timestamp::MAX };
    let window = if asks.iter().any(|name| text(&query, name).is_some()) {
        window(&query, now, "30d")?
    } else {
        Window { start: start_of_minute(whole.start), ..whole }
    };
    let filter =
        UsageFilter { sandbox: Some(sandbox.id), ..filter(&Asked::new(), caller.tenant, window)? };
    let mut used = Used::default();
    for (_, part) in state.store.usage(&filter, UsageGroup::Sandbox).await? {
        used += part;
    }
    let places = state.store.traffic_by_place(&filter).await?;
    let (_, starts) = state.store.sessions(&filter, (0, Some(1))).await?;
    Ok(Json(json!({ "data": of_one(&state, &sandbox, &used, (places, starts)) })))
}

/// The minute that a moment lies in is counted as one.
fn start_of_minute(at: Timestamp) -> Timestamp {
    let ms = at.as_millisecond();
    Timestamp::from_millisecond(ms - ms.rem_euclid(crate::model::MINUTE)).unwrap_or(at)
}

type Places = Vec<(u16, Option<ShareId>, Traffic)>;

fn of_one(
    state: &ApiState,
    sandbox: &Sandbox,
    used: &Used,
    (places, starts): (Places, u64),
) -> Value {
    let (mut ports, mut shares) = (Vec::<(u16, Traffic)>::new(), Vec::new());
    for (port, share, traffic) in places {
        match ports.last_mut().filter(|(last, _)| *last == port) {
            Some((_, sum)) => *sum += traffic,
            None => ports.push((port, traffic)),
        }
        if let Some(share) = share {
            let mut row = moved(&traffic);
            row.insert("share_id".into(), json!(share));
            row.insert("port".into(), json!(port));
            shares.push(Value::Object(row));
        }
    }
    let ports = ports.into_iter().map(|(port, traffic)| {
        let mut row = moved(&traffic);
        row.insert("port".into(), json!(port));
        Value::Object(row)
    });
    let mut row = amounts(state, used);
    for (name, value) in [
        ("sandbox_id", json!(sandbox.id)),
        ("state", json!(sandbox.state)),
        ("runtime_sec", json!(used.provisioned.wall_ms / 1000)),
        ("provisioned_vcpu_ms", json!(used.provisioned.vcpu_ms)),
        ("provisioned_memory_mb_ms", json!(used.provisioned.memory_mb_s.saturating_mul(1000))),
        ("creation_count", json!(starts)),
        ("active_cpu_ms", Value::Null),
        ("network_ingress_bytes", json!(used.traffic.bytes_in)),
        ("network_egress_bytes", json!(used.traffic.bytes_out)),
        (
            "measurement_status",
            json!({
                "runtime": "measured", "network": "measured", "active_cpu": "unavailable",
            }),
        ),
        ("estimated_cost_cents", json!(state.settings.prices.cents(used))),
        // What is left of its time is said in one place only; the zone does not matter for it.
        (
            "timeout_remaining_ms",
            json!(
                render::sandbox(state, &render::Zones::default(), sandbox)
                    .get("timeout_remaining_ms")
            ),
        ),
        ("timeout_sec", json!(sandbox.attributes.timeout_sec)),
        ("ports", ports.collect()),
        ("shares", Value::Array(shares)),
        ("as_of", json!(state.usage.complete_until())),
    ] {
        row.insert(name.into(), value);
    }
    Value::Object(row)
}
