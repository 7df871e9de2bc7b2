//! Whose is a name, and does it lead here? Asks DNS and notes the answers in the store: for the API when a tenant wants to know, and
//! on a schedule of its own, because what was right once is somebody else's a year later.

mod keep;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::base::clock::Clock;
use crate::control::dns::{Dns, DomainReport, Finding, Record, challenge};
use crate::control::store::{Check, Checked, Rival, Store, StoreError};
use crate::model::registrable::is_at_or_below;
use crate::model::{ExactDomain, PreviewDomain, Seen, TenantId};

/// Rivals of one name that DNS is asked about.
const MOST_RIVALS: usize = 8;
/// A name that never was right is looked at on the schedule for so long, and then seldom.
const HOPEFUL: Duration = Duration::from_hours(7 * 24);
/// How much seldom is.
const SELDOM: u32 = 24;
/// Names that are verified have their checks this many per cent earlier or later, so that they spread.
const JITTER: u64 = 20;

/// Settings of verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often a name's DNS is looked at without anybody asking. Zero: never.
    pub recheck: Duration,
    /// How long a verified name may be found wrong before it is no longer.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { recheck: Duration::from_hours(1), grace: Duration::from_hours(24) }
    }
}

/// Looks at the DNS of tenants' names. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    dns: Dns,
    clock: Clock,
    settings: Settings,
}

/// What DNS says about a dispute.
#[derive(Debug)]
pub enum Dispute {
    /// Nobody is in the way, or all who are have to give way.
    Won(Vec<Rival>),
    /// Somebody is. The record is the one that would settle it.
    Lost(Record),
}

impl Verifier {
    /// Prepares to look.
    pub fn new(dns: Dns, clock: Clock, settings: Settings) -> Self {
        Self { dns, clock, settings }
    }

    /// What tenants' records have to lead to.
    pub fn target(&self) -> &str {
        self.dns.target()
    }

    /// Who has to give way when a tenant registers a name that is in use, or above or below one that is.
    ///
    /// Whoever controls the wider of the two names decides: with a TXT record there the newcomer shows that it is theirs. The holder
    /// keeps a name that it has proved in the same way.
    pub async fn settle(
        &self,
        store: &Store,
        name: &str,
        tenant: TenantId,
    ) -> Result<Dispute, StoreError> {
        let rivals = store.rivals(name, tenant).await?;
        let mine = challenge(&tenant.to_string());
        let too_many = rivals.len() > MOST_RIVALS;
        for rival in rivals.iter().filter(|rival| !rival.lapsed).take(MOST_RIVALS) {
            let wider = if is_at_or_below(&rival.name, name) { name } else { &rival.name };
            let proof = self.dns.proves(wider, &mine).await;
            if too_many || rival.vouched || !proof.is_right() {
                return Ok(Dispute::Lost(proof));
            }
            let theirs = challenge(&rival.tenant.to_string());
            let held = self.dns.proves(&rival.name, &theirs).await;
            if matches!(held.finding, Finding::Verified | Finding::Unknown) {
                return Ok(Dispute::Lost(proof));
            }
        }
        Ok(Dispute::Won(rivals))
    }

    /// Looks at a domain's DNS and notes what was found.
    pub async fn domain(
        &self,
        store: &Store,
        domain: &PreviewDomain,
    ) -> Result<Checked<PreviewDomain>, StoreError> {
        let route = &domain.route;
        let report = self.dns.domain(&route.domain, &challenge(&route.tenant.to_string())).await;
        let check = Check {
            name: route.domain.clone(),
            tenant: route.tenant,
            seen: seen(&report.sandbox),
            bare: known(&report.bare),
            proved: known(&report.proof),
            report: as_json(&report),
            grace: self.settings.grace,
            next: self.next(domain.record.created_at, route.verified_at.is_some()),
        };
        let checked = store.domain_checked(&check).await?;
        tell(&check, checked.was_verified, checked.now.route.verified_at.is_some());
        Ok(checked)
    }

    /// Looks at an exact name's DNS and notes what was found.
    pub async fn exact(
        &self,
        store: &Store,
        exact: &ExactDomain,
    ) -> Result<Checked<ExactDomain>, StoreError> {
        let report = self.dns.host(&exact.route.fqdn, &challenge(&exact.tenant.to_string())).await;
        let check = Check {
            name: exact.route.fqdn.clone(),
            tenant: exact.tenant,
            seen: seen(&report.host),
            bare: None,
            proved: known(&report.proof),
            report: as_json(&report),
            grace: self.settings.grace,
            next: self.next(exact.record.created_at, exact.verified_at.is_some()),
        };
        let checked = store.exact_checked(&check).await?;
        tell(&check, checked.was_verified, checked.now.verified_at.is_some());
        Ok(checked)
    }

    /// When to look again.
    fn next(&self, created_at: Timestamp, is_verified: bool) -> Timestamp {
        let now = self.clock.now();
        let age = Duration::try_from(now.duration_since(created_at)).unwrap_or_default();
        let is_seldom = !is_verified && age > HOPEFUL;
        let wait = self.settings.recheck.saturating_mul(if is_seldom { SELDOM } else { 1 });
        let percent = 100 - JITTER + fastrand::u64(0..=2 * JITTER);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_mul(percent);
        now.checked_add(Duration::from_millis(millis / 100)).unwrap_or(Timestamp::MAX)
    }
}

/// The records of a domain that has been looked at.
pub fn read_report(report: &serde_json::Value) -> Option<DomainReport> {
    serde_json::from_value(report.clone()).ok()
}

fn seen(record: &Record) -> Seen {
    match record.finding {
        Finding::Verified => Seen::Right,
        Finding::Missing | Finding::Wrong => Seen::Wrong,
        Finding::Unknown => Seen::Unknown,
    }
}

fn known(record: &Record) -> Option<bool> {
    (record.finding != Finding::Unknown).then(|| record.is_right())
}

fn as_json<T: Serialize>(report: &T) -> serde_json::Value {
    // Texts and words always serialise.
    serde_json::to_value(report).unwrap_or_default()
}

fn tell(check: &Check, before: bool, after: bool) {
    let (name, tenant) = (&check.name, check.tenant);
    match (before, after) {
        (false, true) => tracing::info!(%name, %tenant, "a domain is verified and served"),
        (true, false) => {
            tracing::warn!(%name, %tenant, "a domain no longer points here and is no longer served");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::dns;

    #[tokio::test]
    async fn checks_are_spread_and_hopeless_names_are_looked_at_seldom() {
        let clock = Clock::manual(Timestamp::from_second(100_000_000).unwrap());
        let dns = Dns::new(dns::Settings {
            resolvers: vec!["127.0.0.1:1".parse().unwrap()],
            ..dns::Settings::default()
        });
        let verifier = Verifier::new(dns, clock.clone(), Settings::default());
        let now = clock.now();
        let waits = |created: Timestamp, verified: bool| {
            let all =
                (0..200).map(|_| verifier.next(created, verified).as_second() - now.as_second());
            let all: Vec<i64> = all.collect();
            (*all.iter().min().unwrap(), *all.iter().max().unwrap())
        };
        let (least, most) = waits(now, false);
        assert!((2880..3400).contains(&least) && (3800..=4320).contains(&most), "{least} {most}");
        let old = now - Duration::from_hours(8 * 24);
        assert!(waits(old, true).1 <= 4320);
        assert!(waits(old, false).0 >= 24 * 2880);
    }
}
