//! What is asked: requests as a browser writes them, made before anything is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One request of a browser.
#[derive(Clone, Debug)]
pub struct Ask {
    pub host: String,
    pub path: String,
    pub token: Option<String>,
    /// Whether somebody opens a page, rather than a page fetching something.
    pub navigates: bool,
}

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36";

impl Ask {
    fn cookie(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        Some(format!("theme=dark; __Host-preview={token}; lang=en"))
    }

    fn accept(&self) -> &'static str {
        if self.navigates { "text/html,application/xhtml+xml,application/xml;q=0.9" } else { "*/*" }
    }

    fn fetch(&self) -> [(&'static str, &'static str); 3] {
        let names = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];
        let values = if self.navigates {
            ["none", "navigate", "document"]
        } else {
            ["same-origin", "cors", "empty"]
        };
        [0, 1, 2].map(|at| (names[at], values[at]))
    }

    /// Over HTTP/1, with more fields.
    pub fn http1(&self, method: &str, more: &str) -> Vec<u8> {
        let Self { host, path, .. } = self;
        let [site, mode, dest] = self.fetch().map(|(_, value)| value);
        let accept = self.accept();
        let cookie = self.cookie().map_or_else(String::new, |own| format!("Cookie: {own}\r\n"));
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nAccept: {accept}\r\nSec-Fetch-Site: {site}\r\n\
             Sec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\nReferer: http://{host}/\r\nAccept-Encoding: gzip, deflate, br\r\n\
             Accept-Language: en-US,en;q=0.9\r\n{more}{cookie}\r\n"
        )
        .into_bytes()
    }

    /// Over HTTP/2.
    pub fn http2(&self) -> http::Request<()> {
        let mut request = http::Request::get(format!("https://{}{}", self.host, self.path))
            .header("user-agent", AGENT)
            .header("accept", self.accept())
            .header("referer", format!("https://{}/", self.host))
            .header("accept-encoding", "gzip, deflate, br")
            .header("accept-language", "en-US,en;q=0.9");
        for (name, value) in self.fetch() {
            request = request.header(name, value);
        }
        if let Some(cookie) = self.cookie() {
            request = request.header("cookie", cookie);
        }
        request.body(()).expect("a request")
    }

    /// The handshake of a WebSocket, of a page of the same host.
    pub fn upgrade(&self, scheme: &str) -> Vec<u8> {
        let more = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {scheme}://{}\r\n",
            self.host
        );
        self.http1("GET", &more)
    }
}

/// The requests of one scenario to one peer. Clones share where they are, and go on there in the next round.
#[derive(Clone, Debug)]
pub enum Asks {
    /// Always the same one.
    Same(Arc<[u8]>),
    /// One after another, and from the start again.
    Each(Arc<[Vec<u8>]>, Arc<AtomicUsize>),
    /// Always with another signature, which starts at a place and is never right.
    Forged { request: Vec<u8>, at: usize, count: Arc<AtomicUsize> },
    /// The same of one host after another; in three parts, with the host between them.
    Hosts {
        request: Vec<u8>,
        parts: Arc<[Vec<u8>; 3]>,
        hosts: Arc<[String]>,
        next: Arc<AtomicUsize>,
    },
}

impl Asks {
    pub fn same(request: Vec<u8>) -> Self {
        Self::Same(request.into())
    }

    pub fn each(requests: impl Iterator<Item = Vec<u8>>) -> Self {
        Self::Each(requests.collect(), Arc::default())
    }

    /// Requests with a token that is right but for its signature.
    pub fn forged(ask: &Ask, more: &str) -> Self {
        let token = ask.token.as_deref().expect("a token");
        let request = ask.http1("GET", more);
        let signature = token.rfind('.').expect("a signature") + 1;
        let start = memchr::memmem::find(&request, token.as_bytes()).expect("the token");
        Self::Forged { request, at: start + signature, count: Arc::default() }
    }

    /// Requests of many hosts; `ask` is any one of them.
    pub fn hosts(ask: &Ask, more: &str, hosts: impl Iterator<Item = String>) -> Self {
        let text = String::from_utf8(ask.http1("GET", more)).expect("text");
        let parts = text.split(&ask.host).map(|part| part.as_bytes().to_vec());
        let parts: [_; 3] = parts.collect::<Vec<_>>().try_into().expect("the host, twice");
        let (request, parts) = (Vec::new(), Arc::new(parts));
        Self::Hosts { request, parts, hosts: hosts.collect(), next: Arc::default() }
    }

    /// The next one.
    pub fn next(&mut self) -> &[u8] {
        match self {
            Self::Same(request) => request,
            Self::Each(requests, next) => {
                &requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()]
            }
            Self::Forged { request, at, count } => {
                const DIGITS: &[u8; 64] =
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let mut number = count.fetch_add(1, Ordering::Relaxed);
                for byte in &mut request[*at..*at + 10] {
                    *byte = DIGITS[number % 64];
                    number /= 64;
                }
                request
            }
            Self::Hosts { request, parts, hosts, next } => {
                let host = &hosts[next.fetch_add(1, Ordering::Relaxed) % hosts.len()];
                let [first, second, third] = &**parts;
                request.clear();
                for part in [first, host.as_bytes(), second, host.as_bytes(), third] {
                    request.extend_from_slice(part);
                }
                request
            }
        }
    }
}
