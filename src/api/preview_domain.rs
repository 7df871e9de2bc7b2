//! Preview domains: of the tenant, of a workspace, of a project. The most specific one that is verified is what links are made of.

use std::collections::HashMap;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;

use super::auth::Caller;
use super::fields::Fields;
use super::{ApiState, Problem, domain_record, render};
use crate::model::{Audience, KeyScope, PreviewDomain};
use crate::store::{Registered, StoreError};
use crate::verify::Dispute;

/// The longest id of a workspace or project, characters.
const LONGEST_ID: usize = 255;
/// The longest name that is looked at, characters.
const LONGEST_NAME: usize = 300;

pub(super) fn routes() -> Router<ApiState> {
    let levels = ["/tenant", "/workspaces/{workspace}", "/projects/{project}"];
    levels.into_iter().fold(Router::new(), |router, level| {
        router
            .route(&format!("{level}/preview-domain"), get(show).put(register).delete(remove))
            .route(&format!("{level}/preview-domain/verify"), post(verify))
    })
}

/// Whose domain a path is about.
pub(super) struct Of(pub(super) Audience);

impl FromRequestParts<ApiState> for Of {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let path: Result<Path<HashMap<String, String>>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let named = path.map_err(|_| Problem::not_found("resource"))?.0;
        let id = |name: &str| {
            let id = named.get(name)?;
            Some((1..=LONGEST_ID).contains(&id.chars().count()).then(|| id.as_str().into()))
        };
        let audience = match (id("workspace"), id("project")) {
            (Some(id), _) => id.map(Audience::Workspace),
            (_, Some(id)) => id.map(Audience::Project),
            (None, None) => Some(Audience::Tenant),
        };
        audience.map(Self).ok_or_else(|| Problem::not_found("resource"))
    }
}

/// The domain of an audience: the newest, if the operator has entered several.
async fn find(
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
) -> Result<Option<PreviewDomain>, Problem> {
    let domains = state.store.domains(caller.tenant).await?;
    Ok(domains.into_iter().find(|domain| domain.route.audience == *audience))
}

async fn answer(
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
    domain: Option<&PreviewDomain>,
) -> Result<Json<Value>, Problem> {
    let zones = render::zone(state, caller.tenant).await?;
    let resolved = match audience {
        Audience::Tenant => zones.resolve(None, None),
        Audience::Workspace(id) => zones.resolve(Some(id), None),
        Audience::Project(id) => zones.resolve(None, Some(id)),
    };
    Ok(Json(domain_record::preview_domain(state, caller.tenant, audience, (domain, resolved))))
}

async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Of(audience): Of,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantRead])?;
    let domain = find(&state, &caller, &audience).await?;
    answer(&state, &caller, &audience, domain.as_ref()).await
}

/// Registers a domain in place of the one before. The same domain again changes nothing.
async fn register(
    State(state): State<ApiState>,
    caller: Caller,
    Of(audience): Of,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let field = if fields.has("preview_domain") { "preview_domain" } else { "domain" };
    let sent = fields.text(field, LONGEST_NAME).flatten();
    fields.finish()?;
    let name = domain_record::name(&state, field, sent.as_deref())?;
    let others = state.store.domains(caller.tenant).await?;
    let others = others.iter().filter(|domain| domain.route.audience != audience).count();
    domain_record::bounded(others)?;
    let store = caller.store(&state);
    let yielding = match state.verifier.settle(&store, &name, caller.tenant).await? {
        Dispute::Won(rivals) => rivals,
        Dispute::Lost(proof) => return Err(domain_record::taken(&proof)),
    };
    let registered = store.register_domain(&name, caller.tenant, &audience, &yielding).await;
    let domain = match registered {
        Ok(Registered::Fresh(domain, version)) => {
            state.follower.reached(version).await?;
            domain
        }
        Ok(Registered::Before(domain)) => domain,
        Err(StoreError::Exists) => {
            let message = "Domain already registered for others of your own sandboxes";
            return Err(Problem::new(StatusCode::CONFLICT, "CONFLICT", message));
        }
        Err(error) => return Err(error.into()),
    };
    answer(&state, &caller, &audience, Some(&domain)).await
}

/// Asks DNS now. What is not right yet is no error.
async fn verify(
    State(state): State<ApiState>,
    caller: Caller,
    Of(audience): Of,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    let missing = || Problem::not_found("preview domain");
    let domain = find(&state, &caller, &audience).await?.ok_or_else(missing)?;
    let checked = state.verifier.domain(&caller.store(&state), &domain).await?;
    if let Some(version) = checked.version {
        state.follower.reached(version).await?;
    }
    answer(&state, &caller, &audience, Some(&checked.now)).await
}

async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Of(audience): Of,
) -> Result<StatusCode, Problem> {
    caller.needs(&[KeyScope::TenantWrite])?;
    if let Some(domain) = find(&state, &caller, &audience).await? {
        let name = &domain.route.domain;
        match caller.store(&state).delete_domain_of(name, caller.tenant).await {
            Ok(version) => state.follower.reached(version).await?,
            // Gone meanwhile.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
