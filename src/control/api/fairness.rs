//! What each caller may ask for: calls, open streams, and things made that open something. Whoever has spent its share gets 429 and is
//! told when to come again, and nobody else notices. A tenant's keys share one budget, each of its end users has one, and an address
//! has one for credentials that are worth nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;

use super::Problem;
use crate::model::TenantId;

/// Budgets that are kept at once, of each kind. Beyond that, those that are whole again are dropped, and then all.
const MOST: usize = 65_536;
/// How many seconds' worth may be spent at once.
const BURST: u32 = 10;
/// Worthless credentials of one address a second.
const FAILURES: u32 = 100;

/// How much of everything. Zero means "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Calls a second of all of a tenant's own keys.
    pub tenant_rate: u32,
    /// Calls a second of one end user's keys and tokens.
    pub user_rate: u32,
    /// Preview tokens and share links that one end user's keys and tokens make a minute.
    pub user_mints: u32,
    /// Streams that one key, or one end user, has open.
    pub streams: usize,
    /// Streams that a tenant has open, those of its end users included.
    pub tenant_streams: usize,
    /// Share links to one sandbox that are open.
    pub sandbox_shares: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            tenant_rate: 2000,
            user_rate: 100,
            user_mints: 60,
            streams: 16,
            tenant_streams: 128,
            sandbox_shares: 1000,
        }
    }
}

/// Who spends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Spender {
    /// A tenant's own keys.
    Tenant(TenantId),
    /// An end user of a tenant's.
    User(TenantId, String),
}

/// When each budget is whole again: all that has to be known of one.
#[derive(Debug)]
struct Budgets<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Budgets<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Budgets<K> {
    /// Spends one of a budget that fills up in `whole` and by one in `each`. The error is how long to wait.
    fn spend(&self, key: K, (each, whole): (Duration, Duration)) -> Result<(), Duration> {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&key) {
            all.retain(|_, at| *at > now);
            if all.len() >= MOST {
                all.clear();
            }
        }
        let at = all.entry(key).or_insert(now);
        *at = after_one(*at, now, (each, whole))?;
        Ok(())
    }

    /// Whether one could be spent. The error is how long to wait.
    fn has_one(&self, key: &K, (each, whole): (Duration, Duration)) -> Result<(), Duration> {
        let now = Instant::now();
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        after_one(all.get(key).copied().unwrap_or(now), now, (each, whole)).map(drop)
    }
}

/// When a budget is whole again once one more is spent of it. The error is how long to wait until one can be.
fn after_one(
    whole_at: Instant,
    now: Instant,
    (each, whole): (Duration, Duration),
) -> Result<Instant, Duration> {
    let next = whole_at.max(now) + each;
    let wait = next.saturating_duration_since(now + whole);
    if wait.is_zero() { Ok(next) } else { Err(wait) }
}

/// What one is worth of a rate, and the whole of it.
fn rate(per_second: u32) -> (Duration, Duration) {
    (Duration::from_secs(1) / per_second.max(1), Duration::from_secs(u64::from(BURST)))
}

/// Open streams by whose they are.
type Open = HashMap<Spender, usize>;

/// The budgets of all callers.
#[derive(Debug, Default)]
pub struct Fairness {
    calls: Budgets<Spender>,
    mints: Budgets<Spender>,
    failures: Budgets<IpAddr>,
    streams: Arc<Mutex<Open>>,
}

/// A stream's place, given back when dropped.
#[derive(Debug)]
pub(super) struct OpenStream {
    all: Arc<Mutex<Open>>,
    of: Vec<Spender>,
}

fn lock(all: &Mutex<Open>) -> MutexGuard<'_, Open> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        for spender in &self.of {
            match all.get_mut(spender) {
                Some(open) if *open > 1 => *open -= 1,
                _ => drop(all.remove(spender)),
            }
        }
    }
}

/// What somebody is told who has spent a share.
fn spent(message: &str, wait: Duration) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message)
        .with_retry_after(wait.max(Duration::from_secs(1)))
}

fn worthless(wait: Duration) -> Problem {
    spent("Too many calls without a valid credential.", wait)
}

