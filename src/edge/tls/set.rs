//! All certificates of a moment, and which of them is shown to whom.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use rustls::crypto::CryptoProvider;

use super::error::CertificateError;
use super::files::Look;
use super::pair::{self, Entry};

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::from_hours(7 * 24);

/// Certificates by the names they are valid for. Never empty.
#[derive(Debug)]
pub(super) struct Set {
    all: Vec<Arc<Entry>>,
    /// Shown to who asks for no name or an unknown one.
    default: Arc<Entry>,
    exact: FxHashMap<Box<str>, Arc<Entry>>,
    /// By what stands right of `*.`.
    wildcard: FxHashMap<Box<str>, Arc<Entry>>,
}

impl Set {
    /// Reads all certificates, or tells every error of every one.
    pub(super) fn read(
        look: Look,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<CertificateError>> {
        let places = look.places;
        let mut errors = Vec::from_iter(look.first_error);
        let mut all = Vec::with_capacity(look.pairs.len());
        for pair in &look.pairs {
            match pair::read(pair, provider) {
                Ok(entry) => all.push(Arc::new(entry)),
                Err(more) => errors.extend(more),
            }
        }
        match all.first().map(Arc::clone) {
            Some(default) if errors.is_empty() => Ok(Self::new(all, default)),
            None if errors.is_empty() => Err(vec![CertificateError::None(places)]),
            _ => Err(errors),
        }
    }

    fn new(all: Vec<Arc<Entry>>, default: Arc<Entry>) -> Self {
        let mut exact = FxHashMap::default();
        let mut wildcard = FxHashMap::default();
        for entry in &all {
            for name in entry.names.exact() {
                put(&mut exact, name, entry);
            }
            for parent in entry.names.wildcard_parents() {
                put(&mut wildcard, parent, entry);
            }
        }
        Self { all, default, exact, wildcard }
    }

    /// The certificate for a name (in lower case, as rustls gives it): the one that has it, else a wildcard's, else the default.
    pub(super) fn choose(&self, sni: Option<&str>) -> &Arc<Entry> {
        let known = sni.and_then(|name| {
            let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
            self.exact.get(name).or_else(parent)
        });
        known.unwrap_or(&self.default)
    }

    /// How many certificates there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// When the first of the certificates ends.
    pub(super) fn first_end(&self) -> Timestamp {
        self.all.iter().map(|entry| entry.not_after).min().unwrap_or(Timestamp::MAX)
    }

    /// From when until when each is valid.
    pub(super) fn periods(&self) -> Vec<(PathBuf, [Timestamp; 2])> {
        let period = |entry: &Arc<Entry>| (entry.path.clone(), [entry.not_before, entry.not_after]);
        self.all.iter().map(period).collect()
    }

    /// What an operator should know of certificates that are used all the same.
    pub(super) fn warnings(&self, now: Timestamp) -> Vec<String> {
        let tell = |entry: &Arc<Entry>| {
            let path = entry.path.display();
            if entry.not_after <= now {
                Some(format!("{path}: has expired on {}", entry.not_after))
            } else if entry.not_before > now {
                Some(format!("{path}: is not valid before {}", entry.not_before))
            } else if entry.not_after.duration_since(now).unsigned_abs() < SOON {
                Some(format!("{path}: expires on {}", entry.not_after))
            } else {
                None
            }
        };
        self.all.iter().filter_map(tell).collect()
    }
}

/// Of several certificates for a name the one that is valid longest has it; of equal ones, the first.
fn put(names: &mut FxHashMap<Box<str>, Arc<Entry>>, name: &str, entry: &Arc<Entry>) {
    match names.get_mut(name) {
        Some(known) if known.not_after >= entry.not_after => {}
        Some(known) => *known = Arc::clone(entry),
        None => drop(names.insert(name.into(), Arc::clone(entry))),
    }
}
