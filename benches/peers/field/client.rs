//! A visitor that asks one thing after another and reads the whole response: for the control API and for checks, not for load.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::load::trusting;

/// The longest that a response may take.
const WAIT: Duration = Duration::from_secs(30);

/// How a browser opens a page. Portico responds with the branded pages.
pub const NAVIGATION: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
     Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept-Language: en-US,en;q=0.9\r\n";

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(to).expect("connect");
    socket.set_nodelay(true).expect("nodelay");
    socket.set_read_timeout(Some(WAIT)).expect("a limit");
    socket
}

fn read(reader: &mut impl BufRead) -> Response {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a response");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no response but {line:?}"));
    let mut length = None;
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).expect("a field") > 0, "the headers ended early");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = Some(value.trim().parse().expect("a length"));
        }
    }
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).expect("a body");
    Response { status, body }
}

fn visit(
    stream: &mut (impl Read + Write),
    host: &str,
    path: &str,
    token: Option<&str>,
) -> Response {
    let cookie = token.map(|token| format!("Cookie: theme=dark; __Host-preview={token}\r\n"));
    let cookie = cookie.unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{NAVIGATION}{cookie}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("write");
    stream.flush().expect("flush");
    read(&mut BufReader::new(stream))
}

/// One visit on a connection of its own, in clear text.
pub fn get(to: SocketAddr, host: &str, path: &str, token: Option<&str>) -> Response {
    visit(&mut connect(to), host, path, token)
}

/// The same by TLS. The certificate has to be of this authority.
pub fn get_tls(
    to: SocketAddr,
    authority: &Path,
    host: &str,
    path: &str,
    token: Option<&str>,
) -> Response {
    let mut stream = tls(to, authority, host, b"http/1.1");
    let response = visit(&mut stream, host, path, token);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]), "another protocol");
    response
}

/// Whether HTTP/2 is agreed on where it is the only one that is offered.
pub fn speaks_h2(to: SocketAddr, authority: &Path, host: &str) -> bool {
    let mut stream = tls(to, authority, host, b"h2");
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    }
    stream.conn.alpn_protocol() == Some(b"h2")
}

fn tls(
    to: SocketAddr,
    authority: &Path,
    host: &str,
    protocol: &[u8],
) -> StreamOwned<ClientConnection, TcpStream> {
    let config = trusting(authority, protocol);
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("TLS");
    StreamOwned::new(client, connect(to))
}

/// The control API of Portico, over one connection.
pub struct Api {
    socket: BufReader<TcpStream>,
    key: String,
}

impl Api {
    pub fn connect(to: SocketAddr, key: &str) -> Self {
        Self { socket: BufReader::new(connect(to)), key: key.to_owned() }
    }

    /// Posts, and gives what was made.
    pub fn post(&mut self, path: &str, body: &Value) -> Value {
        let (key, body) = (&self.key, body.to_string());
        let request = format!(
            "POST /api/v1{path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.socket.get_mut().write_all(request.as_bytes()).expect("write");
        let response = read(&mut self.socket);
        let text = String::from_utf8_lossy(&response.body);
        assert!(matches!(response.status, 200 | 201), "{path}: {} {text}", response.status);
        serde_json::from_str(&text).expect("JSON")
    }
}
