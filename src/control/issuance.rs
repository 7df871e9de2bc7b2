//! May a certificate be issued for a host? What a front with on-demand certificates asks before every issuance. Decided from memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::model::registrable::registered;
use crate::routing::{Routes, served_host};

/// The span over which hosts are counted: that of the certificate authorities.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Registered domains that are counted; further ones have to wait.
const MOST_DOMAINS: usize = 10_000;

/// Hosts, and when each was allowed.
type Hosts = HashMap<Box<str>, Timestamp>;

/// The response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host leads to something here.
    Yes,
    /// It does not.
    No,
    /// It does, but its registered domain has had too many new certificates.
    Later,
}

/// Decides, and counts what it has allowed.
#[derive(Debug)]
pub struct Issuance {
    limit: AtomicUsize,
    allowed: Mutex<HashMap<Box<str>, Hosts>>,
}

impl Issuance {
    /// With a limit of hosts of one registered domain a week; 0 = no limit.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.into(), allowed: Mutex::default() }
    }

    /// Another limit from now on.
    pub fn set(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Judges a host. One that was allowed within the week is allowed again, uncounted: fronts ask more than once for a certificate.
    pub fn judge(&self, host: &str, routes: &Routes, now: Timestamp) -> Verdict {
        match served_host(host, routes) {
            None => Verdict::No,
            Some(host) if self.admits(&host, now) => Verdict::Yes,
            Some(_) => Verdict::Later,
        }
    }

    fn admits(&self, host: &str, now: Timestamp) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return true;
        }
        let is_recent = |at: &Timestamp| now.duration_since(*at) < WEEK;
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
        if hosts.len() >= limit {
            hosts.retain(|_, at| is_recent(at));
        }
        let has_room = hosts.len() < limit;
        if has_room {
            hosts.insert(host.into(), now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_domain_has_so_many_new_hosts_a_week() {
        let issuance = Issuance::new(2);
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        assert!(issuance.admits("a.sandbox.x.example", at(0)));
        assert!(issuance.admits("b.x.example", at(1)));
        assert!(issuance.admits("a.sandbox.x.example", at(2)), "asked again");
        assert!(!issuance.admits("c.x.example", at(2)));
        assert!(issuance.admits("a.y.example", at(2)), "another domain");
        assert!(issuance.admits("c.x.example", at(168)), "the first is a week old");
        assert!(!issuance.admits("a.sandbox.x.example", at(168)), "and forgotten");
        let unlimited = Issuance::new(0);
        assert!((0..1000).all(|n| unlimited.admits(&format!("{n}.x.example"), at(0))));
    }
}
