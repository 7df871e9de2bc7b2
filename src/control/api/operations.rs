//! What the document says of operations, as far as their calls are held to it: the scopes that they ask for, and the rules for the fields
//! of their bodies. So a bound is declared once, in the shape of a body. It is handed in, because the document is made of the handlers.

use std::collections::{BTreeMap, HashMap};

use axum::extract::MatchedPath;
use axum::http::Method;
use axum::http::request::Parts;
use serde_json::{Map, Value};

use crate::model::KeyScope;

/// Methods of a path item; its other keys are no operations.
pub(super) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// The other names of a field, in the document.
pub(super) const OTHER_NAMES: &str = "x-other-names";
/// How deep objects within objects are followed.
const DEEPEST: usize = 4;

/// All operations, by method and path.
pub(super) type Operations = HashMap<String, Operation>;

/// One operation.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// The scopes of which a caller needs one. Without any every key will do; `None` lets nobody in.
    pub(super) scopes: Option<Vec<KeyScope>>,
    /// Whether it responds with a stream of events; such operations, and no others, take tickets.
    pub(super) streams: bool,
    pub(super) body: Rule,
}

/// What a value has to be.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// The fields of an object.
    pub(super) fields: BTreeMap<String, Rule>,
    /// The items of a list.
    items: Option<Box<Rule>>,
    /// The rules of JSON Schema for the value itself.
    keywords: Map<String, Value>,
}

/// All operations, for the handlers.
#[derive(Clone, Copy)]
pub(super) struct Described(pub(super) fn() -> &'static Operations);

impl Described {
    /// The operation that a request is for.
    pub(super) fn of(parts: &Parts) -> Option<&'static Operation> {
        let Self(all) = parts.extensions.get()?;
        let route = parts.extensions.get::<MatchedPath>()?.as_str();
        let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        // The router marks what takes the rest of a path; the document does not.
        all().get(&format!("{method} {}", route.replace("{*", "{")))
    }
}

/// Reads them in a document.
pub(super) fn of(document: &Value) -> Operations {
    let mut all = Operations::new();
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, item) in paths.into_iter().flatten() {
        for method in METHODS {
            let Some(said) = item.get(method) else { continue };
            let schema = said.pointer("/requestBody/content/application~1json/schema");
            let mut body = Rule::default();
            if let Some(schema) = schema {
                body.gather(schema, document, DEEPEST);
            }
            let streams = said.pointer("/responses/200/content/text~1event-stream").is_some();
            let operation = Operation { scopes: scopes(said), streams, body };
            all.insert(format!("{} {path}", method.to_uppercase()), operation);
        }
    }
    all
}

fn scopes(said: &Value) -> Option<Vec<KeyScope>> {
    let choices = said.get("security")?.as_array()?.iter();
    let scopes = choices.filter_map(|choice| choice.get("api_key")?.as_array()).flatten();
    // A word that is no scope would ask for less if it were passed over.
    scopes.map(|scope| serde_json::from_value(scope.clone()).ok()).collect()
}

impl Rule {
    /// Adds what a schema says, in any of its forms.
    fn gather(&mut self, schema: &Value, document: &Value, deeper: usize) {
        let to = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        if let Some(whole) = to.and_then(|pointer| document.pointer(pointer)) {
            self.gather(whole, document, deeper);
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            match (keyword.as_str(), value) {
                ("anyOf" | "oneOf" | "allOf", Value::Array(forms)) => {
                    for form in forms {
                        self.gather(form, document, deeper);
                    }
                    // What one form has to have, another has not.
                    let is_null = |form: &&Value| form.get("type").is_some_and(|is| is == "null");
                    if keyword != "allOf" && forms.iter().filter(|form| !is_null(form)).count() > 1
                    {
                        self.keywords.remove("required");
                    }
                }
                ("properties", Value::Object(fields)) if deeper > 0 => {
                    for (name, field) in fields {
                        let rule = self.fields.entry(name.clone()).or_default();
                        rule.gather(field, document, deeper - 1);
                    }
                }
                ("items", items) if deeper > 0 => {
                    self.items.get_or_insert_default().gather(items, document, deeper - 1);
                }
                _ => drop(self.keywords.entry(keyword.as_str()).or_insert(value.clone())),
            }
        }
    }

    fn whole(&self, keyword: &str) -> Option<u64> {
        self.keywords.get(keyword).and_then(Value::as_u64)
    }

    /// What a number may be, at least and at most.
    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.whole("minimum").unwrap_or(0), self.whole("maximum").unwrap_or(u64::MAX))
    }

    /// How many characters a text may have.
    pub(super) fn lengths(&self) -> (u64, u64) {
        (self.whole("minLength").unwrap_or(0), self.whole("maxLength").unwrap_or(u64::MAX))
    }

    /// How many items a list may have, and what they have to be.
    pub(super) fn list(&self) -> ((u64, u64), Option<&Rule>) {
        let most = self.whole("maxItems").unwrap_or(u64::MAX);
        ((self.whole("minItems").unwrap_or(0), most), self.items.as_deref())
    }

    fn texts(&self, keyword: &str) -> impl Iterator<Item = &str> {
        let texts = self.keywords.get(keyword).and_then(Value::as_array);
        texts.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The words that a text may be; none if it is any text.
    pub(super) fn words(&self) -> Vec<&str> {
        self.texts("enum").collect()
    }

    /// The fields that have to be there.
    pub(super) fn required(&self) -> impl Iterator<Item = &str> {
        self.texts("required")
    }

    /// The other names of the field that this is a rule for.
    pub(super) fn other_names(&self) -> impl Iterator<Item = &str> {
        self.texts(OTHER_NAMES)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_is_what_the_schema_says_in_any_of_its_forms() {
        let document = json!({
            "paths": { "/a/{b}": { "put": {
                "security": [{ "api_key": ["previews:write"] }],
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/order" } } } },
            } } },
            "order": { "required": ["port"], "properties": {
                "port": { "type": "integer", "minimum": 1, "maximum": 65535 },
                "word": { "oneOf": [{ "type": "null" }, { "$ref": "#/word" }] },
                "tags": { "maxItems": 3, "items": { "maxLength": 7 } },
                "either": { "anyOf": [{ "required": ["x"] }, { "properties": { "y": {} } }] },
            } },
            "word": { "type": "string", "enum": ["a", "b"] },
        });
        let all = of(&document);
        let put = &all["PUT /a/{b}"];
        assert_eq!(put.scopes.as_deref(), Some([KeyScope::PreviewsWrite].as_slice()));
        assert_eq!(put.body.required().collect::<Vec<_>>(), ["port"]);
        assert_eq!(put.body.fields["port"].bounds(), (1, 65535));
        assert_eq!(put.body.fields["word"].words(), ["a", "b"]);
        let (count, items) = put.body.fields["tags"].list();
        assert_eq!((count, items.unwrap().lengths()), ((0, 3), (0, 7)));
        assert_eq!(put.body.fields["either"].required().count(), 0);
    }

    #[test]
    fn a_scope_that_is_none_lets_nobody_in() {
        let said =
            json!({ "security": [{ "api_key": ["previews:write"] }, { "api_key": ["all"] }] });
        assert_eq!(scopes(&said), None);
        assert_eq!(scopes(&json!({ "security": [{ "api_key": [] }] })), Some(Vec::new()));
        assert_eq!(scopes(&json!({})), None);
    }
}
