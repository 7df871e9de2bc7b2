//! Share links. The token of a link is kept, encrypted, for as long as the link may be shown again: its owner copies it out of a
//! list. What it is found by is a hash.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::events::NewEvent;
use super::rows::{Columns, Tx, enum_name, millis};
use super::sandboxes::live;
use super::tenants::unique;
use super::{Store, StoreError};
use crate::model::{
    EventType, PreviewId, REMEMBERED, Sandbox, SandboxId, Share, ShareHash, ShareId, ShareLink,
    ShareTally, Subject, TenantId, TokenScope, Version,
};

/// A new share link; the caller made the token and hashed it.
#[derive(Clone)]
pub struct NewShare {
    /// The sandbox it opens.
    pub sandbox: SandboxId,
    /// The preview it is made for. It must be published.
    pub preview: Option<PreviewId>,
    /// The only port it opens, or any.
    pub port: Option<u16>,
    /// What it allows.
    pub scope: TokenScope,
    /// The token.
    pub token: String,
    /// Its SHA-256.
    pub hash: ShareHash,
    /// Its first characters.
    pub prefix: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for NewShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewShare").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The newest link to a preview, as its record tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewShare {
    /// The first characters of its token.
    pub prefix: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

const SHARE: &str = "id, sandbox, preview, port, scope, prefix, sealed, created_at, expires_at, revoked_at, visits, \
                     requests, last_visited_at";
const LINK: &str = "id, hash, sandbox, port, scope, expires_at, revoked_at";
/// That a link is open at `?2`.
const OPEN: &str = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)";
/// When a link ended, NULL for one that does not end.
const ENDED: &str = "coalesce(min(expires_at, revoked_at), expires_at, revoked_at)";

/// The name under which a link's token is encrypted.
fn secret_name(id: &str) -> String {
    format!("share {id}")
}

fn link(row: &SqliteRow) -> Result<ShareLink, StoreError> {
    let mut c = Columns::of(row);
    Ok(ShareLink {
        id: c.id()?,
        hash: c.take::<&[u8]>()?.try_into().map_err(|_| StoreError::Corrupt("hash"))?,
        sandbox: c.id()?,
        port: c.optional_port()?,
        scope: c.enum_value()?,
        expires_at: c.optional_moment()?,
        revoked_at: c.optional_moment()?,
    })
}

/// What events tell of a link.
fn facts(share: &Share) -> Value {
    json!({
        "id": share.id,
        "share_id": share.id,
        "preview_id": share.preview,
        "port": share.port,
        "scope": share.scope,
        "token_prefix": share.prefix,
        "created_at": share.created_at,
        "expires_at": share.expires_at,
    })
}

fn subjects(rows: &[SqliteRow]) -> Result<Vec<Subject>, StoreError> {
    rows.iter().map(|row| Ok(Subject::Share(Columns::of(row).id()?))).collect()
}

impl Store {
    fn share(&self, row: &SqliteRow) -> Result<Share, StoreError> {
        let mut c = Columns::of(row);
        let text: &str = row.try_get(0).map_err(StoreError::Database)?;
        let (id, sandbox) = (c.id()?, c.id()?);
        let preview = c.take::<Option<&str>>()?.map(str::parse).transpose();
        let (port, scope, prefix) = (c.optional_port()?, c.enum_value()?, c.take()?);
        let open = |sealed: &[u8]| {
            let token = self.secrets.open(&secret_name(text), sealed)?;
            String::from_utf8(token).map_err(|_| StoreError::Corrupt("share"))
        };
        Ok(Share {
            id,
            sandbox,
            preview: preview.map_err(|_| StoreError::Corrupt("id"))?,
            port,
            scope,
            prefix,
            token: c.take::<Option<&[u8]>>()?.map(open).transpose()?,
            created_at: c.moment()?,
            expires_at: c.optional_moment()?,
            revoked_at: c.optional_moment()?,
            tally: ShareTally {
                visits: c.count()?,
                requests: c.count()?,
                last_visited_at: c.optional_moment()?,
            },
        })
    }

