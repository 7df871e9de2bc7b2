//! Schemas as a reader wants them: what is composed in the code is one object here, a field of a response is required, and what nothing
//! refers to is left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const PREFIX: &str = "#/components/schemas/";
/// Marks a field of a response that is not always there.
const MAY_BE_MISSING: &str = "x-may-be-missing";
/// Fields that cannot bear the mark: lists and references.
pub(super) const UNMARKED: &[(&str, &str)] = &[
    ("Error", "invalid_scopes"),
    ("ErrorFacts", "existing"),
    ("Policies", "quotas"),
    ("UsageReport", "timeseries"),
];

/// Completes the declared schemas for the operations that use them.
pub(super) fn complete(
    mut schemas: Map<String, Value>,
    paths: &Map<String, Value>,
) -> Map<String, Value> {
    let whole = schemas.clone();
    for schema in schemas.values_mut() {
        merge(schema, &whole);
    }
    // What the shared responses refer to.
    let mut in_responses = BTreeSet::from(["Error".to_owned()]);
    reach(schemas.get("Error"), &schemas, &mut in_responses);
    let mut in_requests = BTreeSet::new();
    for operation in paths.values().filter_map(Value::as_object).flat_map(Map::values) {
        for part in ["requestBody", "parameters"] {
            reach(operation.get(part), &schemas, &mut in_requests);
        }
        reach(operation.get("responses"), &schemas, &mut in_responses);
    }
    schemas.retain(|name, _| in_requests.contains(name) || in_responses.contains(name));
    for &(name, field) in UNMARKED {
        let field =
            schemas.get_mut(name).and_then(|s| s.pointer_mut(&format!("/properties/{field}")));
        if let Some(Value::Object(field)) = field {
            field.insert(MAY_BE_MISSING.into(), true.into());
        }
    }
    for (name, schema) in &mut schemas {
        require(schema, in_responses.contains(name) && !in_requests.contains(name));
    }
    schemas
}

/// Puts the parts of an `allOf` into one object, and makes of "exactly one of" what is meant by it: one of these.
fn merge(schema: &mut Value, whole: &Map<String, Value>) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| merge(item, whole)),
        Value::Object(object) => {
            object.values_mut().for_each(|inner| merge(inner, whole));
            if let Some(options) = object.remove("oneOf") {
                object.insert("anyOf".into(), options);
            }
            let Some(Value::Array(parts)) = object.remove("allOf") else { return };
            for part in parts {
                let named = part.get("$ref").and_then(Value::as_str);
                let named = named.and_then(|name| whole.get(name.strip_prefix(PREFIX)?)).cloned();
                let mut part = named.unwrap_or(part);
                merge(&mut part, whole);
                let Value::Object(part) = part else { continue };
                for (key, value) in part {
                    add(object, key, value);
                }
            }
        }
        _ => {}
    }
}

fn add(object: &mut Map<String, Value>, key: String, value: Value) {
    match (object.get_mut(&key), value) {
        (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
        (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
        (Some(_), _) => {}
        (None, value) => drop(object.insert(key, value)),
    }
}

/// Notes the schemas that a part of the document refers to, and those that they refer to.
fn reach(part: Option<&Value>, schemas: &Map<String, Value>, found: &mut BTreeSet<String>) {
    match part {
        Some(Value::Array(items)) => {
            for item in items {
                reach(Some(item), schemas, found);
            }
        }
        Some(Value::Object(object)) => {
            let name = object.get("$ref").and_then(Value::as_str);
            if let Some(name) = name.and_then(|name| name.strip_prefix(PREFIX))
                && found.insert(name.to_owned())
            {
                reach(schemas.get(name), schemas, found);
            }
            for inner in object.values() {
                reach(Some(inner), schemas, found);
            }
        }
        _ => {}
    }
}

/// Requires every field of a response that is not marked, and takes the marks away.
fn require(schema: &mut Value, is_response: bool) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| require(item, is_response)),
        Value::Object(object) => {
            let properties = object.get_mut("properties").and_then(Value::as_object_mut);
            if let Some(properties) = properties.filter(|_| is_response) {
                let is_there = |(name, field): (&String, &Value)| {
                    field.get(MAY_BE_MISSING).is_none().then(|| Value::from(name.as_str()))
                };
                let required: Vec<Value> = properties.iter().filter_map(is_there).collect();
                object.insert("required".into(), required.into());
            }
            object.remove(MAY_BE_MISSING);
            object.values_mut().for_each(|inner| require(inner, is_response));
        }
        _ => {}
    }
}
