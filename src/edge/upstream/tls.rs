//! TLS towards sandboxes whose ports speak https.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::edge::connection::Stream;

/// Why the authorities for sandboxes' certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be read, or holds no certificates.
    #[error("cannot read certificates from it")]
    File(#[source] rustls::pki_types::pem::Error),
    /// What it holds are no certificates of authorities.
    #[error("it contains no CA certificate")]
    Authority(#[source] rustls::Error),
    /// The same, as the verifier says it.
    #[error("its certificates cannot be used to verify others")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Speaks TLS to sandboxes.
#[derive(Clone)]
pub struct SandboxTls(TlsConnector);

impl std::fmt::Debug for SandboxTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SandboxTls")
    }
}

impl SandboxTls {
    /// Verifies sandboxes' certificates against the authorities in a file, or, without one, takes whatever they show: inside the
    /// network of the sandboxes the address is the identity, and what development servers show is made up.
    pub fn new(authorities: Option<&Path>) -> Result<Self, AuthorityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match authorities {
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for root in CertificateDer::pem_file_iter(file).map_err(AuthorityError::File)? {
                    let root = root.map_err(AuthorityError::File)?;
                    roots.add(root).map_err(AuthorityError::Authority)?;
                }
                let provider = Arc::clone(&provider);
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(AuthorityError::Verifier)?
            }
            None => Arc::new(Anything(Arc::clone(&provider))),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(AuthorityError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Speaks TLS on a connection to a sandbox that is known by `name`.
    pub(super) async fn connect(
        &self,
        socket: TcpStream,
        name: ServerName<'static>,
    ) -> io::Result<Stream> {
        let (socket, session) = self.0.connect(name, socket).await?.into_inner();
        Stream::tls(socket, session)
    }
}

/// Takes every certificate, and still insists that the other end has its key.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
