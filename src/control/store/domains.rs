//! Preview domains: who has registered which, whose sandboxes are served there, and which names are in each other's way.

use jiff::{SignedDuration, Timestamp};
use sqlx::sqlite::SqliteRow;

use super::former::{held, was_anothers};
use super::rows::{Columns, Tx, all, millis};
use super::slugs::claim_slugs_below;
use super::{Store, StoreError};
use crate::model::{
    Audience, PreviewDomain, Registration, Standing, Subject, TenantDomain, TenantId, Version,
};

/// A name that was never right for so long is given up as soon as somebody else asks for it.
const LAPSES_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The columns of a domain, in the order in which they are read.
pub(super) const DOMAIN: &str = "domain, tenant, verified_at, level, owner, bare, created_at, vouched, standing, report, must_prove";

/// Another tenant's registration that stands in the way of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// The registered name: the same, or one above or below.
    pub name: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Whether it has to give way to whoever asks: it was registered long ago and its DNS never was right since.
    pub lapsed: bool,
    /// Whether the operator vouches for it: it gives way to nobody.
    pub vouched: bool,
}

/// What came of a registration.
#[derive(Debug)]
pub enum Registered {
    /// It is registered now.
    Fresh(PreviewDomain, Version),
    /// It was already, for the same sandboxes.
    Before(PreviewDomain),
}

pub(super) fn preview_domain(row: &SqliteRow) -> Result<PreviewDomain, StoreError> {
    let mut c = Columns::of(row);
    let (domain, tenant, verified_at) = (c.take()?, c.id()?, c.optional_moment()?);
    let audience = Audience::from_parts(c.take()?, c.take()?);
    let audience = audience.ok_or(StoreError::Corrupt("level"))?;
    let route = TenantDomain { domain, tenant, verified_at, audience, bare: c.take()? };
    Ok(PreviewDomain { route, record: registration(&mut c)? })
}

/// The columns that both kinds of names end with.
pub(super) fn registration(c: &mut Columns<'_>) -> Result<Registration, StoreError> {
    Ok(Registration {
        created_at: c.moment()?,
        vouched: c.take()?,
        standing: c.json()?,
        report: c.optional_json()?,
        must_prove: c.take()?,
    })
}

