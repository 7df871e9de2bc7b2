//! Workspaces: groups of sandboxes, which a tenant finds again by its own ids of them.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::{EXTERNAL_ID, Fields};
use super::listing::Paging;
use super::shapes::{
    PageQuery, ProvidedWorkspace, SandboxPage, WorkspaceChange, WorkspaceData, WorkspaceOrder,
    WorkspacePage, WorkspaceQuery, workspace_shown,
};
use super::{ApiState, Problem, filter};
use crate::control::store::{NewWorkspace, SandboxFilter, WorkspaceKey, WorkspacePatch};
use crate::model::{Attributes, KeyScope, TenantId, WorkspaceId};

/// Longest texts, characters.
const NAME: usize = 200;
const SLUG: usize = 63;
const DESCRIPTION: usize = 2000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
        .routes(routes!(sandboxes))
}

const READ: &[KeyScope] = &[KeyScope::TenantRead, KeyScope::TenantWrite, KeyScope::SandboxesRead];
const WRITE: &[KeyScope] =
    &[KeyScope::TenantWrite, KeyScope::SandboxesCreate, KeyScope::SandboxesWrite];

fn id(text: &str) -> Result<WorkspaceId, Problem> {
    text.parse().map_err(|_| Problem::not_found("workspace"))
}

fn name(fields: &mut Fields) -> Option<String> {
    let sent = fields.has("name");
    let name = fields.text("name", NAME).flatten();
    if sent && name.as_ref().is_none_or(|name| name.trim().is_empty()) {
        fields.fault("name", "must not be empty");
    }
    name
}

