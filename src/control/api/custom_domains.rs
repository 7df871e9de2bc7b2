//! Exact host names that lead to one sandbox.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::listing::Paging;
use super::shapes::{
    CustomDomainData, CustomDomainOrder, CustomDomainPage, CustomDomainQuery, PageQuery,
};
use super::{ApiState, Problem, domain_record};
use crate::control::store::StoreError;
use crate::control::verify::Dispute;
use crate::model::{CustomDomain, ExactDomain, KeyScope, SandboxState};

/// The longest name that is looked at, characters.
const LONGEST_NAME: usize = 300;
/// The names of the field that holds the name.
const NAMES: [&str; 3] = ["fqdn", "domain", "hostname"];

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show, remove))
        .routes(routes!(verify))
}

async fn find(state: &ApiState, caller: &Caller, named: &str) -> Result<ExactDomain, Problem> {
    let named = named.trim_end_matches('.').to_ascii_lowercase();
    state.store.exact_domain(caller.tenant, &named).await.map_err(|error| match error {
        StoreError::NotFound => Problem::not_found("custom domain"),
        other => other.into(),
    })
}

/// List exact host names.
#[utoipa::path(
    get, path = "/custom-domains", tag = "Domains", operation_id = "list_custom_domains", security(("api_key" = ["tenant:read"])),
    params(CustomDomainQuery, PageQuery),
    responses((status = 200, body = CustomDomainPage)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let paging = Paging::read(&query)?;
    let mut all = state.store.exact_domains(caller.tenant).await?;
    if let Some(sandbox) = query.get("sandbox_id") {
        all.retain(|exact| exact.route.sandbox.to_string() == *sandbox);
    }
    let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let skip = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let take = paging.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let page = all.iter().skip(skip).take(take);
    let items = page.map(|exact| domain_record::exact(&state, exact)).collect();
    Ok(Json(paging.wrap(items, total)))
}

/// Register an exact host name.
///
/// It routes to its sandbox once its DNS points here.
#[utoipa::path(
    post, path = "/custom-domains", tag = "Domains", operation_id = "create_custom_domain", security(("api_key" = ["tenant:write"])), request_body = CustomDomainOrder,
    responses((status = 201, body = CustomDomainData), (status = 404, description = "`NOT_FOUND`: there is no such sandbox"),
        (status = 409, description = "`CONFLICT`: the name is registered, or it is at, above or below one that is registered to another tenant")),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let field = NAMES.into_iter().find(|name| fields.has(name)).unwrap_or("fqdn");
    let sent = fields.text(field, LONGEST_NAME).flatten();
    let sandbox = fields.text("sandbox_id", LONGEST_NAME).flatten();
    let port = fields.port("port");
    fields.finish()?;
    let fqdn = domain_record::name(&state, field, sent.as_deref())?;
    let sandbox = sandbox.ok_or_else(|| Problem::field("sandbox_id", "is required"))?;
    let sandbox = caller.sandbox(&state, &sandbox).await?;
    if sandbox.state == SandboxState::Destroyed {
        return Err(Problem::not_found("sandbox"));
    }
    domain_record::bounded(state.store.exact_domains(caller.tenant).await?.len())?;
    let store = caller.store(&state);
    let yielding = match state.verifier.settle(&store, &fqdn, caller.tenant).await? {
        Dispute::Won(rivals) => rivals,
        Dispute::Lost(proof) => return Err(domain_record::taken(&proof)),
    };
    let exact = CustomDomain { fqdn, sandbox: sandbox.id, port };
    let (made, version) = store.register_custom_domain(exact, caller.tenant, &yielding).await?;
    state.follower.reached(version).await?;
    let shown = Json(json!({ "data": domain_record::exact(&state, &made) }));
    Ok((StatusCode::CREATED, shown).into_response())
}

/// Get an exact host name.
#[utoipa::path(
    get, path = "/custom-domains/{id}", tag = "Domains", operation_id = "get_custom_domain", security(("api_key" = ["tenant:read"])),
    responses((status = 200, body = CustomDomainData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(named): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let exact = find(&state, &caller, &named).await?;
    Ok(Json(json!({ "data": domain_record::exact(&state, &exact) })))
}

/// Verify the DNS of an exact host name.
///
/// Missing records are not an error: `verified` is false, and `records` says why.
#[utoipa::path(
    post, path = "/custom-domains/{id}/verify", tag = "Domains", operation_id = "verify_custom_domain", security(("api_key" = ["tenant:write"])),
    responses((status = 200, body = CustomDomainData)),
)]
async fn verify(
    State(state): State<ApiState>,
    caller: Caller,
    Path(named): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let exact = find(&state, &caller, &named).await?;
    let checked = state.verifier.exact(&caller.store(&state), &exact).await?;
    if let Some(version) = checked.version {
        state.follower.reached(version).await?;
    }
    Ok(Json(json!({ "data": domain_record::exact(&state, &checked.now) })))
}

/// Delete an exact host name.
#[utoipa::path(
    delete, path = "/custom-domains/{id}", tag = "Domains", operation_id = "delete_custom_domain", security(("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Path(named): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let exact = find(&state, &caller, &named).await?;
    let fqdn = &exact.route.fqdn;
    let version = caller.store(&state).delete_custom_domain_of(fqdn, caller.tenant).await?;
    state.follower.reached(version).await?;
    Ok(StatusCode::NO_CONTENT)
}
