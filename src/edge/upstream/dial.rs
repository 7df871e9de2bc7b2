//! Dialling a port of a sandbox: only where the address rules permit, IPv4 before IPv6, within the connect deadline.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use smallvec::SmallVec;
use tokio::net::TcpStream;

use super::SandboxTls;
use crate::edge::connection::Stream;
use crate::model::network::AddressRules;
use crate::model::{Driver, Protocol, Upstream, UpstreamHost};

/// How long TCP may stay silent before the kernel asks whether the other end is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a sandbox's port could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address is known.
    #[error("the sandbox has no address")]
    NoAddress,
    /// The name does not resolve.
    #[error("the sandbox's name does not resolve")]
    Resolve(#[source] io::Error),
    /// Every address is outside the permitted networks, or is our own; or the port is forbidden.
    #[error("the sandbox's address is not in the permitted networks, or its port is forbidden")]
    Forbidden,
    /// The machine is there and nothing listens on the port.
    #[error("nothing listens on the port")]
    Refused(#[source] io::Error),
    /// The machine cannot be reached.
    #[error("the sandbox cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The connect deadline passed.
    #[error("connecting took too long")]
    TimedOut,
    /// The port does not speak TLS, or shows a certificate that is not accepted.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// We have no sockets left.
    #[error("no sockets left (file descriptors or ephemeral ports)")]
    Exhausted(#[source] io::Error),
}

/// Dials sandboxes.
#[derive(Clone, Debug)]
pub struct Dialler {
    /// Where it may dial.
    pub rules: Arc<AddressRules>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// Where the demo app listens, in development.
    pub demo: Option<SocketAddr>,
    /// For ports that speak https.
    pub tls: SandboxTls,
}

impl Dialler {
    /// Connects to a port of a sandbox.
    pub async fn dial(
        &self,
        driver: Driver,
        upstream: Option<&Upstream>,
        (port, protocol): (u16, Protocol),
    ) -> Result<Stream, DialError> {
        let connecting = async {
            let targets = self.targets(driver, upstream, port).await?;
            let socket = connect_first(&targets).await?;
            if driver != Driver::Demo && self.is_ours(&socket) {
                return Err(DialError::Forbidden);
            }
            if protocol != Protocol::Https {
                return Ok(Stream::tcp(socket));
            }
            let name = match upstream.map(|upstream| &upstream.host) {
                Some(UpstreamHost::Name(name)) => ServerName::try_from(name.clone()).ok(),
                _ => socket.peer_addr().ok().map(|peer| ServerName::from(peer.ip())),
            };
            let name = name.ok_or(DialError::NoAddress)?;
            self.tls.connect(socket, name).await.map_err(DialError::Tls)
        };
        tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .unwrap_or(Err(DialError::TimedOut))
    }

    /// Whether a connection that came about leads back to us, by an address that nobody knew to be this machine's. Then it comes from the
    /// same address.
    fn is_ours(&self, socket: &TcpStream) -> bool {
        let Ok(there) = socket.peer_addr() else { return false };
        self.rules.own.listens_everywhere(there.port())
            && socket.local_addr().is_ok_and(|here| here.ip() == there.ip())
    }

    async fn targets(
        &self,
        driver: Driver,
        upstream: Option<&Upstream>,
        port: u16,
    ) -> Result<SmallVec<[SocketAddr; 4]>, DialError> {
        match driver {
            Driver::Demo => Ok(self.demo.into_iter().collect()),
            Driver::Loopback => {
                let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                let sockets = both.map(|ip| SocketAddr::new(ip, port));
                // The loopback driver is for development, where loopback is the point; our own ports stay out of reach.
                permitted(sockets.into_iter().filter(|socket| !self.rules.is_own(*socket)))
            }
            Driver::Register | Driver::Command => {
                let upstream = upstream.ok_or(DialError::NoAddress)?;
                let port = upstream.dialled_port(port);
                let permit = |socket: &SocketAddr| self.rules.permits_socket(*socket);
                match &upstream.host {
                    UpstreamHost::Ip(ip) => {
                        permitted(std::iter::once(SocketAddr::new(*ip, port)).filter(permit))
                    }
                    UpstreamHost::Name(name) => {
                        let found = tokio::net::lookup_host((name.as_str(), port))
                            .await
                            .map_err(DialError::Resolve)?;
                        let mut sockets: SmallVec<[SocketAddr; 4]> = found.filter(permit).collect();
                        sockets.sort_by_key(SocketAddr::is_ipv6);
                        permitted(sockets.into_iter())
                    }
                }
            }
        }
    }
}

fn permitted(
    sockets: impl Iterator<Item = SocketAddr>,
) -> Result<SmallVec<[SocketAddr; 4]>, DialError> {
    let sockets: SmallVec<_> = sockets.collect();
    if sockets.is_empty() { Err(DialError::Forbidden) } else { Ok(sockets) }
}

/// Connects to the first that accepts. A refusal outweighs other failures: it proves that the machine is there.
async fn connect_first(targets: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut failure = DialError::NoAddress;
    for target in targets {
        match TcpStream::connect(target).await {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(DialError::Unreachable)?;
                let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE);
                // Without keep-alive probes a dead peer is noticed later; that is no reason to refuse the connection.
                drop(socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive));
                return Ok(socket);
            }
            Err(error) => {
                let refused = matches!(failure, DialError::Refused(_));
                failure = match error.kind() {
                    io::ErrorKind::ConnectionRefused => DialError::Refused(error),
                    _ if refused => failure,
                    io::ErrorKind::TimedOut => DialError::TimedOut,
                    _ if is_exhaustion(&error) => return Err(DialError::Exhausted(error)),
                    _ => DialError::Unreachable(error),
                };
            }
        }
    }
    Err(failure)
}