impl Fairness {
    /// Lets a call through, if its caller has one left.
    pub(super) fn call(&self, shares: &Shares, spender: &Spender) -> Result<(), Problem> {
        let most = match spender {
            Spender::Tenant(_) => shares.tenant_rate,
            Spender::User(..) => shares.user_rate,
        };
        if most == 0 {
            return Ok(());
        }
        let wait = self.calls.spend(spender.clone(), rate(most));
        wait.map_err(|wait| spent("Too many calls; slow down.", wait))
    }

    /// Lets an end user's caller make something that opens a preview. Tenants' own keys make as many as they call.
    pub(super) fn mint(&self, shares: &Shares, spender: &Spender) -> Result<(), Problem> {
        if shares.user_mints == 0 || matches!(spender, Spender::Tenant(_)) {
            return Ok(());
        }
        let minute = Duration::from_mins(1);
        let wait = self.mints.spend(spender.clone(), (minute / shares.user_mints, minute));
        wait.map_err(|wait| spent("Too many tokens and links; use those that you have.", wait))
    }

    /// Whether an address has shown too many credentials that are worth nothing for another to be looked at.
    pub(super) fn is_patient(&self, address: IpAddr) -> Result<(), Problem> {
        self.failures.has_one(&address, rate(FAILURES)).map_err(worthless)
    }

    /// Notes that an address has shown something that is worth nothing, and refuses it once it does that too often.
    pub(super) fn failure(&self, address: IpAddr) -> Result<(), Problem> {
        self.failures.spend(address, rate(FAILURES)).map_err(worthless)
    }

    /// A place for a stream of a caller, who may be an end user of a tenant's.
    pub(super) fn stream(
        &self,
        shares: &Shares,
        (caller, tenant): (Spender, TenantId),
    ) -> Result<OpenStream, Problem> {
        let mut places = vec![(Spender::Tenant(tenant), shares.tenant_streams)];
        if let Spender::User(..) = caller {
            // Some are kept for the tenant's own keys, whatever its end users open.
            let of_users = shares.tenant_streams - shares.tenant_streams / 4;
            places.push((Spender::User(tenant, String::new()), of_users));
            places.push((caller, shares.streams));
        }
        let mut all = lock(&self.streams);
        let open = |spender: &Spender| all.get(spender).copied().unwrap_or_default();
        if places.iter().any(|(spender, most)| *most != 0 && open(spender) >= *most) {
            return Err(spent("Too many open streams; close one first.", Duration::from_secs(5)));
        }
        let of: Vec<Spender> = places.into_iter().map(|(spender, _)| spender).collect();
        for spender in &of {
            *all.entry(spender.clone()).or_default() += 1;
        }
        drop(all);
        Ok(OpenStream { all: Arc::clone(&self.streams), of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_budget_is_spent_and_fills_up_and_is_nobody_elses() {
        let budgets = Budgets::default();
        let rate = (Duration::from_millis(100), Duration::from_secs(1));
        let spent = (0..30).take_while(|_| budgets.spend(1, rate).is_ok()).count();
        assert!((10..=12).contains(&spent), "{spent}");
        let wait = budgets.spend(1, rate).unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        budgets.spend(2, rate).unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        budgets.spend(1, rate).unwrap();
    }

    #[test]
    fn budgets_do_not_fill_the_memory() {
        let budgets = Budgets::default();
        let rate = (Duration::from_mins(1), Duration::from_mins(10));
        for n in 0..MOST + 10 {
            budgets.spend(n, rate).unwrap();
        }
        assert!(budgets.0.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn streams_come_back_and_a_user_takes_nothing_of_another() {
        let (fair, tenant) = (Fairness::default(), TenantId::new());
        let shares = Shares { streams: 2, tenant_streams: 4, ..Shares::default() };
        let user = |name: &str| (Spender::User(tenant, name.to_owned()), tenant);
        let open = |who| fair.stream(&shares, who);
        let mut held = vec![open(user("a")).unwrap(), open(user("a")).unwrap()];
        assert!(open(user("a")).is_err());
        held.push(open(user("b")).unwrap());
        held.push(open((Spender::Tenant(tenant), tenant)).unwrap());
        assert!(open((Spender::Tenant(tenant), tenant)).is_err(), "the tenant has its four");
        open((Spender::Tenant(TenantId::new()), TenantId::new())).unwrap();
        held.pop();
        open((Spender::Tenant(tenant), tenant)).unwrap();
        held.clear();
        assert!(lock(&fair.streams).is_empty());
    }
}
