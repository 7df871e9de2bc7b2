//! Checks of names' DNS: which are due, and what they have come to.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::custom_domains::{EXACT, exact_domain};
use super::domains::{DOMAIN, preview_domain};
use super::events::NewEvent;
use super::former::held;
use super::rows::{self, Tx, all, millis};
use super::slugs::claim_slugs_below;
use super::{Store, StoreError};
use crate::model::{
    Audience, EventType, ExactDomain, PreviewDomain, Registration, Seen, Standing, Subject,
    TenantId, Version,
};

/// One check of a name.
#[derive(Clone, Debug)]
pub struct Check {
    /// The name.
    pub name: String,
    /// Whose it was when the check began.
    pub tenant: TenantId,
    /// What it has come to.
    pub seen: Seen,
    /// Whether the name itself, not only what is below `sandbox.`, leads here. `None`: nobody could say.
    pub bare: Option<bool>,
    /// Whether it is proved whose the name is. `None`: nobody could say.
    pub proved: Option<bool>,
    /// All that was found, for whoever asks.
    pub report: Value,
    /// How long a verified name may be wrong.
    pub grace: Duration,
    /// When to look again.
    pub next: Timestamp,
}

impl Check {
    fn stand(&self, standing: &mut Standing, now: Timestamp) {
        match self.proved {
            Some(true) => standing.proved_at = Some(now),
            Some(false) => standing.proved_at = None,
            None => {}
        }
    }

    /// What it says of a name. One that was somebody else's before leads here of old: that counts once it is proved whose it is.
    fn verdict(&self, record: &mut Registration) -> Seen {
        if !record.must_prove {
            return self.seen;
        }
        match (self.seen, self.proved) {
            (Seen::Right, Some(true)) => {
                record.must_prove = false;
                Seen::Right
            }
            (Seen::Right, Some(false)) => Seen::Wrong,
            (Seen::Right, None) => Seen::Unknown,
            (other, _) => other,
        }
    }
}

/// What a check has changed.
#[derive(Debug)]
pub struct Checked<T> {
    /// The name as it stands now.
    pub now: T,
    /// Whether it was verified before.
    pub was_verified: bool,
    /// The version to wait for, if routing has changed.
    pub version: Option<Version>,
}

impl Store {
    /// The domains and exact names whose next check is due, the longest first, at most `limit` of each.
    pub async fn due_checks(
        &self,
        limit: u32,
    ) -> Result<(Vec<PreviewDomain>, Vec<ExactDomain>), StoreError> {
        let now = millis(self.clock.now()).to_string();
        let mut tx = self.read.begin().await.map_err(StoreError::Database)?;
        let due = format!(
            "WHERE vouched = 0 AND next_check <= CAST(?1 AS INTEGER) ORDER BY next_check LIMIT {limit}"
        );
        let domains = all(&mut tx, format!("SELECT {DOMAIN} FROM domains {due}"), &[&now]).await?;
        let sql = format!("SELECT {EXACT} FROM custom_domains {due}");
        let exact = all(&mut tx, sql, &[&now]).await?;
        let domains = domains.iter().map(preview_domain).collect::<Result<_, _>>()?;
        Ok((domains, exact.iter().map(exact_domain).collect::<Result<_, _>>()?))
    }