/// EMFILE, ENFILE: the process or the machine is out of descriptors.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::network::Own;

    fn dialler(rules: AddressRules) -> Dialler {
        Dialler {
            rules: Arc::new(rules),
            connect_timeout: Duration::from_secs(2),
            demo: None,
            tls: SandboxTls::new(None).unwrap(),
        }
    }

    fn upstream(host: &str) -> Upstream {
        let host = host.parse().map_or_else(|_| UpstreamHost::Name(host.into()), UpstreamHost::Ip);
        Upstream { host, port_map: Vec::new() }
    }

    #[tokio::test]
    async fn forbidden_addresses_are_never_dialled_by_number_or_by_name() {
        let dialler = dialler(AddressRules::default());
        for host in ["127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "localhost"] {
            let result = dialler.targets(Driver::Register, Some(&upstream(host)), 3000).await;
            assert!(matches!(result, Err(DialError::Forbidden)), "{host}: {result:?}");
        }
    }

    #[tokio::test]
    async fn the_loopback_driver_reaches_both_loopbacks_but_not_our_own_ports() {
        let own = Own { sockets: vec!["127.0.0.1:8081".parse().unwrap()], ..Own::default() };
        let dialler = dialler(AddressRules { own, ..AddressRules::default() });
        let targets = dialler.targets(Driver::Loopback, None, 5173).await.unwrap();
        assert_eq!(targets.len(), 2);
        assert!(targets[0].is_ipv4() && targets[1].is_ipv6());
        let own = dialler.targets(Driver::Loopback, None, 8081).await;
        assert!(matches!(own, Err(DialError::Forbidden)), "{own:?}");
    }

    #[tokio::test]
    async fn a_port_without_a_listener_is_told_apart_from_an_absent_machine() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dialler = dialler(AddressRules::default());
        let result = dialler.dial(Driver::Loopback, None, (free, Protocol::Http)).await;
        assert!(matches!(result, Err(DialError::Refused(_))), "{result:?}");
    }
}
