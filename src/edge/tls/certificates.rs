//! The certificates that connections are made with, and how TLS is spoken.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use super::error::{CertificateError, TlsError};
use super::files::{Fingerprint, Look, Settings};
use super::set::Set;
use crate::base::clock::Clock;
use crate::model::certificate::Names;

/// The certificates of the process. Cheap to clone; all clones see the same set, and the next one when it has been loaded.
#[derive(Clone)]
pub struct Certificates {
    pub(super) current: Arc<ArcSwap<Set>>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    /// Somebody wants the files to be looked at now.
    pub(super) look: Arc<Notify>,
    pub(super) clock: Clock,
    pub(super) provider: Arc<CryptoProvider>,
    /// Of what was loaded first.
    pub(super) loaded: Fingerprint,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads all certificates. Holds every error of every one; one that has expired is none.
    pub fn load(settings: Settings, clock: Clock) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let look = Look::now(&settings);
        let loaded = look.fingerprint.clone();
        let set = Set::read(look, &provider).map_err(TlsError)?;
        let current = Arc::new(ArcSwap::from_pointee(set));
        let config = server_config(&provider, &current)
            .map_err(|error| TlsError(vec![CertificateError::Setup(error)]))?;
        let (settings, config) = (Arc::new(ArcSwap::from_pointee(settings)), Arc::new(config));
        Ok(Self { current, settings, look: Arc::default(), clock, provider, loaded, config })
    }

    /// Has the files that the settings name looked at now, and from now on.
    pub fn follow(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
        self.look.notify_one();
    }

    /// How every connection is made. One for the process: its workers share the keys of session tickets.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What the certificate is valid for that is now shown to who asks for a name.
    pub fn shown(&self, sni: Option<&str>) -> Arc<Names> {
        let lower = sni.map(str::to_ascii_lowercase);
        Arc::clone(&self.current.load().choose(lower.as_deref()).names)
    }

    /// The certificates by their files, with the moments from when until when they are valid.
    pub fn periods(&self) -> Vec<(PathBuf, [Timestamp; 2])> {
        self.current.load().periods()
    }

    /// What an operator should know of certificates that are used all the same: those that have expired, will soon, or are not yet
    /// valid.
    pub fn warnings(&self) -> Vec<String> {
        self.current.load().warnings(self.clock.now())
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    current: &Arc<ArcSwap<Set>>,
) -> Result<ServerConfig, rustls::Error> {
    // TLS 1.2 and 1.3 with forward secrecy and AEAD: rustls has nothing weaker. No client certificates; no early data, which could be
    // replayed (RFC 8446 8).
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(Arc::clone(current))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Browsers order the suites by what is fastest on their device; all that we have are good.
    config.ignore_client_order = false;
    // Sessions live in tickets that the visitor keeps, so they cost no memory and resume on any worker. Their keys change every six
    // hours; a ticket is taken only with the name it was given for.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A ticket is used once. Browsers keep two: one for the next visit, one for a connection beside the first, as a WebSocket's.
    config.send_tls13_tickets = 2;
    Ok(config)
}

/// Chooses by the name that is asked for. No I/O, no lock.
struct ByName(Arc<ArcSwap<Set>>);

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByName")
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().choose(hello.server_name()).key))
    }
}
