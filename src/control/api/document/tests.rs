//! The document is whole, says enough of every operation, and is the one in the repository.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::schemas::UNMARKED;
use super::{document, openapi, operations};
use crate::control::api::endpoints::GROUPS;
use crate::control::api::operations::METHODS;
use crate::model::KeyScope;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

/// Does something with every operation: its method and path in one text, and what is said about it.
fn each_operation(mut look: impl FnMut(&str, &Map<String, Value>)) {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20, "the operations were not found");
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            look(&format!("{method} {path}"), operation.as_object().unwrap());
        }
    }
}

fn is_text(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

#[test]
fn the_document_in_the_repository_is_the_one_that_is_served() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, openapi()).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    let same = golden.lines().zip(openapi().lines()).take_while(|(old, new)| old == new).count();
    assert!(
        golden == openapi(),
        "docs/openapi.json differs from line {}: UPDATE_GOLDEN=1 cargo test --lib api::document",
        same + 1,
    );
}

#[test]
fn every_operation_says_what_it_does_and_who_may_call_it() {
    let mut ids = BTreeSet::new();
    let mut used = BTreeSet::new();
    let tags: Vec<&str> = GROUPS.iter().map(|(name, ..)| *name).collect();
    each_operation(|name, operation| {
        assert!(is_text(operation.get("summary")), "{name} has no summary");
        let id = operation["operationId"].as_str().unwrap();
        assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}: {id}");
        assert!(ids.insert(id.to_owned()), "{name}: {id} is taken");
        let of: Vec<&str> =
            operation["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        assert!(
            matches!(*of, [tag] if tags.contains(&tag)),
            "{name}: {of:?} is not one of {tags:?}"
        );
        used.insert(of[0].to_owned());
        for requirement in operation["security"].as_array().unwrap() {
            for scope in requirement.get("api_key").into_iter().flat_map(|s| s.as_array().unwrap())
            {
                let known = serde_json::from_value::<KeyScope>(scope.clone());
                assert!(known.is_ok(), "{name}: {scope} is no scope");
            }
        }
    });
    assert_eq!(used.len(), tags.len(), "a tag without operations: {used:?}");
}

#[test]
fn what_is_demanded_of_callers_is_what_the_document_says() {
    let mut named = 0;
    each_operation(|name, operation| {
        let (method, path) = name.split_once(' ').unwrap();
        let demanded = &operations()[&format!("{} {path}", method.to_uppercase())].scopes;
        let choices = operation["security"].as_array().unwrap().iter();
        let said: Vec<KeyScope> = choices
            .flat_map(|choice| {
                choice.get("api_key").into_iter().flat_map(|s| s.as_array().unwrap())
            })
            .map(|scope| serde_json::from_value(scope.clone()).unwrap())
            .collect();
        named += said.len();
        assert_eq!(demanded.as_ref(), Some(&said), "{name}");
    });
    assert!(named > 60, "the scopes were not found");
}

#[test]
fn every_parameter_and_response_is_described() {
    each_operation(|name, operation| {
        for parameter in operation.get("parameters").into_iter().flat_map(|p| p.as_array().unwrap())
        {
            let what = &parameter["name"];
            assert!(is_text(parameter.get("description")), "{name}: {what}: see complete::PLACES");
        }
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        for (status, response) in responses {
            let what = format!("{name}: {status}");
            if response.get("$ref").is_some() {
                continue;
            }
            assert!(is_text(response.get("description")), "{what}");
            assert_eq!(
                response["headers"]["X-Request-Id"]["$ref"],
                "#/components/headers/RequestId"
            );
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Error", "{what}");
            }
        }
    });
}

#[test]
fn every_reference_leads_somewhere() {
    fn look(part: &Value, document: &Value, found: &mut usize) {
        match part {
            Value::Array(items) => items.iter().for_each(|item| look(item, document, found)),
            Value::Object(object) => {
                if let Some(Value::String(to)) = object.get("$ref") {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
                    *found += 1;
                }
                assert!(!object.contains_key("x-may-be-missing"), "a mark was left: {object:?}");
                object.values().for_each(|inner| look(inner, document, found));
            }
            _ => {}
        }
    }
    let (document, mut found) = (document(), 0);
    look(document, document, &mut found);
    assert!(found > 100, "the references were not found");
}

