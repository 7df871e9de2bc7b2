//! Workspaces: groups of sandboxes, which a tenant finds again by its own ids of them.

use axum::response::Response;

use super::filter;
use super::listing::Paging;
use super::prelude::*;
use crate::control::store::{NewWorkspace, SandboxFilter, WorkspaceKey, WorkspacePatch};
use crate::model::{Attributes, TenantId};

/// The longest slug, characters.
const SLUG: usize = 63;

endpoints!(
    [list_workspaces, create_workspace],
    [get_workspace, update_workspace, delete_workspace],
    [list_workspace_sandboxes]
);

fn name(fields: &mut Fields) -> Option<String> {
    let sent = fields.has("name");
    let name = fields.text("name").flatten();
    if sent && name.as_ref().is_none_or(|name| name.trim().is_empty()) {
        fields.error("name", "must not be empty");
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
#[utoipa::path(post, path = "/workspaces", security(("api_key" = ["sandboxes:create", "sandboxes:write", "tenant:write"])), request_body = shapes::WorkspaceOrder,
    responses((status = 201, body = shapes::ProvidedWorkspace), (status = 200, body = shapes::ProvidedWorkspace, description = "It was there before"),
    (status = 409, description = "`WORKSPACE_NAME_EXISTS`: a workspace has this name, see `existing`. `SLUG_TAKEN`: one has this slug")))]
async fn create_workspace(caller: Caller, mut fields: Fields) -> Made {
    caller.must_be_unbound()?;
    let new = NewWorkspace {
        name: name(&mut fields).unwrap_or_default(),
        slug: slug(&mut fields),
        description: fields.text("description").flatten(),
        metadata: fields.free("metadata").unwrap_or_default(),
        external_workspace_id: fields.text("external_workspace_id").flatten(),
        external_user_id: fields.text("external_user_id").flatten(),
        allow_duplicate_name: fields.flag("allow_duplicate_name").unwrap_or(false),
    };
    fields.finish()?;
    let (workspace, reused) = caller.state.store.provide_workspace(caller.tenant, new).await?;
    let status = if reused { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(shapes::ProvidedWorkspace::of(&workspace, reused).into())))
}

/// List workspaces.
///
/// Oldest first.
#[utoipa::path(get, path = "/workspaces", security(("api_key" = ["tenant:read", "tenant:write", "sandboxes:read"])), params(shapes::WorkspaceQuery, shapes::PageQuery),
    responses((status = 200, body = shapes::WorkspacePage)))]
async fn list_workspaces(caller: Caller, Query(query): Asked) -> Shown {
    caller.must_be_unbound()?;
    let paging = Paging::read(&query)?;
    let wanted = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let is = |asked: Option<&String>, own: Option<&String>| asked.is_none() || asked == own;
    let mut all = caller.state.store.workspaces(caller.tenant).await?;
    all.retain(|workspace| {
        is(wanted("name"), Some(&workspace.name))
            && is(wanted("slug"), Some(&workspace.slug))
            && is(wanted("external_workspace_id"), workspace.external_workspace_id.as_ref())
            && is(wanted("external_user_id"), workspace.external_user_id.as_ref())
    });
    Ok(paging.page(&all, shapes::Workspace::of))
}

/// Get a workspace.
#[utoipa::path(get, path = "/workspaces/{id}", security(("api_key" = ["tenant:read", "tenant:write", "sandboxes:read"])),
    responses((status = 200, body = shapes::WorkspaceData)))]
async fn get_workspace(caller: Caller, Path(path): Path<String>) -> Shown {
    caller.must_be_unbound()?;
    let workspace = caller.state.store.workspace(caller.tenant, id(&path, "workspace")?).await?;
    data(shapes::Workspace::of(&workspace))
}

/// Update a workspace.
#[utoipa::path(patch, path = "/workspaces/{id}", security(("api_key" = ["sandboxes:create", "sandboxes:write", "tenant:write"])), request_body = shapes::WorkspaceChange,
    responses((status = 200, body = shapes::WorkspaceData),
    (status = 409, description = "`WORKSPACE_NAME_EXISTS`: another workspace has this name, see `existing`")))]
async fn update_workspace(caller: Caller, Path(path): Path<String>, mut fields: Fields) -> Shown {
    caller.must_be_unbound()?;
    let patch = WorkspacePatch {
        name: name(&mut fields),
        description: fields.text("description"),
        metadata: fields.free("metadata"),
        allow_duplicate_name: fields.flag("allow_duplicate_name").unwrap_or(false),
    };
    fields.finish()?;
    let store = &caller.state.store;
    let workspace = store.update_workspace(caller.tenant, id(&path, "workspace")?, patch).await?;
    data(shapes::Workspace::of(&workspace))
}

/// Delete a workspace.
///
/// Its sandboxes stay and keep its id.
#[utoipa::path(delete, path = "/workspaces/{id}", security(("api_key" = ["sandboxes:create", "sandboxes:write", "tenant:write"])), responses((status = 204)))]
async fn delete_workspace(caller: Caller, Path(path): Path<String>) -> Done {
    caller.must_be_unbound()?;
    caller.state.store.delete_workspace(caller.tenant, id(&path, "workspace")?).await?;
    DONE
}

/// List the sandboxes in a workspace.
#[utoipa::path(get, path = "/workspaces/{id}/sandboxes", security(("api_key" = ["sandboxes:read"])), params(shapes::PageQuery),
    responses((status = 200, body = shapes::SandboxPage)))]
async fn list_workspace_sandboxes(
    caller: Caller,
    Path(path): Path<String>,
    Query(query): Asked,
) -> Result<Response, Problem> {
    caller.must_be_unbound()?;
    let paging = Paging::read(&query)?;
    let workspace = caller.state.store.workspace(caller.tenant, id(&path, "workspace")?).await?;
    let workspace_id = Some(workspace.id.to_string());
    let filter = SandboxFilter { workspace_id, ..SandboxFilter::default() };
    filter::list(caller.state, caller.tenant, filter, paging).await
}

/// Puts a sandbox into the workspace that the fields name by its id, its slug, its name or the tenant's own id of it. An id may be one that
/// we know nothing of; what else names no workspace is an error.
pub(super) async fn place(
    state: &ApiState,
    tenant: TenantId,
    fields: &mut Fields,
    attributes: &mut Attributes,
) -> Result<(), Problem> {
    if fields.has("workspace_id") {
        return Ok(());
    }
    let slug = fields.text("workspace_slug").flatten();
    let name = fields.text("workspace_name").flatten();
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
        None => fields.error(field, "does not name a workspace"),
    }
    Ok(())
}
