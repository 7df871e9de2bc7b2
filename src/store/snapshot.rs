//! What the follower reads: everything at once, or one sandbox.
//!
//! There may be a million sandboxes, and a row at a time through the driver costs ten times what the database takes to find it. So
//! rows come as JSON arrays, thousands in one.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::{Row as _, Sqlite, Transaction};

use super::rows::{Columns, from_json, millis, moment};
use super::tenants::{custom_domain, domain, tenant};
use super::{RoutedPort, RoutedSandbox, Snapshot, Store, StoreError};
use crate::host::Slug;
use crate::model::{
    Driver, Profile, Protocol, SandboxId, SandboxState, TenantId, Upstream, Visibility,
};

/// Rows in one array.
const BATCH: i64 = 5000;
/// What routing needs of a sandbox, in the order of [`SandboxRow`].
const SANDBOX: &str = "json_array(id, tenant, slug, state, driver, json(upstream), address_generation, token_generation, \
                       default_port, profile, external_user_id)";
/// What it needs of a preview, in the order of [`PortRow`].
const PORT: &str = "json_array(sandbox, port, visibility, profile, protocol, expires_at)";

#[derive(Deserialize)]
struct SandboxRow(
    SandboxId,
    TenantId,
    Slug,
    SandboxState,
    Driver,
    Option<Upstream>,
    u64,
    u64,
    u16,
    Profile,
    Option<String>,
);

#[derive(Deserialize)]
struct PortRow(SandboxId, u16, Visibility, Option<Profile>, Protocol, Option<i64>);

#[derive(Deserialize)]
struct ScopeRow(SandboxId, String);

impl Store {
    /// Everything as of one moment, but for the sandboxes: those follow in batches.
    pub async fn snapshot(&self) -> Result<(Snapshot, Sandboxes), StoreError> {
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
        let snapshot = Snapshot {
            version,
            tenants: tenants.iter().map(tenant).collect::<Result<_, _>>()?,
            domains: domains.iter().map(domain).collect::<Result<_, _>>()?,
            custom_domains: exact.iter().map(custom_domain).collect::<Result<_, _>>()?,
            revoked_tokens: revoked
                .iter()
                .map(|row| {
                    let mut c = Columns::of(row);
                    Ok((c.id()?, c.moment()?))
                })
                .collect::<Result<_, StoreError>>()?,
            shares: self.share_links(&mut tx).await?,
            signing_keys: self.signing_keys().await?,
        };
        Ok((snapshot, Sandboxes::of(tx).await?))
    }

    /// One sandbox, as the follower needs it; `None` when it is gone or destroyed.
    pub async fn routed_sandbox(&self, id: SandboxId) -> Result<Option<RoutedSandbox>, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let text = async |tx: &mut Transaction<'static, Sqlite>, sql: String| {
            let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(id.to_string());
            query.fetch_optional(&mut **tx).await.map_err(StoreError::Database)
        };
        let sql = format!("SELECT {SANDBOX} FROM sandboxes WHERE id = ?1 AND destroyed_at IS NULL");
        let Some(row): Option<String> = text(&mut tx, sql).await? else { return Ok(None) };
        let of_it = "WHERE sandbox = ?1";
        let ports =
            format!("SELECT json_group_array({PORT}) FROM previews {of_it} AND deleted_at IS NULL");
        let ports: Vec<PortRow> = from_json(&text(&mut tx, ports).await?.unwrap_or_default())?;
        let scopes = format!("SELECT json_group_array(scope) FROM slugs {of_it}");
        let scopes = from_json(&text(&mut tx, scopes).await?.unwrap_or_default())?;
        let ports = ports.into_iter().map(port).collect::<Result<_, _>>()?;
        Ok(Some(routed(from_json(&row)?, ports, scopes)))
    }
}

/// The sandboxes of a snapshot. The moment it was taken at holds as long as this is kept.
#[derive(Debug)]
pub struct Sandboxes {
    tx: Transaction<'static, Sqlite>,
    ports: HashMap<SandboxId, Vec<RoutedPort>>,
    scopes: HashMap<SandboxId, Vec<String>>,
    after: i64,
}

impl Sandboxes {
    async fn of(tx: Transaction<'static, Sqlite>) -> Result<Self, StoreError> {
        let mut sandboxes = Self { tx, ports: HashMap::new(), scopes: HashMap::new(), after: 0 };
        let sql = format!("json_group_array({PORT}) FILTER (WHERE deleted_at IS NULL)");
        while let Some(rows) = sandboxes.batch::<PortRow>(&sql, "previews").await? {
            for row in rows {
                sandboxes.ports.entry(row.0).or_default().push(port(row)?);
            }
        }
        sandboxes.after = 0;
        let sql = "json_group_array(json_array(sandbox, scope))";
        while let Some(rows) = sandboxes.batch::<ScopeRow>(sql, "slugs").await? {
            for ScopeRow(sandbox, scope) in rows {
                sandboxes.scopes.entry(sandbox).or_default().push(scope);
            }
        }
        sandboxes.after = 0;
        Ok(sandboxes)
    }

    /// The next sandboxes; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<RoutedSandbox>>, StoreError> {
        let sql = format!("json_group_array({SANDBOX}) FILTER (WHERE destroyed_at IS NULL)");
        let Some(rows) = self.batch::<SandboxRow>(&sql, "sandboxes").await? else {
            return Ok(None);
        };
        let whole = |row: SandboxRow| {
            let ports = self.ports.remove(&row.0).unwrap_or_default();
            let scopes = self.scopes.remove(&row.0).unwrap_or_default();
            routed(row, ports, scopes)
        };
        Ok(Some(rows.into_iter().map(whole).collect()))
    }

    /// The next rows of a table, in the order in which they were written.
    async fn batch<T: DeserializeOwned>(
        &mut self,
        select: &str,
        table: &str,
    ) -> Result<Option<Vec<T>>, StoreError> {
        let sql = format!(
            "SELECT max(rowid), {select} FROM \
             (SELECT rowid, * FROM {table} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(self.after).bind(BATCH);
        let row: (Option<i64>, String) =
            query.fetch_one(&mut *self.tx).await.map_err(StoreError::Database)?;
        let (Some(last), rows) = row else { return Ok(None) };
        self.after = last;
        from_json(&rows).map(Some)
    }
}

fn routed(row: SandboxRow, ports: Vec<RoutedPort>, slug_scopes: Vec<String>) -> RoutedSandbox {
    RoutedSandbox {
        id: row.0,
        tenant: row.1,
        slug: row.2,
        state: row.3,
        driver: row.4,
        upstream: row.5,
        address_generation: row.6,
        token_generation: row.7,
        default_port: row.8,
        profile: row.9,
        external_user_id: row.10,
        ports,
        slug_scopes,
    }
}

fn port(
    PortRow(_, port, visibility, profile, protocol, expires_at): PortRow,
) -> Result<RoutedPort, StoreError> {
    let expires_at = expires_at.map(moment).transpose()?;
    Ok(RoutedPort { port, visibility, profile, protocol, expires_at })
}
