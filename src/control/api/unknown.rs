//! Fields that a call does not have. They are ignored, as clients send more than is known here, but not in silence: the response lists them in
//! `warnings`, and with `?strict=1` the call is refused instead.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::problem::Problem;

/// As many are named; more are a mistake of another kind.
const MOST: usize = 16;
/// Characters of a name that are repeated to its sender.
const LONGEST: usize = 64;
/// The largest response that is given warnings, bytes; those to changes are small.
const MAX_RESPONSE: usize = 1 << 20;
/// How alike two names must be for the one to be offered for the other.
const ALIKE: f64 = 0.8;

/// The fields of an object, each with the fields of its own where it is an object as well.
#[derive(Debug, Default)]
pub(super) struct Level(pub(super) BTreeMap<String, Level>);

/// What the bodies of calls may hold, by method and route. It is handed in, as the document that says so describes all calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared(pub(super) fn(&Method, &str) -> Option<&'static Level>);

/// Where the reader of a body leaves what it found, for the response.
#[derive(Clone, Debug, Default)]
struct Found(Arc<OnceLock<Vec<String>>>);

/// Looks for fields that the call does not have.
pub(super) fn look(parts: &Parts, body: &Map<String, Value>) -> Result<(), Problem> {
    let found = || {
        let Declared(of) = parts.extensions.get::<Declared>()?;
        let route = parts.extensions.get::<MatchedPath>()?.as_str();
        let mut names = Vec::new();
        walk(of(&parts.method, route)?, body, "", &mut names);
        Some(names).filter(|names| !names.is_empty())
    };
    let Some(names) = found() else { return Ok(()) };
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

fn walk(known: &Level, body: &Map<String, Value>, above: &str, found: &mut Vec<(String, String)>) {
    for (name, value) in body {
        if found.len() >= MOST {
            return;
        }
        match (known.0.get(name), value) {
            (None, _) => {
                let short: String = name.chars().take(LONGEST).collect();
                found.push((format!("{above}{short}"), reason(known, &short)));
            }
            (Some(inner), Value::Object(value)) if !inner.0.is_empty() => {
                walk(inner, value, &format!("{above}{name}."), found);
            }
            (Some(_), _) => {}
        }
    }
}

fn reason(known: &Level, name: &str) -> String {
    let near = known.0.keys().map(|own| (strsim::jaro_winkler(own, name), own));
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
