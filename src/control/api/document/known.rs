//! The fields that the bodies of calls may hold, as the document declares them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::Method;
use serde_json::Value;

use super::complete::METHODS;
use crate::control::api::unknown::Level;

/// How deep objects within objects are followed.
const DEEPEST: usize = 3;

type Known = BTreeMap<(String, String), Level>;

/// The fields of a call's body, by its method and route.
pub(super) fn find(
    known: &'static LazyLock<Known>,
    method: &Method,
    route: &str,
) -> Option<&'static Level> {
    // The router marks what takes the rest of a path; the document does not.
    known.get(&(method.as_str().to_owned(), route.replace("{*", "{")))
}

/// All of them.
pub(super) fn of(document: &Value) -> Known {
    let mut known = Known::new();
    for (path, item) in document.pointer("/paths").and_then(Value::as_object).into_iter().flatten()
    {
        for method in METHODS {
            let schema = item.get(method).and_then(|operation| {
                operation.pointer("/requestBody/content/application~1json/schema")
            });
            if let Some(schema) = schema {
                let mut level = Level::default();
                gather(schema, document, &mut level, 0);
                // A body that may hold anything has no unknown fields.
                if !level.0.is_empty() {
                    known.insert((method.to_uppercase(), path.clone()), level);
                }
            }
        }
    }
    known
}

/// Adds the fields that a schema names, in any of its forms.
fn gather(schema: &Value, document: &Value, into: &mut Level, depth: usize) {
    if depth > DEEPEST {
        return;
    }
    let to = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
    if let Some(whole) = to.and_then(|pointer| document.pointer(pointer)) {
        gather(whole, document, into, depth);
    }
    for forms in ["anyOf", "oneOf", "allOf"] {
        for form in schema.get(forms).and_then(Value::as_array).into_iter().flatten() {
            gather(form, document, into, depth);
        }
    }
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        gather(field, document, into.0.entry(name.clone()).or_default(), depth + 1);
    }
}
