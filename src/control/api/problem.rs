//! The one error of the API and its one shape.

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::shapes::Workspace;
use crate::base::condition::warn_seldom;
use crate::base::request_id::X_REQUEST_ID;
use crate::control::follow::Behind;
use crate::control::store::{QuotaExceeded, StoreError};

/// Why a call fails, as the caller is told.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Map<String, Value>,
    more: Option<Box<More>>,
    retry_after: Option<Duration>,
}

/// Members beside the error, and in it beside its code, for clients that look there.
#[derive(Clone, Debug, Default)]
struct More {
    beside: Map<String, Value>,
    within: Map<String, Value>,
}

/// The id of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

impl Problem {
    /// A problem with a status, a stable code and a sentence.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Map::new(),
            more: None,
            retry_after: None,
        }
    }

    /// Nothing there, or another tenant's: one response for both.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("There is no such {what}."))
    }

    /// Fields that cannot be taken, each with its reasons.
    pub fn invalid(details: Map<String, Value>) -> Self {
        let names: Vec<&str> = details.keys().map(String::as_str).collect();
        let message = format!("Not valid: {}.", names.join(", "));
        Self { details, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_ERROR", message) }
    }

    /// Something that always works did not.
    pub(super) fn internal(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }

    /// One field that cannot be taken.
    pub fn field(name: &str, reason: &str) -> Self {
        Self::invalid(Map::from_iter([(name.to_owned(), json!([reason]))]))
    }

    /// Whether it says that the caller is nobody.
    pub fn is_unauthorised(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// Another code for the same.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// When to come again.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// A member beside the error.
    #[must_use]
    pub fn beside(mut self, name: &str, value: Value) -> Self {
        self.more.get_or_insert_default().beside.insert(name.to_owned(), value);
        self
    }

    /// A member of the error, beside its code.
    #[must_use]
    pub fn within(mut self, name: &str, value: Value) -> Self {
        self.more.get_or_insert_default().within.insert(name.to_owned(), value);
        self
    }

    /// Details, by field.
    #[must_use]
    pub fn with_details(self, details: Map<String, Value>) -> Self {
        Self { details, ..self }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let conflict = |code, message: &str| Self::new(StatusCode::CONFLICT, code, message);
        match error {
            StoreError::NotFound => Self::not_found("resource"),
            StoreError::SlugTaken => {
                let why = Map::from_iter([("slug".to_owned(), json!(["has already been taken"]))]);
                conflict("SLUG_TAKEN", "This slug has already been taken.").with_details(why)
            }
            StoreError::DomainTaken => conflict("CONFLICT", "Domain already registered"),
            StoreError::State(state) => {
                let state = format!("{state:?}").to_lowercase();
                conflict("RESOURCE_STATE", &format!("A sandbox that is {state} cannot do this."))
            }
            StoreError::Busy => {
                let message = "Too many bulk jobs are in progress. Wait for one of them to finish.";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_JOBS", message)
                    .with_retry_after(Duration::from_secs(5))
            }
            StoreError::Exists => conflict("CONFLICT", "It already exists."),
            StoreError::WorkspaceExists(workspace) => {
                let existing = json!(Workspace::of(&workspace));
                conflict("WORKSPACE_NAME_EXISTS", "A workspace with this name already exists.")
                    .with_details(Map::from_iter([("existing".to_owned(), existing.clone())]))
                    .within("existing", existing)
            }
            StoreError::TooManyWebhooks => {
                let message = "The tenant has the maximum number of webhooks; delete one first.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "WEBHOOK_LIMIT_REACHED", message)
            }
            StoreError::WebhookInactive => {
                conflict("RESOURCE_STATE", "The webhook is not active; activate it first.")
            }
            StoreError::IdempotencyMismatch => {
                let message = "This idempotency key was used with another payload.";
                conflict("IDEMPOTENCY_PAYLOAD_MISMATCH", message)
            }
            StoreError::QuotaExceeded(exceeded) => (*exceeded).into(),
            StoreError::Database(_)
            | StoreError::Migration(_)
            | StoreError::WrongSecretKey
            | StoreError::Corrupt(_)
            | StoreError::Directory(_) => {
                warn_seldom("an API call failed", &error);
                Self::unavailable(error.advice())
            }
        }
    }
}

impl From<QuotaExceeded> for Problem {
    /// Never retryable: it stays refused until the user has less, or may have more.
    fn from(exceeded: QuotaExceeded) -> Self {
        let QuotaExceeded { quota, limit, used, external_user_id } = exceeded;
        // Clients tell "may not" and "has not paid" apart by the status.
        let status = match quota {
            "max_credit_cents" => StatusCode::PAYMENT_REQUIRED,
            _ => StatusCode::FORBIDDEN,
        };
        let details = [
            ("quota".to_owned(), json!(quota)),
            ("limit".to_owned(), json!(limit)),
            ("used".to_owned(), json!(used)),
            ("external_user_id".to_owned(), json!(external_user_id)),
        ];
        let message = format!("This end user has reached {quota} ({limit}).");
        Self::new(status, "QUOTA_EXCEEDED", message).with_details(Map::from_iter(details))
    }
}

impl From<Behind> for Problem {
    fn from(_: Behind) -> Self {
        Self::unavailable("The change is saved, but not in effect yet.")
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "TOO_LARGE",
                "The body is larger than 1 MiB.",
            );
        }
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", "The body arrived incomplete.")
    }
}

