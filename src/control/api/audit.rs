//! Reading the audit log.

use std::collections::HashMap;

use jiff::Timestamp;

use super::listing::{cut, limit};
use super::prelude::*;
use crate::control::store::AuditFilter;

endpoints!([list_audit_log]);

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
#[utoipa::path(get, path = "/audit-log", security(("api_key" = ["audit:read"])), params(shapes::AuditQuery), responses((status = 200, body = shapes::AuditPage)))]
async fn list_audit_log(caller: Caller, Query(query): Asked) -> Shown {
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
    let mut rows = caller.state.store.audit_log(filter).await?;
    let next = cut(&mut rows, limit).map(|row| row.id.to_string());
    let shown: Vec<_> = rows.iter().map(shapes::AuditRow::of).collect();
    Ok(Json(json!({ "data": shown, "next_cursor": next })))
}