    /// Notes a check of a domain. Its zones open or close with it.
    pub async fn domain_checked(
        &self,
        check: &Check,
    ) -> Result<Checked<PreviewDomain>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let sql = format!("SELECT {DOMAIN} FROM domains WHERE domain = ?1 AND tenant = ?2");
        let row = all(&mut tx, sql, &[&check.name, &check.tenant.to_string()]).await?;
        // Deleted or taken over meanwhile: what was found is about somebody else's.
        let row = row.first().map(preview_domain).transpose()?;
        let mut domain = row.ok_or(StoreError::NotFound)?;
        let before = (domain.route.verified_at, domain.route.bare);
        let (route, record) = (&mut domain.route, &mut domain.record);
        check.stand(&mut record.standing, now);
        let seen = check.verdict(record);
        let verified = record.standing.after(seen, route.verified_at, now, check.grace);
        if !record.vouched {
            route.verified_at = verified;
            // What leads here is used at once; what does not stays until the whole domain is given up.
            route.bare = check.bare == Some(true) || (route.bare && verified.is_some());
        }
        record.report = Some(check.report.clone());
        sqlx::query(
            "UPDATE domains SET verified_at = ?2, bare = ?3, standing = ?4, report = ?5, next_check = ?6, must_prove = ?7 WHERE domain = ?1",
        )
        .bind(&check.name)
        .bind(domain.route.verified_at.map(millis))
        .bind(domain.route.bare)
        .bind(rows::json(&domain.record.standing))
        .bind(check.report.to_string())
        .bind(millis(check.next))
        .bind(domain.record.must_prove)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        let mut subjects = Vec::new();
        if before != (domain.route.verified_at, domain.route.bare) {
            subjects.push(Subject::Domain(check.name.clone()));
            if before.0.is_none() && domain.route.verified_at.is_some() {
                held(&mut tx, &check.name, check.tenant, now).await?;
                subjects.extend(claim_slugs_below(&mut tx, &check.name).await?);
                self.emit(&mut tx, verified_event(&domain)).await?;
            }
        }
        let version = self.commit_if_any(tx, &subjects).await?;
        Ok(Checked { now: domain, was_verified: before.0.is_some(), version })
    }

    /// Notes a check of an exact host name.
    pub async fn exact_checked(&self, check: &Check) -> Result<Checked<ExactDomain>, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let sql = format!("SELECT {EXACT} FROM custom_domains WHERE fqdn = ?1 AND tenant = ?2");
        let row = all(&mut tx, sql, &[&check.name, &check.tenant.to_string()]).await?;
        let row = row.first().map(exact_domain).transpose()?;
        let mut exact = row.ok_or(StoreError::NotFound)?;
        let before = exact.verified_at;
        check.stand(&mut exact.record.standing, now);
        let seen = check.verdict(&mut exact.record);
        let verified = exact.record.standing.after(seen, before, now, check.grace);
        if !exact.record.vouched {
            exact.verified_at = verified;
        }
        exact.record.report = Some(check.report.clone());
        sqlx::query(
            "UPDATE custom_domains SET verified_at = ?2, standing = ?3, report = ?4, next_check = ?5, must_prove = ?6 WHERE fqdn = ?1",
        )
        .bind(&check.name)
        .bind(exact.verified_at.map(millis))
        .bind(rows::json(&exact.record.standing))
        .bind(check.report.to_string())
        .bind(millis(check.next))
        .bind(exact.record.must_prove)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        let changed = before != exact.verified_at;
        if before.is_none() && exact.verified_at.is_some() {
            held(&mut tx, &check.name, check.tenant, now).await?;
        }
        let subjects: Vec<_> =
            changed.then(|| Subject::CustomDomain(check.name.clone())).into_iter().collect();
        let version = self.commit_if_any(tx, &subjects).await?;
        Ok(Checked { now: exact, was_verified: before.is_some(), version })
    }

    /// Ends a write that routing may not have to learn of.
    async fn commit_if_any(
        &self,
        tx: Tx,
        subjects: &[Subject],
    ) -> Result<Option<Version>, StoreError> {
        if subjects.is_empty() {
            self.end(tx).await?;
            return Ok(None);
        }
        self.commit(tx, subjects).await.map(Some)
    }
}

/// The event that a domain is verified.
fn verified_event(domain: &PreviewDomain) -> NewEvent {
    let route = &domain.route;
    let facts = [
        ("preview_domain", json!(route.domain)),
        ("domain", json!(route.domain)),
        ("level", json!(route.audience.level())),
        ("verified_at", json!(route.verified_at)),
    ];
    let mut data = Map::from_iter(facts.map(|(name, fact)| (name.to_owned(), fact)));
    if let Audience::Workspace(id) | Audience::Project(id) = &route.audience {
        data.insert(format!("{}_id", route.audience.level()), json!(id));
    }
    let workspace = match &route.audience {
        Audience::Workspace(id) => Some(id.to_string()),
        Audience::Tenant | Audience::Project(_) => None,
    };
    let event = NewEvent::of_tenant(route.tenant, EventType::PreviewDomainVerified, data);
    NewEvent { workspace, ..event }
}
