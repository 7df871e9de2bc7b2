//! The operator API, on the admin listener: the same as the commands, for whoever has the operator's token. Without it nothing is told and
//! nothing is done, wherever the listener is: a page in a browser on the same machine reaches loopback too, and has no such token.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Operator, OperatorError, begin_deleting_tenant, block, find, named_tenant, operator_token,
    show_block, show_tenant, suspend_tenant, unblock,
};
use crate::base::clock::Clock;
use crate::base::condition::warn_seldom;
use crate::control::follow::Follower;
use crate::control::store::{Actor, ActorKind, Store, StoreError};
use crate::model::Version;
use crate::routing::Routes;

/// The longest body.
const BODY: usize = 64 << 10;

/// What the API works with.
#[derive(Clone, Debug)]
pub struct OperatorApi {
    /// The store.
    pub store: Store,
    /// The tables.
    pub routes: Arc<Routes>,
    /// The follower.
    pub follower: Follower,
    /// Wall time.
    pub clock: Clock,
}

/// Everything below `/operator/v1`.
pub fn router(api: OperatorApi) -> Router {
    let routes = Router::new()
        .route("/find", get(find_host))
        .route("/blocks", get(list_blocks).post(create_block))
        .route("/blocks/{block}", delete(lift_block))
        .route("/tenants", get(list_tenants))
        .route("/tenants/{tenant}", delete(remove_tenant))
        .route("/tenants/{tenant}/suspend", post(suspend))
        .route("/tenants/{tenant}/resume", post(resume))
        .fallback(|| async { no_such(StatusCode::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { no_such(StatusCode::METHOD_NOT_ALLOWED) })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(api.clone(), authenticate))
        .with_state(api);
    Router::new().nest("/operator/v1", routes)
}

/// Requires the token, whatever is asked for.
async fn authenticate(
    State(api): State<OperatorApi>,
    mut request: Request,
    next: Next,
) -> Response {
    let shown = bearer(request.headers());
    let known = match operator_token(&api.store).await {
        Ok(known) => known,
        Err(error) => return Refusal(error.into()).into_response(),
    };
    let is_known = |shown: &str| {
        let known = known.as_deref().map(str::as_bytes);
        known.is_some_and(|known| verify_slices_are_equal(shown.as_bytes(), known).is_ok())
    };
    if !shown.is_some_and(is_known) {
        let message = "The operator's token is needed: `Authorization: Bearer …`; `portico operator token` prints it.";
        let body = problem("UNAUTHORIZED", message);
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer")],
            json_body(&body),
        )
            .into_response();
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let actor = Actor {
        kind: ActorKind::Operator,
        id: "operator-api".to_owned(),
        peer: peer.map(|peer| peer.0.ip().to_canonical().to_string()),
        path: Some(request.uri().path().to_owned()),
        changes: OnceLock::new(),
        ..Actor::default()
    };
    let operator = Operator {
        store: api.store.clone(),
        routes: Arc::clone(&api.routes),
        clock: api.clock.clone(),
        actor: Arc::new(actor),
    };
    request.extensions_mut().insert(operator);
    next.run(request).await
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A refusal with the status that fits it.
struct Refusal(OperatorError);

impl From<OperatorError> for Refusal {
    fn from(error: OperatorError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = match &self.0 {
            OperatorError::NotFound(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            OperatorError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_ERROR"),
            OperatorError::Conflict(_) => (StatusCode::CONFLICT, "CONFLICT"),
            OperatorError::Store(error) => {
                warn_seldom("an operator API call failed", error);
                (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE")
            }
        };
        (status, json_body(&problem(code, &self.0.to_string()))).into_response()
    }
}

type ApiResult = Result<Response, Refusal>;

fn problem(code: &str, message: &str) -> Value {
    json!({ "ok": false, "error": { "code": code, "message": message } })
}

fn json_body(value: &Value) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")],
        value.to_string(),
    )
}

fn no_such(status: StatusCode) -> Response {
    (status, json_body(&problem("NOT_FOUND", "There is no such endpoint."))).into_response()
}

fn done(status: StatusCode, data: Value) -> Response {
    (status, json_body(&json!({ "ok": true, "data": data }))).into_response()
}

/// What a call has changed is in effect when it returns, as far as that can be waited for.
async fn in_effect(api: &OperatorApi, version: Version) {
    if let Err(behind) = api.follower.reached(version).await {
        tracing::warn!(%behind, "an operator API call is confirmed before it is in effect");
    }
}

fn body<T: for<'de> Deserialize<'de>>(bytes: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal(OperatorError::Invalid(format!("the body is not valid: {error}"))))
}

#[derive(Deserialize)]
struct FindQuery {
    host: String,
}

async fn find_host(
    Extension(operator): Extension<Operator>,
    Query(query): Query<FindQuery>,
) -> ApiResult {
    Ok(done(StatusCode::OK, find(&operator, &query.host).await?))
}

#[derive(Deserialize)]
struct BlocksQuery {
    #[serde(default)]
    all: bool,
}

async fn list_blocks(
    State(api): State<OperatorApi>,
    Query(query): Query<BlocksQuery>,
) -> ApiResult {
    let blocks = api.store.blocks(None, query.all).await?;
    Ok(done(StatusCode::OK, blocks.iter().map(show_block).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockOrder {
    what: String,
    reason: String,
}

async fn create_block(
    State(api): State<OperatorApi>,
    Extension(operator): Extension<Operator>,
    bytes: Bytes,
) -> ApiResult {
    let order: BlockOrder = body(&bytes)?;
    let (block, version) = block(&operator, &order.what, &order.reason).await?;
    in_effect(&api, version).await;
    Ok(done(StatusCode::CREATED, show_block(&block)))
}

async fn lift_block(
    State(api): State<OperatorApi>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<String>,
) -> ApiResult {
    let (block, version) = unblock(&operator, &id).await?;
    in_effect(&api, version).await;
    Ok(done(StatusCode::OK, show_block(&block)))
}

async fn list_tenants(State(api): State<OperatorApi>) -> ApiResult {
    let tenants = api.store.tenants().await?;
    Ok(done(StatusCode::OK, tenants.iter().map(show_tenant).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SuspendOrder {
    reason: String,
}

async fn suspend(
    State(api): State<OperatorApi>,
    Extension(operator): Extension<Operator>,
    Path(tenant): Path<String>,
    bytes: Bytes,
) -> ApiResult {
    let order: SuspendOrder = body(&bytes)?;
    set_suspended(&api, &operator, &tenant, Some(&order.reason)).await
}

async fn resume(
    State(api): State<OperatorApi>,
    Extension(operator): Extension<Operator>,
    Path(tenant): Path<String>,
) -> ApiResult {
    set_suspended(&api, &operator, &tenant, None).await
}

async fn set_suspended(
    api: &OperatorApi,
    operator: &Operator,
    named: &str,
    reason: Option<&str>,
) -> ApiResult {
    let (_, version) = suspend_tenant(operator, named, reason).await?;
    if let Some(version) = version {
        in_effect(api, version).await;
    }
    let tenant = named_tenant(&api.store, named).await?;
    Ok(done(StatusCode::OK, show_tenant(&tenant)))
}

#[derive(Deserialize)]
struct DeleteQuery {
    #[serde(default)]
    confirm: String,
}

/// Deleting takes a while, and goes on by itself.
async fn remove_tenant(
    State(api): State<OperatorApi>,
    Extension(operator): Extension<Operator>,
    Path(named): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> ApiResult {
    let tenant = named_tenant(&api.store, &named).await?;
    if query.confirm != tenant.name {
        let message = "this cannot be undone: repeat the tenant's name as `confirm`".to_owned();
        return Err(Refusal(OperatorError::Invalid(message)));
    }
    let version = begin_deleting_tenant(&operator, &tenant).await?;
    in_effect(&api, version).await;
    let tenant = named_tenant(&api.store, &named).await;
    let shown = tenant.map_or(json!({ "state": "deleted" }), |tenant| show_tenant(&tenant));
    Ok(done(StatusCode::ACCEPTED, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_from_a_bearer_header_and_from_nowhere_else() {
        let with =
            |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(bearer(&with("Bearer pot_x")), Some("pot_x"));
        assert_eq!(bearer(&with("bearer  pot_x ")), Some("pot_x"));
        for other in ["pot_x", "Basic pot_x", "Bearer"] {
            assert_eq!(bearer(&with(other)), None, "{other}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
