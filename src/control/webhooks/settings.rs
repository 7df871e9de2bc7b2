//! What an operator may set.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// How webhooks are told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An attempt, from looking its host up to the headers of its response.
    pub timeout: Duration,
    /// How long is waited before the second attempt, the third, and so on; the last holds for all that follow.
    pub retry: Vec<Duration>,
    /// Whether `http` will do.
    pub allow_http: bool,
    /// Networks that may be told although they are not public.
    pub allow: Vec<IpNet>,
    /// Authorities whose certificates are taken beside the public ones.
    pub authorities: Option<PathBuf>,
    /// Attempts under way at once; half of them for webhooks that failed last, half for all others.
    pub concurrency: usize,
    /// Attempts under way at once to the same webhook.
    pub concurrency_per_webhook: usize,
    /// Deliveries given up one after the other, after which a webhook is told nothing any more.
    pub failed_after: u32,
    /// How long the secret before signs beside a new one.
    pub secret_overlap: Duration,
    /// Webhooks of a tenant.
    pub per_tenant: usize,
    /// How long events and deliveries are kept.
    pub keep: Duration,
    /// Events of a tenant that are kept.
    pub keep_per_tenant: u32,
    /// The word in the names of the header fields that nobody's brand is in. Empty: those fields are not sent.
    pub header_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        let minutes = Duration::from_mins;
        Self {
            timeout: Duration::from_secs(10),
            retry: vec![
                Duration::from_secs(10),
                minutes(1),
                minutes(5),
                minutes(30),
                minutes(2 * 60),
                minutes(6 * 60),
            ],
            allow_http: false,
            allow: Vec::new(),
            authorities: None,
            concurrency: 256,
            concurrency_per_webhook: 4,
            failed_after: 20,
            secret_overlap: Duration::from_hours(24),
            per_tenant: 50,
            keep: Duration::from_hours(7 * 24),
            keep_per_tenant: 100_000,
            header_name: "Webhook".into(),
        }
    }
}
