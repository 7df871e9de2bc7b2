//! Reading one certificate and its key, and everything that can be wrong with them.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::error::CertificateError;
use super::files::Pair;
use crate::model::certificate::Names;

/// The largest file that is read. A chain has a few kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// A certificate that can be shown.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) names: Arc<Names>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Reads a pair. Both files are looked at even when the first has an error.
pub(super) fn read(pair: &Pair, provider: &CryptoProvider) -> Result<Entry, Vec<CertificateError>> {
    let chain = chain(&pair.certificate);
    let key = key(&pair.key);
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let (names, not_before, not_after) = contents(&chain)
        .ok_or_else(|| vec![CertificateError::Damaged(pair.certificate.clone())])?;
    if names.is_empty() {
        return Err(vec![CertificateError::NoNames(pair.certificate.clone())]);
    }
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        vec![match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError::Mismatch {
                key: pair.key.clone(),
                certificate: pair.certificate.clone(),
            },
            Error::InvalidCertificate(_) => CertificateError::Damaged(pair.certificate.clone()),
            error => CertificateError::Key(pair.key.clone(), error),
        }]
    })?;
    Ok(Entry {
        path: pair.certificate.clone(),
        key: Arc::new(key),
        names: Arc::new(names),
        not_before,
        not_after,
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = contents_of(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(CertificateError::NoCertificate(path.to_owned())),
        Ok(chain) => Ok(chain),
        // What the error says may be a piece of the file.
        Err(_) => Err(CertificateError::Damaged(path.to_owned())),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = contents_of(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey(path.to_owned()),
        _ => CertificateError::Damaged(path.to_owned()),
    })
}

fn contents_of(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let error = |error| CertificateError::File(path.to_owned(), error);
    let mut text = Vec::new();
    let file = File::open(path).map_err(error)?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(error)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE) {
        Ok(text)
    } else {
        Err(CertificateError::TooLarge(path.to_owned()))
    }
}

/// What the first certificate of a chain is valid for, and from when until when.
fn contents(chain: &[CertificateDer<'_>]) -> Option<(Names, Timestamp, Timestamp)> {
    let (rest, parsed) = X509Certificate::from_der(chain.first()?).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let names = match parsed.subject_alternative_name().ok()? {
        Some(names) => names.value.general_names.as_slice(),
        None => &[],
    };
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    let addresses = names.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let at = |seconds: i64| Timestamp::from_second(seconds).ok();
    Some((
        Names::new(dns, addresses),
        at(parsed.validity().not_before.timestamp())?,
        at(parsed.validity().not_after.timestamp())?,
    ))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
