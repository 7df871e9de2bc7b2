//! What the follower reads: everything at once, or one sandbox.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use super::rows::{Columns, millis};
use super::tenants::{custom_domain, domain, tenant};
use super::{RoutedPort, RoutedSandbox, Snapshot, Store, StoreError};
use crate::model::SandboxId;

/// The columns that routing needs, in the order they are read below.
const ROUTED: &str = "id, tenant, slug, state, driver, upstream, address_generation, token_generation, default_port, \
                      profile, external_user_id";

impl Store {
    /// Everything, as of one moment.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut tx: Transaction<'static, Sqlite> =
            self.read.begin().await.map_err(StoreError::Database)?;
        let version =
            sqlx::query("SELECT coalesce(max(version), 0) FROM changes").fetch_one(&mut *tx).await;
        let version = version.map_err(StoreError::Database)?.get(0);
        let all = |sql: &'static str| sqlx::query(sql);
        let tenants =
            all("SELECT * FROM tenants").fetch_all(&mut *tx).await.map_err(StoreError::Database)?;
        let domains =
            all("SELECT domain, tenant, verified_at FROM domains").fetch_all(&mut *tx).await;
        let domains = domains.map_err(StoreError::Database)?;
        let exact = all("SELECT fqdn, sandbox, port FROM custom_domains").fetch_all(&mut *tx).await;
        let exact = exact.map_err(StoreError::Database)?;
        let revoked = sqlx::query(
            "SELECT id, expires_at FROM tokens WHERE revoked_at IS NOT NULL AND expires_at > ?1",
        )
        .bind(millis(self.clock.now()))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        let sandboxes = all_sandboxes(&mut tx).await?;
        drop(tx);
        Ok(Snapshot {
            version,
            tenants: tenants.iter().map(tenant).collect::<Result<_, _>>()?,
            domains: domains.iter().map(domain).collect::<Result<_, _>>()?,
            custom_domains: exact.iter().map(custom_domain).collect::<Result<_, _>>()?,
            sandboxes,
            revoked_tokens: revoked
                .iter()
                .map(|row| {
                    let mut c = Columns::of(row);
                    Ok((c.id()?, c.moment()?))
                })
                .collect::<Result<_, StoreError>>()?,
            signing_keys: self.signing_keys().await?,
        })
    }

    /// One sandbox, as the follower needs it; `None` when it is gone or destroyed.
    pub async fn routed_sandbox(&self, id: SandboxId) -> Result<Option<RoutedSandbox>, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let sql = sqlx::AssertSqlSafe(format!(
            "SELECT {ROUTED} FROM sandboxes WHERE id = ?1 AND destroyed_at IS NULL"
        ));
        let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&mut *tx).await;
        let Some(row) = row.map_err(StoreError::Database)? else { return Ok(None) };
        let mut sandbox = routed(&row)?;
        let ports = sqlx::query(
            "SELECT port, visibility, profile, expires_at FROM previews WHERE sandbox = ?1 AND deleted_at IS NULL",
        )
        .bind(id.to_string())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        for row in &ports {
            sandbox.ports.push(port(&mut Columns::of(row))?);
        }
        let scopes = sqlx::query("SELECT scope FROM slugs WHERE sandbox = ?1").bind(id.to_string());
        for row in &scopes.fetch_all(&mut *tx).await.map_err(StoreError::Database)? {
            sandbox.slug_scopes.push(row.get(0));
        }
        Ok(Some(sandbox))
    }
}

async fn all_sandboxes(
    tx: &mut Transaction<'static, Sqlite>,
) -> Result<Vec<RoutedSandbox>, StoreError> {
    let mut sandboxes = Vec::new();
    let mut places = HashMap::new();
    let sql =
        sqlx::AssertSqlSafe(format!("SELECT {ROUTED} FROM sandboxes WHERE destroyed_at IS NULL"));
    {
        let mut rows = sqlx::query(sql).fetch(&mut **tx);
        while let Some(row) = rows.try_next().await.map_err(StoreError::Database)? {
            let sandbox = routed(&row)?;
            places.insert(sandbox.id, sandboxes.len());
            sandboxes.push(sandbox);
        }
    }
    {
        let mut rows = sqlx::query("SELECT sandbox, scope FROM slugs").fetch(&mut **tx);
        while let Some(row) = rows.try_next().await.map_err(StoreError::Database)? {
            let mut c = Columns::of(&row);
            if let Some(sandbox) = at(&mut sandboxes, &places, c.id()?) {
                sandbox.slug_scopes.push(c.take()?);
            }
        }
    }
    let mut rows =
        sqlx::query("SELECT sandbox, port, visibility, profile, expires_at FROM previews WHERE deleted_at IS NULL")
            .fetch(&mut **tx);
    while let Some(row) = rows.try_next().await.map_err(StoreError::Database)? {
        let mut c = Columns::of(&row);
        if let Some(sandbox) = at(&mut sandboxes, &places, c.id()?) {
            sandbox.ports.push(port(&mut c)?);
        }
    }
    Ok(sandboxes)
}

fn at<'a>(
    sandboxes: &'a mut [RoutedSandbox],
    places: &HashMap<SandboxId, usize>,
    id: SandboxId,
) -> Option<&'a mut RoutedSandbox> {
    sandboxes.get_mut(*places.get(&id)?)
}

fn routed(row: &SqliteRow) -> Result<RoutedSandbox, StoreError> {
    let mut c = Columns::of(row);
    Ok(RoutedSandbox {
        id: c.id()?,
        tenant: c.id()?,
        slug: c.slug()?,
        state: c.word()?,
        driver: c.word()?,
        upstream: c.optional_json()?,
        address_generation: c.count()?,
        token_generation: c.count()?,
        default_port: c.port()?,
        profile: c.word()?,
        external_user_id: c.take()?,
        ports: Vec::new(),
        slug_scopes: Vec::with_capacity(1),
    })
}

fn port(c: &mut Columns<'_>) -> Result<RoutedPort, StoreError> {
    Ok(RoutedPort {
        port: c.port()?,
        visibility: c.word()?,
        profile: c.optional_word()?,
        expires_at: c.optional_moment()?,
    })
}
