//! Reading a JSON body field by field: every error is kept, so that a caller learns of all of them at once. Keys that nobody asks for
//! are ignored, as clients send more than we know.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Problem, audit_entry, unknown};
use crate::control::store::Actor;
use crate::model::TokenScope;

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
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let actor = request.extensions().get::<Arc<Actor>>().cloned();
        let (parts, body) = request.into_parts();
        let asked = parts.clone();
        let raw = Bytes::from_request(Request::from_parts(parts, body), state).await?;
        let fields = Self::parse(raw)?;
        unknown::look(&asked, &fields.map)?;
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
            Ok(Value::Object(map)) => Ok(Self { map, errors: Map::new(), raw }),
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

    /// An object within, or the whole when there is none of that name (both shapes are in use). What has the name and is something else
    /// is an error.
    pub(super) fn unwrapped(mut self, name: &str) -> Self {
        match self.map.get_mut(name) {
            Some(Value::Object(inner)) => {
                Self { map: std::mem::take(inner), errors: self.errors, raw: self.raw }
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

    /// Says that a field is missing, if it is.
    pub(super) fn require(&mut self, name: &str) {
        if self.map.get(name).is_none_or(Value::is_null) {
            self.error(name, "is required");
        }
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

    /// Text up to a length; `None` when it was not sent, `Some(None)` when it was null or empty.
    pub(super) fn text(&mut self, name: &str, longest: usize) -> Option<Option<String>> {
        let must = format!("must be a string of at most {longest} characters");
        let read = |value: &Value| {
            let text = value.as_str()?;
            (text.chars().count() <= longest).then(|| text.to_owned())
        };
        self.get(name, &must, read).map(|text| text.filter(|text| !text.is_empty()))
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, name: &str, (least, most): (u64, u64)) -> Option<u64> {
        let must = format!("must be a whole number from {least} to {most}");
        self.get(name, &must, |value| whole(value).filter(|n| (least..=most).contains(n))).flatten()
    }

    /// A field that has several names: the first that says something counts, and the others must be of the right kind all the same.
    pub(super) fn number_of(&mut self, names: &[&str], bounds: (u64, u64)) -> Option<u64> {
        names.iter().filter_map(|name| self.number(name, bounds)).reduce(|first, _| first)
    }

    /// The same for text; `None` when none was sent, `Some(None)` when the first was null or empty.
    pub(super) fn text_of(&mut self, names: &[&str], longest: usize) -> Option<Option<String>> {
        names.iter().filter_map(|name| self.text(name, longest)).reduce(|first, _| first)
    }

    /// A port.
    pub(super) fn port(&mut self, name: &str) -> Option<u16> {
        self.number(name, (1, 65535)).and_then(|port| u16::try_from(port).ok())
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.get(name, "must be true or false", Value::as_bool).flatten()
    }

    /// One of a set of words.
    pub(super) fn one_of<T: DeserializeOwned>(&mut self, name: &str, words: &str) -> Option<T> {
        let must = format!("must be one of {words}");
        self.get(name, &must, |value| serde_json::from_value(value.clone()).ok()).flatten()
    }

    /// What a link or token allows: the first of what it may when nothing is said. To be asked after everything else, as it has a code of
    /// its own.
    pub(super) fn scope(&self, allowed: &[TokenScope], words: &str) -> Result<TokenScope, Problem> {
        let scope = match self.map.get("scope") {
            None | Some(Value::Null) => allowed.first().copied(),
            Some(value) => {
                serde_json::from_value(value.clone()).ok().filter(|scope| allowed.contains(scope))
            }
        };
        scope.ok_or_else(|| {
            Problem::field("scope", &format!("must be {words}")).with_code("invalid_scope")
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

    /// A list of short texts.
    pub(super) fn texts(
        &mut self,
        name: &str,
        (most, longest): (usize, usize),
    ) -> Option<Vec<String>> {
        let must =
            format!("must be a list of at most {most} strings of at most {longest} characters");
        let read = |value: &Value| {
            let items = value.as_array().filter(|items| items.len() <= most)?;
            let text = |item: &Value| {
                item.as_str().filter(|t| t.chars().count() <= longest).map(str::to_owned)
            };
            items.iter().map(text).collect()
        };
        self.get(name, &must, read).map(Option::unwrap_or_default)
    }

    /// Fails when anything was found to be wrong.
    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        let errors = std::mem::take(&mut self.errors);
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }
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
