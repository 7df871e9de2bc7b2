//! May a certificate be issued for a host? What a front with on-demand certificates asks before every issuance. Decided from memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};

use crate::model::SandboxId;
use crate::model::host::Authority;
use crate::model::registrable::registered;
use crate::routing::{By, Routes, resolve, served_host};

/// The span over which hosts are counted: that of the certificate authorities.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Registered domains that are counted; further ones have to wait.
const MOST_DOMAINS: usize = 10_000;
/// Hosts of one of them that are counted, where there is no limit of fewer.
const MOST_HOSTS: usize = 100_000;

/// Hosts, when each was allowed, and of which sandbox it is.
type Hosts = HashMap<Box<str>, (Timestamp, Option<SandboxId>)>;

/// The response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host leads to something here.
    Yes,
    /// It does not.
    No,
    /// It does, but its registered domain, or its sandbox, has had too many new certificates.
    Later,
}

/// How many certificates, and for what. Zero means "no limit".
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Hosts of one registered domain a week.
    pub per_domain: usize,
    /// Hosts of one sandbox a week.
    pub per_sandbox: usize,
    /// Ports that are never previewed.
    pub forbidden_ports: Vec<u16>,
}

/// Decides, and counts what it has allowed.
#[derive(Debug)]
pub struct Issuance {
    settings: ArcSwap<Settings>,
    allowed: Mutex<HashMap<Box<str>, Hosts>>,
}

impl Issuance {
    /// With these limits.
    pub fn new(settings: Settings) -> Self {
        Self { settings: ArcSwap::from_pointee(settings), allowed: Mutex::default() }
    }

    /// Other limits from now on.
    pub fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Judges a host. One that was allowed within the week is allowed again, uncounted: fronts ask more than once for a certificate.
    pub fn judge(&self, host: &str, routes: &Routes, now: Timestamp) -> Verdict {
        match self.owner(host, routes, now) {
            None => Verdict::No,
            Some((host, sandbox)) if self.admits(&host, sandbox, now) => Verdict::Yes,
            Some(_) => Verdict::Later,
        }
    }

    /// The host in its one spelling and the sandbox that it is of, if anybody may see something there: strangers name 65,535 ports of
    /// every sandbox, and almost none of them has a page that somebody wants.
    fn owner(
        &self,
        host: &str,
        routes: &Routes,
        now: Timestamp,
    ) -> Option<(String, Option<SandboxId>)> {
        let host = served_host(host, routes)?;
        let authority = Authority::parse(host.as_bytes()).ok()?;
        let Ok(found) = resolve(&authority, routes) else { return Some((host, None)) };
        let (route, port) = (&found.route, found.port);
        let exists = port == route.default_port || route.rule(port, now).is_some();
        let is_forbidden = self.settings.load().forbidden_ports.contains(&port);
        ((exists || found.by == By::Exact) && !is_forbidden).then(|| (host, Some(route.sandbox)))
    }

    fn admits(&self, host: &str, sandbox: Option<SandboxId>, now: Timestamp) -> bool {
        let settings = self.settings.load();
        let has_room = |taken: usize, most: usize| most == 0 || taken < most;
        let is_recent = |(at, _): &(Timestamp, _)| now.duration_since(*at) < WEEK;
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let domain = registered(host);
        if !allowed.contains_key(domain.as_str()) && allowed.len() >= MOST_DOMAINS {
            allowed.retain(|_, hosts| hosts.values().any(is_recent));
            if allowed.len() >= MOST_DOMAINS {
                return false;
            }
        }
        let hosts = allowed.entry(domain.into_boxed_str()).or_default();
        if hosts.get(host).is_some_and(is_recent) {
            return true;
        }
        if !has_room(hosts.len(), settings.per_domain) || hosts.len() >= MOST_HOSTS {
            hosts.retain(|_, known| is_recent(known));
        }
        let of_sandbox =
            |known: &&(Timestamp, Option<SandboxId>)| known.1 == sandbox && is_recent(known);
        let fits = hosts.len() < MOST_HOSTS
            && has_room(hosts.len(), settings.per_domain)
            && (sandbox.is_none()
                || has_room(hosts.values().filter(of_sandbox).count(), settings.per_sandbox));
        if fits {
            hosts.insert(host.into(), (now, sandbox));
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_domain: usize, per_sandbox: usize) -> Issuance {
        Issuance::new(Settings { per_domain, per_sandbox, forbidden_ports: Vec::new() })
    }

    #[test]
    fn a_registered_domain_has_so_many_new_hosts_a_week() {
        let issuance = limits(2, 0);
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        assert!(issuance.admits("a.sandbox.x.example", None, at(0)));
        assert!(issuance.admits("b.x.example", None, at(1)));
        assert!(issuance.admits("a.sandbox.x.example", None, at(2)), "asked again");
        assert!(!issuance.admits("c.x.example", None, at(2)));
        assert!(issuance.admits("a.y.example", None, at(2)), "another domain");
        assert!(issuance.admits("c.x.example", None, at(168)), "the first is a week old");
        assert!(!issuance.admits("a.sandbox.x.example", None, at(168)), "and forgotten");
        let unlimited = limits(0, 0);
        assert!((0..1000).all(|n| unlimited.admits(&format!("{n}.x.example"), None, at(0))));
    }

    #[test]
    fn one_sandbox_does_not_use_up_what_all_have() {
        let issuance = limits(10, 2);
        let (one, other) = (Some(SandboxId::new()), Some(SandboxId::new()));
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        assert!(issuance.admits("1-a.x.example", one, at(0)));
        assert!(issuance.admits("2-a.x.example", one, at(0)));
        assert!(!issuance.admits("3-a.x.example", one, at(0)));
        assert!(issuance.admits("1-a.x.example", one, at(1)), "asked again");
        assert!(issuance.admits("1-b.x.example", other, at(0)));
        assert!(issuance.admits("3-a.x.example", one, at(168)));
    }
}
