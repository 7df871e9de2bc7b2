//! Everything that can be wrong with certificates.

use std::io;
use std::path::PathBuf;

use rustls::Error;

use crate::base::owner;

/// One reason why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file or directory that is not there or may not be read.
    #[error("{}: cannot be read: {}", .0.display(), owner::refusal(.0, .1))]
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
    #[error("there is no certificate in {0}")]
    None(String),
    /// The cryptography itself does not start.
    #[error("TLS cannot be set up: {0}")]
    Setup(Error),
}

/// Why certificates cannot be used. Holds every error, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct TlsError(pub Vec<CertificateError>);

fn lines(errors: &[CertificateError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
