//! Names of tenants' own: preview domains, exact host names, and what DNS has said of them so far.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{SandboxId, TenantId};

/// Wrong answers in a row before a name may stop being verified.
const PATIENT_CHECKS: u32 = 3;
/// Without any answer a name stays verified this many times as long, and for as many checks more.
const SILENCE: u32 = 7;

/// Whose sandboxes are served below a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Audience {
    /// All of the tenant's.
    #[default]
    Tenant,
    /// Those of one workspace.
    Workspace(Arc<str>),
    /// Those of one project.
    Project(Arc<str>),
}

impl Audience {
    /// The word for its kind.
    pub fn level(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Workspace(_) => "workspace",
            Self::Project(_) => "project",
        }
    }

    /// The workspace's or project's id; empty for the tenant.
    pub fn owner(&self) -> &str {
        match self {
            Self::Tenant => "",
            Self::Workspace(id) | Self::Project(id) => id,
        }
    }

    /// From the two, as they are stored.
    pub fn from_parts(level: &str, owner: &str) -> Option<Self> {
        match level {
            "tenant" => Some(Self::Tenant),
            "workspace" => Some(Self::Workspace(owner.into())),
            "project" => Some(Self::Project(owner.into())),
            _ => None,
        }
    }

    /// Whether a sandbox of this workspace and project is one of them.
    pub fn admits(&self, workspace: Option<&str>, project: Option<&str>) -> bool {
        match self {
            Self::Tenant => true,
            Self::Workspace(id) => workspace == Some(id),
            Self::Project(id) => project == Some(id),
        }
    }
}

/// A domain of a tenant's own as routing knows it: `sandbox.D`, and `D` where DNS leads it here, become preview zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantDomain {
    /// The domain, lower case, no trailing dot.
    pub domain: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Since when its DNS is right; unverified domains do not route.
    pub verified_at: Option<Timestamp>,
    /// Whose sandboxes are served there.
    pub audience: Audience,
    /// Whether `{slug}.D` leads here as well.
    pub bare: bool,
}

/// An exact host name that leads to one port of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomDomain {
    /// The fully qualified name, lower case, no trailing dot.
    pub fqdn: String,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The port; `None` = the sandbox's default port.
    pub port: Option<u16>,
}

/// A registered preview domain, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviewDomain {
    /// What routing knows of it.
    pub route: TenantDomain,
    /// What is known of its DNS.
    pub record: Registration,
}

/// A registered exact host name, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactDomain {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it leads.
    pub route: CustomDomain,
    /// Since when its DNS is right; unverified names do not route.
    pub verified_at: Option<Timestamp>,
    /// What is known of its DNS.
    pub record: Registration,
}

/// What is known of a registered name besides where it leads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    /// When it was registered.
    pub created_at: Timestamp,
    /// Whether the operator vouches for it: DNS is not asked, and nobody takes it over.
    pub vouched: bool,
    /// How its checks have gone.
    pub standing: Standing,
    /// What the last check found, as whoever checks writes it.
    pub report: Option<serde_json::Value>,
    /// Whether a TXT record must prove whose it is before it is verified: it, or a name above or below it, was somebody else's once.
    pub must_prove: bool,
}

/// What one check of a name's DNS has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It leads here.
    Right,
    /// It does not.
    Wrong,
    /// Nobody could say.
    Unknown,
}

/// How the checks of a name have gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// The last check.
    pub checked_at: Option<Timestamp>,
    /// When the TXT record that says whose the name is was last seen.
    pub proved_at: Option<Timestamp>,
    /// The first check since the last good one.
    pub failing_since: Option<Timestamp>,
    /// The first wrong answer since the last good one.
    pub wrong_since: Option<Timestamp>,
    /// Checks since the last good one.
    pub failures: u32,
    /// Wrong answers among them.
    pub wrongs: u32,
}

