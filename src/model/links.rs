//! How links to previews are written.

/// How links to previews are written where the platform's own zone is meant, and what all of them have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The zone of tenants without a domain of their own.
    pub platform_zone: String,
    /// The scheme.
    pub scheme: &'static str,
    /// The port; left out when it is the scheme's own.
    pub port: u16,
}

impl Links {
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