#[test]
fn a_field_of_a_response_is_required_and_one_of_a_request_is_not() {
    let document = document();
    let required = |name: &str| document["components"]["schemas"][name]["required"].clone();
    assert!(required("Sandbox").as_array().unwrap().contains(&Value::from("destroyed_at")));
    assert_eq!(required("SandboxOrder"), Value::Null);
    for &(name, field) in UNMARKED {
        let known = &document["components"]["schemas"][name]["properties"][field];
        assert!(known.is_object(), "{name} has no {field}");
        assert!(!required(name).as_array().is_some_and(|all| all.contains(&Value::from(field))));
    }
    assert_eq!(required("PreviewOrder"), serde_json::json!(["port"]));
    // What is composed in the code is one object here.
    let order = document["components"]["schemas"]["SandboxOrder"]["properties"].clone();
    assert!(order.get("env").is_some() && order.get("slug").is_some());
}

/// Texts of requests that are bounded together with others, or by what they have to be.
const BOUNDED_ELSEWHERE: [&str; 5] = ["host", "key", "sandbox_id", "token", "upstream"];

/// What a request may hold is held to what is declared of it, so whatever has no bound here has none at all.
#[test]
fn whatever_a_request_may_hold_has_a_bound() {
    fn look(schema: &Value, name: &str, at: &str, bounds: &mut usize) {
        let to = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        if let Some(pointer) = to {
            look(document().pointer(pointer).unwrap(), name, at, bounds);
        }
        for forms in ["anyOf", "oneOf", "allOf"].iter().filter_map(|forms| schema.get(*forms)) {
            forms.as_array().unwrap().iter().for_each(|form| look(form, name, at, bounds));
        }
        let is = |kind: &str| match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.contains(&kind.into()),
            said => said.is_some_and(|said| said == kind),
        };
        let mut has = |keywords: &[&str]| {
            *bounds += 1;
            keywords.iter().any(|keyword| schema.get(*keyword).is_some())
                || BOUNDED_ELSEWHERE.contains(&name)
        };
        let text = ["maxLength", "enum", "pattern", "format"];
        assert!(!is("string") || has(&text), "{at}: {name}");
        assert!(!is("integer") || has(&["maximum"]), "{at}: {name}");
        if is("array") {
            assert!(name == "vars" || has(&["maxItems"]), "{at}: {name}");
            look(&schema["items"], name, at, bounds);
        }
        for (name, field) in
            schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            look(field, name, at, bounds);
        }
    }
    let mut bounds = 0;
    each_operation(|at, operation| {
        let schema = operation.get("requestBody").map(|body| &body["content"]["application/json"]);
        if let Some(schema) = schema {
            look(&schema["schema"], "", at, &mut bounds);
        }
    });
    assert!(bounds > 100, "the bounds were not found");
}

/// What a summary may begin with.
const VERBS: [&str; 25] = [
    "Create",
    "Delete",
    "Destroy",
    "Expose",
    "Extend",
    "Find",
    "Get",
    "List",
    "Pause",
    "Publish",
    "Register",
    "Replay",
    "Resume",
    "Revoke",
    "Rotate",
    "Set",
    "Stop",
    "Stream",
    "Test",
    "Unpublish",
    "Update",
    "Verify",
    "Wait",
    "Block",
    "Unblock",
];

/// Words that the field has others for.
const OLD: [&str; 13] = [
    "answer",
    "octet",
    " fault",
    "withdraw",
    "takes back",
    "taken back",
    "takes away",
    "anew",
    "face ",
    "tells",
    "gives",
    "makes",
    "machine",
];

/// Looks through all texts for readers.
fn look(part: &Value) {
    match part {
        Value::Array(items) => items.iter().for_each(look),
        Value::Object(object) => {
            for (name, inner) in object {
                match inner {
                    Value::String(text) if name == "summary" || name == "description" => {
                        let text = text.to_lowercase();
                        let old = OLD.iter().find(|old| text.contains(**old));
                        assert!(old.is_none(), "{old:?} in {text}");
                    }
                    _ => look(inner),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn summaries_are_imperatives_and_texts_use_standard_terms() {
    each_operation(|name, operation| {
        let summary = operation["summary"].as_str().unwrap();
        let verb = summary.split(' ').next().unwrap();
        assert!(VERBS.contains(&verb), "{name}: {summary}");
        assert!(!summary.ends_with('.') && summary.chars().count() <= 60, "{name}: {summary}");
    });
    look(document());
}
