//! Sandboxes as callers see them, with the names of the workspaces that they are in.

use std::collections::HashMap;

use super::reply::{Shown, data};
use super::shapes::{self, Object};
use super::zones::Zones;
use super::{ApiState, Problem};
use crate::control::store::StoreError;
use crate::model::{Sandbox, TenantId, Workspace, WorkspaceId};

/// A sandbox in its envelope.
pub(super) async fn sandbox(state: &ApiState, sandbox: &Sandbox) -> Shown {
    let zones = Zones::of_tenant(state, sandbox.tenant).await?;
    let shown = sandboxes(state, &zones, sandbox.tenant, std::slice::from_ref(sandbox)).await?;
    data(shown.first())
}

/// A tenant's sandboxes.
pub(super) async fn sandboxes(
    state: &ApiState,
    zones: &Zones,
    tenant: TenantId,
    sandboxes: &[Sandbox],
) -> Result<Vec<Object>, Problem> {
    let mut shown: Vec<Object> =
        sandboxes.iter().map(|sandbox| shapes::Sandbox::of(zones, sandbox)).collect();
    let known = workspaces(state, tenant, sandboxes).await?;
    let known: HashMap<String, &Workspace> =
        known.iter().map(|workspace| (workspace.id.to_string(), workspace)).collect();
    for (shown, sandbox) in shown.iter_mut().zip(sandboxes) {
        let id = sandbox.attributes.workspace_id.as_ref();
        if let Some(workspace) = id.and_then(|id| known.get(id)) {
            shown.insert("workspace_name".to_owned(), workspace.name.clone().into());
            shown.insert("workspace_slug".to_owned(), workspace.slug.clone().into());
        }
    }
    Ok(shown)
}

/// The workspaces that sandboxes are in, and perhaps more.
async fn workspaces(
    state: &ApiState,
    tenant: TenantId,
    sandboxes: &[Sandbox],
) -> Result<Vec<Workspace>, Problem> {
    // Most tenants with many sandboxes have few workspaces; one sandbox needs one.
    let ids = sandboxes.iter().filter_map(|sandbox| sandbox.attributes.workspace_id.as_ref());
    let mut ids: Vec<WorkspaceId> = ids.filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.as_slice() {
        [] => Ok(Vec::new()),
        [one] => match state.store.workspace(tenant, *one).await {
            Ok(workspace) => Ok(vec![workspace]),
            Err(StoreError::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        },
        _ => Ok(state.store.workspaces(tenant).await?),
    }
}
