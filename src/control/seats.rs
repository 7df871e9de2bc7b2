//! Who holds the connections of a control listener. Each address and each tenant has a share of them, and where none is left, whoever has
//! not shown a key makes room for whoever comes next: so nobody without one keeps a tenant's backend out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::TenantId;
use crate::model::network::holder;

/// How many connections there are, and whose. Zero means "no limit".
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) all: usize,
    pub(super) per_address: usize,
    pub(super) per_tenant: usize,
    /// Whether somebody who has shown nothing makes room for the next.
    pub(super) gives_way: bool,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// All are taken by those who may keep them.
    Full,
    /// The address has as many as it may have.
    Share,
}

/// What somebody has shown on a connection, as far as that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Nothing,
    /// A key or token that is bound to an end user.
    Bound(TenantId),
    /// A tenant's own key.
    Key(TenantId),
}

#[derive(Debug)]
struct Taken {
    party: IpAddr,
    standing: Standing,
    leave: Arc<Notify>,
}

/// Connections by the order in which they came.
type All = BTreeMap<u64, Taken>;

/// The seats of a listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<(u64, All)>>);

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(in crate::control) struct Seat {
    seats: Seats,
    number: u64,
    per_tenant: usize,
    leave: Arc<Notify>,
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, (u64, All)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection.
    pub(super) fn take(&self, from: IpAddr, bounds: Bounds) -> Result<Seat, Refused> {
        let party = holder(from);
        let mut guard = self.lock();
        let (next, all) = &mut *guard;
        let has_room = |taken: usize, most: usize| most == 0 || taken < most;
        let is_guest = |taken: &Taken| !matches!(taken.standing, Standing::Key(_));
        // Whoever has shown something is counted by that: many may come through one proxy.
        let is_nobody = |taken: &&Taken| taken.standing == Standing::Nothing;
        let of_party = all.values().filter(is_nobody).filter(|taken| taken.party == party);
        if !has_room(of_party.count(), bounds.per_address) {
            return Err(Refused::Share);
        }
        if !has_room(all.len(), bounds.all) {
            // Who has shown least, and of these who came first.
            let guests = all.iter().filter(|(_, taken)| bounds.gives_way && is_guest(taken));
            let rank = |taken: &Taken| u8::from(taken.standing != Standing::Nothing);
            let first = guests.min_by_key(|(number, taken)| (rank(taken), **number));
            let leaving = first.map(|(number, _)| *number).and_then(|number| all.remove(&number));
            leaving.ok_or(Refused::Full)?.leave.notify_one();
        }
        *next += 1;
        let leave = Arc::<Notify>::default();
        let taken = Taken { party, standing: Standing::Nothing, leave: Arc::clone(&leave) };
        all.insert(*next, taken);
        Ok(Seat { seats: self.clone(), number: *next, per_tenant: bounds.per_tenant, leave })
    }
}

impl Seat {
    /// Notes that whoever sits here has shown a credential of a tenant's; false when the tenant has as many seats as it may have.
    pub(in crate::control) fn shown(&self, tenant: TenantId, is_bound: bool) -> bool {
        let mut guard = self.seats.lock();
        let (_, all) = &mut *guard;
        let standing = if is_bound { Standing::Bound(tenant) } else { Standing::Key(tenant) };
        // Somebody who had to leave finishes what is under way.
        if all.get(&self.number).is_none_or(|taken| taken.standing >= standing) {
            return true;
        }
        let is_of = |taken: &Taken| matches!(taken.standing, Standing::Bound(of) | Standing::Key(of) if of == tenant);
        let others = all.iter().filter(|(number, taken)| **number != self.number && is_of(taken));
        if self.per_tenant != 0 && others.count() >= self.per_tenant {
            return false;
        }
        if let Some(taken) = all.get_mut(&self.number) {
            taken.standing = standing;
        }
        true
    }

    /// Completes when somebody else needs the place.
    pub(super) async fn must_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { all: 3, per_address: 2, per_tenant: 2, gives_way: true };

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    #[tokio::test]
    async fn whoever_has_shown_least_makes_room_and_keys_keep_theirs() {
        let (seats, tenant, other) = (Seats::default(), TenantId::new(), TenantId::new());
        let key = seats.take(address(1), BOUNDS).unwrap();
        let bound = seats.take(address(1), BOUNDS).unwrap();
        assert!(key.shown(tenant, false) && bound.shown(tenant, true));
        let silent = seats.take(address(2), BOUNDS).unwrap();
        let next = seats.take(address(3), BOUNDS).unwrap();
        silent.must_leave().await;
        assert!(!next.shown(tenant, false), "the tenant has its two");
        assert!(next.shown(other, false));
        drop(silent);
        let last = seats.take(address(4), BOUNDS).unwrap();
        bound.must_leave().await;
        assert!(last.shown(other, false));
        assert_eq!(seats.take(address(5), BOUNDS).unwrap_err(), Refused::Full);
        drop(next);
        seats.take(address(5), BOUNDS).unwrap();
    }

    #[test]
    fn an_address_has_a_share_and_what_has_shown_a_credential_does_not_count() {
        let (seats, bounds) = (Seats::default(), Bounds { all: 0, ..BOUNDS });
        let held: Vec<_> = (0..2).map(|_| seats.take(address(1), bounds).unwrap()).collect();
        assert_eq!(seats.take(address(1), bounds).unwrap_err(), Refused::Share);
        seats.take(address(2), bounds).unwrap();
        for (seat, is_bound) in held.iter().zip([false, true]) {
            assert!(seat.shown(TenantId::new(), is_bound));
            seats.take(address(1), bounds).unwrap();
        }
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(holder(v6("2001:db8::1")), holder(v6("2001:db8::ffff:1")));
        assert_ne!(holder(v6("2001:db8::1")), holder(v6("2001:db8:0:1::1")));
        assert_eq!(holder(v6("::ffff:192.0.2.1")), address(1));
    }
}
