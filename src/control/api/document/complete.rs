//! What an operation need not say, because it follows from its shape: the parameters in its path, who may call it, the errors that every
//! operation of that shape can respond with, and the fields that every response has.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::control::api::operations::METHODS;

/// What a placeholder stands for, by the path up to it; and whether it is a UUID.
const PLACES: &[(&str, &str, bool)] = &[
    ("/bulk/jobs/{id}", "The job's id.", true),
    ("/api-keys/{id}", "The key's id.", true),
    ("/custom-domains/{id}", "The name's id, or the name.", false),
    ("/projects/{id}", "The project's id.", false),
    ("/sandboxes/{id}", "The sandbox's id.", true),
    (
        "/external/{external_user_id}",
        "The tenant's own id of the end user; slashes are part of it.",
        false,
    ),
    ("/external-users/{external_user_id}", "The tenant's own id of the end user.", false),
    ("/by-name/{name}", "The sandbox's name; slashes are part of it.", false),
    ("/env/{key}", "The variable's name.", false),
    ("/previews/{preview}", "The preview's id.", true),
    ("/preview-tokens/{token}", "The token's id.", true),
    ("/tokens/scoped/{id}", "The token's id.", true),
    ("/workspaces/{id}", "The workspace's id.", true),
    ("/webhooks/{id}", "The webhook's id.", false),
    ("/deliveries/{delivery}", "The delivery's id.", false),
    ("/shares/{share}", "The share's id.", true),
];

/// Errors that follow from the shape of an operation: status, name, and what is said about it.
const SHARED: [(u16, &str, &str); 8] = [
    (
        400,
        "BadRequest",
        "`INVALID_JSON`: the body is not JSON. `BAD_REQUEST`: it is incomplete, or the path or the query is not text.",
    ),
    (
        401,
        "Unauthorised",
        "`invalid_token`: no API key, or one that is unknown, revoked or expired.",
    ),
    (
        403,
        "Forbidden",
        "`insufficient_scope`: the key lacks the scope, or is bound to one end user. `FORBIDDEN`: `X-Miosa-Tenant` names another tenant than the key's. `TENANT_SUSPENDED`: the operator has suspended the account.",
    ),
    (404, "NotFound", "`NOT_FOUND`: nothing there, or another tenant's."),
    (413, "TooLarge", "`TOO_LARGE`: the body is larger than 1 MiB."),
    (422, "Invalid", "`VALIDATION_ERROR`: every field that cannot be taken is named in `details`."),
    (
        429,
        "TooMany",
        "`rate_limit_exceeded`: the caller, its tenant or its address has used up its share.",
    ),
    (
        503,
        "Unavailable",
        "`UNAVAILABLE`: the store cannot be reached or written, or the change is safe and not in effect yet.",
    ),
];

/// Every path with its operations completed.
pub(super) fn paths(described: Map<String, Value>) -> Map<String, Value> {
    let complete = |(routed, mut item): (String, Value)| {
        // The router's word for "the rest of the path" is none of OpenAPI's.
        let path = routed.replace("{*", "{");
        for method in METHODS {
            if let Some(Value::Object(operation)) = item.get_mut(method) {
                complete(&path, operation);
                if routed != path {
                    takes_slashes(operation);
                }
            }
        }
        (path, item)
    };
    described.into_iter().map(complete).collect()
}

/// Says which bodies have to be sent: those with a field that has to. An empty body is an empty object.
pub(super) fn bodies(paths: &mut Map<String, Value>, schemas: &Map<String, Value>) {
    let operations = paths.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for body in operations.filter_map(|operation| operation.get_mut("requestBody")) {
        let name = body.pointer("/content/application~1json/schema/$ref").and_then(Value::as_str);
        let schema = name.and_then(|name| schemas.get(name.rsplit('/').next()?));
        let is_required = schema.is_some_and(|schema| schema.get("required").is_some());
        if let Value::Object(body) = body {
            body.insert("required".into(), is_required.into());
        }
    }
}

fn complete(path: &str, operation: &mut Map<String, Value>) {
    // A summary is a heading, the first line of a comment a sentence.
    if let Some(Value::String(summary)) = operation.get_mut("summary")
        && summary.ends_with('.')
    {
        summary.pop();
    }
    let mut parameters = places(path);
    let is_addressed = !parameters.is_empty();
    if let Some(Value::Array(declared)) = operation.remove("parameters") {
        // A handler may describe a placeholder itself.
        let name = |parameter: &Value| parameter.get("name").cloned();
        parameters.retain(|place| declared.iter().all(|other| name(other) != name(place)));
        parameters.extend(declared);
    }
    parameters.iter_mut().for_each(never_null);
    let is_in = |place: &str| parameters.iter().any(|p| p.get("in").is_some_and(|at| at == place));
    let (has_query, has_body) = (is_in("query"), operation.contains_key("requestBody"));
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    let security = any_of(operation.get("security"));
    let needs_key = security != json!([{}]);
    operation.insert("security".into(), security);
    let is_possible = |status: u16| match status {
        400 => is_addressed || has_query || has_body,
        404 => is_addressed,
        413 => has_body,
        422 => has_query || has_body,
        _ => needs_key,
    };
    let Some(Value::Object(responses)) = operation.get_mut("responses") else { return };
    for (status, response) in responses.iter_mut() {
        if let Value::Object(response) = response {
            fill(status, response);
        }
    }
    for (status, name, _) in SHARED.iter().filter(|(status, ..)| is_possible(*status)) {
        let shared = json!({ "$ref": format!("#/components/responses/{name}") });
        responses.entry(status.to_string()).or_insert(shared);
    }
}

