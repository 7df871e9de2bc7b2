//! Filters of sandboxes, read the same way from a query and from a body; and the list of what they find, however long it is.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::listing::Paging;
use super::zones::Zones;
use super::{ApiState, Problem, render};
use crate::control::store::SandboxFilter;
use crate::model::{Sandbox, SandboxState, TenantId};

/// Sandboxes that are held in memory at once while a list without paging is written.
const BATCH: u64 = 500;
/// What can be filtered by, beside `tags[key]`.
const NAMES: [&str; 7] = [
    "state",
    "tags",
    "external_user_id",
    "external_project_id",
    "external_workspace_id",
    "workspace_id",
    "project_id",
];
const STATES: &str =
    "must be one of creating, running, pausing, paused, resuming, stopped, error, destroyed";

/// The filter of a query. `None` when it asks for what no sandbox is ever found in.
pub(super) fn of_query(query: &HashMap<String, String>) -> Result<Option<SandboxFilter>, Problem> {
    let text = |name: &str| query.get(name).filter(|text| !text.is_empty()).cloned();
    let state = match text("state").as_deref() {
        None => None,
        // A destroyed sandbox is destroyed at once, whatever is still to be done for it.
        Some("destroying") => return Ok(None),
        // The API's other word for the same state.
        Some("provisioning") => Some(SandboxState::Creating),
        Some(word) => Some(
            serde_json::from_value(Value::String(word.to_owned()))
                .map_err(|_| Problem::field("state", STATES))?,
        ),
    };
    let mut tags: Vec<String> =
        text("tags").iter().flat_map(|tags| tags.split(',')).map(str::to_owned).collect();
    tags.extend(query.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix("tags[")?.strip_suffix(']')?;
        Some(if value.is_empty() { key.to_owned() } else { format!("{key}={value}") })
    }));
    tags.retain(|tag| !tag.is_empty());
    Ok(Some(SandboxFilter {
        state,
        tags,
        external_user_id: text("external_user_id"),
        external_project_id: text("external_project_id"),
        external_workspace_id: text("external_workspace_id"),
        workspace_id: text("workspace_id"),
        project_id: text("project_id"),
        ..SandboxFilter::default()
    }))
}

