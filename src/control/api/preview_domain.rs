//! Preview domains: of the tenant, of a workspace, of a project. The most specific one that is verified is what links are made of.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;

use super::domain_record;
use super::prelude::*;
use super::twins::twin;
use super::zones::Zones;
use crate::control::store::{Registered, StoreError};
use crate::model::{Audience, PreviewDomain as Registration};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let of_workspace = [
        ("/tenant/preview-domain", "/workspaces/{id}/preview-domain"),
        ("_preview_domain\"", "_workspace_preview_domain\""),
        ("the tenant's", "a workspace's"),
    ];
    let of_project = [
        ("/tenant/preview-domain", "/projects/{id}/preview-domain"),
        ("_preview_domain\"", "_project_preview_domain\""),
        ("the tenant's", "a project's"),
    ];
    let domain = || routes!(get_preview_domain, set_preview_domain, delete_preview_domain);
    let verify = || routes!(verify_preview_domain);
    OpenApiRouter::default()
        .routes(domain())
        .routes(verify())
        .routes(twin(&of_workspace, domain()))
        .routes(twin(&of_workspace, verify()))
        .routes(twin(&of_project, domain()))
        .routes(twin(&of_project, verify()))
}

/// Whose domain a path is about.
struct Of(Audience);

impl FromRequestParts<ApiState> for Of {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let matched = parts.extensions.get::<MatchedPath>().cloned();
        let path = matched.as_ref().map_or("", MatchedPath::as_str);
        if path.contains("/tenant/") {
            return Ok(Self(Audience::Tenant));
        }
        let is_of_workspace = path.contains("/workspaces/");
        let named = Path::<String>::from_request_parts(parts, state).await;
        let named = named.ok().filter(|Path(id)| (1..=EXTERNAL_ID).contains(&id.chars().count()));
        let Path(id) = named.ok_or_else(|| Problem::not_found("resource"))?;
        let id = id.as_str().into();
        Ok(Self(if is_of_workspace { Audience::Workspace(id) } else { Audience::Project(id) }))
    }
}

/// The domain of an audience: the newest, if the operator has entered several.
async fn find(caller: &Caller, audience: &Audience) -> Result<Option<Registration>, Problem> {
    let domains = caller.state.store.domains(caller.tenant).await?;
    Ok(domains.into_iter().find(|domain| domain.route.audience == *audience))
}

async fn show(caller: &Caller, audience: &Audience, domain: Option<&Registration>) -> Shown {
    let zones = Zones::of_tenant(&caller.state, caller.tenant).await?;
    let resolved = match audience {
        Audience::Tenant => zones.resolve(None, None),
        Audience::Workspace(id) => zones.resolve(Some(id), None),
        Audience::Project(id) => zones.resolve(None, Some(id)),
    };
    let shown = domain_record::preview_domain(caller, audience, (domain, resolved));
    Ok(Json(shown.into()))
}

/// Get the tenant's preview domain.
#[utoipa::path(get, path = "/tenant/preview-domain", security(("api_key" = ["tenant:read"])), responses((status = 200, body = shapes::PreviewDomain)))]
async fn get_preview_domain(caller: Caller, Of(audience): Of) -> Shown {
    let domain = find(&caller, &audience).await?;
    show(&caller, &audience, domain.as_ref()).await
}

/// Register the tenant's preview domain.
///
/// Replaces the previous one. Registering the same domain again changes nothing.
#[utoipa::path(put, path = "/tenant/preview-domain", security(("api_key" = ["tenant:write"])), request_body = shapes::PreviewDomainOrder,
    responses((status = 200, body = shapes::PreviewDomain),
    (status = 409, description = "`CONFLICT`: the domain, or one above or below it, is registered to another tenant; `details.challenge` settles the dispute")))]
async fn set_preview_domain(caller: Caller, Of(audience): Of, mut fields: Fields) -> Shown {
    let field = if fields.has("preview_domain") { "preview_domain" } else { "domain" };
    let name = domain_record::name(&caller.state, &mut fields, field);
    fields.finish()?;
    let others = caller.state.store.domains(caller.tenant).await?;
    let others = others.iter().filter(|domain| domain.route.audience != audience).count();
    domain_record::bounded(others)?;
    let yielding = domain_record::settle(&caller, &name).await?;
    let store = &caller.state.store;
    let registered = store.register_domain(&name, caller.tenant, &audience, &yielding).await;
    let domain = match registered {
        Ok(Registered::Fresh(domain, version)) => {
            caller.reached(version).await?;
            domain
        }
        Ok(Registered::Before(domain)) => domain,
        Err(StoreError::Exists) => {
            let message = "This domain is already registered for other sandboxes of yours";
            return Err(Problem::new(StatusCode::CONFLICT, "CONFLICT", message));
        }
        Err(error) => return Err(error.into()),
    };
    show(&caller, &audience, Some(&domain)).await
}

/// Verify the DNS of the tenant's preview domain.
///
/// Missing records are not an error: `verified` is false, and `records` says why.
#[utoipa::path(post, path = "/tenant/preview-domain/verify", security(("api_key" = ["tenant:write"])),
    responses((status = 200, body = shapes::PreviewDomain), (status = 404, description = "`NOT_FOUND`: none is registered")))]
async fn verify_preview_domain(caller: Caller, Of(audience): Of) -> Shown {
    let domain = find(&caller, &audience).await?;
    let domain = domain.ok_or_else(|| Problem::not_found("preview domain"))?;
    let checked = caller.state.verifier.domain(&caller.state.store, &domain).await?;
    if let Some(version) = checked.version {
        caller.reached(version).await?;
    }
    show(&caller, &audience, Some(&checked.now)).await
}

/// Delete the tenant's preview domain.
///
/// Deleting it twice is not an error.
#[utoipa::path(delete, path = "/tenant/preview-domain", security(("api_key" = ["tenant:write"])), responses((status = 204)))]
async fn delete_preview_domain(caller: Caller, Of(audience): Of) -> Done {
    let Some(domain) = find(&caller, &audience).await? else { return DONE };
    match caller.state.store.delete_domain_of(&domain.route.domain, caller.tenant).await {
        Ok(version) => caller.done(version).await,
        // Gone meanwhile.
        Err(StoreError::NotFound) => DONE,
        Err(error) => Err(error.into()),
    }
}