/// Who may call: a key with one of the scopes. Beside a handler they stand in one list; in OpenAPI a list means all of them.
fn any_of(said: Option<&Value>) -> Value {
    let scopes = said.and_then(|said| said.pointer("/0/api_key")).and_then(Value::as_array);
    match (said, scopes) {
        (None, _) => json!([{ "api_key": [] }]),
        (Some(_), Some(scopes)) => {
            scopes.iter().map(|scope| json!({ "api_key": [scope] })).collect()
        }
        (Some(open), None) => open.clone(),
    }
}

/// Says of the last parameter in a path that the slashes in it need not be escaped.
fn takes_slashes(operation: &mut Map<String, Value>) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    let is_in_path = |parameter: &&mut Value| parameter.get("in").is_some_and(|at| at == "path");
    let last = parameters.into_iter().flatten().filter(is_in_path).last();
    if let Some(Value::Object(parameter)) = last {
        parameter.insert("x-takes-slashes".into(), true.into());
    }
}

/// A parameter is there or not: there is no null in a path, a query or a header.
fn never_null(parameter: &mut Value) {
    let Some(kind) = parameter.pointer_mut("/schema/type") else { return };
    if let Value::Array(kinds) = kind {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            *kind = only.clone();
        }
    }
}

/// The parameters in a path.
fn places(path: &str) -> Vec<Value> {
    let ends = path.match_indices('}').filter_map(|(at, _)| path.get(..=at));
    let place = |up_to: &str| {
        let name = up_to.rsplit(['{', '}']).nth(1)?;
        let known = PLACES.iter().find(|(end, ..)| up_to.ends_with(end));
        let mut schema = json!({ "type": "string" });
        if let (Some((.., true)), Some(schema)) = (known, schema.as_object_mut()) {
            schema.insert("format".into(), "uuid".into());
        }
        let description = known.map(|(_, description, _)| *description);
        Some(json!({
            "name": name, "in": "path", "required": true, "description": description, "schema": schema,
        }))
    };
    ends.filter_map(place).collect()
}

/// What every response has, and what a declared error need not say.
fn fill(status: &str, response: &mut Map<String, Value>) {
    let code = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
    let is_error = code.is_some_and(|code| code.is_client_error() || code.is_server_error());
    if is_error && !response.contains_key("content") {
        response.insert("content".into(), error_content());
    }
    // A stream of events has no JSON of its own.
    if let Some(Value::Object(stream)) =
        response.get_mut("content").and_then(|c| c.get_mut("text/event-stream"))
    {
        stream.remove("schema");
    }
    if response.get("description").is_none_or(|text| text == "") {
        let reason = match code {
            Some(StatusCode::NO_CONTENT) => "Done",
            code => code.and_then(|code| code.canonical_reason()).unwrap_or("Response"),
        };
        response.insert("description".into(), reason.into());
    }
    let headers = response.entry("headers").or_insert_with(|| json!({}));
    if let Value::Object(headers) = headers {
        let mut add = |name: &str, of: &str| {
            let header = json!({ "$ref": format!("#/components/headers/{of}") });
            headers.insert(name.to_owned(), header);
        };
        add("X-Request-Id", "RequestId");
        match status {
            "401" => add("WWW-Authenticate", "Authenticate"),
            "429" | "503" => add("Retry-After", "RetryAfter"),
            _ => {}
        }
    }
}

fn error_content() -> Value {
    json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } })
}

pub(super) fn shared_responses() -> Map<String, Value> {
    let response = |(status, name, description): (u16, &str, &str)| {
        let mut response = Map::from_iter([("description".to_owned(), description.into())]);
        fill(&status.to_string(), &mut response);
        (name.to_owned(), response.into())
    };
    SHARED.into_iter().map(response).collect()
}

pub(super) fn headers() -> Value {
    let text = json!({ "type": "string" });
    json!({
        "RequestId": {
            "description": "Names this call in the log.", "required": true,
            "schema": { "type": "string", "pattern": "^req_[0-9a-f]{32}$" },
        },
        "Authenticate": { "description": "How to authenticate.", "required": true, "schema": text },
        "RetryAfter": {
            "description": "How long to wait before the next try, seconds.", "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
    })
}
