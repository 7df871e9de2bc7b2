//! Preview domains: of the tenant, of a workspace, of a project. The most specific one that is verified is what links are made of.

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{PreviewDomain, PreviewDomainOrder};
use super::{ApiState, Problem, domain_record, render};
use crate::control::store::{Registered, StoreError};
use crate::control::verify::Dispute;
use crate::model::{Audience, KeyScope, PreviewDomain as Registration};

/// The longest id of a workspace or project, characters.
const LONGEST_ID: usize = 255;
/// The longest name that is looked at, characters.
const LONGEST_NAME: usize = 300;

/// Whose domain a path is about, by the kind of path.
const TENANT: u8 = 0;
const WORKSPACE: u8 = 1;
const PROJECT: u8 = 2;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(tenant::show, tenant::register, tenant::remove))
        .routes(routes!(tenant::verify))
        .routes(routes!(workspace::show, workspace::register, workspace::remove))
        .routes(routes!(workspace::verify))
        .routes(routes!(project::show, project::register, project::remove))
        .routes(routes!(project::verify))
}

/// Whose domain a path is about.
pub(super) struct Of<const LEVEL: u8>(Audience);

impl<const LEVEL: u8> FromRequestParts<ApiState> for Of<LEVEL> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        if LEVEL == TENANT {
            return Ok(Self(Audience::Tenant));
        }
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Problem::not_found("resource"));
        };
        if !(1..=LONGEST_ID).contains(&id.chars().count()) {
            return Err(Problem::not_found("resource"));
        }
        let id = id.as_str().into();
        Ok(Self(if LEVEL == WORKSPACE { Audience::Workspace(id) } else { Audience::Project(id) }))
    }
}

/// The operations on the domain of one kind of path: the same ones, each with what the document says.
macro_rules! operations {
    ($module:ident, $level:ident, $path:literal, $verify:literal, [$($id:literal),+], [$($says:literal),+]) => {
        operations!(@ $module, $level, $path, $verify, $($id),+, $($says),+);
    };
    (@ $module:ident, $level:ident, $path:literal, $verify:literal,
     $show_id:literal, $set_id:literal, $verify_id:literal, $delete_id:literal,
     $show:literal, $set:literal, $ask:literal, $delete:literal) => {
        mod $module {
            use super::{
                ApiState, Caller, Fields, Json, KeyScope, Of, PreviewDomain, PreviewDomainOrder, Problem, State, StatusCode,
                Value,
            };

            #[utoipa::path(
                get, path = $path, tag = "Domains", operation_id = $show_id, summary = $show,
                security(("api_key" = ["tenant:read"])),
                responses((status = 200, body = PreviewDomain)),
            )]
            pub(super) async fn show(
                State(state): State<ApiState>,
                caller: Caller,
                Of(audience): Of<{ super::$level }>,
            ) -> Result<Json<Value>, Problem> {
                caller.needs(&[KeyScope::TenantRead])?;
                super::show(&state, &caller, &audience).await
            }

            #[utoipa::path(
                put, path = $path, tag = "Domains", operation_id = $set_id, summary = $set,
                description = "Replaces the previous one. Registering the same domain again changes nothing.",
                security(("api_key" = ["tenant:write"])), request_body = PreviewDomainOrder,
                responses((status = 200, body = PreviewDomain),
                    (status = 409, description = "`CONFLICT`: the domain, or one above or below it, is registered to another tenant; `details.challenge` settles the dispute")),
            )]
            pub(super) async fn register(
                State(state): State<ApiState>,
                caller: Caller,
                Of(audience): Of<{ super::$level }>,
                fields: Fields,
            ) -> Result<Json<Value>, Problem> {
                caller.needs(&[KeyScope::TenantWrite])?;
                super::register(&state, &caller, &audience, fields).await
            }

            #[utoipa::path(
                post, path = $verify, tag = "Domains", operation_id = $verify_id, summary = $ask,
                description = "Missing records are not an error: `verified` is false, and `records` says why.",
                security(("api_key" = ["tenant:write"])),
                responses((status = 200, body = PreviewDomain), (status = 404, description = "`NOT_FOUND`: none is registered")),
            )]
            pub(super) async fn verify(
                State(state): State<ApiState>,
                caller: Caller,
                Of(audience): Of<{ super::$level }>,
            ) -> Result<Json<Value>, Problem> {
                caller.needs(&[KeyScope::TenantWrite])?;
                super::verify(&state, &caller, &audience).await
            }

            #[utoipa::path(
                delete, path = $path, tag = "Domains", operation_id = $delete_id, summary = $delete,
                description = "Deleting it twice is not an error.", security(("api_key" = ["tenant:write"])),
                responses((status = 204, description = "Done")),
            )]
            pub(super) async fn remove(
                State(state): State<ApiState>,
                caller: Caller,
                Of(audience): Of<{ super::$level }>,
            ) -> Result<StatusCode, Problem> {
                caller.needs(&[KeyScope::TenantWrite])?;
                super::remove(&state, &caller, &audience).await
            }
        }
    };
}

