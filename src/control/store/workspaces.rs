//! Workspaces: found again by the tenant's own id of them, and told apart by name.

use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;

use super::audit::Touched;
use super::rows::{Columns, Tx, hits, json, millis};
use super::tenants::unique;
use super::{Store, StoreError};
use crate::model::{TenantId, Workspace, WorkspaceId};

/// The longest slug that is made of a name.
const SLUG: usize = 48;
const COLUMNS: &str = "id, tenant, name, slug, description, metadata, external_workspace_id, external_user_id, created_at, updated_at";

/// What a new workspace is made of.
#[derive(Clone, Debug, Default)]
pub struct NewWorkspace {
    /// What people call it.
    pub name: String,
    /// A short name; `None` = made of the name.
    pub slug: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Free-form data.
    pub metadata: Map<String, Value>,
    /// The tenant's own id of it.
    pub external_workspace_id: Option<String>,
    /// The tenant's own id of the end user whose it is.
    pub external_user_id: Option<String>,
    /// Whether another workspace may have the same name.
    pub allow_duplicate_name: bool,
}

/// A change to a workspace: `None` leaves a field alone; inner `None` clears it.
#[derive(Clone, Debug, Default)]
pub struct WorkspacePatch {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<Option<String>>,
    /// Shallow merge; a JSON null deletes its key.
    pub metadata: Option<Map<String, Value>>,
    /// Whether another workspace may have the same name.
    pub allow_duplicate_name: bool,
}

/// By what a workspace is looked for.
#[derive(Clone, Copy, Debug)]
pub enum WorkspaceKey<'a> {
    /// Its name; of several the newest.
    Name(&'a str),
    /// Its slug.
    Slug(&'a str),
    /// The tenant's own id of it.
    External(&'a str),
}

fn workspace(row: &SqliteRow) -> Result<Workspace, StoreError> {
    let mut c = Columns::of(row);
    Ok(Workspace {
        id: c.id()?,
        tenant: c.id()?,
        name: c.take()?,
        slug: c.take()?,
        description: c.take()?,
        metadata: c.json()?,
        external_workspace_id: c.take()?,
        external_user_id: c.take()?,
        created_at: c.moment()?,
        updated_at: c.moment()?,
    })
}

impl Store {
    /// Makes a workspace, or gives back the one with the same external id; then the second is true. A name that is taken is refused,
    /// unless the caller means it.
    pub async fn provide_workspace(
        &self,
        tenant: TenantId,
        new: NewWorkspace,
    ) -> Result<(Workspace, bool), StoreError> {
        let mut tx = self.begin().await?;
        if let Some(external) = &new.external_workspace_id
            && let Some(known) = found(&mut tx, tenant, WorkspaceKey::External(external)).await?
        {
            return Ok((known, true));
        }
        if !new.allow_duplicate_name {
            must_be_free(&mut tx, tenant, &new.name, None).await?;
        }
        let id = WorkspaceId::new();
        let now = self.clock.now();
        let slug = match new.slug {
            Some(slug) => slug,
            None => free_slug(&mut tx, tenant, &new.name, id).await?,
        };
        let made = Workspace {
            id,
            tenant,
            name: new.name,
            slug,
            description: new.description,
            metadata: new.metadata,
            external_workspace_id: new.external_workspace_id,
            external_user_id: new.external_user_id,
            created_at: now,
            updated_at: now,
        };
        insert(&mut tx, &made).await?;
        self.finish(tx, Touched { kind: "workspace", id: id.to_string(), tenant }).await?;
        Ok((made, false))
    }

    /// A tenant's workspaces, oldest first.
    pub async fn workspaces(&self, tenant: TenantId) -> Result<Vec<Workspace>, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM workspaces WHERE tenant = ?1 AND deleted_at IS NULL ORDER BY id"
        ));
        let rows = sqlx::query(sql).bind(tenant.to_string()).fetch_all(&self.read).await;
        rows.map_err(StoreError::Database)?.iter().map(workspace).collect()
    }

    /// A workspace of a tenant.
    pub async fn workspace(
        &self,
        tenant: TenantId,
        id: WorkspaceId,
    ) -> Result<Workspace, StoreError> {
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM workspaces WHERE tenant = ?1 AND id = ?2 AND deleted_at IS NULL"
        ));
        let row = sqlx::query(sql).bind(tenant.to_string()).bind(id.to_string());
        let row = row.fetch_optional(&self.read).await.map_err(StoreError::Database)?;
        row.as_ref().map(workspace).transpose()?.ok_or(StoreError::NotFound)
    }

    /// A workspace of a tenant by what people know it by.
    pub async fn find_workspace(
        &self,
        tenant: TenantId,
        key: WorkspaceKey<'_>,
    ) -> Result<Option<Workspace>, StoreError> {
        let (sql, value) = by(key);
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tenant.to_string()).bind(value);
        let row = row.fetch_optional(&self.read).await.map_err(StoreError::Database)?;
        row.as_ref().map(workspace).transpose()
    }

    /// Changes a workspace.
    pub async fn update_workspace(
        &self,
        tenant: TenantId,
        id: WorkspaceId,
        patch: WorkspacePatch,
    ) -> Result<Workspace, StoreError> {
        let mut tx = self.begin().await?;
        // Read while nobody else writes.
        let mut changed = self.workspace(tenant, id).await?;
        if let Some(name) = patch.name.filter(|name| *name != changed.name) {
            if !patch.allow_duplicate_name {
                must_be_free(&mut tx, tenant, &name, Some(id)).await?;
            }
            changed.name = name;
        }
        if let Some(description) = patch.description {
            changed.description = description;
        }
        for (key, value) in patch.metadata.unwrap_or_default() {
            if value.is_null() {
                changed.metadata.remove(&key);
            } else {
                changed.metadata.insert(key, value);
            }
        }
        changed.updated_at = self.clock.now();
        sqlx::query("UPDATE workspaces SET name = ?2, description = ?3, metadata = ?4, updated_at = ?5 WHERE id = ?1")
            .bind(id.to_string())
            .bind(&changed.name)
            .bind(&changed.description)
            .bind(json(&changed.metadata))
            .bind(millis(changed.updated_at))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.finish(tx, Touched { kind: "workspace", id: id.to_string(), tenant }).await?;
        Ok(changed)
    }

    /// Removes a workspace. Its sandboxes stay, and go on saying that they were in it.
    pub async fn delete_workspace(
        &self,
        tenant: TenantId,
        id: WorkspaceId,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let query = sqlx::query(
            "UPDATE workspaces SET deleted_at = ?3 WHERE tenant = ?1 AND id = ?2 AND deleted_at IS NULL",
        )
        .bind(tenant.to_string())
        .bind(id.to_string())
        .bind(millis(self.clock.now()));
        hits(&mut tx, query).await?;
        self.finish(tx, Touched { kind: "workspace", id: id.to_string(), tenant }).await
    }
}