    /// Makes a link.
    pub async fn create_share(
        &self,
        tenant: TenantId,
        new: NewShare,
    ) -> Result<(Share, Version), StoreError> {
        let (id, now) = (ShareId::new(), self.clock.now());
        let text = id.to_string();
        let sealed = self.secrets.seal(&secret_name(&text), new.token.as_bytes())?;
        let mut tx = self.begin().await?;
        let sandbox = live(&mut tx, tenant, new.sandbox).await?;
        if let Some(preview) = new.preview {
            let published = sqlx::query(
                "SELECT 1 FROM previews WHERE id = ?1 AND sandbox = ?2 AND deleted_at IS NULL",
            );
            let published = published.bind(preview.to_string()).bind(new.sandbox.to_string());
            let published = published.fetch_optional(&mut *tx).await;
            published.map_err(StoreError::Database)?.ok_or(StoreError::NotFound)?;
        }
        sqlx::query(
            "INSERT INTO shares (id, sandbox, preview, port, scope, hash, prefix, sealed, created_at, expires_at, minted_by) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .bind(text)
        .bind(new.sandbox.to_string())
        .bind(new.preview.map(|id| id.to_string()))
        .bind(new.port)
        .bind(enum_name(&new.scope))
        .bind(&new.hash[..])
        .bind(&new.prefix)
        .bind(sealed)
        .bind(millis(now))
        .bind(new.expires_at.map(millis))
        .bind(self.minter())
        .execute(&mut *tx)
        .await
        .map_err(|error| unique(error, || StoreError::Exists))?;
        let share = Share {
            id,
            sandbox: new.sandbox,
            preview: new.preview,
            port: new.port,
            scope: new.scope,
            prefix: new.prefix,
            token: Some(new.token),
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            tally: ShareTally::default(),
        };
        self.emit_share(&mut tx, &sandbox, EventType::ShareCreated, facts(&share)).await?;
        let version = self.commit(tx, &[Subject::Share(id)]).await?;
        Ok((share, version))
    }

    /// The links that open a sandbox at this moment, newest first.
    pub async fn shares(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
    ) -> Result<Vec<Share>, StoreError> {
        self.sandbox(tenant, sandbox).await?;
        let sql = format!(
            "SELECT {SHARE} FROM shares WHERE sandbox = ?1 AND {OPEN} ORDER BY created_at DESC, id DESC"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(sandbox.to_string())
            .bind(millis(self.clock.now()))
            .fetch_all(&self.read)
            .await
            .map_err(StoreError::Database)?;
        rows.iter().map(|row| self.share(row)).collect()
    }

    /// How many links to a sandbox are open.
    pub async fn count_open_shares(&self, sandbox: SandboxId) -> Result<usize, StoreError> {
        let sql = format!("SELECT count(*) FROM shares WHERE sandbox = ?1 AND {OPEN}");
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(sandbox.to_string())
            .bind(millis(self.clock.now()));
        let count: i64 = count.fetch_one(&self.read).await.map_err(StoreError::Database)?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// The newest open link to each preview of a sandbox.
    pub async fn preview_shares(
        &self,
        sandbox: SandboxId,
    ) -> Result<HashMap<PreviewId, PreviewShare>, StoreError> {
        let sql = format!(
            "SELECT preview, prefix, expires_at FROM shares WHERE sandbox = ?1 AND preview IS NOT NULL AND {OPEN} \
             ORDER BY created_at, id"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(sandbox.to_string())
            .bind(millis(self.clock.now()))
            .fetch_all(&self.read)
            .await
            .map_err(StoreError::Database)?;
        let newest = rows.iter().map(|row| {
            let mut c = Columns::of(row);
            Ok((c.id()?, PreviewShare { prefix: c.take()?, expires_at: c.optional_moment()? }))
        });
        newest.collect()
    }

    /// Revokes a link. Twice is no error.
    pub async fn revoke_share(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
        share: ShareId,
    ) -> Result<Version, StoreError> {
        let sandbox = self.sandbox(tenant, sandbox).await?;
        let mut tx = self.begin().await?;
        let subjects = self.revoke_where(&mut tx, &sandbox, ("id", share.to_string())).await?;
        if !subjects.is_empty() {
            return self.commit(tx, &subjects).await;
        }
        let known = sqlx::query("SELECT 1 FROM shares WHERE id = ?1 AND sandbox = ?2")
            .bind(share.to_string())
            .bind(sandbox.id.to_string())
            .fetch_optional(&mut *tx)
            .await;
        known.map_err(StoreError::Database)?.ok_or(StoreError::NotFound)?;
        drop(tx);
        self.version().await
    }

    /// Revokes every link to a preview.
    pub async fn revoke_preview_shares(
        &self,
        tenant: TenantId,
        sandbox: SandboxId,
        preview: PreviewId,
    ) -> Result<Version, StoreError> {
        let sandbox = self.sandbox(tenant, sandbox).await?;
        self.preview(tenant, sandbox.id, preview).await?;
        let mut tx = self.begin().await?;
        let subjects = self.end_preview_shares(&mut tx, &sandbox, preview).await?;
        if subjects.is_empty() {
            drop(tx);
            return self.version().await;
        }
        self.commit(tx, &subjects).await
    }

    /// Revokes the links to a preview within a write, which is then about those too.
    pub(super) async fn end_preview_shares(
        &self,
        tx: &mut Tx,
        sandbox: &Sandbox,
        preview: PreviewId,
    ) -> Result<Vec<Subject>, StoreError> {
        self.revoke_where(tx, sandbox, ("preview", preview.to_string())).await
    }

    /// Revokes all links to a sandbox within a write, which is then about those too.
    pub(super) async fn end_all_shares(
        &self,
        tx: &mut Tx,
        sandbox: &Sandbox,
    ) -> Result<Vec<Subject>, StoreError> {
        self.revoke_where(tx, sandbox, ("sandbox", sandbox.id.to_string())).await
    }

    /// Revokes the links of a sandbox in which a column has a value, and tells of those that were open.
    pub(super) async fn revoke_where(
        &self,
        tx: &mut Tx,
        sandbox: &Sandbox,
        (column, value): (&'static str, String),
    ) -> Result<Vec<Subject>, StoreError> {
        let now = self.clock.now();
        let sql = format!(
            "UPDATE shares SET revoked_at = ?3, sealed = NULL WHERE {column} = ?1 AND sandbox = ?2 \
             AND revoked_at IS NULL RETURNING {SHARE}"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(value)
            .bind(sandbox.id.to_string())
            .bind(millis(now))
            .fetch_all(&mut **tx)
            .await
            .map_err(StoreError::Database)?;
        let mut subjects = Vec::with_capacity(rows.len());
        for row in &rows {
            let share = self.share(row)?;
            if share.expires_at.is_none_or(|at| at > now) {
                self.emit_share(tx, sandbox, EventType::ShareRevoked, facts(&share)).await?;
            }
            subjects.push(Subject::Share(share.id));
        }
        Ok(subjects)
    }

    /// Tells of a link. Its token is told to nobody but who made it.
    async fn emit_share(
        &self,
        tx: &mut Tx,
        sandbox: &Sandbox,
        kind: EventType,
        share: Value,
    ) -> Result<(), StoreError> {
        let mut data = self.sandbox_facts(tx, sandbox).await?;
        data.insert("share".into(), share);
        self.emit(tx, NewEvent::of_sandbox(sandbox, kind, data)).await.map(drop)
    }

    /// Revokes the links to a sandbox that is being destroyed. The write is then about every link that is remembered: where there is
    /// no sandbox, nobody is told why a link opens nothing.
    pub(super) async fn end_shares_of(
        &self,
        tx: &mut Tx,
        sandbox: SandboxId,
    ) -> Result<Vec<Subject>, StoreError> {
        let now = self.clock.now();
        let sql = format!(
            "UPDATE shares SET revoked_at = coalesce(revoked_at, ?2), sealed = NULL \
             WHERE sandbox = ?1 AND ({ENDED} IS NULL OR {ENDED} > ?3) RETURNING id"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(sandbox.to_string())
            .bind(millis(now))
            .bind(remembered_since(now))
            .fetch_all(&mut **tx)
            .await
            .map_err(StoreError::Database)?;
        subjects(&rows)
    }

    /// A link as the tables hold it; `None` when it is forgotten, or its sandbox is destroyed.
    pub async fn share_link(&self, share: ShareId) -> Result<Option<ShareLink>, StoreError> {
        let sql = format!(
            "SELECT {LINK} FROM shares WHERE id = ?1 AND ({ENDED} IS NULL OR {ENDED} > ?2) \
             AND sandbox IN (SELECT id FROM sandboxes WHERE destroyed_at IS NULL)"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(share.to_string())
            .bind(remembered_since(self.clock.now()))
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
        row.as_ref().map(link).transpose()
    }

    /// All links that the tables hold. The sandbox of each is looked up: `IN` would first list the ids of all sandboxes.
    pub(super) async fn share_links(&self, tx: &mut Tx) -> Result<Vec<ShareLink>, StoreError> {
        let sql = format!(
            "SELECT {LINK} FROM shares WHERE ({ENDED} IS NULL OR {ENDED} > ?1) \
             AND (SELECT destroyed_at IS NULL FROM sandboxes WHERE id = shares.sandbox)"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(remembered_since(self.clock.now()))
            .fetch_all(&mut **tx)
            .await
            .map_err(StoreError::Database)?;
        rows.iter().map(link).collect()
    }

    /// Adds to what is known of how links were used. Nobody follows these figures, so nothing is logged.
    pub async fn add_share_tallies(
        &self,
        tallies: &HashMap<ShareId, ShareTally>,
    ) -> Result<(), StoreError> {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut tx = self.begin().await?;
        for (id, tally) in tallies {
            sqlx::query(
                "UPDATE shares SET visits = visits + ?2, requests = requests + ?3, \
                 last_visited_at = max(coalesce(last_visited_at, 0), ?4) WHERE id = ?1",
            )
            .bind(id.to_string())
            .bind(count(tally.visits))
            .bind(count(tally.requests))
            .bind(tally.last_visited_at.map_or(0, millis))
            .execute(&mut *tx)
            .await
            .map_err(StoreError::Database)?;
        }
        self.end(tx).await
    }
}

/// Links that ended before this are forgotten.
fn remembered_since(now: Timestamp) -> i64 {
    millis(now).saturating_sub(i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Clock;
    use crate::control::store::{Created, NewPreview, NewSandbox};
    use crate::model::{Attributes, Driver, Profile, Protocol, SandboxState, Visibility};

    fn sandbox() -> NewSandbox {
        NewSandbox {
            id: SandboxId::new(),
            slug: None,
            name: None,
            state: SandboxState::Running,
            driver: Driver::Loopback,
            upstream: None,
            default_port: 3000,
            profile: Profile::default(),
            external_user_id: None,
            external_project_id: None,
            external_workspace_id: None,
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            attributes: Attributes::default(),
        }
    }

    fn preview() -> NewPreview {
        NewPreview {
            port: 3000,
            name: None,
            visibility: Visibility::Private,
            profile: None,
            protocol: Protocol::Http,
            metadata: serde_json::Map::new(),
            expires_at: None,
        }
    }

    fn order(sandbox: SandboxId, n: u8, expires_at: Option<Timestamp>) -> NewShare {
        NewShare {
            sandbox,
            preview: None,
            port: None,
            scope: TokenScope::Read,
            token: format!("ms_secret-{n}"),
            hash: [n; 32],
            prefix: "ms_".into(),
            expires_at,
        }
    }

    /// A store on a clock that stands still, and a sandbox in it.
    async fn world() -> (tempfile::TempDir, Clock, Store, TenantId, SandboxId) {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
        let store = Store::open_dir(dir.path(), clock.clone()).await.unwrap();
        let tenant = store.create_tenant("t").await.unwrap().0.id;
        let Created::Fresh(made, _) = store.create_sandbox(tenant, sandbox(), None).await.unwrap()
        else {
            panic!("it is new");
        };
        (dir, clock, store, tenant, made.id)
    }

    async fn told(store: &Store, tenant: TenantId) -> Vec<String> {
        let events = store.events_since(tenant, 0, 100).await.unwrap();
        let of_links = events.iter().filter(|event| event.kind.name().contains("share"));
        let text = |event: &crate::model::Event| {
            let text = serde_json::to_string(&event.data).unwrap();
            assert!(!text.contains("secret"), "{text}");
            format!("{} {}", event.kind, event.data["share"]["id"].as_str().unwrap())
        };
        of_links.map(text).collect()
    }

    #[tokio::test]
    async fn a_link_is_kept_shown_revoked_and_reported_once() {
        let (_dir, clock, store, tenant, sandbox) = world().await;
        let end = clock.now() + Duration::from_mins(1);
        let (endless, _) = store.create_share(tenant, order(sandbox, 1, None)).await.unwrap();
        let (short, _) = store.create_share(tenant, order(sandbox, 2, Some(end))).await.unwrap();
        let twice = store.create_share(tenant, order(sandbox, 2, None)).await;
        assert!(matches!(twice, Err(StoreError::Exists)));
        let elsewhere = store.create_share(TenantId::new(), order(sandbox, 3, None)).await;
        assert!(matches!(elsewhere, Err(StoreError::NotFound)));
        let tokens = async || {
            let shares = store.shares(tenant, sandbox).await.unwrap();
            shares.into_iter().map(|share| share.token.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(tokens().await, ["ms_secret-2", "ms_secret-1"]);
        let newest = store.version().await.unwrap();
        for _ in 0..2 {
            let revoked = store.revoke_share(tenant, sandbox, endless.id).await.unwrap();
            assert_eq!(revoked, newest + 1, "the second time changes nothing");
        }
        let unknown = store.revoke_share(tenant, sandbox, ShareId::new()).await;
        assert!(matches!(unknown, Err(StoreError::NotFound)));
        assert_eq!(tokens().await, ["ms_secret-2"]);
        clock.advance(Duration::from_mins(1));
        assert!(tokens().await.is_empty());
        let link = store.share_link(short.id).await.unwrap().unwrap();
        assert_eq!((link.hash, link.expires_at), ([2; 32], Some(end)));
        // That it ended was no doing of anybody's.
        store.revoke_share(tenant, sandbox, short.id).await.unwrap();
        let expected = [
            format!("sandbox.share.created {}", endless.id),
            format!("sandbox.share.created {}", short.id),
            format!("sandbox.share.revoked {}", endless.id),
        ];
        assert_eq!(told(&store, tenant).await, expected);
        clock.advance(Duration::from_hours(30 * 24));
        assert!(store.share_link(short.id).await.unwrap().is_none(), "it is forgotten");
        assert!(store.snapshot().await.unwrap().0.shares.is_empty());
    }

    #[tokio::test]
    async fn links_end_with_their_preview_and_their_sandbox() {
        let (_dir, _, store, tenant, sandbox) = world().await;
        let (first, _) = store.put_preview(tenant, sandbox, preview()).await.unwrap();
        let share = async |n, preview| {
            let order = NewShare { preview, ..order(sandbox, n, None) };
            store.create_share(tenant, order).await.map(|(share, _)| share.id)
        };
        let whole = share(1, None).await.unwrap();
        let one = share(2, Some(first.id)).await.unwrap();
        let (second, _) = store.put_preview(tenant, sandbox, preview()).await.unwrap();
        let stale = share(3, Some(first.id)).await;
        assert!(matches!(stale, Err(StoreError::NotFound)), "the record was replaced");
        let open = async |id| store.share_link(id).await.unwrap().map(|l| l.revoked_at.is_none());
        assert_eq!(open(one).await, Some(true));
        assert!(store.preview_shares(sandbox).await.unwrap().contains_key(&second.id));
        store.delete_preview(tenant, sandbox, second.id).await.unwrap();
        assert_eq!((open(one).await, open(whole).await), (Some(false), Some(true)));
        assert!(store.preview_shares(sandbox).await.unwrap().is_empty());
        store.destroy_sandbox(tenant, sandbox).await.unwrap();
        assert_eq!((open(one).await, open(whole).await), (None, None));
        assert!(store.shares(tenant, sandbox).await.unwrap().is_empty());
        let expected = [
            format!("sandbox.share.created {whole}"),
            format!("sandbox.share.created {one}"),
            format!("sandbox.share.revoked {one}"),
        ];
        assert_eq!(told(&store, tenant).await, expected, "that the sandbox is gone says the rest");
    }

    #[tokio::test]
    async fn tallies_add_up_and_are_no_changes() {
        let (_dir, clock, store, tenant, sandbox) = world().await;
        let (share, _) = store.create_share(tenant, order(sandbox, 1, None)).await.unwrap();
        let before = store.version().await.unwrap();
        let now = clock.now();
        let tally = |visits, last: Timestamp| {
            let tally = ShareTally { visits, requests: 2 * visits, last_visited_at: Some(last) };
            HashMap::from([(share.id, tally), (ShareId::new(), tally)])
        };
        store.add_share_tallies(&tally(2, now)).await.unwrap();
        store.add_share_tallies(&tally(3, now - Duration::from_secs(9))).await.unwrap();
        let kept = store.shares(tenant, sandbox).await.unwrap().remove(0).tally;
        assert_eq!(kept, ShareTally { visits: 5, requests: 10, last_visited_at: Some(now) });
        assert_eq!(store.version().await.unwrap(), before);
    }
}
