//! Fields that a call does not have. They are ignored, as clients send more than is known here, but not in silence: the response lists them in
//! `warnings`, and with `?strict=1` the call is refused instead.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::operations::Rule;
use super::problem::Problem;

/// As many are named; more are a mistake of another kind.
const MOST: usize = 16;
/// Characters of a name that are repeated to its sender.
const LONGEST: usize = 64;
/// The largest response that is given warnings, bytes; those to changes are small.
const MAX_RESPONSE: usize = 1 << 20;
/// How alike two names must be for the one to be offered for the other.
const ALIKE: f64 = 0.8;

/// Where the reader of a body leaves what it found, for the response.
#[derive(Clone, Debug, Default)]
struct Found(Arc<OnceLock<Vec<String>>>);

/// Looks for fields that the call does not have.
pub(super) fn look(parts: &Parts, rule: &Rule, body: &Map<String, Value>) -> Result<(), Problem> {
    let mut names = Vec::new();
    walk(rule, body, "", &mut names);
    if names.is_empty() {
        return Ok(());
    }
    if is_strict(parts.uri.query().unwrap_or_default()) {
        let details = names.into_iter().map(|(name, reason)| (name, json!([reason])));
        return Err(Problem::invalid(details.collect()));
    }
    let warnings = names.into_iter().map(|(name, reason)| format!("`{name}` {reason}")).collect();
    if let Some(Found(kept)) = parts.extensions.get() {
        // A body is read once; a second time would find the same.
        kept.get_or_init(|| warnings);
    }
    Ok(())
}

fn is_strict(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "strict" | "strict=1" | "strict=true"))
}

fn walk(known: &Rule, body: &Map<String, Value>, above: &str, found: &mut Vec<(String, String)>) {
    if known.fields.is_empty() {
        // It may hold anything.
        return;
    }
    for (name, value) in body {
        if found.len() >= MOST {
            return;
        }
        match (known.fields.get(name), value) {
            (None, _) => {
                let short: String = name.chars().take(LONGEST).collect();
                found.push((format!("{above}{short}"), reason(known, &short)));
            }
            (Some(inner), Value::Object(value)) => {
                walk(inner, value, &format!("{above}{name}."), found);
            }
            (Some(_), _) => {}
        }
    }
}

fn reason(known: &Rule, name: &str) -> String {
    let near = known.fields.keys().map(|own| (strsim::jaro_winkler(own, name), own));
    let nearest = near.filter(|(likeness, _)| *likeness > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, own)) => format!("is not a field of this call; did you mean `{own}`?"),
        None => "is not a field of this call".to_owned(),
    }
}

/// Adds `warnings` to a successful response: to the record in `data`, where clients unwrap it, else beside the other fields.
pub(super) async fn warn(mut request: Request, next: Next) -> Response {
    let found = Found::default();
    request.extensions_mut().insert(found.clone());
    let response = next.run(request).await;
    match found.0.get() {
        Some(warnings) if response.status().is_success() => add(response, warnings).await,
        _ => response,
    }
}

async fn add(response: Response, warnings: &[String]) -> Response {
    let is_json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // What a handler made of a small change is in memory already, so this does not wait.
    let Ok(bytes) = axum::body::to_bytes(body, MAX_RESPONSE).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let Ok(Value::Object(mut whole)) = serde_json::from_slice(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    match whole.get_mut("data") {
        Some(Value::Object(record)) => record.insert("warnings".into(), json!(warnings)),
        _ => whole.insert("warnings".into(), json!(warnings)),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(Value::Object(whole).to_string()))
}