fn slug(fields: &mut Fields) -> Option<String> {
    let must = "must be 1 to 63 of a-z, 0-9 and -, and must not start or end with -";
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let read = |value: &Value| {
        let slug = value.as_str().filter(|slug| (1..=SLUG).contains(&slug.len()))?;
        let good = slug.bytes().all(plain) && !slug.starts_with('-') && !slug.ends_with('-');
        good.then(|| slug.to_owned())
    };
    fields.get("slug", must, read).flatten()
}
/// Create or reuse a workspace.
///
/// If one has the same `external_workspace_id`, it is returned and the other fields are ignored.
#[utoipa::path(
    post, path = "/workspaces", tag = "Workspaces", operation_id = "create_workspace", security(("api_key" = ["sandboxes:create"]), ("api_key" = ["sandboxes:write"]), ("api_key" = ["tenant:write"])), request_body = WorkspaceOrder,
    responses((status = 201, body = ProvidedWorkspace), (status = 200, body = ProvidedWorkspace, description = "It was there before"),
        (status = 409, description = "`WORKSPACE_NAME_EXISTS`: a workspace has this name, see `existing`. `SLUG_TAKEN`: one has this slug")),
)]
async fn create(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    caller.must_be_unbound()?;
    caller.needs(WRITE)?;
    if !fields.has("name") {
        fields.fault("name", "is required");
    }
    let new = NewWorkspace {
        name: name(&mut fields).unwrap_or_default(),
        slug: slug(&mut fields),
        description: fields.text("description", DESCRIPTION).flatten(),
        metadata: fields.free("metadata").unwrap_or_default(),
        external_workspace_id: fields.text("external_workspace_id", EXTERNAL_ID).flatten(),
        external_user_id: fields.text("external_user_id", EXTERNAL_ID).flatten(),
        allow_duplicate_name: fields.flag("allow_duplicate_name").unwrap_or(false),
    };
    fields.finish()?;
    let (workspace, reused) = caller.store(&state).provide_workspace(caller.tenant, new).await?;
    let status = if reused { StatusCode::OK } else { StatusCode::CREATED };
    let answer = json!({ "data": workspace_shown(&workspace), "reused": reused });
    Ok((status, Json(answer)).into_response())
}
/// List workspaces.
///
/// Oldest first.
#[utoipa::path(
    get, path = "/workspaces", tag = "Workspaces", operation_id = "list_workspaces", security(("api_key" = ["tenant:read"]), ("api_key" = ["tenant:write"]), ("api_key" = ["sandboxes:read"])), params(WorkspaceQuery, PageQuery),
    responses((status = 200, body = WorkspacePage)),
)]
async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    caller.must_be_unbound()?;
    caller.needs(READ)?;
    let paging = Paging::read(&query)?;
    let wanted = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let is = |asked: Option<&String>, own: Option<&String>| asked.is_none() || asked == own;
    let mut all = state.store.workspaces(caller.tenant).await?;
    all.retain(|workspace| {
        is(wanted("name"), Some(&workspace.name))
            && is(wanted("slug"), Some(&workspace.slug))
            && is(wanted("external_workspace_id"), workspace.external_workspace_id.as_ref())
            && is(wanted("external_user_id"), workspace.external_user_id.as_ref())
    });
    let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let skip = usize::try_from(paging.offset).unwrap_or(usize::MAX);
    let take = paging.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let page = all.iter().skip(skip).take(take).map(workspace_shown).collect();
    Ok(Json(paging.wrap(page, total)))
}
/// Get a workspace.
#[utoipa::path(
    get, path = "/workspaces/{id}", tag = "Workspaces", operation_id = "get_workspace", security(("api_key" = ["tenant:read"]), ("api_key" = ["tenant:write"]), ("api_key" = ["sandboxes:read"])),
    responses((status = 200, body = WorkspaceData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.must_be_unbound()?;
    caller.needs(READ)?;
    let workspace = state.store.workspace(caller.tenant, id(&path)?).await?;
    Ok(Json(json!({ "data": workspace_shown(&workspace) })))
}
/// Update a workspace.
#[utoipa::path(
    patch, path = "/workspaces/{id}", tag = "Workspaces", operation_id = "update_workspace", security(("api_key" = ["sandboxes:create"]), ("api_key" = ["sandboxes:write"]), ("api_key" = ["tenant:write"])), request_body = WorkspaceChange,
    responses((status = 200, body = WorkspaceData),
        (status = 409, description = "`WORKSPACE_NAME_EXISTS`: another workspace has this name, see `existing`")),
)]
async fn update(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.must_be_unbound()?;
    caller.needs(WRITE)?;
    let patch = WorkspacePatch {
        name: name(&mut fields),
        description: fields.text("description", DESCRIPTION),
        metadata: fields.free("metadata"),
        allow_duplicate_name: fields.flag("allow_duplicate_name").unwrap_or(false),
    };
    fields.finish()?;
    let store = caller.store(&state);
    let workspace = store.update_workspace(caller.tenant, id(&path)?, patch).await?;
    Ok(Json(json!({ "data": workspace_shown(&workspace) })))
}
/// Delete a workspace.
///
/// Its sandboxes stay and keep its id.
#[utoipa::path(
    delete, path = "/workspaces/{id}", tag = "Workspaces", operation_id = "delete_workspace", security(("api_key" = ["sandboxes:create"]), ("api_key" = ["sandboxes:write"]), ("api_key" = ["tenant:write"])),
    responses((status = 204, description = "Done")),
)]
async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.must_be_unbound()?;
    caller.needs(WRITE)?;
    caller.store(&state).delete_workspace(caller.tenant, id(&path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
/// List the sandboxes in a workspace.
#[utoipa::path(
    get, path = "/workspaces/{id}/sandboxes", tag = "Workspaces", operation_id = "list_workspace_sandboxes", security(("api_key" = ["sandboxes:read"])), params(PageQuery),
    responses((status = 200, body = SandboxPage)),
)]
async fn sandboxes(
    State(state): State<ApiState>,
    caller: Caller,
    Path(path): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    caller.must_be_unbound()?;
    caller.needs(&[KeyScope::SandboxesRead])?;
    let paging = Paging::read(&query)?;
    let workspace = state.store.workspace(caller.tenant, id(&path)?).await?;
    let workspace_id = Some(workspace.id.to_string());
    let filter = SandboxFilter { workspace_id, ..SandboxFilter::default() };
    filter::answer(state, caller.tenant, filter, paging).await
}

/// Puts a sandbox into the workspace that the fields name by its id, its slug, its name or the tenant's own id of it. An id may be one that
/// we know nothing of; what else names no workspace is a fault.
pub(super) async fn place(
    state: &ApiState,
    tenant: TenantId,
    fields: &mut Fields,
    attributes: &mut Attributes,
) -> Result<(), Problem> {
    if fields.has("workspace_id") {
        return Ok(());
    }
    let slug = fields.text("workspace_slug", NAME).flatten();
    let name = fields.text("workspace_name", NAME).flatten();
    let (field, key) = match (&slug, &name) {
        (Some(slug), _) => ("workspace_slug", WorkspaceKey::Slug(slug)),
        (None, Some(name)) => ("workspace_name", WorkspaceKey::Name(name)),
        (None, None) => {
            // Too long an id is told by whoever reads the field for itself.
            let external = fields.raw_value("external_workspace_id").and_then(Value::as_str);
            let Some(external) = external else { return Ok(()) };
            let known =
                state.store.find_workspace(tenant, WorkspaceKey::External(external)).await?;
            if let Some(known) = known {
                attributes.workspace_id = Some(known.id.to_string());
            }
            return Ok(());
        }
    };
    match state.store.find_workspace(tenant, key).await? {
        Some(known) => attributes.workspace_id = Some(known.id.to_string()),
        None => fields.fault(field, "does not name a workspace"),
    }
    Ok(())
}
