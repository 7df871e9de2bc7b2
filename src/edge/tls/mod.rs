//! Certificates: reading them from files, choosing one by the name a visitor asks for, and keeping up with the files while connections
//! go on. What is read is never half of a change: a set with any error in it is refused whole.

mod certificates;
mod development;
mod error;
mod files;
mod keep;
mod pair;
mod set;
#[cfg(test)]
mod tests;

pub use certificates::Certificates;
pub use development::{Development, DevelopmentError};
pub use error::{CertificateError, TlsError};
pub use files::{Pair, Settings};
