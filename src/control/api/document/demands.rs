//! What scopes the operations ask for, read from the document: so what it says is what holds.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::complete::METHODS;
use crate::model::KeyScope;

/// By method and path: the scopes of which a key needs one. Without any, every key will do.
pub(super) fn of(document: &Value) -> HashMap<String, Vec<KeyScope>> {
    let mut demands = HashMap::new();
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, item) in paths.into_iter().flatten() {
        for method in METHODS {
            let security = item.get(method).and_then(|operation| operation.get("security"));
            let Some(Value::Array(choices)) = security else { continue };
            let scopes = choices.iter().filter_map(|choice| choice.get("api_key")?.as_array());
            // A word that is no scope would ask for less if it were passed over.
            let scopes: Result<Vec<KeyScope>, _> =
                scopes.flatten().map(|scope| serde_json::from_value(scope.clone())).collect();
            if let Ok(scopes) = scopes {
                demands.insert(format!("{} {path}", method.to_uppercase()), scopes);
            }
        }
    }
    demands
}

/// By method and path: what responds with a stream of events.
pub(super) fn streams(document: &Value) -> HashSet<String> {
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    let streaming = paths.filter(|(_, item)| {
        item.pointer("/get/responses/200/content/text~1event-stream").is_some()
    });
    streaming.map(|(path, _)| format!("GET {path}")).collect()
}
