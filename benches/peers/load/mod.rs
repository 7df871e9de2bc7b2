//! The load generators: visitors that ask, in every way that is compared, and check every response.
//!
//! One thread does it all, on the core that the origin runs on as well, so the loops are lean: requests are made beforehand, responses are read
//! into buffers that stay, and nothing is allocated for a request over HTTP/1.

pub mod asks;
pub mod drive;
pub mod events;
pub mod handshakes;
pub mod http1;
pub mod http2;
pub mod idle;
pub mod paced;
pub mod response;
pub mod sockets;
pub mod upload;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use asks::{Ask, Asks};
pub use drive::{Done, Drive};
pub use response::Expect;

/// Keep-alive connections over HTTP/1, and WebSockets.
pub const CONNECTIONS: usize = 64;
/// The longest one round may take.
pub const BOUND: Duration = Duration::from_mins(2);

/// Somebody who does one unit of work after another.
pub trait Lane: Send + 'static {
    fn unit(&mut self) -> impl Future<Output = ()> + Send;
}

/// A client's TLS that trusts an authority. Its sessions are kept, and so resumed, if `resumes`.
pub fn tls(authority: &Path, protocol: &[u8], resumes: bool) -> TlsConnector {
    let mut config = trusting(authority, protocol);
    if !resumes {
        config.resumption = rustls::client::Resumption::disabled();
    }
    TlsConnector::from(Arc::new(config))
}

/// The settings of a TLS client that trusts an authority and speaks one protocol.
pub fn trusting(authority: &Path, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).expect("the authority") {
        roots.add(certificate.expect("a certificate")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// Ports that the system does not give out by itself. A port that somebody has bound is not given to those who only connect, whatever their
/// address is, and the proxies need theirs for the app.
const PORTS: std::ops::Range<u16> = 2_000..32_000;

/// Connects from one of sixteen addresses of this machine after another, so that no limit on one address is met, and a port is not
/// taken again soon.
pub async fn connect(to: SocketAddr) -> TcpStream {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    for _ in 0..PORTS.len() {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let last = u8::try_from(1 + number % 16).expect("a byte");
        let port = PORTS.start + u16::try_from(number / 16 % PORTS.len()).expect("a port");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        if socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port))).is_err() {
            // Somebody listens there.
            continue;
        }
        let stream = socket.connect(to).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        return stream;
    }
    panic!("no port is free");
}

/// Connects and does TLS for a host.
pub async fn connect_tls(to: SocketAddr, tls: &TlsConnector, host: &str) -> TlsStream<TcpStream> {
    let bare = host.split(':').next().unwrap_or_default();
    let name = ServerName::try_from(bare.to_owned()).expect("a name");
    tls.connect(name, connect(to).await).await.expect("TLS")
}
