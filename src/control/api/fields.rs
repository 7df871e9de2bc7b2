//! Reading a JSON body field by field: every error is kept, so that a caller learns of all of them at once. What a field has to be is what
//! its shape declares. Keys that nobody asks for are ignored, as clients send more than we know.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::operations::{Described, Rule};
use super::{Problem, audit_entry, unknown};
use crate::control::store::Actor;

/// The longest id of a tenant's own, characters.
pub(super) const EXTERNAL_ID: usize = 255;
/// Free-form data and environments as JSON, bytes.
pub(super) const MAX_OBJECT: usize = 64 << 10;

/// A JSON object that was sent.
#[derive(Debug, Default)]
pub(super) struct Fields {
    map: Map<String, Value>,
    errors: Map<String, Value>,
    raw: Bytes,
    /// What the whole has to be, as far as that is declared.
    rule: Option<&'static Rule>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let actor = request.extensions().get::<Arc<Actor>>().cloned();
        let (parts, body) = request.into_parts();
        let asked = parts.clone();
        let raw = Bytes::from_request(Request::from_parts(parts, body), state).await?;
        let rule = Described::of(&asked).map(|operation| &operation.body);
        let fields = Self { rule, ..Self::parse(raw)? };
        if let Some(rule) = rule {
            unknown::look(&asked, rule, &fields.map)?;
        }
        if let Some(actor) = actor {
            // A body is read once; a second time would change nothing.
            actor.changes.get_or_init(|| audit_entry::changes(&fields.map));
        }
        Ok(fields)
    }
}

