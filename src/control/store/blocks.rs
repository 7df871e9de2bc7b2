//! Takedowns: what an operator closes, and what keeps a tenant from opening it again. What follows from the blocks that stand is written
//! into the rows of sandboxes and tenants in the same transaction, where every reader finds it.

use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteRow;

use super::rows::{self, Columns, Tx, json, millis, moment};
use super::tenants::unique;
use super::{Store, StoreError};
use crate::model::host::{PreviewLabel, SandboxName};
use crate::model::{Block, BlockId, BlockTarget, Blocked, SandboxId, Subject, TenantId, Version};

const COLUMNS: &str = "id, tenant, sandbox, port, host, reason, created_at, lifted_at";

/// The scope of held exact host names; those of slugs are domains, or empty.
const EXACT: &str = "*";

/// A takedown that is asked for.
#[derive(Clone, Debug)]
pub struct NewBlock {
    /// What is to be closed.
    pub target: BlockTarget,
    /// The host that the operator named, if it was a host.
    pub host: Option<String>,
    /// Why; the owner reads it.
    pub reason: String,
}

fn block(row: &SqliteRow) -> Result<Block, StoreError> {
    let mut c = Columns::of(row);
    let (id, tenant) = (c.id()?, c.id()?);
    let sandbox: Option<&str> = c.take()?;
    let sandbox: Option<SandboxId> =
        sandbox.map(str::parse).transpose().map_err(|_| StoreError::Corrupt("id"))?;
    let target = match (sandbox, c.optional_port()?) {
        (Some(sandbox), Some(port)) => BlockTarget::Port(sandbox, port),
        (Some(sandbox), None) => BlockTarget::Sandbox(sandbox),
        (None, _) => BlockTarget::Tenant(tenant),
    };
    Ok(Block {
        id,
        tenant,
        target,
        host: c.take()?,
        reason: c.take()?,
        created_at: c.moment()?,
        lifted_at: c.optional_moment()?,
    })
}

impl Store {
    /// Closes something. [`StoreError::Exists`] when exactly this is closed already.
    pub async fn block(&self, new: NewBlock) -> Result<(Block, Version), StoreError> {
        let mut tx = self.begin().await?;
        let (sandbox, port) = place(new.target);
        let tenant = owner(&mut tx, new.target).await?;
        let made = Block {
            id: BlockId::new(),
            tenant,
            target: new.target,
            host: new.host,
            reason: new.reason,
            created_at: self.clock.now(),
            lifted_at: None,
        };
        sqlx::query(
            "INSERT INTO blocks (id, tenant, sandbox, port, host, reason, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(made.id.to_string())
        .bind(tenant.to_string())
        .bind(sandbox.map(|id| id.to_string()))
        .bind(port)
        .bind(&made.host)
        .bind(&made.reason)
        .bind(millis(made.created_at))
        .execute(&mut *tx)
        .await
        .map_err(|error| unique(error, || StoreError::Exists))?;
        if let Some(sandbox) = sandbox {
            hold_names(&mut tx, &made, sandbox).await?;
        }
        let version = self.settle_blocks(tx, &made).await?;
        Ok((made, version))
    }

    /// Lifts a block.
    pub async fn unblock(&self, id: BlockId) -> Result<(Block, Version), StoreError> {
        let mut tx = self.begin().await?;
        let now = self.clock.now();
        let sql = format!(
            "UPDATE blocks SET lifted_at = ?2 WHERE id = ?1 AND lifted_at IS NULL RETURNING {COLUMNS}"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id.to_string())
            .bind(millis(now))
            .fetch_optional(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        let lifted = row.as_ref().map(block).transpose()?.ok_or(StoreError::NotFound)?;
        let released = sqlx::query("DELETE FROM held_names WHERE block = ?1").bind(id.to_string());
        released.execute(&mut *tx).await.map_err(StoreError::Database)?;
        let version = self.settle_blocks(tx, &lifted).await?;
        Ok((lifted, version))
    }

    /// Blocks, the newest first: those that stand, or lifted ones as well; all, or a tenant's.
    pub async fn blocks(
        &self,
        of: Option<TenantId>,
        with_lifted: bool,
    ) -> Result<Vec<Block>, StoreError> {
        let mut query = QueryBuilder::new(
            "SELECT id, tenant, sandbox, port, host, reason, created_at, lifted_at FROM blocks WHERE 1",
        );
        if !with_lifted {
            query.push(" AND lifted_at IS NULL");
        }
        if let Some(tenant) = of {
            query.push(" AND tenant = ").push_bind(tenant.to_string());
        }
        query.push(" ORDER BY created_at DESC, id DESC");
        let rows = query.build().fetch_all(&self.read).await.map_err(StoreError::Database)?;
        rows.iter().map(block).collect()
    }

    /// A block, standing or lifted.
    pub async fn block_by_id(&self, id: BlockId) -> Result<Block, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM blocks WHERE id = ?1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.to_string());
        let row = row.fetch_optional(&self.read).await.map_err(StoreError::Database)?;
        row.as_ref().map(block).transpose()?.ok_or(StoreError::NotFound)
    }