impl Store {
    /// Enters a domain that the operator vouches for, or says that it is not (no longer) to be used. First come, first served.
    pub async fn put_domain(
        &self,
        name: &str,
        tenant: TenantId,
        verified_at: Option<Timestamp>,
    ) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO domains (domain, tenant, verified_at, vouched, created_at) VALUES (?1, ?2, ?3, 1, ?4) \
             ON CONFLICT (domain) DO UPDATE SET verified_at = ?3, vouched = 1 WHERE tenant = ?2",
        )
        .bind(name)
        .bind(tenant.to_string())
        .bind(verified_at.map(millis))
        .bind(millis(self.clock.now()))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        if done.rows_affected() == 0 {
            return Err(StoreError::DomainTaken);
        }
        let mut subjects = vec![Subject::Domain(name.to_owned())];
        if let Some(at) = verified_at {
            held(&mut tx, name, tenant, at).await?;
            subjects.extend(claim_slugs_below(&mut tx, name).await?);
        }
        self.commit(tx, &subjects).await
    }

    /// Other tenants' names that stand in the way of one.
    pub async fn rivals(&self, name: &str, tenant: TenantId) -> Result<Vec<Rival>, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        rivals(&mut tx, name, tenant, self.clock.now()).await
    }

    /// Registers a domain for some of a tenant's sandboxes, in place of the one that they had. Rivals that are not among those that
    /// `yield_to_it` refuse it.
    pub async fn register_domain(
        &self,
        name: &str,
        tenant: TenantId,
        audience: &Audience,
        yield_to_it: &[Rival],
    ) -> Result<Registered, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let sql = format!("SELECT {DOMAIN} FROM domains WHERE tenant = ?1");
        let own = all(&mut tx, sql, &[&tenant.to_string()]).await?;
        let own = own.iter().map(preview_domain).collect::<Result<Vec<_>, _>>()?;
        for before in &own {
            if before.route.domain == name && before.route.audience == *audience {
                return Ok(Registered::Before(before.clone()));
            }
            // One zone cannot lead to two sets of sandboxes.
            if share_a_zone(&before.route.domain, name) && before.route.audience != *audience {
                return Err(StoreError::Exists);
            }
        }
        let mut subjects = displace(&mut tx, name, (tenant, now), yield_to_it).await?;
        for before in own.iter().filter(|own| own.route.audience == *audience) {
            if !before.record.vouched {
                subjects.extend(remove(&mut tx, &before.route.domain, Some(tenant)).await?);
            }
        }
        let must_prove = was_anothers(&mut tx, name, tenant).await?;
        sqlx::query(
            "INSERT INTO domains (domain, tenant, level, owner, bare, created_at, must_prove) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)",
        )
        .bind(name)
        .bind(tenant.to_string())
        .bind(audience.level())
        .bind(audience.owner())
        .bind(millis(now))
        .bind(must_prove)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        subjects.push(Subject::Domain(name.to_owned()));
        let route = TenantDomain {
            domain: name.to_owned(),
            tenant,
            verified_at: None,
            audience: audience.clone(),
            bare: false,
        };
        let record = Registration { created_at: now, must_prove, ..Registration::default() };
        let version = self.commit(tx, &subjects).await?;
        Ok(Registered::Fresh(PreviewDomain { route, record }, version))
    }

    /// What a domain is, for routing.
    pub async fn domain(&self, name: &str) -> Result<Option<TenantDomain>, StoreError> {
        Ok(self.preview_domain(name).await?.map(|domain| domain.route))
    }

    /// A registered domain.
    pub async fn preview_domain(&self, name: &str) -> Result<Option<PreviewDomain>, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let sql = format!("SELECT {DOMAIN} FROM domains WHERE domain = ?1");
        all(&mut tx, sql, &[name]).await?.first().map(preview_domain).transpose()
    }

    /// A tenant's domains, the newest first.
    pub async fn domains(&self, tenant: TenantId) -> Result<Vec<PreviewDomain>, StoreError> {
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let sql = format!(
            "SELECT {DOMAIN} FROM domains WHERE tenant = ?1 ORDER BY created_at DESC, domain"
        );
        all(&mut tx, sql, &[&tenant.to_string()]).await?.iter().map(preview_domain).collect()
    }

    /// Removes a domain, whoever's it is, and the claims below it.
    pub async fn delete_domain(&self, name: &str) -> Result<Version, StoreError> {
        self.delete(name, None).await
    }

    /// Removes a tenant's domain and the claims below it.
    pub async fn delete_domain_of(
        &self,
        name: &str,
        tenant: TenantId,
    ) -> Result<Version, StoreError> {
        self.delete(name, Some(tenant)).await
    }

    async fn delete(&self, name: &str, tenant: Option<TenantId>) -> Result<Version, StoreError> {
        let mut tx = self.begin().await?;
        let subjects = remove(&mut tx, name, tenant).await?;
        if subjects.is_empty() {
            return Err(StoreError::NotFound);
        }
        self.commit(tx, &subjects).await
    }
}

/// Whether two domains open a zone of the same name: `x` opens `sandbox.x` as well.
fn share_a_zone(one: &str, other: &str) -> bool {
    let is_zone_of = |zone: &str, domain: &str| zone.strip_prefix("sandbox.") == Some(domain);
    one == other || is_zone_of(one, other) || is_zone_of(other, one)
}

