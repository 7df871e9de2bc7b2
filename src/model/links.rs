//! How links to previews are written.

use std::fmt;
use std::sync::Arc;

/// Says whether a host has a certificate.
#[derive(Clone)]
#[expect(clippy::type_complexity, reason = "a function, shared")]
pub struct Covers(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for Covers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Covers")
    }
}

/// How links to previews are written where the platform's own zone is meant, and what all of them have in common.
#[derive(Clone, Debug)]
pub struct Links {
    /// The zone of tenants without a domain of their own.
    pub platform_zone: String,
    /// The scheme.
    pub scheme: &'static str,
    /// The port; left out when it is the scheme's own.
    pub port: u16,
    /// Which hosts have certificates, where links are `https` and TLS ends here; `None` where nobody here can know.
    pub covers: Option<Covers>,
}

impl Links {
    /// Whether the previews below a zone have a certificate, as far as that is known here.
    pub fn is_covered(&self, zone: &str) -> Option<bool> {
        let covers = self.covers.as_ref()?;
        Some(covers.0(&format!("3000-a.{zone}")))
    }

    /// The URL of a preview host, without a path.
    pub fn url(&self, label: &str, zone: &str) -> String {
        Self::link((self.scheme, self.port), label, zone)
    }

    /// The URL of a preview host with this scheme and port.
    pub fn link((scheme, port): (&str, u16), label: &str, zone: &str) -> String {
        let own = if scheme == "https" { 443 } else { 80 };
        let port = if port == own { String::new() } else { format!(":{port}") };
        format!("{scheme}://{label}.{zone}{port}")
    }
}
