//! Tickets: what a browser's `EventSource` and `WebSocket`, which cannot send an `Authorization` field, show in a URL instead. Good for one
//! connection within a minute, so that a URL in a log or a history is worth nothing. They are kept in memory: a ticket is good at the
//! process that gave it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::request::Parts;
use jiff::Timestamp;

use super::keys;
use crate::model::{ScopedTokenId, TenantId};

pub(super) const PREFIX: &str = "sset_";
/// Tickets of a tenant at once, and of all.
const PER_TENANT: usize = 1024;
const IN_ALL: usize = 16_384;

/// What a caller has shown, as it is remembered: enough to judge it again, and not to use it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Credential {
    /// The SHA-256 of an API key.
    Key([u8; 32]),
    /// A delegation token, whose signature was good.
    Token(ScopedTokenId),
}

/// What one stream may be opened with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) tenant: TenantId,
    pub(super) credential: Credential,
    pub(super) expires_at: Timestamp,
}

/// The tickets that have not been used yet, by the hash of their secrets.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<HashMap<[u8; 32], Ticket>>);

impl Tickets {
    /// Keeps a ticket; false when there are too many.
    pub(super) fn put(&self, hash: [u8; 32], ticket: Ticket, now: Timestamp) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |all: &HashMap<_, Ticket>| {
            let of_tenant = all.values().filter(|other| other.tenant == ticket.tenant).count();
            all.len() >= IN_ALL || of_tenant >= PER_TENANT
        };
        if full(&all) {
            all.retain(|_, ticket| ticket.expires_at > now);
            if full(&all) {
                return false;
            }
        }
        all.insert(hash, ticket);
        true
    }

    /// Takes the ticket that a request shows. Only what streams asks.
    pub(super) fn redeem(&self, parts: &Parts, now: Timestamp) -> Option<Credential> {
        let pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
        let mut tickets = pairs.filter(|(name, _)| *name == "ticket").map(|(_, ticket)| ticket);
        let ticket = tickets.next().filter(|ticket| ticket.starts_with(PREFIX))?;
        self.take(&keys::hash(ticket), now)
    }

    /// Takes a ticket: the next who shows it finds none.
    fn take(&self, hash: &[u8; 32], now: Timestamp) -> Option<Credential> {
        let ticket = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(hash)?;
        (ticket.expires_at > now).then_some(ticket.credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(tenant: TenantId, second: i64) -> Ticket {
        Ticket {
            tenant,
            credential: Credential::Token(ScopedTokenId::new()),
            expires_at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn a_ticket_is_taken_once_and_in_time() {
        let (tickets, tenant) = (Tickets::default(), TenantId::new());
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(tickets.put([1; 32], ticket(tenant, 60), at(0)));
        assert!(tickets.take(&[2; 32], at(1)).is_none());
        assert!(tickets.take(&[1; 32], at(59)).is_some());
        assert!(tickets.take(&[1; 32], at(59)).is_none());
        assert!(tickets.put([1; 32], ticket(tenant, 60), at(0)));
        assert!(tickets.take(&[1; 32], at(60)).is_none());
    }

    #[test]
    fn one_tenant_does_not_use_up_the_room_of_another() {
        let (tickets, tenant) = (Tickets::default(), TenantId::new());
        let now = Timestamp::UNIX_EPOCH;
        let hash = |n: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            hash
        };
        for n in 0..PER_TENANT {
            assert!(tickets.put(hash(n), ticket(tenant, 60), now));
        }
        assert!(!tickets.put(hash(PER_TENANT), ticket(tenant, 60), now));
        assert!(tickets.put(hash(PER_TENANT), ticket(TenantId::new(), 60), now));
        // What has expired makes room.
        let later = Timestamp::from_second(61).unwrap();
        assert!(tickets.put(hash(PER_TENANT + 1), ticket(tenant, 99), later));
    }
}
