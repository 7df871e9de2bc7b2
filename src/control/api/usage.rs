//! What was used: by owner and over time, in sum, by lifetime, and by sandbox.

use std::collections::HashMap;

use jiff::Timestamp;

use super::listing::Paging;
use super::prelude::*;
use crate::control::store::{UsageFilter, UsageGroup};
use crate::control::usage::{Bucket, Series, Window, WindowError};
use crate::model::{MINUTE, ShareId, TenantId, Traffic, Used};

/// What the groups may be, and how their key is called in a row.
const GROUPS: [(&str, UsageGroup); 5] = [
    ("external_user_id", UsageGroup::ExternalUser),
    ("external_project_id", UsageGroup::ExternalProject),
    ("external_workspace_id", UsageGroup::ExternalWorkspace),
    ("workspace_id", UsageGroup::Workspace),
    ("sandbox_id", UsageGroup::Sandbox),
];

endpoints!([get_usage], [get_usage_summary], [list_usage_sessions], [get_sandbox_usage]);

impl From<WindowError> for Problem {
    fn from(WindowError(name, reason): WindowError) -> Self {
        Self::field(name, reason)
    }
}

fn text<'a>(query: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    query.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// The window that is asked for; either of the names that clients use for its ends will do.
fn window(
    query: &HashMap<String, String>,
    now: Timestamp,
    default: &str,
) -> Result<Window, Problem> {
    let start = text(query, "start").or_else(|| text(query, "period_start"));
    let end = text(query, "end").or_else(|| text(query, "period_end"));
    Ok(Window::read(text(query, "period"), (start, end), now, default)?)
}

fn filter(
    query: &HashMap<String, String>,
    tenant: TenantId,
    window: Window,
) -> Result<UsageFilter, Problem> {
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
#[utoipa::path(get, path = "/usage", security(("api_key" = ["usage:read"])), params(shapes::PeriodQuery, shapes::GroupQuery, shapes::OwnerQuery, shapes::PageQuery),
    responses((status = 200, body = shapes::UsageReport)))]
async fn get_usage(caller: Caller, Query(query): Asked) -> Shown {
    let ApiState { store, settings, usage, clock, .. } = &caller.state;
    let now = clock.now();
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

    let groups = store.usage(&filter, group).await?;
    let (total, results) = page(&caller.state, groups, name, paging);
    let shown = u64::try_from(results.len()).unwrap_or(u64::MAX);
    let rows = (results, total, paging.offset.saturating_add(shown) < total);
    let mut report = shapes::UsageReport::of(window, name, rows, usage.complete_until());
    if let Some((mut series, bucket)) = series.zip(bucket) {
        store.each_span(&filter, |span| series.add_span(span)).await?;
        for (at, traffic) in store.traffic_over_time(&filter, bucket.unit()).await? {
            series.add_traffic(at, traffic);
        }
        let buckets = series.buckets.iter();
        let buckets: Vec<shapes::Object> = buckets
            .map(|(bucket, used)| shapes::UsageBucket::of(settings.prices, used, *bucket))
            .collect();
        report.insert("timeseries".into(), json!(buckets));
    }
    Ok(Json(report.into()))
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
) -> (u64, Vec<shapes::Object>) {
    let prices = state.settings.prices;
    let price = |(key, used): (Option<String>, Used)| (prices.cents(&used), key, used);
    let mut groups: Vec<_> = groups.into_iter().map(price).collect();
    groups.sort_unstable_by(|(cents, key, _), (other_cents, other_key, _)| {
        let by_key = (key.is_none(), key).cmp(&(other_key.is_none(), other_key));
        other_cents.cmp(cents).then(by_key)
    });
    let total = u64::try_from(groups.len()).unwrap_or(u64::MAX);
    let rows = paging.part(groups.into_iter()).map(|(_, key, used)| {
        let mut row = shapes::Amounts::of(prices, &used);
        row.insert(name.to_owned(), json!(key));
        row
    });
    (total, rows.collect())
}

/// All that was used, by whomever.
async fn sum(caller: &Caller, filter: &UsageFilter) -> Result<Used, Problem> {
    let mut used = Used::default();
    for (_, of_sandbox) in caller.state.store.usage(filter, UsageGroup::Sandbox).await? {
        used += of_sandbox;
    }
    Ok(used)
}

