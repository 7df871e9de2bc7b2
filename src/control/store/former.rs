//! Who had a name before: slugs that were given back in the platform's zones, and names of tenants' own that were verified once. What
//! visitors' browsers, their bookmarks and other people's DNS remember of a name outlives whoever had it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::Row as _;

use super::rows::{Columns, Tx, all, millis};
use super::{Store, StoreError};
use crate::model::host::Slug;
use crate::model::{SandboxId, TenantId};

/// What may become of a slug that is nobody's at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// Another tenant's, not long ago: nobody else gets it.
    Kept,
    /// It may be claimed. When it changed hands, if the browsers of its visitors may hold what is somebody else's.
    Free(Option<Timestamp>),
}

impl Store {
    /// For how long a slug in the platform's zones stays its tenant's after it was given back.
    pub fn set_slug_quarantine(&self, quarantine: Duration) {
        let millis = i64::try_from(quarantine.as_millis()).unwrap_or(i64::MAX);
        self.quarantine.store(millis, Ordering::Relaxed);
    }

    /// What the last holder of a slug in the platform's zones leaves to a sandbox that wants it.
    pub(super) async fn former(
        &self,
        tx: &mut Tx,
        (tenant, sandbox): (TenantId, SandboxId),
        slug: &Slug,
    ) -> Result<Former, StoreError> {
        let sql = "SELECT f.tenant, f.external_user_id IS s.external_user_id, f.released_at, f.changed_hands_at \
                   FROM former_slugs f, sandboxes s WHERE f.slug = ?1 AND s.id = ?2";
        let rows = all(tx, sql.to_owned(), &[slug.as_str(), &sandbox.to_string()]).await?;
        let Some(row) = rows.first() else { return Ok(Former::Free(None)) };
        let mut c = Columns::of(row);
        let (before, same_user): (TenantId, bool) = (c.id()?, c.take()?);
        let (released, changed) = (c.moment()?, c.optional_moment()?);
        let now = self.clock.now();
        let kept = SignedDuration::from_millis(self.quarantine.load(Ordering::Relaxed));
        if before == tenant {
            return Ok(Former::Free(if same_user { changed } else { Some(now) }));
        }
        // A clock that was set back must not free it.
        let is_kept = now.duration_since(released) < kept;
        Ok(if is_kept { Former::Kept } else { Former::Free(Some(now)) })
    }

    /// Remembers whose a sandbox's slug was, before it is given back.
    pub(super) async fn remember_slug(&self, tx: &mut Tx, id: SandboxId) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT OR REPLACE INTO former_slugs (slug, tenant, external_user_id, released_at, changed_hands_at) \
             SELECT g.slug, s.tenant, s.external_user_id, ?2, s.changed_hands_at FROM slugs g JOIN sandboxes s ON s.id = g.sandbox \
             WHERE g.sandbox = ?1 AND g.scope = ''",
        )
        .bind(id.to_string())
        .bind(millis(self.clock.now()))
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(StoreError::Database)
    }
}

/// Notes that a slug is a sandbox's now, and since when it is another holder's than before.
pub(super) async fn settled(
    tx: &mut Tx,
    id: SandboxId,
    slug: &Slug,
    changed: Option<Timestamp>,
) -> Result<(), StoreError> {
    let gone = sqlx::query("DELETE FROM former_slugs WHERE slug = ?1").bind(slug.as_str());
    gone.execute(&mut **tx).await.map_err(StoreError::Database)?;
    changed_hands(tx, id, changed).await
}

/// Notes since when what a sandbox's hosts lead to is another holder's than before.
pub(super) async fn changed_hands(
    tx: &mut Tx,
    id: SandboxId,
    at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let noted = sqlx::query("UPDATE sandboxes SET changed_hands_at = ?2 WHERE id = ?1");
    let noted = noted.bind(id.to_string()).bind(at.map(millis)).execute(&mut **tx).await;
    noted.map(drop).map_err(StoreError::Database)
}

/// Whether a name, or one above or below it, was another tenant's once: then a record that leads here says nothing of whose it is.
pub(super) async fn was_anothers(
    tx: &mut Tx,
    name: &str,
    tenant: TenantId,
) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM name_holders WHERE tenant <> ?2 \
               AND (name = ?1 OR ?1 LIKE '%.' || name OR name LIKE '%.' || ?1)";
    let rows = all(tx, sql.to_owned(), &[name, &tenant.to_string()]).await?;
    Ok(rows.first().is_some_and(|row| row.get::<i64, _>(0) > 0))
}

/// Notes that a name was verified as a tenant's.
pub(super) async fn held(
    tx: &mut Tx,
    name: &str,
    tenant: TenantId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO name_holders (name, tenant, verified_at) VALUES (?1, ?2, ?3)",
    )
    .bind(name)
    .bind(tenant.to_string())
    .bind(millis(at))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(StoreError::Database)
}
