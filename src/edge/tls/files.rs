//! Which files hold certificates, and whether they have changed.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::CertificateError;

/// Where certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Pairs by name. The first is shown to who asks for no name or an unknown one.
    pub pairs: Vec<Pair>,
    /// A directory of pairs: `NAME.pem` or `NAME.crt` with `NAME.key`, and `NAME/fullchain.pem` with `NAME/privkey.pem`.
    pub directory: Option<PathBuf>,
    /// How often the files are looked at; zero means never.
    pub reload: Duration,
}

/// A certificate, with the chain below it, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM: the certificate first, then the ones that vouch for it.
    pub certificate: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key: PathBuf,
}

/// The files that ACME clients write into one directory. Two of them are a pair, the others hold parts of the first.
const ACME: [&str; 4] = ["fullchain.pem", "privkey.pem", "cert.pem", "chain.pem"];

/// What is known of the files without reading them. Two equal fingerprints mean equal contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(PathBuf, Option<Stamp>)>);

/// Any write, rename or new owner changes one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The files as they are now.
#[derive(Debug)]
pub(super) struct Look {
    /// The pairs that are named, then those of the directory in the order of their names.
    pub(super) pairs: Vec<Pair>,
    /// A directory that cannot be read.
    pub(super) first_error: Option<CertificateError>,
    pub(super) fingerprint: Fingerprint,
    /// Where was looked, for people.
    pub(super) places: String,
}

impl Look {
    /// Looks at the files. The fingerprint is older than whatever is read afterwards, so no change is ever missed.
    pub(super) fn now(settings: &Settings) -> Self {
        let mut pairs = settings.pairs.clone();
        let mut stamps = Vec::new();
        let mut first_error = None;
        if let Some(directory) = &settings.directory {
            match in_directory(directory) {
                Ok(found) => pairs.extend(found),
                Err(error) => {
                    stamps.push((directory.clone(), None));
                    first_error = Some(CertificateError::File(directory.clone(), error));
                }
            }
        }
        let files = pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        stamps.extend(files.map(|file| (file.clone(), stamp(file))));
        let places = settings.directory.as_ref().map_or_else(
            || "tls.certificates".to_owned(),
            |directory| {
                format!(
                    "{} (NAME.pem with NAME.key, or NAME/fullchain.pem with NAME/privkey.pem)",
                    directory.display()
                )
            },
        );
        Self { pairs, first_error, fingerprint: Fingerprint(stamps), places }
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(file).ok()?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// A certificate without its key is a pair too, a broken one: better an error than a certificate that nobody uses. A key alone may be
/// waiting for its certificate.
fn in_directory(directory: &Path) -> io::Result<Vec<Pair>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        names.insert(entry?.file_name());
    }
    let own = acme(directory).filter(|pair| pair.key.exists());
    let mut pairs = Vec::from_iter(own.clone());
    for name in names {
        let path = directory.join(&name);
        let Some(name) = name.to_str() else { continue };
        if name.starts_with('.') || own.is_some() && ACME.contains(&name) {
            continue;
        }
        if path.is_dir() {
            pairs.extend(acme(&path));
        } else if path.extension().is_some_and(|kind| kind == "pem" || kind == "crt") {
            pairs.push(Pair { key: path.with_extension("key"), certificate: path });
        }
    }
    Ok(pairs)
}

/// The pair that an ACME client has written into a directory, whole or not.
fn acme(directory: &Path) -> Option<Pair> {
    let [certificate, key, ..] = ACME.map(|name| directory.join(name));
    (certificate.exists() || key.exists()).then_some(Pair { certificate, key })
}
