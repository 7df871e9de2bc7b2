//! Pingora as a preview proxy: the same work that the other proxies of the bench do, written as its users would write it.
//!
//! Port and slug are taken out of the host name, looked up in a table, and the request goes to the address found there, with the same
//! forwarding headers and a JSON access line. It checks no token. See `benches/peers`.

mod access;
mod table;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{Error, HttpPeer, Result, Server};
use pingora::proxy::{FailToProxy, ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::services::background::background_service;

use access::AccessLog;
use table::Table;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a host ends with.
const ZONE: &str = ".sandbox.localhost";
/// Connections to sandboxes that are kept.
const KEPT: usize = 128;

/// What is known of one request.
struct Visit {
    started: Instant,
    request_id: String,
    host: String,
    /// Where the port and the slug are in `host`: up to the first dash, and up to the zone.
    port: usize,
    label: usize,
    address: Option<SocketAddr>,
}

impl Visit {
    /// `PORT-SLUG`.
    fn label(&self) -> &str {
        self.host.get(..self.label).unwrap_or_default()
    }

    fn port(&self) -> &str {
        self.host.get(..self.port).unwrap_or_default()
    }

    fn slug(&self) -> &str {
        self.host.get(self.port + 1..self.label).unwrap_or_default()
    }

    /// Takes port and slug out of a host, if it is one of ours.
    fn read(&mut self, host: &str) {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        self.host = host.to_ascii_lowercase();
        let Some(label) = self.host.strip_suffix(ZONE) else { return };
        let Some((port, _)) = label.split_once('-') else { return };
        if port.parse::<u16>().is_ok() {
            (self.port, self.label) = (port.len(), label.len());
        }
    }
}

struct Previews {
    table: Arc<Table>,
    log: Arc<AccessLog>,
    not_found: Bytes,
    bad_gateway: Bytes,
}

/// A page of our own.
fn page(status: u16, body: &Bytes) -> Result<ResponseHeader> {
    let mut header = ResponseHeader::build(status, Some(3))?;
    header.insert_header("Content-Type", "text/html; charset=utf-8")?;
    header.insert_header("Cache-Control", "no-store")?;
    header.set_content_length(body.len())?;
    Ok(header)
}

#[async_trait]
impl ProxyHttp for Previews {
    type CTX = Visit;

    fn new_ctx(&self) -> Visit {
        Visit {
            started: Instant::now(),
            request_id: format!("{:032x}", fastrand::u128(..)),
            host: String::new(),
            port: 0,
            label: 0,
            address: None,
        }
    }

    async fn request_filter(&self, session: &mut Session, visit: &mut Visit) -> Result<bool> {
        let header = session.req_header();
        let named = header.headers.get("host").and_then(|host| host.to_str().ok());
        let host = named.or_else(|| header.uri.authority().map(|authority| authority.as_str()));
        visit.read(host.unwrap_or_default());
        visit.address = self.table.find(visit.label());
        if visit.address.is_some() {
            return Ok(false);
        }
        let header = Box::new(page(404, &self.not_found)?);
        session.write_response_header(header, false).await?;
        session.write_response_body(Some(self.not_found.clone()), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, visit: &mut Visit) -> Result<Box<HttpPeer>> {
        let address = visit.address.ok_or_else(|| Error::new(pingora::ErrorType::InternalError))?;
        Ok(Box::new(HttpPeer::new(address, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        visit: &mut Visit,
    ) -> Result<()> {
        let digest = session.digest();
        let secure = digest.is_some_and(|digest| digest.ssl_digest.is_some());
        let client = session.client_addr().and_then(|address| address.as_inet());
        let client = client.map(|address| address.ip().to_string()).unwrap_or_default();
        request.insert_header("Host", format!("localhost:{}", visit.port()))?;
        request.insert_header("X-Forwarded-Host", visit.host.as_str())?;
        request.insert_header("X-Forwarded-For", client)?;
        request.insert_header("X-Forwarded-Proto", if secure { "https" } else { "http" })?;
        request.insert_header("X-Request-Id", visit.request_id.as_str())
    }

    /// Pingora ends the connection after such a response over HTTP/1, whatever is said here.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        _: &mut Visit,
    ) -> FailToProxy {
        let status = match error.esource() {
            pingora::ErrorSource::Upstream => 502,
            pingora::ErrorSource::Downstream => 0,
            _ => 500,
        };
        if status > 0
            && let Ok(header) = page(status, &self.bad_gateway)
        {
            // The visitor may have left; then there is nobody to tell.
            drop(session.write_error_response(header, self.bad_gateway.clone()).await);
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    /// The access line says what happened.
    fn suppress_error_log(&self, _: &Session, _: &Visit, _: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, visit: &mut Visit) {
        self.log.line(session, visit);
    }
}

/// The value of an argument: `--name value`.
fn argument(name: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).unwrap_or_else(|| panic!("{name} is missing"))
}

fn main() {
    let read = |name: &str| Bytes::from(std::fs::read(argument(name)).expect("a page"));
    let table = Arc::new(Table::read(Path::new(&argument("--map"))));
    table::listen(&argument("--changes"), Arc::clone(&table));
    let log = Arc::new(AccessLog::create(Path::new(&argument("--log"))));
    let conf = ServerConf {
        threads: 1,
        // With one thread there is nobody to steal from, and it costs a few per cent.
        work_stealing: false,
        upstream_keepalive_pool_size: KEPT,
        max_retries: 1,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let previews = Previews {
        table,
        log: Arc::clone(&log),
        not_found: read("--page-404"),
        bad_gateway: read("--page-502"),
    };
    let mut service = http_proxy_service(&server.configuration, previews);
    service.add_tcp(&argument("--http"));
    let mut tls =
        TlsSettings::intermediate(&argument("--certificate"), &argument("--key")).expect("TLS");
    tls.enable_h2();
    service.add_tls_with_settings(&argument("--https"), None, tls);
    server.add_service(service);
    let flush = background_service("access log", access::Flush(log));
    server.add_service(flush);
    server.run_forever();
}