fn by(key: WorkspaceKey<'_>) -> (String, &str) {
    let (column, value) = match key {
        WorkspaceKey::Name(value) => ("name", value),
        WorkspaceKey::Slug(value) => ("slug", value),
        WorkspaceKey::External(value) => ("external_workspace_id", value),
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM workspaces WHERE tenant = ?1 AND {column} = ?2 AND deleted_at IS NULL ORDER BY id DESC LIMIT 1"
    );
    (sql, value)
}

async fn found(
    tx: &mut Tx,
    tenant: TenantId,
    key: WorkspaceKey<'_>,
) -> Result<Option<Workspace>, StoreError> {
    let (sql, value) = by(key);
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tenant.to_string()).bind(value);
    let row = row.fetch_optional(&mut **tx).await.map_err(StoreError::Database)?;
    row.as_ref().map(workspace).transpose()
}

async fn must_be_free(
    tx: &mut Tx,
    tenant: TenantId,
    name: &str,
    but: Option<WorkspaceId>,
) -> Result<(), StoreError> {
    match found(tx, tenant, WorkspaceKey::Name(name)).await? {
        Some(known) if Some(known.id) != but => Err(StoreError::WorkspaceExists(Box::new(known))),
        _ => Ok(()),
    }
}

/// The name in small letters; with some digits of the id where that is taken.
async fn free_slug(
    tx: &mut Tx,
    tenant: TenantId,
    name: &str,
    id: WorkspaceId,
) -> Result<String, StoreError> {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= SLUG {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    let slug = if slug.is_empty() { "workspace" } else { slug };
    if found(tx, tenant, WorkspaceKey::Slug(slug)).await?.is_none() {
        return Ok(slug.to_owned());
    }
    // The end of a time-ordered id is the random part.
    let digits = id.0.simple().to_string();
    Ok(format!("{slug}-{}", digits.get(24..).unwrap_or(&digits)))
}

async fn insert(tx: &mut Tx, made: &Workspace) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO workspaces (id, tenant, name, slug, description, metadata, external_workspace_id, external_user_id, \
         created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
    )
    .bind(made.id.to_string())
    .bind(made.tenant.to_string())
    .bind(&made.name)
    .bind(&made.slug)
    .bind(&made.description)
    .bind(json(&made.metadata))
    .bind(&made.external_workspace_id)
    .bind(&made.external_user_id)
    .bind(millis(made.created_at))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(|error| unique(error, || StoreError::SlugTaken))
}