    /// Writes what now follows from the blocks of what this one is about, tells the owner, and commits.
    async fn settle_blocks(&self, mut tx: Tx, changed: &Block) -> Result<Version, StoreError> {
        let (sandbox, _) = place(changed.target);
        let standing = standing(&mut tx, changed.tenant, sandbox).await?;
        let Some(id) = sandbox else {
            let blocked = standing.first().map(blocked);
            sqlx::query("UPDATE tenants SET blocked = ?2 WHERE id = ?1")
                .bind(changed.tenant.to_string())
                .bind(blocked.as_ref().map(json))
                .execute(&mut *tx)
                .await
                .map_err(StoreError::Database)?;
            return self.commit(tx, &[Subject::Tenant(changed.tenant)]).await;
        };
        let blocked = summary(&standing);
        // A sandbox of a tenant that has been deleted is not there any more.
        let row = sqlx::query("SELECT * FROM sandboxes WHERE id = ?1").bind(id.to_string());
        let row = row.fetch_optional(&mut *tx).await.map_err(StoreError::Database)?;
        if let Some(before) = row.as_ref().map(rows::sandbox).transpose()? {
            sqlx::query("UPDATE sandboxes SET blocked = ?2 WHERE id = ?1")
                .bind(id.to_string())
                .bind(blocked.as_ref().map(json))
                .execute(&mut *tx)
                .await
                .map_err(StoreError::Database)?;
            if before.destroyed_at.is_none() {
                let after = crate::model::Sandbox { blocked, ..before.clone() };
                self.emit_sandbox(&mut tx, Some(&before), &after).await?;
            }
        }
        self.commit(tx, &[Subject::Sandbox(id)]).await
    }
}

fn place(target: BlockTarget) -> (Option<SandboxId>, Option<u16>) {
    match target {
        BlockTarget::Tenant(_) => (None, None),
        BlockTarget::Sandbox(sandbox) => (Some(sandbox), None),
        BlockTarget::Port(sandbox, port) => (Some(sandbox), Some(port)),
    }
}

/// Whose what is to be closed is.
async fn owner(tx: &mut Tx, target: BlockTarget) -> Result<TenantId, StoreError> {
    let (sql, id) = match target {
        BlockTarget::Tenant(id) => ("SELECT id FROM tenants WHERE id = ?1", id.to_string()),
        BlockTarget::Sandbox(id) | BlockTarget::Port(id, _) => {
            ("SELECT tenant FROM sandboxes WHERE id = ?1", id.to_string())
        }
    };
    let row = sqlx::query(sql).bind(id).fetch_optional(&mut **tx).await;
    let row = row.map_err(StoreError::Database)?.ok_or(StoreError::NotFound)?;
    Columns::of(&row).id()
}

/// Blocks that stand on a sandbox, or on its tenant as a whole, the oldest first.
async fn standing(
    tx: &mut Tx,
    tenant: TenantId,
    sandbox: Option<SandboxId>,
) -> Result<Vec<Block>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM blocks WHERE lifted_at IS NULL AND tenant = ?1 AND sandbox IS ?2 \
         ORDER BY created_at, id"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(tenant.to_string())
        .bind(sandbox.map(|id| id.to_string()))
        .fetch_all(&mut **tx)
        .await
        .map_err(StoreError::Database)?;
    rows.iter().map(block).collect()
}

fn blocked(block: &Block) -> Blocked {
    Blocked { reason: block.reason.clone(), since: block.created_at, ports: None }
}

/// What a sandbox's owner reads: that of the whole sandbox, or else of its ports.
fn summary(standing: &[Block]) -> Option<Blocked> {
    let whole = standing.iter().find(|block| matches!(block.target, BlockTarget::Sandbox(_)));
    if let Some(whole) = whole {
        return Some(blocked(whole));
    }
    let ports = standing.iter().filter_map(|block| place(block.target).1);
    let mut ports: Vec<u16> = ports.collect();
    ports.sort_unstable();
    standing.first().map(|first| Blocked { ports: Some(ports), ..blocked(first) })
}

