//! The admin listener: metrics and health. Loopback by default; nothing a visitor can reach.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::base::clock::Clock;
use crate::base::condition::Standing;
use crate::base::pressure::Pressure;
use crate::base::telemetry::{self, Metrics};
use crate::control::follow::Follower;
use crate::control::issuance::{Issuance, Verdict};
use crate::control::store::Store;
use crate::routing::Routes;

/// What those ask for who read the newer format of metrics.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// What the admin listener tells of.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The tables.
    pub routes: Arc<Routes>,
    /// The store, for how it is.
    pub store: Store,
    /// The follower.
    pub follower: Follower,
    /// Which hosts may have certificates.
    pub issuance: Arc<Issuance>,
    /// Wall time.
    pub clock: Clock,
    /// Where the process listens, by the names of the settings.
    pub listeners: Vec<(&'static str, SocketAddr)>,
    /// Whether the end was asked for.
    pub leaving: Arc<AtomicBool>,
    /// Whether memory is short.
    pub pressure: Pressure,
}

/// `/`, `/metrics`, `/healthz`, `/readyz`, `/internal/tls/ask`.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/internal/tls/ask", get(ask))
        .with_state(state)
}

/// What is here: for people, and for `portico doctor`.
async fn front(State(state): State<AdminState>) -> Json<Value> {
    let listeners: Map<String, Value> = state
        .listeners
        .iter()
        .map(|(name, address)| ((*name).to_owned(), address.to_string().into()))
        .collect();
    Json(json!({
        "service": "portico",
        "version": env!("CARGO_PKG_VERSION"),
        "listeners": listeners,
        "links": {
            "metrics": "/metrics",
            "liveness": "/healthz",
            "readiness": "/readyz",
            "certificates on demand": "/internal/tls/ask?domain=HOST",
        },
    }))
}

async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    state.metrics.sandboxes.set(i64::try_from(state.routes.len()).unwrap_or(i64::MAX));
    state.metrics.routing_version.set(state.routes.version());
    state.metrics.routing_lag.set(state.follower.lag());
    state.metrics.degraded.set(i64::try_from(troubles(&state).len()).unwrap_or(i64::MAX));
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let (rendered, kind) = if accept.is_some_and(|kinds| kinds.contains(OPEN_METRICS)) {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        (state.metrics.render(), kind)
    } else {
        (state.metrics.render_classic(), "text/plain; version=0.0.4; charset=utf-8")
    };
    match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What does not work at the moment, beside what does.
fn troubles(state: &AdminState) -> Vec<Standing> {
    let mut troubles = state.store.troubles();
    troubles.extend(telemetry::log_trouble());
    troubles
}

/// Ready once the tables are complete: before that a visitor would be told "not yet" at best. No longer, once the end was asked for or
/// memory is short: visitors are better sent elsewhere. Previews are served without the database and without the log, so whatever is
/// wrong with these is told and takes no visitor away.
async fn ready(State(state): State<AdminState>) -> Response {
    let why = if state.leaving.load(Ordering::Relaxed) {
        Some("the process is shutting down\n")
    } else if !state.routes.is_complete() {
        Some("the routing tables are not loaded yet\n")
    } else if state.pressure.is_high() {
        Some("memory is short (limits.memory): new work is rejected\n")
    } else {
        None
    };
    if let Some(why) = why {
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    }
    let mut text = "ready\n".to_owned();
    for trouble in troubles(&state) {
        let (what, seconds) = (trouble.what, trouble.lasts().as_secs());
        text += &format!("degraded for {seconds} s: {what}: {}\n", trouble.cause);
    }
    text.into_response()
}

/// Whether a front may have a certificate issued for a host.
async fn ask(
    State(state): State<AdminState>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if !state.routes.is_complete() {
        return ready(State(state)).await;
    }
    let host = query.get("domain").map(String::as_str).unwrap_or_default();
    match state.issuance.judge(host, &state.routes, state.clock.now()) {
        Verdict::Yes => "yes\n".into_response(),
        Verdict::No => (StatusCode::NOT_FOUND, "no preview has this host\n").into_response(),
        Verdict::Later => {
            let why = "this domain has had too many certificates this week\n";
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "3600")], why).into_response()
        }
    }
}
