//! Token buckets of visitors without a credential, one an address and sandbox, in a table that never grows.
//!
//! A flood from ever new addresses must not cost memory, and must not free those who are being slowed down. So the place of a bucket
//! is given to another one only where its few neighbours are all in use, and of them the one that is closest to full gives way: an
//! address that asks too much is the last to be forgotten. Being forgotten costs nobody anything: a new bucket is full. There is no lock; two
//! workers that take the same place at the same moment may let a request or two through that they should not.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::bucket::{Bucket, Rate};
use crate::model::SandboxId;
use crate::model::network::holder;

/// Neighbourhoods and places in each: 65,536 buckets of 16 bytes.
const SETS: usize = 8192;
const WAYS: usize = 8;

#[derive(Debug, Default)]
struct Place {
    /// Whose it is: a keyed hash, so that nobody can choose to share it. Zero: nobody's.
    owner: AtomicU64,
    bucket: Bucket,
}

#[derive(Debug, Default)]
struct Set([Place; WAYS]);

/// The buckets. Their memory is taken with the first request that needs one.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    sets: OnceLock<Box<[Set]>>,
    key: RandomState,
}

impl Addresses {
    /// Takes one from the bucket of an address at a sandbox, if there is one.
    pub(super) fn take(&self, who: (IpAddr, SandboxId), rate: Rate, now: u64) -> bool {
        let owner = self.key.hash_one((holder(who.0), who.1)) | 1;
        let sets = self.sets.get_or_init(|| (0..SETS).map(|_| Set::default()).collect());
        let at = usize::try_from(owner >> 32).unwrap_or_default() % SETS;
        let Some(Set(places)) = sets.get(at) else { return true };
        let mine = places.iter().find(|place| place.owner.load(Relaxed) == owner);
        let Some(place) = mine.or_else(|| places.iter().min_by_key(|place| place.bucket.full_at()))
        else {
            return true;
        };
        if mine.is_none() {
            place.owner.store(owner, Relaxed);
            place.bucket.fill();
        }
        place.bucket.take(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const NOW: u64 = 5_000_000_000;

    #[test]
    fn each_address_and_sandbox_has_a_bucket_and_a_network_of_ipv6_has_one() {
        let addresses = Addresses::default();
        let rate = Rate::new(1, 2).unwrap();
        let (here, there) = (SandboxId::new(), SandboxId::new());
        let passed = |ip: &str, sandbox, now| {
            let who = (ip.parse().unwrap(), sandbox);
            (0..10).filter(|_| addresses.take(who, rate, now)).count()
        };
        assert_eq!(passed("192.0.2.1", here, NOW), 2);
        assert_eq!(passed("192.0.2.1", here, NOW), 0);
        assert_eq!(
            passed("::ffff:192.0.2.1", here, NOW),
            0,
            "the same address, written differently"
        );
        assert_eq!(passed("192.0.2.1", there, NOW), 2);
        assert_eq!(passed("192.0.2.2", here, NOW), 2);
        assert_eq!(passed("192.0.2.1", here, NOW + 1_000_000_000), 1);
        assert_eq!(passed("2001:db8:1:2::1", here, NOW), 2);
        assert_eq!(passed("2001:db8:1:2:ffff::9", here, NOW), 0);
        assert_eq!(passed("2001:db8:1:3::1", here, NOW), 2);
    }

    #[test]
    fn a_flood_of_addresses_neither_grows_the_table_nor_frees_who_is_slowed_down() {
        let addresses = Addresses::default();
        let rate = Rate::new(50, 200).unwrap();
        let sandbox = SandboxId::new();
        let flooder: IpAddr = "192.0.2.1".parse().unwrap();
        while addresses.take((flooder, sandbox), rate, NOW) {}
        for n in 0..500_000_u128 {
            let ip = IpAddr::from(Ipv6Addr::from((0x2001_0db8 << 96) | (n << 64)));
            assert!(addresses.take((ip, sandbox), rate, NOW), "strangers are served");
        }
        assert!(!addresses.take((flooder, sandbox), rate, NOW));
        assert_eq!(addresses.sets.get().unwrap().len() * size_of::<Set>(), 1 << 20);
    }
}
