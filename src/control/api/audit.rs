//! Reading the audit log.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::listing::limit;
use super::shapes::{AuditPage, AuditQuery};
use super::{ApiState, Problem};
use crate::control::store::{AuditFilter, AuditRow};
use crate::model::KeyScope;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(list))
}

fn shown(row: &AuditRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "at": row.at,
        "created_at": row.at,
        "tenant_id": row.tenant,
        "actor": {
            "type": row.actor_kind,
            "id": row.actor,
            "label": row.actor_label,
            "external_user_id": row.external_user_id,
        },
        "actor_id": row.actor,
        "actor_type": row.actor_kind,
        "action": row.action,
        "type": row.action,
        "subject": { "type": row.subject_kind, "id": row.subject },
        "resource_type": row.subject_kind,
        "resource_id": row.subject,
        "request_id": row.request_id,
        "ip": row.peer,
        "user_agent": row.user_agent,
        "path": row.path,
        "changes": row.changes,
    })
}

fn moment(query: &HashMap<String, String>, name: &str) -> Result<Option<Timestamp>, Problem> {
    let read = |text: &String| {
        text.parse()
            .map_err(|_| Problem::field(name, "must be a time such as 2026-01-31T00:00:00Z"))
    };
    query.get(name).map(read).transpose()
}
/// List audit log entries.
///
/// What was changed, by whom, when and from where.
#[utoipa::path(
    get, path = "/audit-log", tag = "Tenant", operation_id = "list_audit_log", security(("api_key" = ["audit:read"])), params(AuditQuery),
    responses((status = 200, body = AuditPage)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::AuditRead])?;
    let text = |names: [&str; 2]| {
        let sent = names.iter().find_map(|name| query.get(*name));
        sent.filter(|text| !text.is_empty()).cloned()
    };
    let newest_first = match query.get("order").map(String::as_str) {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Problem::field("order", "must be asc or desc")),
    };
    let after = query.get("after").filter(|text| !text.is_empty()).map(|text| text.parse());
    let limit = limit(&query)?;
    let filter = AuditFilter {
        tenant: Some(caller.tenant),
        after: after.transpose().map_err(|_| Problem::field("after", "must be a cursor"))?,
        newest_first,
        // One more than is shown tells whether there is more.
        limit: limit + 1,
        actor: text(["actor", "actor_id"]),
        action: text(["action", "type"]),
        subject_kind: text(["subject_type", "resource_type"]),
        subject: text(["subject", "resource_id"]),
        start: moment(&query, "start")?,
        end: moment(&query, "end")?,
    };
    let mut rows = state.store.audit_log(filter).await?;
    let shown_at_most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > shown_at_most;
    rows.truncate(shown_at_most);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let items: Vec<Value> = rows.iter().map(shown).collect();
    Ok(Json(json!({ "data": items, "next_cursor": next })))
}
