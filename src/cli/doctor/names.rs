//! Names: whether DNS leads to this machine, and whether certificates cover what is served.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::finding::Finding;
use crate::base::clock::Clock;
use crate::config::Config;
use crate::control::dns::Dns;
use crate::control::store::{Store, StoreError};
use crate::edge::tls;

/// How long before its end a certificate is worth a warning.
const SOON: i64 = 14 * 24 * 3600;

/// Whether the names below every zone lead here.
pub(super) async fn dns(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "dns";
    let dns = Dns::new(config.dns.clone());
    let here = own_addresses();
    // Named by the operator, it is a name of its own; else it is one below the zone, which says nothing of the zone.
    let is_own = |zone: &String| config.dns.target == format!("preview.{zone}");
    let target = if config.zones.iter().any(is_own) {
        Vec::new()
    } else {
        dns.addresses(&config.dns.target).await.unwrap_or_default()
    };
    let mut found = Vec::new();
    for zone in &config.zones {
        if zone == "localhost" || zone.ends_with(".localhost") {
            found.push(Finding::ok(
                CHECK,
                format!("*.{zone}: browsers lead it to their own machine"),
            ));
            continue;
        }
        let addresses = dns.addresses(&format!("*.{zone}")).await;
        found.push(judge(zone, addresses, (&here, &target)));
    }
    found
}

fn judge(
    zone: &str,
    addresses: Result<Vec<IpAddr>, String>,
    (here, target): (&BTreeSet<IpAddr>, &[IpAddr]),
) -> Finding {
    const CHECK: &str = "dns";
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(why) => {
            let advice = "set dns.resolvers to servers that respond";
            return Finding::error(CHECK, format!("*.{zone}: {why}"), advice);
        }
    };
    if addresses.is_empty() {
        let public = list(here.iter().filter(|ip| !ip.is_loopback()));
        return Finding::error(
            CHECK,
            format!("*.{zone} has no address: no preview can be found"),
            format!(
                "add a wildcard record, such as `*.{zone}. A ADDRESS`; addresses of this machine: {public}"
            ),
        );
    }
    let told = list(addresses.iter());
    if addresses.iter().all(|address| here.contains(address)) {
        return Finding::ok(CHECK, format!("*.{zone}: {told}, this machine"));
    }
    if !target.is_empty() && addresses.iter().all(|address| target.contains(address)) {
        return Finding::ok(CHECK, format!("*.{zone}: {told}, as domains.target"));
    }
    Finding::warning(
        CHECK,
        format!("*.{zone} leads to {told}: not all of that is this machine"),
        "right if that is a load balancer or NAT in front; if not, change the record",
    )
}

fn list<'a>(addresses: impl Iterator<Item = &'a IpAddr>) -> String {
    addresses.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The addresses of this machine.
fn own_addresses() -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::new();
    let four = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut leaf = None;
    for line in four.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<IpAddr>().ok();
        } else if line == "/32 host LOCAL" {
            all.extend(leaf);
        }
    }
    let six = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let hex = six.lines().filter_map(|line| line.split_whitespace().next());
    let bits = hex.filter_map(|hex| u128::from_str_radix(hex, 16).ok());
    all.extend(bits.map(|bits| IpAddr::from(bits.to_be_bytes())));
    all
}

/// Whether every name that is served has a certificate, and for how long.
#[expect(clippy::too_many_lines, reason = "one finding after the other")]
pub(super) async fn certificates(
    config: &Config,
    store: Option<&Store>,
) -> Result<Vec<Finding>, StoreError> {
    const CHECK: &str = "certificates";
    let Some(settings) = config.tls.as_ref().map(|tls| tls.certificates.clone()) else {
        let found = if config.public_scheme == "https" {
            Finding::ok(CHECK, "TLS is terminated in front of Portico (preview.public_scheme)")
        } else if config.zones.iter().all(|zone| zone.ends_with("localhost")) {
            Finding::ok(CHECK, "no TLS, and no zone that needs it")
        } else {
            let advice = "set tls.listen with certificates, or preview.public_scheme = \"https\" behind a proxy that terminates TLS";
            Finding::warning(CHECK, "no TLS: previews are served in clear text", advice)
        };
        return Ok(vec![found]);
    };
    let certificates = match tls::Certificates::load(settings, Clock::system()) {
        Ok(certificates) => certificates,
        Err(tls::TlsError(errors)) => {
            let advice = "see `portico check`; the server does not start with it";
            let found = errors.iter().map(|error| Finding::error(CHECK, error.to_string(), advice));
            return Ok(found.collect());
        }
    };
    let now = Clock::system().now();
    let mut found = Vec::new();
    for (path, [from, until]) in certificates.periods() {
        let path = path.display();
        let left = until.as_second() - now.as_second();
        if left <= 0 {
            let advice =
                "renew it; the new files are used within tls.reload, or at once after SIGHUP";
            found.push(Finding::error(CHECK, format!("{path} has expired on {until}"), advice));
        } else if from > now {
            let advice = "wait, or look at the clock";
            found.push(Finding::error(CHECK, format!("{path} is not valid before {from}"), advice));
        } else if left < SOON {
            let advice = "see why it has not been renewed yet";
            found.push(Finding::warning(CHECK, format!("{path} expires on {until}"), advice));
        }
    }
    let mut hosts: Vec<(String, String)> = config
        .zones
        .iter()
        .map(|zone| (format!("*.{zone}"), format!("3000-doctor.{zone}")))
        .collect();
    if let Some(store) = store {
        let (snapshot, _) = store.snapshot().await?;
        let verified = snapshot.domains.iter().filter(|domain| domain.verified_at.is_some());
        hosts.extend(verified.map(|domain| {
            let zone = format!("sandbox.{}", domain.domain);
            (format!("*.{zone}"), format!("3000-doctor.{zone}"))
        }));
        let exact = snapshot.custom_domains.into_iter();
        hosts.extend(exact.map(|domain| (domain.fqdn.clone(), domain.fqdn)));
    }
    let count = hosts.len();
    for (shown, host) in hosts {
        if !certificates.shown(Some(&host)).covers(&host) {
            found.push(Finding::error(
                CHECK,
                format!("no certificate covers {shown}: its visitors get a certificate error"),
                format!(
                    "get a certificate for {shown} and name it in tls.certificates or tls.directory"
                ),
            ));
        }
    }
    if found.is_empty() {
        found.push(Finding::ok(CHECK, format!("all {count} names are covered")));
    }
    Ok(found)
}