/// Get total usage.
///
/// This month's unless another period is requested.
#[utoipa::path(get, path = "/usage/summary", security(("api_key" = ["usage:read"])), params(shapes::PeriodQuery, shapes::OwnerQuery),
    responses((status = 200, body = shapes::UsageSummary)))]
async fn get_usage_summary(caller: Caller, Query(query): Asked) -> Shown {
    let ApiState { settings, usage, clock, .. } = &caller.state;
    let window = window(&query, clock.now(), "mtd")?;
    let used = sum(&caller, &filter(&query, caller.tenant, window)?).await?;
    let until = usage.complete_until();
    Ok(Json(shapes::UsageSummary::of(settings.prices, &used, window, until).into()))
}

/// List run times of sandboxes.
///
/// Newest first.
#[utoipa::path(get, path = "/usage/sessions", security(("api_key" = ["usage:read"])), params(shapes::PeriodQuery, shapes::OwnerQuery, shapes::PageQuery),
    responses((status = 200, body = shapes::UsageSessionPage)))]
async fn list_usage_sessions(caller: Caller, Query(query): Asked) -> Shown {
    let now = caller.state.clock.now();
    let paging = Paging::read(&query)?;
    let filter = filter(&query, caller.tenant, window(&query, now, "30d")?)?;
    let page = (paging.offset, paging.limit);
    let (spans, total) = caller.state.store.sessions(&filter, page).await?;
    let shown = spans.iter().map(|span| shapes::UsageSession::of(span, now)).collect();
    Ok(Json(paging.wrap::<shapes::Object>(shown, total)))
}

/// Get a sandbox's usage.
///
/// Over its whole life unless a period is requested.
#[utoipa::path(get, path = "/sandboxes/{id}/usage", security(("api_key" = ["usage:read", "sandboxes:read"])), params(shapes::PeriodQuery),
    responses((status = 200, body = shapes::SandboxUsageData)))]
async fn get_sandbox_usage(caller: Caller, Path(path): Path<String>, Query(query): Asked) -> Shown {
    let ApiState { store, settings, usage, clock, .. } = &caller.state;
    let sandbox = caller.sandbox(&path).await?;
    let now = clock.now();
    let asks = ["period", "start", "end", "period_start", "period_end"];
    // From its first moment on, unless somebody asks for less. What is under way this very moment belongs to it.
    let whole = Window { start: sandbox.created_at.min(now), end: Timestamp::MAX };
    let window = if asks.iter().any(|name| text(&query, name).is_some()) {
        window(&query, now, "30d")?
    } else {
        Window { start: start_of_minute(whole.start), ..whole }
    };
    let filter = UsageFilter {
        sandbox: Some(sandbox.id),
        ..filter(&HashMap::new(), caller.tenant, window)?
    };
    let used = sum(&caller, &filter).await?;
    let places = places(store.traffic_by_place(&filter).await?);
    let (_, starts) = store.sessions(&filter, (0, Some(1))).await?;
    let moments = (now, usage.complete_until());
    let used = (&sandbox, &used, starts);
    data(shapes::SandboxUsage::of(settings.prices, used, places, moments))
}

/// The minute that a moment lies in is counted as one.
fn start_of_minute(at: Timestamp) -> Timestamp {
    let ms = at.as_millisecond();
    Timestamp::from_millisecond(ms - ms.rem_euclid(MINUTE)).unwrap_or(at)
}

/// What was moved, by port and by share link.
fn places(
    places: Vec<(u16, Option<ShareId>, Traffic)>,
) -> (Vec<shapes::Object>, Vec<shapes::Object>) {
    let (mut ports, mut shares) = (Vec::<(u16, Traffic)>::new(), Vec::new());
    for (port, share, traffic) in places {
        match ports.last_mut().filter(|(last, _)| *last == port) {
            Some((_, sum)) => *sum += traffic,
            None => ports.push((port, traffic)),
        }
        shares.extend(share.map(|share| shapes::ShareUsage::of(&traffic, port, share)));
    }
    (ports.iter().map(|(port, traffic)| shapes::PortUsage::of(traffic, *port)).collect(), shares)
}