impl Standing {
    /// Goes on from one check. Gives since when the name is verified, if it is.
    ///
    /// A name that was verified stays so until three checks have found it wrong, the first of them `grace` ago; or until nobody has
    /// been able to say for seven times as long, in 21 checks. One bad hour of somebody's DNS closes nothing.
    pub fn after(
        &mut self,
        seen: Seen,
        verified_at: Option<Timestamp>,
        now: Timestamp,
        grace: Duration,
    ) -> Option<Timestamp> {
        self.checked_at = Some(now);
        if seen == Seen::Right {
            self.failures = 0;
            self.wrongs = 0;
            self.failing_since = None;
            self.wrong_since = None;
            return verified_at.or(Some(now));
        }
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        if seen == Seen::Wrong {
            self.wrongs = self.wrongs.saturating_add(1);
            self.wrong_since.get_or_insert(now);
        }
        verified_at.filter(|_| !self.is_lost(now, grace))
    }

    fn is_lost(&self, now: Timestamp, grace: Duration) -> bool {
        let passed = |since: Option<Timestamp>, wait: Duration| {
            let waited = since.map(|since| now.duration_since(since));
            waited.is_some_and(|waited| Duration::try_from(waited).is_ok_and(|w| w >= wait))
        };
        let wrong = self.wrongs >= PATIENT_CHECKS && passed(self.wrong_since, grace);
        let silent = self.failures >= SILENCE * PATIENT_CHECKS
            && passed(self.failing_since, grace.saturating_mul(SILENCE));
        wrong || silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_hours(24);

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + hour * 3600).unwrap()
    }

    fn run(checks: &[(i64, Seen)]) -> (Standing, Option<Timestamp>) {
        let mut standing = Standing::default();
        let mut verified = None;
        for (hour, seen) in checks {
            verified = standing.after(*seen, verified, at(*hour), GRACE);
        }
        (standing, verified)
    }

    #[test]
    fn a_name_is_lost_after_three_wrong_answers_and_the_grace() {
        use Seen::{Right, Unknown, Wrong};
        assert_eq!(run(&[(0, Wrong)]).1, None, "it never was verified");
        assert_eq!(run(&[(0, Right), (1, Right)]).1, Some(at(0)), "since the first time");
        assert!(run(&[(0, Right), (1, Wrong), (26, Wrong)]).1.is_some(), "two checks");
        assert!(run(&[(0, Right), (1, Wrong), (2, Wrong), (24, Wrong)]).1.is_some(), "23 hours");
        let (standing, lost) =
            run(&[(0, Right), (1, Wrong), (2, Unknown), (3, Wrong), (25, Wrong)]);
        assert_eq!((lost, standing.wrongs, standing.failures), (None, 3, 4));
        let forgiven = [(0, Right), (1, Wrong), (24, Wrong), (25, Right), (26, Wrong), (50, Wrong)];
        assert!(run(&forgiven).1.is_some(), "a good answer begins anew");
        let again = [(0, Right), (1, Wrong), (2, Wrong), (30, Wrong), (31, Right)];
        assert_eq!(run(&again).1, Some(at(31)));
    }

    #[test]
    fn silence_is_borne_seven_times_as_long() {
        let silent = |hours: i64| {
            let mut checks = vec![(0, Seen::Right)];
            checks.extend((1..=hours).map(|hour| (hour, Seen::Unknown)));
            run(&checks).1
        };
        assert!(silent(168).is_some());
        assert!(silent(169).is_none());
        let (_, verified) = run(&[(0, Seen::Right), (1, Seen::Unknown), (400, Seen::Unknown)]);
        assert!(verified.is_some(), "two checks, however far apart, are not enough");
    }

    #[test]
    fn an_audience_is_read_back_and_admits_its_own() {
        let project = Audience::Project("p1".into());
        for audience in [Audience::Tenant, Audience::Workspace("w".into()), project.clone()] {
            let read = Audience::from_parts(audience.level(), audience.owner());
            assert_eq!(read, Some(audience));
        }
        assert_eq!(Audience::from_parts("x", ""), None);
        assert!(project.admits(None, Some("p1")) && !project.admits(Some("p1"), None));
        assert!(Audience::Tenant.admits(None, None));
        assert!(Audience::Workspace("w".into()).admits(Some("w"), Some("p1")));
    }
}
