//! What the follower reads: everything at once, or one sandbox.
//!
//! There may be a million sandboxes, and a row at a time through the driver costs ten times what the database takes to find it. So
//! rows come as JSON arrays, a thousand in one, and while one array is worked on the next are read.

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;
use sqlx::{Row as _, Sqlite, Transaction};
use tokio::sync::mpsc;

use super::custom_domains::custom_domain;
use super::domains::{DOMAIN, preview_domain};
use super::rows::{Columns, from_json, json, millis, moment};
use super::tenants::tenant;
use super::{RoutedPort, RoutedSandbox, Snapshot, Store, StoreError};
use crate::model::host::Slug;
use crate::model::{
    Blocked, Driver, Profile, Protocol, SandboxId, SandboxState, TenantId, Upstream, Visibility,
};

/// Rows in one array. More make each array larger than a processor's cache.
const BATCH: i64 = 1000;
/// Arrays that are read ahead.
const AHEAD: usize = 4;
/// What routing needs of a sandbox, in the order of [`SandboxRow`].
const SANDBOX: &str = "json_array(id, tenant, slug, state, driver, json(upstream), address_generation, token_generation, \
                       default_port, profile, external_user_id, \
                       json_extract(attributes, '$.workspace_id'), json_extract(attributes, '$.project_id'), \
                       idle_at IS NOT NULL, json(blocked), changed_hands_at)";
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
    Option<String>,
    Option<String>,
    u8,
    Option<Blocked>,
    Option<i64>,
);

#[derive(Deserialize)]
struct PortRow(SandboxId, u16, Visibility, Option<Profile>, Protocol, Option<i64>);

/// Sandboxes that have their slugs in the platform's zones, and those that have them in a tenant's domain.
#[derive(Deserialize)]
struct SlugRows(Vec<SandboxId>, Vec<(SandboxId, String)>);

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
        let domains = format!("SELECT {DOMAIN} FROM domains");
        let domains = sqlx::query(sqlx::AssertSqlSafe(domains)).fetch_all(&mut *tx).await;
        let domains = domains.map_err(StoreError::Database)?;
        let exact =
            all("SELECT fqdn, sandbox, port FROM custom_domains WHERE verified_at IS NOT NULL");
        let exact = exact.fetch_all(&mut *tx).await;
        let exact = exact.map_err(StoreError::Database)?;
        let revoked = sqlx::query(
            "SELECT id, expires_at FROM tokens WHERE revoked_at IS NOT NULL AND expires_at > ?1",
        )
        .bind(millis(self.clock.now()))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        let count = "SELECT count(*) FROM sandboxes WHERE destroyed_at IS NULL";
        let count: i64 =
            sqlx::query_scalar(count).fetch_one(&mut *tx).await.map_err(StoreError::Database)?;
        let snapshot = Snapshot {
            version,
            sandboxes: usize::try_from(count).unwrap_or_default(),
            tenants: tenants.iter().map(tenant).collect::<Result<_, _>>()?,
            domains: domains
                .iter()
                .map(|row| preview_domain(row).map(|domain| domain.route))
                .collect::<Result<_, _>>()?,
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
        Ok((snapshot, Sandboxes::of(tx)))
    }

    /// Some sandboxes, as the follower needs them, in any order and all as of one moment. Those that are gone or destroyed are
    /// missing.
    pub async fn routed_sandboxes(
        &self,
        ids: &[SandboxId],
    ) -> Result<Vec<RoutedSandbox>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // What a subquery gives is a text again, until `json` has read it.
        let sql = format!(
            "SELECT json_group_array(json_array({SANDBOX}, \
             json((SELECT json_group_array({PORT}) FROM previews WHERE sandbox = s.id AND deleted_at IS NULL)), \
             json((SELECT json_group_array(scope) FROM slugs WHERE sandbox = s.id)))) \
             FROM sandboxes s WHERE id IN (SELECT value FROM json_each(?1)) AND destroyed_at IS NULL"
        );
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(json(&ids));
        let rows: String = rows.fetch_one(&self.read).await.map_err(StoreError::Database)?;
        let rows: Vec<(SandboxRow, Vec<PortRow>, Vec<String>)> = from_json(&rows)?;
        let whole = |(row, ports, scopes): (_, Vec<PortRow>, _)| {
            let ports = ports.into_iter().map(port).collect::<Result<_, _>>()?;
            Ok(routed(row, ports, scopes))
        };
        rows.into_iter().map(whole).collect()
    }
}

