//! What a schema means, in words.

use serde_json::Value;

const PREFIX: &str = "#/components/schemas/";

/// A piece of text: plain, code, or the name of a shape, which is a link to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) is_code: bool,
    pub(super) is_shape: bool,
}

impl Piece {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_code: false, is_shape: false }
    }

    pub(super) fn code(text: impl Into<String>) -> Self {
        Self { is_code: true, ..Self::plain(text) }
    }

    fn shape(name: &str) -> Self {
        Self { is_shape: true, ..Self::plain(name) }
    }
}

/// Text in which backticks mark code.
pub(super) fn marked(text: &str) -> Vec<Piece> {
    let piece = |(at, text): (usize, &str)| {
        if at % 2 == 1 { Piece::code(text) } else { Piece::plain(text) }
    };
    text.split('`').enumerate().map(piece).filter(|piece| !piece.text.is_empty()).collect()
}

/// A path whose placeholders stand out.
pub(super) fn path(path: &str) -> Vec<Piece> {
    let piece = |(at, text): (usize, &str)| {
        if at % 2 == 1 { Piece::code(format!("{{{text}}}")) } else { Piece::plain(text) }
    };
    path.split(['{', '}']).enumerate().map(piece).filter(|piece| !piece.text.is_empty()).collect()
}

/// What a reference leads to, or the thing itself.
pub(super) fn resolve<'a>(part: &'a Value, document: &'a Value) -> &'a Value {
    let to = part.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
    to.and_then(|pointer| document.pointer(pointer)).unwrap_or(part)
}

/// Whether a shape only wraps another one; such are shown where they are used.
pub(super) fn is_envelope(schema: &Value) -> bool {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.is_some_and(|properties| {
        properties.contains_key("data")
            && properties.keys().all(|name| matches!(&**name, "data" | "meta" | "next_cursor"))
    })
}

/// What is taken or given.
pub(super) fn of(schema: &Value, document: &Value) -> Vec<Piece> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let whole = resolve(schema, document);
        if is_envelope(whole) {
            return envelope(whole, document);
        }
        return vec![Piece::shape(name.strip_prefix(PREFIX).unwrap_or(name))];
    }
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
        let is_null = |option: &&Value| option.get("type").is_some_and(|name| name == "null");
        let (nulls, others): (Vec<_>, Vec<_>) = options.iter().partition(is_null);
        let options = others.into_iter().chain(nulls);
        return joined(options.map(|option| of(option, document)), " or ");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return joined(
            words.iter().map(|word| vec![Piece::code(word.as_str().unwrap_or("null"))]),
            ", ",
        );
    }
    let name = match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => return vec![Piece::plain("anything")],
    };
    let one = |name: &&str| match *name {
        "array" => {
            let mut pieces = vec![Piece::plain("list of ")];
            pieces.extend(schema.get("items").map_or_else(Vec::new, |items| of(items, document)));
            pieces.extend(limit(schema, ("minItems", "maxItems"), ""));
            pieces
        }
        "object" => object(schema, document),
        "string" => string(schema),
        "integer" | "number" => {
            let mut pieces = vec![Piece::plain("number")];
            pieces.extend(limit(schema, ("minimum", "maximum"), ""));
            pieces
        }
        "boolean" => vec![Piece::code("true"), Piece::plain(" or "), Piece::code("false")],
        other => vec![Piece::code(other)],
    };
    joined(name.iter().map(one), " or ")
}

/// Takes "or null" off the end.
pub(super) fn without_null(kind: &mut Vec<Piece>) {
    if let [rest @ .., _, null] = kind.as_slice()
        && null.is_code
        && null.text == "null"
        && !rest.is_empty()
    {
        kind.truncate(rest.len());
    }
}

fn joined(parts: impl Iterator<Item = Vec<Piece>>, between: &str) -> Vec<Piece> {
    let mut all = Vec::new();
    for part in parts {
        if !all.is_empty() {
            all.push(Piece::plain(between));
        }
        all.extend(part);
    }
    all
}

fn envelope(schema: &Value, document: &Value) -> Vec<Piece> {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let field = |(name, field): (&String, &Value)| {
        let mut pieces = vec![Piece::code(name), Piece::plain(": ")];
        pieces.extend(of(field, document));
        pieces
    };
    let mut pieces = vec![Piece::plain("{ ")];
    pieces.extend(joined(properties.map(field), ", "));
    pieces.push(Piece::plain(" }"));
    pieces
}

fn object(schema: &Value, document: &Value) -> Vec<Piece> {
    match schema.get("additionalProperties") {
        Some(values) if values.get("type").is_some() || values.get("$ref").is_some() => {
            let mut pieces = vec![Piece::plain("object of ")];
            pieces.extend(of(values, document));
            pieces
        }
        _ => vec![Piece::plain("object")],
    }
}

fn string(schema: &Value) -> Vec<Piece> {
    let name = match schema.get("format").and_then(Value::as_str) {
        Some("uuid") => "UUID",
        Some("date-time") => "time",
        _ => "text",
    };
    let mut pieces = vec![Piece::plain(name)];
    pieces.extend(limit(schema, ("minLength", "maxLength"), " characters"));
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        pieces.extend([Piece::plain(" like "), Piece::code(pattern)]);
    }
    pieces
}

/// The bounds of something that has any; a least of zero goes without saying.
fn limit(schema: &Value, (least, most): (&str, &str), unit: &str) -> Option<Piece> {
    let number = |name: &str| schema.get(name).and_then(Value::as_u64);
    let text = match (number(least).filter(|least| *least > 0), number(most)) {
        (Some(least), Some(most)) => format!(", {least} to {most}{unit}"),
        (None, Some(most)) => format!(", at most {most}{unit}"),
        (Some(least), None) => format!(", at least {least}{unit}"),
        (None, None) => return None,
    };
    Some(Piece::plain(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_put_into_words() {
        let document = json!({"components": {"schemas": {
            "Cat": {"type": "object", "properties": {"name": {"type": "string"}}},
            "CatList": {"type": "object", "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/Cat"}}}},
        }}});
        let words = |schema: Value| -> String {
            of(&schema, &document).into_iter().map(|piece| piece.text).collect()
        };
        for (schema, text) in [
            (json!({"$ref": "#/components/schemas/Cat"}), "Cat"),
            (json!({"$ref": "#/components/schemas/CatList"}), "{ data: list of Cat }"),
            (
                json!({"type": ["integer", "null"], "minimum": 1, "maximum": 9}),
                "number, 1 to 9 or null",
            ),
            (json!({"type": "integer", "minimum": 0}), "number"),
            (json!({"type": "string", "format": "uuid"}), "UUID"),
            (
                json!({"type": "string", "maxLength": 3, "pattern": "^a"}),
                "text, at most 3 characters like ^a",
            ),
            (json!({"type": "string", "enum": ["a", "b"]}), "a, b"),
            (
                json!({"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/Cat"}]}),
                "Cat or null",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "boolean"}}),
                "object of true or false",
            ),
            (json!({}), "anything"),
        ] {
            assert_eq!(words(schema), text);
        }
        let shape = of(&json!({"$ref": "#/components/schemas/Cat"}), &document);
        assert!(shape.iter().all(|piece| piece.is_shape));
    }

    #[test]
    fn backticks_mark_code() {
        let pieces = marked("`a` is b");
        assert_eq!(pieces, [Piece::code("a"), Piece::plain(" is b")]);
    }
}
