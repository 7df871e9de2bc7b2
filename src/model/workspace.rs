//! A workspace: a group of a tenant's sandboxes.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{TenantId, WorkspaceId};

/// A workspace as stored. Nothing here routes.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// A short name, unique among the tenant's workspaces.
    pub slug: String,
    /// What it is for.
    pub description: Option<String>,
    /// Free-form data of the tenant's.
    pub metadata: Map<String, Value>,
    /// The tenant's own id of it.
    pub external_workspace_id: Option<String>,
    /// The tenant's own id of the end user whose it is.
    pub external_user_id: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
