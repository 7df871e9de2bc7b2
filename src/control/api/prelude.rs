//! What every file of handlers uses.

pub(super) use axum::Json;
pub(super) use axum::extract::{Path, Query};
pub(super) use axum::http::StatusCode;
pub(super) use serde_json::{Map, Value, json};
/// The endpoints of a file, those with the same path together.
macro_rules! endpoints {
    ($([$($handler:ident),+ $(,)?]),+ $(,)?) => {
        pub(super) fn routes() -> utoipa_axum::router::OpenApiRouter<super::ApiState> {
            utoipa_axum::router::OpenApiRouter::default()
                $(.routes(utoipa_axum::routes!($($handler),+)))+
        }
    };
}
pub(super) use endpoints;

pub(super) use utoipa_axum::router::OpenApiRouter;
pub(super) use utoipa_axum::routes;

pub(super) use super::auth::Caller;
pub(super) use super::fields::{EXTERNAL_ID, Fields};
pub(super) use super::reply::{Asked, DONE, Done, Made, Shown, created, data, id, list, missing};
pub(super) use super::{ApiState, Problem, shapes};
