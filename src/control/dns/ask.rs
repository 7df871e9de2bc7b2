//! Questions and their answers, by the resolver library.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

/// Where the system says whom to ask.
const SYSTEM: &str = "/etc/resolv.conf";
/// CNAMEs that are followed, one after the other.
const MAX_CHAIN: usize = 8;
/// How often a question is asked of a server that does not answer.
const ATTEMPTS: usize = 2;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    /// Too many checks at once.
    #[error("too many checks are in progress")]
    Busy,
    /// Took too long as a whole.
    #[error("the DNS servers did not respond in time")]
    Deadline,
    /// Nobody to ask.
    #[error("no DNS server is configured, and the system names none")]
    NoServer,
    /// One question took too long.
    #[error("the DNS servers did not respond in time")]
    Timeout,
    /// A server said that it cannot or will not say.
    #[error("the DNS servers responded {0}")]
    Code(String),
    /// They cannot be reached, or what they say makes no sense.
    #[error("the DNS servers could not be queried")]
    Failed,
    /// A name that cannot be asked for.
    #[error("the name cannot be queried")]
    Name,
}

/// Where a name led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trail {
    /// The names it is an alias of, one after the other.
    pub(super) chain: Vec<String>,
    /// Whether the last of them is the target.
    pub(super) reached: bool,
    /// Whether the chain bites its tail, or is longer than anybody follows.
    pub(super) endless: bool,
    /// The addresses at the end of the chain.
    pub(super) addresses: Vec<IpAddr>,
}

/// Asks servers; remembers nothing, because what was wrong a minute ago may have been put right.
#[derive(Debug)]
pub(super) struct Asker {
    resolver: Option<TokioResolver>,
}

impl Asker {
    pub(super) fn new(resolvers: &[SocketAddr], timeout: Duration) -> Self {
        let servers = if resolvers.is_empty() { of_the_system() } else { resolvers.to_vec() };
        if servers.is_empty() {
            tracing::warn!(
                "no DNS server is configured: set dns.resolvers, or no domain can be verified"
            );
            return Self { resolver: None };
        }
        let server = |address: &SocketAddr| {
            let at = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
            NameServerConfig::new(address.ip(), true, connections)
        };
        let servers = servers.iter().map(server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        let mut options = ResolverOpts::default();
        options.timeout = timeout;
        options.attempts = ATTEMPTS;
        options.cache_size = 0;
        options.positive_max_ttl = Some(Duration::ZERO);
        options.negative_max_ttl = Some(Duration::ZERO);
        options.use_hosts_file = ResolveHosts::Never;
        let provider = TokioRuntimeProvider::default();
        let built =
            TokioResolver::builder_with_config(config, provider).with_options(options).build();
        if let Err(error) = &built {
            tracing::error!(%error, "the DNS resolver cannot be created");
        }
        Self { resolver: built.ok() }
    }

    /// The data of a name's records of one kind; none is an answer too.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, LookupError> {
        let resolver = self.resolver.as_ref().ok_or(LookupError::NoServer)?;
        let mut name = Name::from_ascii(name).map_err(|_| LookupError::Name)?;
        name.set_fqdn(true);
        match resolver.lookup(name, kind).await {
            Ok(lookup) => {
                let of_kind = lookup.answers().iter().filter(|r| r.record_type() == kind);
                Ok(of_kind.map(|record| record.data.clone()).collect())
            }
            Err(error) => none_or(&error).map(|()| Vec::new()),
        }
    }

    /// The name that a name is an alias of.
    async fn alias(&self, name: &str) -> Result<Option<String>, LookupError> {
        let data = self.ask(name, RecordType::CNAME).await?;
        Ok(data.into_iter().find_map(|data| match data {
            RData::CNAME(alias) => Some(plain(&alias.0)),
            _ => None,
        }))
    }

    /// The addresses of a name, of both families.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let (four, six) =
            tokio::try_join!(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA))?;
        let address = |data: RData| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        Ok(four.into_iter().chain(six).filter_map(address).collect())
    }

    /// The texts of a name.
    pub(super) async fn texts(&self, name: &str) -> Result<Vec<String>, LookupError> {
        let data = self.ask(name, RecordType::TXT).await?;
        let text = |data: RData| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        };
        Ok(data.into_iter().filter_map(text).collect())
    }

    /// Follows a name until the target or the end of its aliases.
    pub(super) async fn follow(&self, name: &str, target: &str) -> Result<Trail, LookupError> {
        let mut trail = Trail::default();
        let mut at = name.to_owned();
        while let Some(next) = self.alias(&at).await? {
            let again = next == name || trail.chain.contains(&next);
            trail.chain.push(next.clone());
            if next == target {
                trail.reached = true;
                return Ok(trail);
            }
            if again || trail.chain.len() >= MAX_CHAIN {
                trail.endless = true;
                return Ok(trail);
            }
            at = next;
        }
        trail.addresses = self.addresses(&at).await?;
        Ok(trail)
    }
}

/// Whom the system asks. Only addresses are read: our names are complete, so no search list applies.
fn of_the_system() -> Vec<SocketAddr> {
    servers_in(&std::fs::read_to_string(SYSTEM).unwrap_or_default())
}

fn servers_in(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        let address: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(address, 53))
    };
    text.lines().filter_map(server).collect()
}

/// A name as text: lower case, without the dot at its end.
fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// "There is none" is an answer, everything else is not.
fn none_or(error: &NetError) -> Result<(), LookupError> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => Ok(()),
        NetError::Dns(DnsError::ResponseCode(code)) => Err(LookupError::Code(code.to_string())),
        NetError::Timeout => Err(LookupError::Timeout),
        _ => Err(LookupError::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_system_writes_them() {
        let text = "# a comment\nsearch corp.example\nnameserver 192.0.2.53\n nameserver\t2001:db8::53 \n\
                    nameserver fe80::1%eth0\nnameserver\noptions ndots:2\n";
        let expected: Vec<SocketAddr> =
            ["192.0.2.53:53", "[2001:db8::53]:53"].map(|a| a.parse().unwrap()).into();
        assert_eq!(servers_in(text), expected);
        assert!(servers_in("").is_empty());
    }
}