impl Fields {
    fn parse(raw: Bytes) -> Result<Self, Problem> {
        if raw.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(&raw) {
            Ok(Value::Object(map)) => Ok(Self { map, raw, ..Self::default() }),
            Ok(_) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "VALIDATION_ERROR",
                "The body must be a JSON object.",
            )),
            Err(error) => {
                let message = format!(
                    "The body is not valid JSON (line {}, column {}).",
                    error.line(),
                    error.column()
                );
                Err(Problem::new(StatusCode::BAD_REQUEST, "INVALID_JSON", message))
            }
        }
    }

    /// The bytes as sent.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// What one of the fields has to be.
    fn rule(&self, name: &str) -> Option<&'static Rule> {
        self.rule.and_then(|rule| rule.fields.get(name))
    }

    /// An object within, or the whole when there is none of that name (both shapes are in use). What has the name and is something else
    /// is an error.
    pub(super) fn unwrapped(mut self, name: &str) -> Self {
        match self.map.get_mut(name) {
            Some(Value::Object(inner)) => {
                let map = std::mem::take(inner);
                // An envelope that is not declared holds the same as the whole.
                Self { map, rule: self.rule(name).or(self.rule), ..self }
            }
            None | Some(Value::Null) => self,
            Some(_) => {
                self.error(name, "must be an object");
                self
            }
        }
    }

    /// Leaves the fields of these names; gives the others.
    pub(super) fn keep(&mut self, names: &[&str]) -> Map<String, Value> {
        let all = std::mem::take(&mut self.map);
        let (kept, others) = all.into_iter().partition(|(name, _)| names.contains(&name.as_str()));
        self.map = kept;
        others
    }

    /// Reads an object within, if it was sent. Its errors are the field's.
    pub(super) fn within<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Fields) -> T,
    ) -> Option<T> {
        let map = self.object(name)?;
        let mut inner = Fields { map, rule: self.rule(name), ..Fields::default() };
        let read = read(&mut inner);
        for (field, reasons) in inner.errors {
            for reason in reasons.as_array().into_iter().flatten().filter_map(Value::as_str) {
                self.error(name, &format!("{field} {reason}"));
            }
        }
        Some(read)
    }

    /// Notes an error.
    pub(super) fn error(&mut self, name: &str, reason: &str) {
        if let Value::Array(reasons) = self.errors.entry(name).or_insert_with(|| json!([])) {
            reasons.push(reason.into());
        }
    }

    /// Whether a field was sent, null included.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A value as sent.
    pub(super) fn raw_value(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// A field read by `read`; `None` when it was not sent, `Some(None)` when it was null.
    pub(super) fn get<T>(
        &mut self,
        name: &str,
        must: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.map.get(name)? {
            Value::Null => Some(None),
            value => {
                if let Some(value) = read(value) {
                    Some(Some(value))
                } else {
                    self.error(name, must);
                    None
                }
            }
        }
    }

    /// A field by any of its names: the first that was sent counts, and the others must be of the right kind all the same.
    fn any<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Self, &str) -> Option<T>,
    ) -> Option<T> {
        let others = self.rule(name).into_iter().flat_map(Rule::other_names);
        std::iter::once(name)
            .chain(others)
            .filter_map(|name| read(self, name))
            .reduce(|first, _| first)
    }

    /// Text; `None` when it was not sent, `Some(None)` when it was null or empty.
    pub(super) fn text(&mut self, name: &str) -> Option<Option<String>> {
        let (least, most) = self.rule(name).map_or((0, u64::MAX), Rule::lengths);
        let must = match least {
            0 => format!("must be a string of at most {most} characters"),
            _ => format!("must be a string of {least} to {most} characters"),
        };
        let read = |value: &Value| has_length(value.as_str()?, least, most);
        let text = self.any(name, |fields, name| fields.get(name, &must, read));
        text.map(|text| text.filter(|text| !text.is_empty()))
    }

    /// A whole number.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        self.number_up_to(name, u64::MAX)
    }

    /// A whole number for which there is a limit besides the declared one.
    pub(super) fn number_up_to<T: TryFrom<u64>>(&mut self, name: &str, limit: u64) -> Option<T> {
        let (least, most) = self.rule(name).map_or((0, u64::MAX), Rule::bounds);
        let most = most.min(limit);
        let must = format!("must be a whole number from {least} to {most}");
        let within = |number: &u64| (least..=most).contains(number);
        let read = |value: &Value| T::try_from(whole(value).filter(within)?).ok();
        self.any(name, |fields, name| fields.get(name, &must, read).flatten())
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let must = "must be true or false";
        self.any(name, |fields, name| fields.get(name, must, Value::as_bool).flatten())
    }

    /// One of the declared words; `None` when it was not sent, `Some(None)` when it was null.
    pub(super) fn one_of_or_null<T: DeserializeOwned>(&mut self, name: &str) -> Option<Option<T>> {
        let words = self.words(name);
        let read = |value: &Value| {
            let is_known = value.as_str().is_some_and(|word| words.contains(&word));
            is_known.then(|| serde_json::from_value(value.clone()).ok()).flatten()
        };
        self.get(name, &must_be_one_of(&words), read)
    }

    /// One of the declared words.
    pub(super) fn one_of<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.one_of_or_null(name).flatten()
    }

    fn words(&self, name: &str) -> Vec<&'static str> {
        self.rule(name).map(Rule::words).unwrap_or_default()
    }

    /// What a link or token allows: the first of what it may when nothing is said. It is judged after everything else, as it has a code of
    /// its own.
    pub(super) fn scope<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        self.finish()?;
        let words = self.words("scope");
        let first = words.first().map(|word| json!(word)).unwrap_or_default();
        self.map.entry("scope").or_insert(Value::Null);
        if let Some(unsaid @ Value::Null) = self.map.get_mut("scope") {
            *unsaid = first;
        }
        self.one_of("scope").ok_or_else(|| {
            Problem::field("scope", &must_be_one_of(&words)).with_code("invalid_scope")
        })
    }

    /// An object.
    pub(super) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.get(name, "must be an object", |value| value.as_object().cloned()).flatten()
    }

    /// Free-form data: an object that is not too large.
    pub(super) fn free(&mut self, name: &str) -> Option<Map<String, Value>> {
        let object = self.object(name)?;
        if json_length(&object) > MAX_OBJECT {
            self.error(name, "must be at most 64 KiB of JSON");
            return None;
        }
        Some(object)
    }

    /// A list: of texts, of ids or of words. `None` when it was not sent; null is an empty one.
    pub(super) fn list<T: DeserializeOwned>(&mut self, name: &str) -> Option<Vec<T>> {
        self.list_or_null(name).map(Option::unwrap_or_default)
    }

    /// The same; `Some(None)` when it was null.
    pub(super) fn list_or_null<T: DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Option<Option<Vec<T>>> {
        let ((least, most), items) = self.rule(name).map_or(((0, u64::MAX), None), Rule::list);
        let (shortest, longest) = items.map_or((0, u64::MAX), Rule::lengths);
        let words = items.map(Rule::words).unwrap_or_default();
        let must = match (words.as_slice(), longest) {
            ([], u64::MAX) => format!("must be a list of {least} to {most} ids"),
            ([], _) => {
                format!("must be a list of at most {most} strings of at most {longest} characters")
            }
            _ => format!("must be a list of {}", words.join(", ")),
        };
        let item = |item: &Value| {
            has_length(item.as_str()?, shortest, longest)?;
            serde_json::from_value(item.clone()).ok()
        };
        let read = |value: &Value| {
            let items = value.as_array()?;
            is_within(items.len(), least, most).then(|| items.iter().map(item).collect()).flatten()
        };
        self.get(name, &must, read)
    }

    /// Fails when anything was found to be wrong, or what has to be there is not.
    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        for name in self.rule.into_iter().flat_map(Rule::required) {
            if self.map.get(name).is_none_or(Value::is_null) {
                self.error(name, "is required");
            }
        }
        let errors = std::mem::take(&mut self.errors);
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }
}

fn must_be_one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("must be {only}"),
        _ => format!("must be one of {}", words.join(", ")),
    }
}

fn is_within(count: usize, least: u64, most: u64) -> bool {
    u64::try_from(count).is_ok_and(|count| (least..=most).contains(&count))
}

fn has_length(text: &str, least: u64, most: u64) -> Option<String> {
    is_within(text.chars().count(), least, most).then(|| text.to_owned())
}

/// How long a map is as JSON, bytes.
pub(super) fn json_length(map: &Map<String, Value>) -> usize {
    serde_json::to_vec(map).map_or(0, |json| json.len())
}

/// A whole number; 60.0 is one as well (JSON Schema, section 6.1.1), and some clients send it.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let from_fraction = || {
        let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
        number.to_string().parse().ok()
    };
    value.as_u64().or_else(from_fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_fraction_is_whole() {
        let whole = |text: &str| whole(&serde_json::from_str(text).unwrap());
        for (text, number) in [("60", 60), ("60.0", 60), ("6e1", 60), ("0.0", 0)] {
            assert_eq!(whole(text), Some(number), "{text}");
        }
        for text in ["60.5", "-1", "-1.0", "1e300", "\"60\"", "true", "null"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
