//! How long sandboxes run, and whose they are: kept in the transactions that change them, so that no crash can part the two.

use super::StoreError;
use super::rows::{Columns, Tx, millis};
use crate::model::{Owner, Sandbox, Shape};

/// Begins to count for a sandbox that was just made.
pub(super) async fn begin(tx: &mut Tx, sandbox: &Sandbox) -> Result<(), StoreError> {
    let owner = own(tx, sandbox, &Owner::of(sandbox)).await?;
    match Shape::of(sandbox) {
        Some(shape) => open(tx, sandbox, owner, &shape).await,
        None => Ok(()),
    }
}

/// Follows a change of a sandbox. What stays as it was goes on; whatever differs ends what was, and begins anew.
pub(super) async fn follow(tx: &mut Tx, sandbox: &Sandbox) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT o.id, o.external_user_id, o.external_project_id, o.external_workspace_id, o.workspace_id, \
         s.id, s.running, s.size, s.vcpus, s.memory_mb, s.disk_mb FROM usage_owners o \
         LEFT JOIN usage_spans s ON s.sandbox = o.sandbox AND s.ended_at IS NULL \
         WHERE o.sandbox = ?1 AND o.until IS NULL",
    )
    .bind(sandbox.id.to_string())
    .fetch_one(&mut **tx)
    .await
    .map_err(StoreError::Database)?;
    let mut c = Columns::of(&row);
    let (number, owner) = (c.take::<i64>()?, owner(&mut c)?);
    let before = match c.take::<Option<i64>>()? {
        Some(span) => Some((span, shape(&mut c)?)),
        None => None,
    };
    let (new_owner, after) = (Owner::of(sandbox), Shape::of(sandbox));
    let is_same_owner = owner == new_owner;
    if is_same_owner && before.as_ref().map(|(_, shape)| shape) == after.as_ref() {
        return Ok(());
    }
    if let Some((span, _)) = before {
        close(tx, sandbox, span).await?;
    }
    let number = if is_same_owner {
        number
    } else {
        disown(tx, sandbox).await?;
        own(tx, sandbox, &new_owner).await?
    };
    match after {
        Some(shape) => open(tx, sandbox, number, &shape).await,
        None => Ok(()),
    }
}

/// Reads an owner.
pub(super) fn owner(c: &mut Columns<'_>) -> Result<Owner, StoreError> {
    Ok(Owner {
        external_user_id: c.take()?,
        external_project_id: c.take()?,
        external_workspace_id: c.take()?,
        workspace_id: c.take()?,
    })
}

/// Reads a shape.
pub(super) fn shape(c: &mut Columns<'_>) -> Result<Shape, StoreError> {
    Ok(Shape {
        running: c.take()?,
        size: c.take()?,
        vcpus: c.take()?,
        memory_mb: c.take()?,
        disk_mb: c.take()?,
    })
}

async fn own(tx: &mut Tx, sandbox: &Sandbox, owner: &Owner) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO usage_owners (tenant, sandbox, external_user_id, external_project_id, external_workspace_id, \
         workspace_id, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
    )
    .bind(sandbox.tenant.to_string())
    .bind(sandbox.id.to_string())
    .bind(&owner.external_user_id)
    .bind(&owner.external_project_id)
    .bind(&owner.external_workspace_id)
    .bind(&owner.workspace_id)
    .bind(millis(sandbox.updated_at))
    .fetch_one(&mut **tx)
    .await
    .map_err(StoreError::Database)?;
    Columns::of(&row).take()
}

async fn disown(tx: &mut Tx, sandbox: &Sandbox) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE usage_owners SET until = max(since, ?2) WHERE sandbox = ?1 AND until IS NULL",
    )
    .bind(sandbox.id.to_string())
    .bind(millis(sandbox.updated_at))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(StoreError::Database)
}

async fn open(tx: &mut Tx, sandbox: &Sandbox, owner: i64, shape: &Shape) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO usage_spans (owner, sandbox, running, size, vcpus, memory_mb, disk_mb, started_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(owner)
    .bind(sandbox.id.to_string())
    .bind(shape.running)
    .bind(&shape.size)
    .bind(shape.vcpus)
    .bind(shape.memory_mb)
    .bind(shape.disk_mb)
    .bind(millis(sandbox.updated_at))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(StoreError::Database)
}

/// Whatever the clock did meanwhile, nothing lasts less than no time.
async fn close(tx: &mut Tx, sandbox: &Sandbox, span: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE usage_spans SET ended_at = max(started_at, ?2) WHERE id = ?1")
        .bind(span)
        .bind(millis(sandbox.updated_at))
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(StoreError::Database)
}
