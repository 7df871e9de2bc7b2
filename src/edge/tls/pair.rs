//! Reading one certificate and its key, and everything that can be wrong with them.

use std::fs::File;
use std::io::{self, Read as _};
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

use super::files::Pair;
use crate::model::certificate::Names;

/// The largest file that is read. A chain has a few kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// One reason why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// A file or directory that is not there or may not be read.
    #[error("{}: cannot be read: {_1}", .0.display())]
    File(PathBuf, io::Error),
    /// A file of a size that no certificate has.
    #[error("{}: is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// PEM that breaks off, or something else between its markers.
    #[error("{}: is damaged or only half written", .0.display())]
    Damaged(PathBuf),
    /// A file without a certificate.
    #[error("{}: contains no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// A file without a key.
    #[error("{}: contains no private key (encrypted keys are not supported)", .0.display())]
    NoKey(PathBuf),
    /// A key of a kind that is not known.
    #[error("{}: the private key cannot be used: {_1}", .0.display())]
    Key(PathBuf, Error),
    /// Two files that do not belong together.
    #[error("{}: is not the key of {}", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// A certificate that no browser would accept for anything.
    #[error("{}: is valid for no host (it has no subject alternative names)", .0.display())]
    NoNames(PathBuf),
    /// Nothing to show to anybody.
    #[error("there is no certificate")]
    None,
    /// The cryptography itself does not start.
    #[error("TLS cannot be set up: {0}")]
    Setup(Error),
}

/// Why certificates cannot be used. Holds every fault, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct TlsError(pub Vec<CertificateFault>);

fn lines(faults: &[CertificateFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A certificate that can be shown.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) names: Arc<Names>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Reads a pair. Both files are looked at even when the first has a fault.
pub(super) fn read(pair: &Pair, provider: &CryptoProvider) -> Result<Entry, Vec<CertificateFault>> {
    let chain = chain(&pair.certificate);
    let key = key(&pair.key);
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let (names, not_before, not_after) = contents(&chain)
        .ok_or_else(|| vec![CertificateFault::Damaged(pair.certificate.clone())])?;
    if names.is_empty() {
        return Err(vec![CertificateFault::NoNames(pair.certificate.clone())]);
    }
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        vec![match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateFault::Mismatch {
                key: pair.key.clone(),
                certificate: pair.certificate.clone(),
            },
            Error::InvalidCertificate(_) => CertificateFault::Damaged(pair.certificate.clone()),
            error => CertificateFault::Key(pair.key.clone(), error),
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

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let text = contents_of(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(CertificateFault::NoCertificate(path.to_owned())),
        Ok(chain) => Ok(chain),
        // What the error says may be a piece of the file.
        Err(_) => Err(CertificateFault::Damaged(path.to_owned())),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateFault> {
    let text = contents_of(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateFault::NoKey(path.to_owned()),
        _ => CertificateFault::Damaged(path.to_owned()),
    })
}

fn contents_of(path: &Path) -> Result<Vec<u8>, CertificateFault> {
    let fault = |error| CertificateFault::File(path.to_owned(), error);
    let mut text = Vec::new();
    let file = File::open(path).map_err(fault)?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(fault)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE) {
        Ok(text)
    } else {
        Err(CertificateFault::TooLarge(path.to_owned()))
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
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    });
    let at = |seconds: i64| Timestamp::from_second(seconds).ok();
    Some((
        Names::new(dns, addresses),
        at(parsed.validity().not_before.timestamp())?,
        at(parsed.validity().not_after.timestamp())?,
    ))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}
