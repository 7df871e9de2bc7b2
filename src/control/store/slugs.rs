//! Where slugs lead: each is claimed in the domains that its sandbox is served in, and in the platform's zones when it is free there.

use sqlx::Row as _;

use super::blocks::is_held;
use super::former::{Former, changed_hands, settled};
use super::rows::{Columns, Tx, all};
use super::tenants::unique;
use super::{Store, StoreError};
use crate::model::host::Slug;
use crate::model::{Links, Sandbox, SandboxId, Subject, TenantId};

/// The scope of the platform's own zones.
const PLATFORM: &str = "";
/// Digits of the id that a default slug has, shortest first.
const DEFAULT_SLUG_LENGTHS: [usize; 3] = [8, 12, 16];
/// Whether a sandbox `s` is one of those that are served below a domain `d`.
const ADMITS: &str = "(d.level = 'tenant' \
     OR (d.level = 'workspace' AND d.owner = json_extract(s.attributes, '$.workspace_id')) \
     OR (d.level = 'project' AND d.owner = json_extract(s.attributes, '$.project_id')))";

impl Store {
    /// Claims a slug where the tenant's sandboxes are served. In its own domains the claim must succeed; the platform's zones are then
    /// claimed as well when the slug is free there. A tenant without a domain needs the platform's.
    pub(super) async fn claim(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        id: SandboxId,
        slug: &Slug,
    ) -> Result<(), StoreError> {
        let sql = format!(
            "SELECT d.domain FROM domains d JOIN sandboxes s ON s.id = ?2 \
             WHERE d.tenant = ?1 AND d.verified_at IS NOT NULL AND {ADMITS}"
        );
        let domains = all(tx, sql, &[&tenant.to_string(), &id.to_string()]).await?;
        for row in &domains {
            let scope: &str = row.get(0);
            if is_held(tx, (scope, slug.as_str()), id).await? {
                return Err(StoreError::SlugTaken);
            }
            insert(tx, scope, slug, id)
                .await
                .map_err(|error| unique(error, || StoreError::SlugTaken))?;
        }
        match self.claim_in_platform(tx, tenant, id, slug).await {
            Err(StoreError::SlugTaken) if !domains.is_empty() => changed_hands(tx, id, None).await,
            claimed => claimed,
        }
    }

    async fn claim_in_platform(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        id: SandboxId,
        slug: &Slug,
    ) -> Result<(), StoreError> {
        if is_held(tx, (PLATFORM, slug.as_str()), id).await? {
            return Err(StoreError::SlugTaken);
        }
        let Former::Free(changed) = self.former(tx, (tenant, id), slug).await? else {
            return Err(StoreError::SlugTaken);
        };
        insert(tx, PLATFORM, slug, id)
            .await
            .map_err(|error| unique(error, || StoreError::SlugTaken))?;
        settled(tx, id, slug, changed).await
    }

    /// Claims the first free of the slugs made from the id.
    pub(super) async fn claim_default(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        id: SandboxId,
    ) -> Result<Slug, StoreError> {
        let digits = id.0.simple().to_string();
        for length in DEFAULT_SLUG_LENGTHS {
            let slug = Slug::parse(digits.get(..length).unwrap_or(&digits));
            let slug = slug.map_err(|_| StoreError::Corrupt("slug"))?;
            match self.claim(tx, tenant, id, &slug).await {
                Ok(()) => return Ok(slug),
                Err(StoreError::SlugTaken) => self.release(tx, id).await?,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::SlugTaken)
    }

    /// Gives a sandbox's slug back. In the platform's zones it stays its tenant's for a while.
    pub(super) async fn release(&self, tx: &mut Tx, id: SandboxId) -> Result<(), StoreError> {
        self.remember_slug(tx, id).await?;
        let gone = sqlx::query("DELETE FROM slugs WHERE sandbox = ?1")
            .bind(id.to_string())
            .execute(&mut **tx)
            .await;
        gone.map(drop).map_err(StoreError::Database)
    }
}

async fn insert(tx: &mut Tx, scope: &str, slug: &Slug, id: SandboxId) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO slugs (scope, slug, sandbox) VALUES (?1, ?2, ?3)";
    let query = sqlx::query(sql).bind(scope.to_owned()).bind(slug.to_string()).bind(id.to_string());
    query.execute(&mut **tx).await.map(drop)
}

/// The sandboxes that a domain is for are served below it as well.
pub(super) async fn claim_slugs_below(
    tx: &mut Tx,
    domain: &str,
) -> Result<Vec<Subject>, StoreError> {
    let sql = format!(
        "INSERT INTO slugs (scope, slug, sandbox) SELECT d.domain, s.slug, s.id FROM domains d \
         JOIN sandboxes s ON s.tenant = d.tenant WHERE d.domain = ?1 AND s.destroyed_at IS NULL AND {ADMITS} \
         AND NOT EXISTS (SELECT 1 FROM held_names h WHERE h.scope = d.domain AND h.name = s.slug AND h.sandbox <> s.id) \
         ORDER BY s.created_at, s.id ON CONFLICT DO NOTHING RETURNING sandbox"
    );
    let rows = all(tx, sql, &[domain]).await?;
    rows.iter().map(|row| Ok(Subject::Sandbox(Columns::of(row).id()?))).collect()
}

impl Store {
    /// What the links of sandboxes are made of, in their order (see [`host_of`]).
    pub async fn hosts_of(
        &self,
        sandboxes: &[Sandbox],
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let mut hosts = Vec::with_capacity(sandboxes.len());
        for sandbox in sandboxes {
            hosts.push(host_of(&mut tx, self.links.get(), sandbox).await?);
        }
        Ok(hosts)
    }
}

/// What a sandbox's links are made of: its name there, and the zone if it is one of its tenant's. Where another sandbox has the slug
/// the name is the id.
pub(super) async fn host_of(
    tx: &mut Tx,
    links: Option<&Links>,
    sandbox: &Sandbox,
) -> Result<(String, Option<String>), StoreError> {
    let id = sandbox.id.to_string();
    let sql = format!(
        "SELECT d.domain FROM domains d JOIN sandboxes s ON s.tenant = d.tenant \
         WHERE s.id = ?1 AND d.verified_at IS NOT NULL AND {ADMITS} \
         ORDER BY CASE d.level WHEN 'project' THEN 0 WHEN 'workspace' THEN 1 ELSE 2 END, d.created_at DESC, d.domain"
    );
    let rows = all(tx, sql, &[&id]).await?;
    let mut domains = rows.iter().map(|row| row.get::<String, _>(0));
    let covered = |domain: &String| links?.is_covered(&format!("sandbox.{domain}"));
    let domain = domains.find(|domain| covered(domain) != Some(false));
    let scope = domain.as_deref().unwrap_or(PLATFORM);
    let sql = "SELECT 1 FROM slugs WHERE scope = ?1 AND slug = ?2 AND sandbox = ?3".to_owned();
    let held = !all(tx, sql, &[scope, sandbox.slug.as_str(), &id]).await?.is_empty();
    // A destroyed one has given its slug back, and no link to it leads anywhere.
    let name = if held || sandbox.destroyed_at.is_some() { sandbox.slug.to_string() } else { id };
    Ok((name, domain.map(|domain| format!("sandbox.{domain}"))))
}
