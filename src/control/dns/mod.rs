//! Asking DNS whether a tenant's names lead here. Settings in, verdicts out: this part knows no store and no tenant.
//!
//! A name leads here when its chain of CNAMEs reaches our target, or when what it ends in has addresses and all of them are the
//! target's own ("flattened" records, which some providers make of CNAMEs). No answer is not a wrong answer: what a server refused
//! or was too slow to say is [`Finding::Unknown`].

mod ask;
mod judge;

pub use judge::{Finding, Record, proof};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use ask::{Asker, LookupError, Trail};

/// Checks under way at once; more wait, within their own deadlines.
const AT_ONCE: usize = 16;
/// What a name's TXT records are called that say whose it is.
const CHALLENGE: &str = "_preview-challenge";

/// Settings of DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask; empty = whom the system asks.
    pub resolvers: Vec<SocketAddr>,
    /// How long one server may take for one answer; it is asked twice.
    pub timeout: Duration,
    /// How long a whole check may take.
    pub deadline: Duration,
    /// What tenants' records lead to.
    pub target: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(20),
            target: "preview.sandbox.localhost".into(),
        }
    }
}

/// What was found out about a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainReport {
    /// `*.sandbox.D`, without which no preview can be opened.
    pub sandbox: Record,
    /// `*.D`, which only the short form of hosts needs.
    pub bare: Record,
    /// The TXT record that proves whose the domain is.
    pub proof: Record,
}

/// What was found out about an exact host name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The name itself.
    pub host: Record,
    /// The TXT record that proves whose it is.
    pub proof: Record,
}

/// Asks DNS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dns {
    asker: Arc<Asker>,
    seats: Arc<Semaphore>,
    settings: Arc<Settings>,
}

/// What a tenant writes into the TXT record of a domain to prove that the domain is its own. It is no secret: it is worth something
/// only where the owner of a domain has published it.
pub fn challenge(tenant: &str) -> String {
    let text = format!("preview domain of tenant {tenant}");
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let hex = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}"));
    format!("preview-challenge={}", hex.collect::<String>())
}

/// The name of the TXT record that says whose a domain is.
pub fn challenge_name(domain: &str) -> String {
    format!("{CHALLENGE}.{domain}")
}

/// Of a wildcard a name that nobody has ever asked for; any other as it is.
fn unheard_of(name: &str) -> String {
    match name.strip_prefix("*.") {
        Some(rest) => format!("preview-check-{:016x}.{rest}", fastrand::u64(..)),
        None => name.to_owned(),
    }
}

impl Dns {
    /// Prepares to ask. Nothing is sent before something is to be known.
    pub fn new(settings: Settings) -> Self {
        let asker = Arc::new(Asker::new(&settings.resolvers, settings.timeout));
        Self { asker, seats: Arc::new(Semaphore::new(AT_ONCE)), settings: Arc::new(settings) }
    }

    /// What tenants' records lead to.
    pub fn target(&self) -> &str {
        &self.settings.target
    }

    /// Looks at all records of a domain.
    pub async fn domain(&self, domain: &str, challenge: &str) -> DomainReport {
        let (below, short) = (format!("*.sandbox.{domain}"), format!("*.{domain}"));
        let (sandbox, bare, proof) = tokio::join!(
            self.leads_here(&below),
            self.leads_here(&short),
            self.proves(domain, challenge),
        );
        DomainReport { sandbox, bare, proof }
    }

    /// Looks at the records of an exact host name.
    pub async fn host(&self, fqdn: &str, challenge: &str) -> HostReport {
        let (host, proof) = tokio::join!(self.leads_here(fqdn), self.proves(fqdn, challenge));
        HostReport { host, proof }
    }

    /// Whether a name leads to the target. Of a wildcard a label is asked for that nobody has ever asked for, so that no cache and
    /// no record of its own answers in its place.
    async fn leads_here(&self, name: &str) -> Record {
        let asked = unheard_of(name);
        let judged = self.in_time(async {
            let trail = self.asker.follow(&asked, self.target()).await?;
            let own = match &trail {
                Trail { reached: false, addresses, .. } if !addresses.is_empty() => {
                    self.asker.addresses(self.target()).await?
                }
                _ => Vec::new(),
            };
            Ok(judge::route(&trail, &own))
        });
        let (finding, found) = judged.await.unwrap_or_else(judge::lookup_failed);
        Record::route(name, self.target(), finding, found)
    }

    /// The addresses that a name leads to, by whatever aliases; of a wildcard those of a name that nobody has ever asked for.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let asked = unheard_of(name);
        let trail = self.in_time(self.asker.follow(&asked, "")).await;
        trail.map(|trail| trail.addresses).map_err(|error| error.to_string())
    }

    /// Whether a domain's TXT record holds a value.
    pub async fn proves(&self, domain: &str, value: &str) -> Record {
        let name = challenge_name(domain);
        let judged = self.in_time(async {
            let texts = self.asker.texts(&name).await?;
            Ok(proof(&texts, value))
        });
        let (finding, found) = judged.await.unwrap_or_else(judge::lookup_failed);
        Record::proof(&name, value, finding, found)
    }

    async fn in_time<T>(
        &self,
        asking: impl Future<Output = Result<T, LookupError>>,
    ) -> Result<T, LookupError> {
        let seated = async {
            // The semaphore is never closed.
            let _seat = self.seats.acquire().await.map_err(|_| LookupError::Busy)?;
            asking.await
        };
        match tokio::time::timeout(self.settings.deadline, seated).await {
            Ok(answer) => answer,
            Err(_) => Err(LookupError::Deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_one_for_a_tenant_and_another_for_another() {
        assert_eq!(challenge("a"), challenge("a"));
        assert_ne!(challenge("a"), challenge("b"));
        assert_eq!(challenge("a").len(), "preview-challenge=".len() + 32);
        assert_eq!(challenge_name("own.example"), "_preview-challenge.own.example");
    }

    #[tokio::test]
    async fn whoever_cannot_be_asked_has_said_nothing() {
        // A port that nobody listens on: bound, and closed again.
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Settings {
            resolvers: vec![closed],
            timeout: Duration::from_millis(200),
            deadline: Duration::from_secs(2),
            ..Settings::default()
        };
        let report = Dns::new(settings).domain("own.example", "x").await;
        for record in [&report.sandbox, &report.bare, &report.proof] {
            assert_eq!(record.finding, Finding::Unknown, "{record:?}");
        }
    }
}
