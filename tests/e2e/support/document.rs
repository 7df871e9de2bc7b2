//! Holds every response of the API that a test sees to the API document: its status and content type are described there, its body is
//! exactly of the shape that is declared, and so was the body of a request that was taken.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::Response;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(portico::control::api::openapi()).expect("a document"));
/// The schemas as they are for responses: a field that is not declared is an error of the document.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut components = DOCUMENT["components"].clone();
    close(&mut components);
    components
});
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Every operation: its method in capitals, its path, what is said about it.
pub fn operations() -> impl Iterator<Item = (String, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().expect("operations").iter();
        operations.map(move |(method, said)| (method.to_uppercase(), path.as_str(), said))
    })
}

/// Every scope that a key may have.
pub fn scopes() -> impl Iterator<Item = &'static str> {
    let scopes = DOCUMENT["components"]["schemas"]["KeyScope"]["enum"].as_array().expect("scopes");
    scopes.iter().map(|scope| scope.as_str().expect("a scope"))
}

/// Panics when the document does not say that this could happen. The target is that of the request line.
pub fn check(method: &str, target: &str, body: &[u8], response: &Response) {
    let what = format!("{method} {target}: {}", response.status);
    let path = target.split('?').next().unwrap();
    // A call of the SDK that is absent says so wherever its path is.
    if response.status == 501 && response.json()["error"]["code"] == "NOT_SUPPORTED" {
        return shaped_as_problem(&what, response);
    }
    let at = operations().filter(|(_, template, said)| fits(template, path, takes_slashes(said)));
    let best = at.max_by_key(|(_, template, _)| template.split('{').next().unwrap().len());
    let Some((_, template, _)) = best else {
        assert_eq!(response.status, 404, "{what}: the document knows no such path");
        return shaped_as_problem(&what, response);
    };
    let asked = if method == "HEAD" { "GET" } else { method };
    let said = operations().find(|(m, p, _)| m == asked && *p == template);
    let Some((_, _, said)) = said else {
        assert_eq!(response.status, 405, "{what}: the document knows no such method");
        return shaped_as_problem(&what, response);
    };
    let responses = &said["responses"];
    let described = resolve(&responses[response.status.to_string()]);
    assert!(!described.is_null(), "{what}: not described, only {:?}", keys(responses));
    for (name, header) in described["headers"].as_object().into_iter().flatten() {
        let is_there = response.field(name).is_some();
        assert!(is_there || resolve(header)["required"] != true, "{what}: without {name}");
    }
    if method != "HEAD" {
        check_body(&what, described, response);
    }
    if response.status < 300 && !body.is_empty() {
        let mut sent: Value = serde_json::from_slice(body).expect("a body that was taken is JSON");
        // What clients may always send and nobody reads.
        if let Value::Object(sent) = &mut sent {
            sent.remove("unknown");
        }
        let declared = &said["requestBody"]["content"]["application/json"]["schema"];
        assert!(!declared.is_null(), "{what}: took a body that is not described: {sent}");
        valid(&format!("{what}: what it took"), declared, &sent);
    }
}

fn check_body(what: &str, described: &Value, response: &Response) {
    let Some(content) = described["content"].as_object() else {
        assert!(
            response.body.is_empty(),
            "{what}: a body that is not described: {}",
            response.text()
        );
        return;
    };
    let kind = response.field("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap().trim();
    let declared = content.get(kind);
    let declared = declared.unwrap_or_else(|| panic!("{what}: {kind} is not described"));
    if kind == "application/json" {
        let mut response = response.json();
        // Every response to a body with fields that the call does not have names them.
        let record =
            if response["data"].is_object() { &mut response["data"] } else { &mut response };
        let warnings = record.as_object_mut().and_then(|record| record.remove("warnings"));
        for warning in warnings.iter().flat_map(|all| all.as_array().expect("a list")) {
            assert!(warning.as_str().expect("text").contains("is not a field"), "{what}");
        }
        valid(what, &declared["schema"], &response);
    }
}

fn shaped_as_problem(what: &str, response: &Response) {
    valid(what, &json!({ "$ref": "#/components/schemas/Error" }), &response.json());
}

fn valid(what: &str, schema: &Value, value: &Value) {
    let validator =
        Arc::clone(VALIDATORS.lock().unwrap().entry(schema.to_string()).or_insert_with(|| {
            let mut own = schema.clone();
            close(&mut own);
            let whole = json!({ "allOf": [own], "components": *CLOSED });
            let options = jsonschema::options().should_validate_formats(true);
            Arc::new(options.build(&whole).expect("a schema"))
        }));
    let errors: Vec<String> =
        validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: not as the document says: {errors:#?}\n{value:#}");
}

/// Allows no other properties than those that are named.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(object) => {
            object.values_mut().for_each(close);
            let is_object = object.get("type") == Some(&json!("object"));
            if is_object && object.contains_key("properties") {
                object.entry("additionalProperties").or_insert(false.into());
            }
        }
        _ => {}
    }
}

fn resolve(part: &Value) -> &Value {
    match part["$ref"].as_str() {
        Some(to) => DOCUMENT.pointer(&to[1..]).expect("a reference that leads somewhere"),
        None => part,
    }
}

fn keys(object: &Value) -> Vec<&String> {
    object.as_object().map(Map::keys).into_iter().flatten().collect()
}

/// Whether the last placeholder takes the rest of the path.
fn takes_slashes(said: &Value) -> bool {
    let parameters = said["parameters"].as_array().into_iter().flatten();
    parameters.into_iter().any(|parameter| parameter["x-takes-slashes"] == true)
}

fn fits(template: &str, path: &str, takes_slashes: bool) -> bool {
    let (mut parts, mut wanted) = (path.split('/'), template.split('/').peekable());
    while let Some(part) = wanted.next() {
        if takes_slashes && part.starts_with('{') && wanted.peek().is_none() {
            return parts.next().is_some();
        }
        if !parts.next().is_some_and(|own| part.starts_with('{') || part == own) {
            return false;
        }
    }
    parts.next().is_none()
}
