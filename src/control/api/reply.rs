//! How handlers reply, and how they find what a path names.

use std::collections::HashMap;
use std::str::FromStr;

use axum::Json;
use axum::extract::Query;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::Problem;
use crate::control::store::StoreError;

/// What is shown of a thing, or of many.
pub(super) type Shown = Result<Json<Value>, Problem>;
/// The same with a status of its own, such as 201.
pub(super) type Made = Result<(StatusCode, Json<Value>), Problem>;
/// That something is done.
pub(super) type Done = Result<StatusCode, Problem>;
/// A query, by name.
pub(super) type Asked = Query<HashMap<String, String>>;

pub(super) const DONE: Done = Ok(StatusCode::NO_CONTENT);

/// A thing in its envelope.
#[expect(clippy::unnecessary_wraps, reason = "it is what handlers end with")]
pub(super) fn data(thing: impl Serialize) -> Shown {
    Ok(Json(json!({ "data": thing })))
}

/// Things in their envelope.
pub(super) fn list<T: Serialize>(things: impl IntoIterator<Item = T>) -> Shown {
    data(things.into_iter().map(|thing| json!(thing)).collect::<Vec<_>>())
}

/// A thing that was created, in its envelope.
#[expect(clippy::unnecessary_wraps, reason = "it is what handlers end with")]
pub(super) fn created(thing: impl Serialize) -> Made {
    Ok((StatusCode::CREATED, Json(json!({ "data": thing }))))
}

/// Reads an id in a path: what is none names nothing.
pub(super) fn id<T: FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// Says of what there is none, where the store says only that.
pub(super) fn missing(what: &str) -> impl FnOnce(StoreError) -> Problem {
    move |error| match error {
        StoreError::NotFound => Problem::not_found(what),
        other => other.into(),
    }
}
