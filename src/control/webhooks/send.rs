//! One attempt: the host is looked up, every address it has is judged, one of them is connected to, and the response headers decide.
//! Nothing is followed, and no proxy of the environment is used.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::message;
use super::schedule::{Attempt, retry_after};
use super::settings::Settings;
use super::target::{Target, TargetError};
use crate::base::clock::Clock;
use crate::control::store::Claim;
use crate::model::network::PublicRules;

/// Bytes of a response's body that are read, and kept to be shown.
const KEPT: usize = 4096;
/// How long the rest of a response may take; what has come until then is enough.
const BODY: Duration = Duration::from_secs(2);
/// Tests under way at once; more of them wait.
const TESTS: usize = 32;
/// The largest response headers, bytes.
const HEAD: usize = 64 << 10;

/// Why the authorities for webhooks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or holds no certificates.
    #[error("cannot read certificates from it")]
    File(#[source] rustls::pki_types::pem::Error),
    /// What it holds are no certificates of authorities.
    #[error("it contains no CA certificate")]
    Authority(#[source] rustls::Error),
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Why no response came.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the URL {0}")]
    Target(#[from] TargetError),
    #[error("the host does not resolve")]
    Resolve(#[source] io::Error),
    #[error("the host has an address that is not public")]
    Forbidden,
    #[error("the host cannot be connected to: {0}")]
    Connect(io::ErrorKind),
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    #[error("no response: {0}")]
    Http(#[from] hyper::Error),
    #[error("no response in time")]
    TimedOut,
}

/// Tells endpoints. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct Sender {
    terms: Arc<ArcSwap<Terms>>,
    clock: Clock,
    /// Attempts at once that somebody waits for.
    seats: Arc<Semaphore>,
}

/// By what is decided whom to tell and how. An attempt keeps those that it began with.
struct Terms {
    rules: PublicRules,
    tls: TlsConnector,
    settings: Arc<Settings>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

/// What HTTP is spoken through.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Sender {
    /// A sender that trusts the public authorities and those that the settings name.
    pub fn new(
        settings: Arc<Settings>,
        rules: PublicRules,
        clock: Clock,
    ) -> Result<Self, TrustError> {
        let terms = Arc::new(ArcSwap::from_pointee(Terms::new(settings, rules)?));
        Ok(Self { terms, clock, seats: Arc::new(Semaphore::new(TESTS)) })
    }

    /// Other settings, for attempts from now on.
    pub fn set(&self, settings: Arc<Settings>, rules: PublicRules) -> Result<(), TrustError> {
        self.terms.store(Arc::new(Terms::new(settings, rules)?));
        Ok(())
    }

    /// Whether a URL could be a webhook's, as far as one sees without looking its host up.
    pub fn check(&self, url: &str) -> Result<(), TargetError> {
        let terms = self.terms.load();
        let target = Target::parse(url, terms.settings.allow_http)?;
        match target.address() {
            Some(ip) if !terms.rules.permits_socket(SocketAddr::new(ip, target.port)) => {
                Err(TargetError::NotPublic)
            }
            _ => Ok(()),
        }
    }

    /// The settings.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.terms.load().settings)
    }

    /// Tries a delivery once, while somebody waits for how it goes.
    pub async fn try_out(&self, claim: &Claim) -> Attempt {
        // The semaphore is never closed.
        let seat = self.seats.acquire().await;
        let attempt = self.send(claim).await;
        drop(seat);
        attempt
    }

    /// Tries a delivery once.
    pub async fn send(&self, claim: &Claim) -> Attempt {
        let terms = self.terms.load_full();
        let timeout = terms.settings.timeout;
        let started = Instant::now();
        let asked = tokio::time::timeout(timeout, terms.ask(claim, &self.clock)).await;
        let mut attempt = match asked.unwrap_or(Err(SendError::TimedOut)) {
            Ok((response, connection)) => {
                let attempt = self.read(response, BODY.min(timeout)).await;
                drop(connection);
                attempt
            }
            Err(error) => Attempt { error: Some(error.to_string()), ..Attempt::default() },
        };
        attempt.took = started.elapsed();
        attempt
    }

    async fn read(&self, response: http::Response<Incoming>, patience: Duration) -> Attempt {
        let status = response.status();
        let after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
        let retry_after = after.and_then(|text| retry_after(text, self.clock.now()));
        let mut body = response.into_body();
        let mut kept = Vec::new();
        let reading = async {
            while kept.len() < KEPT
                && let Some(Ok(frame)) = body.frame().await
            {
                if let Ok(data) = frame.into_data() {
                    let room = KEPT - kept.len();
                    kept.extend(data.iter().take(room));
                }
            }
        };
        // The headers have decided; a body that is not finished in time is shown as far as it came.
        drop(tokio::time::timeout(patience, reading).await);
        let error = match status.as_u16() {
            200..=299 => None,
            300..=399 => Some("the response is a redirect, which is not followed".to_owned()),
            other => Some(format!("the response status is {other}")),
        };
        Attempt {
            status: Some(status.as_u16()),
            body: Some(String::from_utf8_lossy(&kept).into_owned()),
            error,
            retry_after,
            took: Duration::ZERO,
        }
    }
}

impl Terms {
    fn new(settings: Arc<Settings>, rules: PublicRules) -> Result<Self, TrustError> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        if let Some(file) = &settings.authorities {
            add(&mut roots, file)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { rules, tls: TlsConnector::from(Arc::new(config)), settings })
    }

    /// Sends the request; gives the headers of the response, and what moves the connection.
    async fn ask(
        &self,
        claim: &Claim,
        clock: &Clock,
    ) -> Result<(http::Response<Incoming>, AbortOnDropHandle<()>), SendError> {
        let target = Target::parse(&claim.webhook.url, self.settings.allow_http)?;
        let body = message::body(claim);
        let now = clock.now();
        let mut fields = message::headers(claim, &body, &self.settings.header_name, now);
        if let Ok(host) = target.authority.parse() {
            fields.insert(header::HOST, host);
        }
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = target.path_and_query.parse().map_err(|_| TargetError::NoUrl)?;
        *request.headers_mut() = fields;
        let io = TokioIo::new(self.connect(&target).await?);
        let (mut sending, connection) =
            // Names as they are documented, for receivers that compare them as they come.
            http1::Builder::new().title_case_headers(true).max_buf_size(HEAD).handshake(io).await?;
        let connection = tokio::spawn(async move {
            // Its failure is the response's.
            drop(connection.await);
        });
        let connection = AbortOnDropHandle::new(connection);
        Ok((sending.send_request(request).await?, connection))
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Wire>, SendError> {
        let socket = self.dial(target).await?;
        if !target.is_tls {
            return Ok(Box::new(socket));
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| TargetError::NoUrl)?;
        let session = self.tls.connect(name, socket).await.map_err(SendError::Tls)?;
        Ok(Box::new(session))
    }

    /// Connects to an address that was judged; the name is not looked up a second time. One address that is not permitted is enough
    /// to refuse the host: whoever mixes them is up to something.
    async fn dial(&self, target: &Target) -> Result<TcpStream, SendError> {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let addresses: Vec<SocketAddr> = found.map_err(SendError::Resolve)?.collect();
        if !addresses.iter().all(|address| self.rules.permits_socket(*address)) {
            return Err(SendError::Forbidden);
        }
        let mut failure = io::ErrorKind::NotFound;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(socket) => {
                    // Without it the request is a little slower.
                    drop(socket.set_nodelay(true));
                    return Ok(socket);
                }
                Err(error) => failure = error.kind(),
            }
        }
        Err(SendError::Connect(failure))
    }
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), TrustError> {
    for root in CertificateDer::pem_file_iter(file).map_err(TrustError::File)? {
        roots.add(root.map_err(TrustError::File)?).map_err(TrustError::Authority)?;
    }
    Ok(())
}