/// Names of others that are a name, or above or below it.
pub(super) async fn rivals(
    tx: &mut Tx,
    name: &str,
    tenant: TenantId,
    now: Timestamp,
) -> Result<Vec<Rival>, StoreError> {
    let sql = "SELECT name, tenant, verified_at, created_at, vouched, standing, \
         EXISTS (SELECT 1 FROM name_holders h WHERE h.name = ?1 AND h.tenant = ?2) FROM \
         (SELECT domain AS name, tenant, verified_at, created_at, vouched, standing FROM domains UNION ALL \
          SELECT fqdn, tenant, verified_at, created_at, vouched, standing FROM custom_domains) \
         WHERE tenant <> ?2 AND (name = ?1 OR ?1 LIKE '%.' || name OR name LIKE '%.' || ?1) ORDER BY name";
    let rows = all(tx, sql.to_owned(), &[name, &tenant.to_string()]).await?;
    let rival = |row: &SqliteRow| {
        let mut c = Columns::of(row);
        let (name, tenant, verified_at) = (c.take()?, c.id()?, c.optional_moment()?);
        let (created_at, vouched) = (c.moment()?, c.take::<bool>()?);
        let standing: Standing = c.json()?;
        // Whoever had the name last need not wait for somebody who never showed that it is theirs.
        let is_asked_back: bool = c.take()?;
        let unverified_since = standing.failing_since.map_or(created_at, |at| at.max(created_at));
        let is_old = now.duration_since(unverified_since) > LAPSES_AFTER;
        let lapsed = verified_at.is_none() && (is_old || is_asked_back);
        Ok(Rival { name, tenant, lapsed: lapsed && !vouched, vouched })
    };
    rows.iter().map(rival).collect()
}

/// Removes the rivals of a name, if all of them yield.
pub(super) async fn displace(
    tx: &mut Tx,
    name: &str,
    (tenant, now): (TenantId, Timestamp),
    yielding: &[Rival],
) -> Result<Vec<Subject>, StoreError> {
    let mut subjects = Vec::new();
    for rival in rivals(tx, name, tenant, now).await? {
        let yields =
            yielding.iter().any(|known| known.name == rival.name && known.tenant == rival.tenant);
        if rival.vouched || !(rival.lapsed || yields) {
            return Err(StoreError::DomainTaken);
        }
        subjects.extend(remove(tx, &rival.name, Some(rival.tenant)).await?);
        if remove_exact(tx, &rival.name, Some(rival.tenant)).await? {
            subjects.push(Subject::CustomDomain(rival.name));
        }
    }
    Ok(subjects)
}

/// Removes a domain and the claims below it; gives what has changed, which is nothing when there was none.
async fn remove(
    tx: &mut Tx,
    name: &str,
    tenant: Option<TenantId>,
) -> Result<Vec<Subject>, StoreError> {
    let of = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
    let sql = "DELETE FROM domains WHERE domain = ?1 AND ?2 IN ('', tenant) RETURNING domain";
    if all(tx, sql.to_owned(), &[name, &of]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let gone = "DELETE FROM slugs WHERE scope = ?1 RETURNING sandbox".to_owned();
    let mut subjects = vec![Subject::Domain(name.to_owned())];
    for row in all(tx, gone, &[name]).await? {
        subjects.push(Subject::Sandbox(Columns::of(&row).id()?));
    }
    Ok(subjects)
}

/// Removes an exact name; false when there is none.
pub(super) async fn remove_exact(
    tx: &mut Tx,
    fqdn: &str,
    tenant: Option<TenantId>,
) -> Result<bool, StoreError> {
    let of = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
    let sql = "DELETE FROM custom_domains WHERE fqdn = ?1 AND ?2 IN ('', tenant) RETURNING fqdn";
    Ok(!all(tx, sql.to_owned(), &[fqdn, &of]).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_opened_by_one_domain() {
        assert!(share_a_zone("x.example", "sandbox.x.example"));
        assert!(share_a_zone("sandbox.x.example", "x.example"));
        assert!(share_a_zone("x.example", "x.example"));
        assert!(!share_a_zone("x.example", "a.x.example"));
    }
}