/// What is read in batches, in this order: a sandbox comes after all that belongs to it.
#[derive(Clone, Copy, Debug)]
enum Table {
    Previews,
    Slugs,
    Sandboxes,
}

impl Table {
    const ALL: [Self; 3] = [Self::Previews, Self::Slugs, Self::Sandboxes];

    /// Reads the next rows, in the order in which they were written: the last of them, and all as JSON.
    fn sql(self) -> String {
        let (rows, table) = match self {
            Self::Previews => {
                (format!("json_group_array({PORT}) FILTER (WHERE deleted_at IS NULL)"), "previews")
            }
            Self::Slugs => (
                "json_array(json_group_array(sandbox) FILTER (WHERE scope = ''), \
                 json_group_array(json_array(sandbox, scope)) FILTER (WHERE scope <> ''))"
                    .to_owned(),
                "slugs",
            ),
            Self::Sandboxes => (
                format!("json_group_array({SANDBOX}) FILTER (WHERE destroyed_at IS NULL)"),
                "sandboxes",
            ),
        };
        format!(
            "SELECT max(rowid), {rows} FROM \
             (SELECT rowid, * FROM {table} WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)"
        )
    }
}

/// What was read next; `None` after the last.
type Batch = Result<Option<(Table, String)>, StoreError>;

/// The sandboxes of a snapshot. The moment it was taken at holds as long as this is kept.
#[derive(Debug)]
pub struct Sandboxes {
    batches: mpsc::Receiver<Batch>,
    ports: FxHashMap<SandboxId, Vec<RoutedPort>>,
    /// Those that have their slugs in the platform's zones, which almost all have.
    platform: FxHashSet<SandboxId>,
    scopes: FxHashMap<SandboxId, Vec<String>>,
}

impl Sandboxes {
    fn of(tx: Transaction<'static, Sqlite>) -> Self {
        let (sender, batches) = mpsc::channel(AHEAD);
        tokio::spawn(read(tx, sender));
        Self {
            batches,
            ports: FxHashMap::default(),
            platform: FxHashSet::default(),
            scopes: FxHashMap::default(),
        }
    }

    /// The next sandboxes; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<RoutedSandbox>>, StoreError> {
        loop {
            // Without a word that this was all, it was not.
            let lost = || Err(StoreError::Database(sqlx::Error::WorkerCrashed));
            let Some((table, rows)) = self.batches.recv().await.unwrap_or_else(lost)? else {
                return Ok(None);
            };
            match table {
                Table::Previews => {
                    for row in from_json::<Vec<PortRow>>(&rows)? {
                        self.ports.entry(row.0).or_default().push(port(row)?);
                    }
                }
                Table::Slugs => {
                    let SlugRows(platform, domains) = from_json(&rows)?;
                    self.platform.extend(platform);
                    for (sandbox, domain) in domains {
                        self.scopes.entry(sandbox).or_default().push(domain);
                    }
                }
                Table::Sandboxes => {
                    let rows: Vec<SandboxRow> = from_json(&rows)?;
                    return Ok(Some(rows.into_iter().map(|row| self.whole(row)).collect()));
                }
            }
        }
    }

    fn whole(&mut self, row: SandboxRow) -> RoutedSandbox {
        let ports = self.ports.remove(&row.0).unwrap_or_default();
        let mut scopes = self.scopes.remove(&row.0).unwrap_or_default();
        if self.platform.remove(&row.0) {
            scopes.push(String::new());
        }
        routed(row, ports, scopes)
    }
}

/// Reads all batches, as fast as they are taken, and no further when nobody takes them any more.
async fn read(mut tx: Transaction<'static, Sqlite>, to: mpsc::Sender<Batch>) {
    for table in Table::ALL {
        let (sql, mut after) = (table.sql(), 0);
        loop {
            let query = sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).bind(after).bind(BATCH);
            let read: Result<(Option<i64>, String), _> = query.fetch_one(&mut *tx).await;
            let batch = match read {
                Ok((None, _)) => break,
                Ok((Some(last), rows)) => {
                    after = last;
                    Ok(Some((table, rows)))
                }
                Err(error) => Err(StoreError::Database(error)),
            };
            let failed = batch.is_err();
            if to.send(batch).await.is_err() || failed {
                return;
            }
        }
    }
    // Whoever is gone does not want to know.
    drop(to.send(Ok(None)).await);
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
        workspace: row.11,
        project: row.12,
        idles: row.13 != 0,
        blocked: row.14,
        // A moment that is none is of no use to anybody.
        changed_hands_at: row.15.and_then(|millis| moment(millis).ok()),
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
