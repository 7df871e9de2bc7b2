//! What comes before the first request of a connection: who says whom it is from, and TLS.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::line::Line;
use super::{Settings, proxy_header};
use crate::base::telemetry::Handshake;
use crate::edge::connection::Stream;
use crate::edge::identity::Caller;
use crate::edge::tls::Certificates;
use crate::edge::visitor::Worker;
use crate::model::certificate::Shown;

/// How visitors come in by one listener.
#[derive(Clone, Debug)]
pub enum Entrance {
    /// Without encryption.
    Plain,
    /// Without encryption, and only to be sent to https, on this port.
    LeadsToHttps(u16),
    /// By TLS.
    Tls(Tls),
}

/// A listener's TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificates.
    pub certificates: Certificates,
    /// The protocol's settings.
    pub config: Arc<ServerConfig>,
    /// How long a handshake may take.
    pub deadline: Duration,
}

/// A connection that is ready for its first request.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) line: Line,
    pub(super) is_http2: bool,
}

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpened {
    #[error("the TLS handshake timed out")]
    TooSlow,
    #[error("the PROXY header is missing or malformed")]
    ProxyHeader,
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
}

/// Reads the PROXY header, where the other end is a load balancer that must send one.
pub(super) async fn introduced(
    socket: &TcpStream,
    caller: Caller,
    settings: &Settings,
) -> Result<Caller, NotOpened> {
    if !caller.owes_header(&settings.trust) {
        return Ok(caller);
    }
    match tokio::time::timeout(settings.proxy_header, proxy_header::read(socket)).await {
        Ok(Ok(source)) => Ok(caller.introduced(source)),
        Ok(Err(_)) => Err(NotOpened::ProxyHeader),
        Err(_) => Err(NotOpened::TooSlow),
    }
}

/// Brings a connection to where its first request can come.
pub(super) async fn open(
    socket: TcpStream,
    caller: Caller,
    entrance: &Entrance,
    settings: &Settings,
    worker: &Worker,
) -> Result<Opened, NotOpened> {
    let mut line = Line { identity: caller.identity(&settings.trust), shown: None, leads_to: None };
    let tls = match entrance {
        Entrance::Plain => {
            return Ok(Opened { stream: Stream::tcp(socket), line, is_http2: false });
        }
        Entrance::LeadsToHttps(port) => {
            line.leads_to = Some(*port);
            return Ok(Opened { stream: Stream::tcp(socket), line, is_http2: false });
        }
        Entrance::Tls(tls) => tls,
    };
    let shaking = TlsAcceptor::from(Arc::clone(&tls.config)).accept(socket);
    let shaken = tokio::time::timeout(tls.deadline, shaking).await;
    let (socket, session) = match shaken {
        Ok(shaken) => shaken.map_err(NotOpened::Tls)?.into_inner(),
        Err(_) => return Err(NotOpened::TooSlow),
    };
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    worker.metrics.handshake(if resumed { Handshake::Resumed } else { Handshake::Full });
    let sni = session.server_name().map(str::to_owned);
    let names = tls.certificates.shown(sni.as_deref());
    line.shown = Some(Rc::new(Shown { sni: sni.map(Into::into), names }));
    line.identity = line.identity.encrypted();
    // What was agreed on is what is spoken, whatever the bytes look like (RFC 7301 section 3.2).
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let stream = Stream::tls(socket, session).map_err(NotOpened::Tls)?;
    Ok(Opened { stream, line, is_http2 })
}
