//! Schemas as a reader wants them: what is composed in the code is one object here, a field of a response is required, and what nothing
//! refers to is left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::control::api::operations::OTHER_NAMES;
use crate::control::api::shapes::plain;

const PREFIX: &str = "#/components/schemas/";
/// What bears the other names of a shape's fields.
const BEARER: &str = "x_other_names";
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
        name_again(schema, in_requests.contains(name));
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
            // A shape itself cannot bear the mark, so a field that is none does.
            let fields = object.get_mut("properties").and_then(Value::as_object_mut);
            let bearer = fields.and_then(|fields| fields.remove(BEARER));
            if let Some(names) =
                bearer.and_then(|mut bearer| bearer.get_mut(OTHER_NAMES).map(Value::take))
            {
                object.insert(OTHER_NAMES.into(), names);
            }
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

/// Adds the fields that are others under another name, and says so. A request's reader finds them by the mark on the first.
fn name_again(schema: &mut Value, is_asked: bool) {
    let Some(schema) = schema.as_object_mut() else { return };
    let names = schema.remove(OTHER_NAMES).and_then(|names| serde_json::from_value(names).ok());
    let names: Vec<(String, Vec<String>)> = names.unwrap_or_default();
    let Some(Value::Object(fields)) = schema.get_mut("properties") else { return };
    for (name, others) in names.iter().filter(|(_, others)| !others.is_empty()) {
        let (name, others) = (plain(name), others.iter().map(|other| plain(other)));
        let Some(Value::Object(field)) = fields.get(name) else { continue };
        let mut again = field.clone();
        again.remove("examples");
        let is = if is_asked { "Another name of" } else { "The same as" };
        again.insert("description".into(), format!("{is} `{name}`.").into());
        for other in others.clone() {
            fields.insert(other.to_owned(), again.clone().into());
        }
        if let Some(Value::Object(field)) = fields.get_mut(name).filter(|_| is_asked) {
            field.insert(OTHER_NAMES.into(), others.collect());
        }
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