impl Problem {
    fn unavailable(message: &str) -> Self {
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message) }
    }

    /// What the framework refuses by itself: a path or a query that is not text, for example.
    fn of_status(status: StatusCode) -> Option<Self> {
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let code = match status {
            StatusCode::BAD_REQUEST => "BAD_REQUEST",
            StatusCode::NOT_FOUND => "NOT_FOUND",
            StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
            StatusCode::PAYLOAD_TOO_LARGE => "TOO_LARGE",
            _ if status.is_server_error() => "INTERNAL",
            _ => "REFUSED",
        };
        Some(Self::new(status, code, "The request's path, query or body cannot be read."))
    }

    fn body(&self, request_id: &str) -> Value {
        let mut error = Map::from_iter([
            ("code".to_owned(), self.code.into()),
            ("message".to_owned(), self.message.clone().into()),
            ("details".to_owned(), Value::Object(self.details.clone())),
            ("retryable".to_owned(), self.retry_after.is_some().into()),
            ("retry_after_ms".to_owned(), json!(self.retry_after.unwrap_or_default().as_millis())),
            ("request_id".to_owned(), request_id.into()),
        ]);
        let more = self.more.clone().unwrap_or_default();
        error.extend(more.within);
        let mut body = Map::from_iter([
            ("ok".to_owned(), false.into()),
            ("error".to_owned(), Value::Object(error)),
            ("request_id".to_owned(), request_id.into()),
        ]);
        body.extend(more.beside);
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    /// The body is written by [`with_request_id`], which knows the id.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every response an id, writes the bodies of problems, and keeps responses out of caches.
pub(super) async fn with_request_id(mut request: Request, next: Next) -> Response {
    let id = format!("req_{}", uuid::Uuid::new_v4().simple());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let started = tokio::time::Instant::now();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = problem.or_else(|| Problem::of_status(response.status())) {
        let headers = std::mem::take(response.headers_mut());
        response = (problem.status, Json(problem.body(&id))).into_response();
        let kept = |name: &HeaderName| {
            *name == header::ALLOW
                || *name == header::VARY
                || name.as_str().starts_with("access-control-")
        };
        for (name, value) in headers.iter().filter(|(name, _)| kept(name)) {
            response.headers_mut().append(name, value.clone());
        }
        if let Some(after) = problem.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if problem.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
    let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    tracing::info!(target: "portico::api", request_id = %id, %method, %path, status, duration_us = took);
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

pub(super) fn no_such_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such endpoint.")
}

pub(super) fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "This endpoint does not support this method.",
    )
}
