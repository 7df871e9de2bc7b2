//! A Portico that speaks TLS with certificates of an authority of the test's own, and visitors who trust it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portico::config::{Config, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::http::Connection;
use super::{Http2, Portico, Raw};

/// An authority, and the directory that Portico reads certificates from.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, files: tempfile::tempdir().unwrap() }
    }

    pub fn directory(&self) -> &Path {
        self.files.path()
    }

    /// Issues a certificate for names and puts it where it is read.
    pub fn issue(&self, file: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.files.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.files.path().join(format!("{file}.pem")), leaf.pem()).unwrap();
    }

    /// A server's settings, with a certificate for these names.
    pub fn server(&self, names: &[&str]) -> rustls::ServerConfig {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap()
    }

    /// A file with the authority's own certificate.
    pub fn certificate(&self) -> std::path::PathBuf {
        let file = self.files.path().join("authority.crt");
        std::fs::write(&file, self.issuer.pem()).unwrap();
        file
    }

    /// A visitor's settings: this authority is trusted, these protocols are offered.
    pub fn client(&self, protocols: &[&str]) -> ClientConfig {
        self.client_of(rustls::ALL_VERSIONS, protocols)
    }

    /// The same for some versions only.
    pub fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A running Portico with a wildcard certificate for the platform's zone.
#[derive(Debug)]
pub struct Secure {
    pub portico: Portico,
    pub authority: Authority,
}

impl Secure {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        let authority = Authority::new();
        authority.issue("zone", &["*.sandbox.localhost"]);
        Self::start_as(authority, adjust).await
    }

    /// With the certificates that an authority has issued.
    pub async fn start_as(authority: Authority, adjust: impl FnOnce(&mut Config)) -> Self {
        let directory = Some(authority.directory().to_owned());
        let portico = Portico::start_with(|config| {
            config.tls = Some(TlsConfig {
                listen: ([127, 0, 0, 1], 0).into(),
                certificates: portico::edge::tls::Settings {
                    pairs: Vec::new(),
                    directory,
                    reload: Duration::from_millis(50),
                },
                handshake: Duration::from_secs(5),
                hsts: Duration::ZERO,
                redirect: false,
            });
            config.public_scheme = "https";
            adjust(config);
        })
        .await;
        Self { portico, authority }
    }

    pub fn address(&self) -> SocketAddr {
        self.portico.running.https.expect("TLS is on")
    }

    /// A TLS connection that asks for a name and agrees on one of the protocols.
    pub async fn shake(&self, name: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
        let config = Arc::new(self.authority.client(protocols));
        shake(self.address(), name, config).await.expect("a handshake")
    }

    /// A visitor who chooses every frame.
    pub async fn raw(&self, name: &str) -> Raw {
        Raw::over(self.shake(name, &["h2"]).await)
    }

    /// ... and has exchanged greetings.
    pub async fn greeted(&self, name: &str) -> Raw {
        let mut raw = self.raw(name).await;
        raw.greet(&[]).await;
        raw
    }

    /// A visitor who behaves.
    pub async fn http2(&self, name: &str) -> Http2 {
        Http2::over(self.shake(name, &["h2"]).await).await
    }

    /// A visitor who speaks HTTP/1.1.
    pub async fn http1(&self, name: &str) -> Connection {
        Connection::over(self.shake(name, &["http/1.1"]).await)
    }
}

/// Makes a TLS connection.
pub async fn shake(
    address: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(config).connect(name, socket).await
}
