//! The API document as a page to read. It is made from the document alone, once, and needs no script.

use askama::Template;
use serde_json::Value;

use super::complete;
use super::kind::{self, Piece};

pub(super) const STYLE: &str = include_str!("../../../../templates/reference.css");

/// The page.
pub(super) fn of(document: &Value) -> String {
    Reference::of(document).render().unwrap_or_default()
}

#[derive(Template)]
#[template(path = "reference.html")]
struct Reference {
    style: &'static str,
    title: String,
    version: String,
    about: Vec<Vec<Piece>>,
    groups: Vec<Group>,
    shapes: Vec<Shape>,
}

struct Group {
    name: String,
    anchor: String,
    about: Vec<Piece>,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: Vec<Piece>,
    /// The summary as the entry of a list.
    title: String,
    summary: Vec<Piece>,
    description: Vec<Piece>,
    is_open: bool,
    scopes: Vec<String>,
    parameters: Vec<Field>,
    body: Vec<Body>,
    answers: Vec<Answer>,
    errors: Vec<Answer>,
    example: String,
}

struct Field {
    name: String,
    is_required: bool,
    /// Where it is sent, for a parameter.
    place: String,
    kind: Vec<Piece>,
    about: Vec<Piece>,
}

/// One of the forms that a body may have.
struct Body {
    kind: Vec<Piece>,
    fields: Vec<Field>,
}

struct Answer {
    status: String,
    about: Vec<Piece>,
    kind: Vec<Piece>,
}

struct Shape {
    name: String,
    about: Vec<Piece>,
    kind: Vec<Piece>,
    fields: Vec<Field>,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The members of an object, and nothing for what is none.
fn members<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

impl Reference {
    fn of(document: &Value) -> Self {
        let info = document.pointer("/info").unwrap_or(&Value::Null);
        let group = |tag: &Value| {
            let name = text(tag, "name").to_owned();
            Group {
                anchor: name.to_lowercase().replace(' ', "-"),
                about: kind::marked(text(tag, "description")),
                operations: operations(document, &name),
                name,
            }
        };
        let shape = |(name, schema): (&String, &Value)| Shape {
            name: name.clone(),
            about: kind::marked(text(schema, "description")),
            kind: kind::of(schema, document),
            fields: fields(schema, document),
        };
        let is_shown = |(_, schema): &(&String, &Value)| !kind::is_envelope(schema);
        Self {
            style: STYLE,
            title: text(info, "title").to_owned(),
            version: text(info, "version").to_owned(),
            about: text(info, "description").split("\n\n").map(kind::marked).collect(),
            groups: list(document, "tags").iter().map(group).collect(),
            shapes: members(document, "/components/schemas").filter(is_shown).map(shape).collect(),
        }
    }
}

fn operations(document: &Value, tag: &str) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in members(document, "/paths") {
        for method in complete::METHODS {
            let Some(said) = item.get(method) else { continue };
            if list(said, "tags").iter().any(|own| own == tag) {
                found.push(Operation::of(document, (method, path), said));
            }
        }
    }
    found
}

impl Operation {
    fn of(document: &Value, (method, path): (&str, &str), said: &Value) -> Self {
        let requirements = list(said, "security");
        let is_open = requirements.iter().all(|one| one.get("api_key").is_none());
        let scopes = requirements.iter().flat_map(|one| list(one, "api_key"));
        let parameter = |p: &Value| Field {
            name: text(p, "name").to_owned(),
            is_required: p.get("required") == Some(&Value::Bool(true)),
            place: text(p, "in").to_owned(),
            kind: kind::of(p.get("schema").unwrap_or(&Value::Null), document),
            about: kind::marked(text(p, "description")),
        };
        let body = said.pointer("/requestBody/content/application~1json/schema");
        let (errors, answers) = members(said, "/responses")
            .map(|(status, answer)| Answer::of(document, status, answer))
            .partition(|answer| answer.status.starts_with(['4', '5']));
        Self {
            id: text(said, "operationId").to_owned(),
            method: method.to_uppercase(),
            path: kind::path(path),
            title: text(said, "summary").trim_end_matches('.').replace('`', ""),
            summary: kind::marked(text(said, "summary")),
            description: kind::marked(text(said, "description")),
            is_open,
            scopes: scopes.filter_map(Value::as_str).map(str::to_owned).collect(),
            parameters: list(said, "parameters").iter().map(parameter).collect(),
            body: body.map(|schema| bodies(schema, document)).unwrap_or_default(),
            answers,
            errors,
            example: example(document, (method, path), (is_open, body)),
        }
    }
}

impl Answer {
    fn of(document: &Value, status: &str, answer: &Value) -> Self {
        let answer = kind::resolve(answer, document);
        let mut kind = Vec::new();
        for (name, content) in members(answer, "/content") {
            match content.get("schema") {
                Some(schema) if name == "application/json" => kind = kind::of(schema, document),
                _ => kind.push(Piece::code(name)),
            }
        }
        Self { status: status.to_owned(), about: kind::marked(text(answer, "description")), kind }
    }
}

fn bodies(schema: &Value, document: &Value) -> Vec<Body> {
    let whole = kind::resolve(schema, document);
    let forms = list(whole, "anyOf");
    let forms = if forms.is_empty() { std::slice::from_ref(schema) } else { forms };
    let form = |form: &Value| {
        let mut fields = fields(kind::resolve(form, document), document);
        // A field that need not be sent may be null as well: that goes without saying.
        for field in &mut fields {
            kind::without_null(&mut field.kind);
        }
        Body { kind: kind::of(form, document), fields }
    };
    forms.iter().map(form).collect()
}

/// The fields of an object, those that have to be there first.
fn fields(schema: &Value, document: &Value) -> Vec<Field> {
    let required = list(schema, "required");
    let mut fields: Vec<Field> = members(schema, "/properties")
        .map(|(name, field)| Field {
            name: name.clone(),
            is_required: required.iter().any(|one| one == name),
            place: String::new(),
            kind: kind::of(field, document),
            about: kind::marked(text(field, "description")),
        })
        .collect();
    fields.sort_by_key(|field| !field.is_required);
    fields
}

/// A call in a shell.
fn example(
    document: &Value,
    (method, path): (&str, &str),
    (is_open, body): (bool, Option<&Value>),
) -> String {
    let (base, rest) = match path.strip_prefix("/api/v1") {
        Some(rest) => ("$API", rest),
        None => ("${API%/api/v1}", path),
    };
    // A placeholder becomes a variable of the shell.
    let part = |(at, part): (usize, &str)| {
        if at % 2 == 1 { format!("${}", part.to_uppercase()) } else { part.to_owned() }
    };
    let rest: String = rest.split(['{', '}']).enumerate().map(part).collect();
    let mut call = String::from("curl -sS");
    if method != "get" {
        call.push_str(&format!(" -X {}", method.to_uppercase()));
    }
    call.push_str(&format!(" \"{base}{rest}\""));
    if is_open {
        return call;
    }
    call.push_str(" \\\n  -H \"Authorization: Bearer $KEY\"");
    let schema = body.map(|schema| kind::resolve(schema, document));
    if let Some(example) = schema.and_then(|schema| list(schema, "examples").first()) {
        call.push_str(&format!(" \\\n  -H 'Content-Type: application/json' \\\n  -d '{example}'"));
    }
    call
}