operations!(
    tenant,
    TENANT,
    "/tenant/preview-domain",
    "/tenant/preview-domain/verify",
    ["get_preview_domain", "set_preview_domain", "verify_preview_domain", "delete_preview_domain"],
    [
        "Get the tenant's preview domain.",
        "Register the tenant's preview domain.",
        "Verify the DNS of the tenant's preview domain.",
        "Delete the tenant's preview domain."
    ]
);
operations!(
    workspace,
    WORKSPACE,
    "/workspaces/{id}/preview-domain",
    "/workspaces/{id}/preview-domain/verify",
    [
        "get_workspace_preview_domain",
        "set_workspace_preview_domain",
        "verify_workspace_preview_domain",
        "delete_workspace_preview_domain"
    ],
    [
        "Get a workspace's preview domain.",
        "Register a workspace's preview domain.",
        "Verify the DNS of a workspace's preview domain.",
        "Delete a workspace's preview domain."
    ]
);
operations!(
    project,
    PROJECT,
    "/projects/{id}/preview-domain",
    "/projects/{id}/preview-domain/verify",
    [
        "get_project_preview_domain",
        "set_project_preview_domain",
        "verify_project_preview_domain",
        "delete_project_preview_domain"
    ],
    [
        "Get a project's preview domain.",
        "Register a project's preview domain.",
        "Verify the DNS of a project's preview domain.",
        "Delete a project's preview domain."
    ]
);

/// The domain of an audience: the newest, if the operator has entered several.
async fn find(
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
) -> Result<Option<Registration>, Problem> {
    let domains = state.store.domains(caller.tenant).await?;
    Ok(domains.into_iter().find(|domain| domain.route.audience == *audience))
}

async fn answer(
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
    domain: Option<&Registration>,
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
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
) -> Result<Json<Value>, Problem> {
    let domain = find(state, caller, audience).await?;
    answer(state, caller, audience, domain.as_ref()).await
}

/// Registers a domain in place of the one before. The same domain again changes nothing.
async fn register(
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    let field = if fields.has("preview_domain") { "preview_domain" } else { "domain" };
    let sent = fields.text(field, LONGEST_NAME).flatten();
    fields.finish()?;
    let name = domain_record::name(state, field, sent.as_deref())?;
    let others = state.store.domains(caller.tenant).await?;
    let others = others.iter().filter(|domain| domain.route.audience != *audience).count();
    domain_record::bounded(others)?;
    let store = caller.store(state);
    let yielding = match state.verifier.settle(&store, &name, caller.tenant).await? {
        Dispute::Won(rivals) => rivals,
        Dispute::Lost(proof) => return Err(domain_record::taken(&proof)),
    };
    let registered = store.register_domain(&name, caller.tenant, audience, &yielding).await;
    let domain = match registered {
        Ok(Registered::Fresh(domain, version)) => {
            state.follower.reached(version).await?;
            domain
        }
        Ok(Registered::Before(domain)) => domain,
        Err(StoreError::Exists) => {
            let message = "This domain is already registered for other sandboxes of yours";
            return Err(Problem::new(StatusCode::CONFLICT, "CONFLICT", message));
        }
        Err(error) => return Err(error.into()),
    };
    answer(state, caller, audience, Some(&domain)).await
}

/// Asks DNS now. What is not right yet is no error.
async fn verify(
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
) -> Result<Json<Value>, Problem> {
    let missing = || Problem::not_found("preview domain");
    let domain = find(state, caller, audience).await?.ok_or_else(missing)?;
    let checked = state.verifier.domain(&caller.store(state), &domain).await?;
    if let Some(version) = checked.version {
        state.follower.reached(version).await?;
    }
    answer(state, caller, audience, Some(&checked.now)).await
}

async fn remove(
    state: &ApiState,
    caller: &Caller,
    audience: &Audience,
) -> Result<StatusCode, Problem> {
    if let Some(domain) = find(state, caller, audience).await? {
        let name = &domain.route.domain;
        match caller.store(state).delete_domain_of(name, caller.tenant).await {
            Ok(version) => state.follower.reached(version).await?,
            // Gone meanwhile.
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