/// The filter of an object: the same names and texts, `tags` also as a list or a map. Whatever else is in it is an error: a filter that is
/// misread finds too much. `None` as for a query.
pub(super) fn of_object(object: &Map<String, Value>) -> Result<Option<SandboxFilter>, Problem> {
    let mut query = HashMap::new();
    let mut listed = Vec::new();
    let mut errors = Map::new();
    let mut error = |name: &str, reason: &str| drop(errors.insert(name.into(), json!([reason])));
    for (name, value) in object {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("tags", Value::Array(items)) => {
                for item in items {
                    match item.as_str() {
                        Some(tag) => listed.push(tag.to_owned()),
                        None => {
                            error("filter.tags", "must be a list of strings, a map or a string");
                        }
                    }
                }
            }
            ("tags", Value::Object(pairs)) => {
                for (key, value) in pairs {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    query.insert(format!("tags[{key}]"), value);
                }
            }
            (known, Value::String(text)) if NAMES.contains(&known) => {
                query.insert(name.clone(), text.clone());
            }
            (known, _) if NAMES.contains(&known) => {
                error(&format!("filter.{name}"), "must be a string");
            }
            _ => error(&format!("filter.{name}"), "is not something to filter by"),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let filter = of_query(&query)?;
    Ok(filter.map(|mut filter| {
        listed.retain(|tag| !tag.is_empty());
        filter.tags.extend(listed);
        filter
    }))
}

/// Whether a filter names anything at all.
pub(super) fn is_empty(filter: &SandboxFilter) -> bool {
    let texts = [
        &filter.external_user_id,
        &filter.external_project_id,
        &filter.external_workspace_id,
        &filter.workspace_id,
        &filter.project_id,
    ];
    filter.state.is_none() && filter.tags.is_empty() && texts.iter().all(|text| text.is_none())
}

/// The list of what is never found.
pub(super) fn nothing(paging: Paging) -> Response {
    let mut around = paging.wrap::<Value>(Vec::new(), 0);
    count(&mut around, Map::new());
    Json(around).into_response()
}

fn count(around: &mut Value, counts: Map<String, Value>) {
    if let Some(meta) = around.get_mut("meta").and_then(Value::as_object_mut) {
        meta.insert("state_counts".into(), Value::Object(counts));
    }
}

/// The list: a page, or everything, in which case no more than a batch of it is held in memory at once.
pub(super) async fn list(
    state: ApiState,
    tenant: TenantId,
    filter: SandboxFilter,
    paging: Paging,
) -> Result<Response, Problem> {
    let counts = state.store.tally_sandboxes(tenant, &filter).await?;
    let total = counts.iter().map(|(_, count)| count).sum();
    let zones = Zones::of_tenant(&state, tenant).await?;
    let first = SandboxFilter {
        offset: paging.offset,
        limit: Some(paging.limit.unwrap_or(BATCH)),
        ..filter.clone()
    };
    let first = state.store.sandboxes(tenant, &first).await?;
    let counts: Map<String, Value> = counts
        .into_iter()
        .filter_map(|(state, count)| Some((json!(state).as_str()?.to_owned(), count.into())))
        .collect();
    let is_whole = paging.limit.is_some() || u64::try_from(first.len()).is_ok_and(|n| n < BATCH);
    let mut around = if is_whole {
        paging.wrap(render::sandboxes(&state, &zones, tenant, &first).await?, total)
    } else {
        paging.around_all(total)
    };
    count(&mut around, counts);
    if is_whole {
        return Ok(Json(around).into_response());
    }
    let meta = around.get("meta").cloned().unwrap_or_default();
    let end = format!("],\"meta\":{meta},\"next_cursor\":null}}");
    let long = Long { state, tenant, zones, filter, batch: first, is_first: true };
    let batches = stream::try_unfold(long, async |mut long: Long| {
        Ok::<_, Problem>(long.piece().await?.map(|piece| (piece, long)))
    });
    let start = stream::once(async { Ok(Bytes::from_static(b"{\"data\":[")) });
    let end = stream::once(async { Ok(Bytes::from(end)) });
    let body = Body::from_stream(start.chain(batches).chain(end));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A list that is being written.
struct Long {
    state: ApiState,
    tenant: TenantId,
    zones: Zones,
    filter: SandboxFilter,
    batch: Vec<Sandbox>,
    is_first: bool,
}

impl Long {
    /// The next items, with the commas that belong between them; `None` after the last.
    async fn piece(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(last) = self.batch.last() else { return Ok(None) };
        let after = Some((last.created_at, last.id));
        let mut text = String::new();
        let (state, zones) = (&self.state, &self.zones);
        for sandbox in render::sandboxes(state, zones, self.tenant, &self.batch).await? {
            if !std::mem::take(&mut self.is_first) {
                text.push(',');
            }
            text.push_str(&Value::Object(sandbox).to_string());
        }
        let next = SandboxFilter { after, limit: Some(BATCH), ..self.filter.clone() };
        self.batch = self.state.store.sandboxes(self.tenant, &next).await?;
        Ok(Some(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_body_is_read_like_a_query() {
        let query = HashMap::from([
            ("tags".to_owned(), "a,b".to_owned()),
            ("state".to_owned(), "provisioning".to_owned()),
            ("external_user_id".to_owned(), "u".to_owned()),
        ]);
        let by_query = of_query(&query).unwrap().unwrap();
        for body in [
            json!({"tags": "a,b", "state": "creating", "external_user_id": "u"}),
            json!({"tags": ["a", "b"], "state": "provisioning", "external_user_id": "u", "project_id": null}),
        ] {
            let by_body = of_object(&object(body)).unwrap().unwrap();
            assert_eq!((&by_body.tags, by_body.state), (&by_query.tags, by_query.state));
            assert_eq!(by_body.external_user_id, by_query.external_user_id);
        }
        let map = of_object(&object(json!({"tags": {"k": "v", "n": 1}}))).unwrap().unwrap();
        let mut tags = map.tags.clone();
        tags.sort();
        assert_eq!(tags, ["k=v", "n=1"]);
        assert!(!is_empty(&map));
        assert!(of_object(&object(json!({"state": "destroying"}))).unwrap().is_none());
    }

    #[test]
    fn what_is_not_understood_is_refused_and_nothing_is_empty() {
        for bad in [
            json!({"external_user": "u"}),
            json!({"state": "asleep"}),
            json!({"state": 1}),
            json!({"tags": [1]}),
            json!({"external_user_id": ["u"]}),
        ] {
            assert!(of_object(&object(bad.clone())).is_err(), "{bad}");
        }
        for empty in [json!({}), json!({"tags": []}), json!({"state": ""}), json!({"tags": ","})] {
            assert!(is_empty(&of_object(&object(empty.clone())).unwrap().unwrap()), "{empty}");
        }
    }
}