/// Keeps the names of a blocked sandbox from every other, so that what was reported does not come back under the same address.
async fn hold_names(tx: &mut Tx, block: &Block, sandbox: SandboxId) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO held_names (scope, name, block, sandbox) \
         SELECT scope, slug, ?1, ?2 FROM slugs WHERE sandbox = ?2 \
         UNION SELECT '{EXACT}', fqdn, ?1, ?2 FROM custom_domains WHERE sandbox = ?2 \
         UNION SELECT '{EXACT}', ?3, ?1, ?2 WHERE ?3 IS NOT NULL"
    );
    let held = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(block.id.to_string())
        .bind(sandbox.to_string())
        .bind(&block.host)
        .execute(&mut **tx)
        .await;
    held.map(drop).map_err(StoreError::Database)
}

/// Whether a name is held for another sandbox, which is blocked.
pub(super) async fn is_held(
    tx: &mut Tx,
    (scope, name): (&str, &str),
    sandbox: SandboxId,
) -> Result<bool, StoreError> {
    let held = sqlx::query(
        "SELECT 1 FROM held_names WHERE scope = ?1 AND name = ?2 AND sandbox <> ?3 LIMIT 1",
    )
    .bind(scope)
    .bind(name)
    .bind(sandbox.to_string())
    .fetch_optional(&mut **tx)
    .await;
    held.map(|held| held.is_some()).map_err(StoreError::Database)
}

/// Whether an exact host name is held, as itself or because it is how a blocked sandbox is reached below a domain: exact names come before
/// those.
pub(super) async fn is_host_held(
    tx: &mut Tx,
    fqdn: &str,
    sandbox: SandboxId,
) -> Result<bool, StoreError> {
    if is_held(tx, (EXACT, fqdn), sandbox).await? {
        return Ok(true);
    }
    let (label, zone) = fqdn.split_once('.').unwrap_or((fqdn, ""));
    let Ok(PreviewLabel { name, .. }) = PreviewLabel::parse(label) else { return Ok(false) };
    let (sql, name) = match name {
        SandboxName::Slug(slug) => (
            "SELECT 1 FROM held_names WHERE name = ?1 AND sandbox <> ?2 AND scope <> '*' \
             AND (?3 IN (scope, 'sandbox.' || scope) OR (scope = '' AND ?3 IN \
             (SELECT zone.value FROM serving, json_each(facts, '$.zones') zone))) LIMIT 1",
            slug.to_owned(),
        ),
        SandboxName::Id(id) => (
            "SELECT 1 FROM blocks WHERE sandbox = ?1 AND sandbox <> ?2 AND lifted_at IS NULL AND ?3 <> '' LIMIT 1",
            id.to_string(),
        ),
    };
    let held = sqlx::query(sql).bind(name).bind(sandbox.to_string()).bind(zone);
    let held = held.fetch_optional(&mut **tx).await;
    held.map(|held| held.is_some()).map_err(StoreError::Database)
}

impl Store {
    /// Suspends a tenant, or lets it go on (`None`). Says whether anything has changed.
    pub async fn suspend(
        &self,
        tenant: TenantId,
        reason: Option<&str>,
    ) -> Result<Option<Version>, StoreError> {
        let mut tx = self.begin().await?;
        let since = self.clock.now();
        let suspended =
            reason.map(|reason| Blocked { reason: reason.to_owned(), since, ports: None });
        let found =
            sqlx::query("SELECT suspended IS NOT NULL, deleted_at FROM tenants WHERE id = ?1")
                .bind(tenant.to_string())
                .fetch_optional(&mut *tx)
                .await
                .map_err(StoreError::Database)?
                .ok_or(StoreError::NotFound)?;
        let mut c = Columns::of(&found);
        let (was, deleted): (bool, Option<i64>) = (c.take()?, c.take()?);
        // A deleted tenant stays suspended until it is gone.
        if deleted.map(moment).transpose()?.is_some() {
            return Err(StoreError::Busy);
        }
        if !was && suspended.is_none() {
            return Ok(None);
        }
        sqlx::query("UPDATE tenants SET suspended = ?2 WHERE id = ?1")
            .bind(tenant.to_string())
            .bind(suspended.as_ref().map(json))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        self.commit(tx, &[Subject::Tenant(tenant)]).await.map(Some)
    }
}
