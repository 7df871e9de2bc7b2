//! The ports: free, ours, or somebody else's.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::finding::Finding;
use crate::config::Config;

/// How long our own server may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// The process that holds the listeners of socket units.
const SYSTEMD: &str = "1";
/// More than it has to say.
const MOST: u64 = 64 << 10;

/// The listeners of a configuration, by the names of their settings.
fn listeners(config: &Config) -> Vec<(&'static str, SocketAddr)> {
    let mut all = vec![
        ("preview.listen", config.preview),
        ("api.listen", config.api),
        ("admin.listen", config.admin),
    ];
    all.extend(config.tls.as_ref().map(|tls| ("tls.listen", tls.listen)));
    all
}

/// Looks at every port.
pub(super) async fn ports(config: &Config) -> Vec<Finding> {
    let running = running(config.admin).await;
    let ours = |name: &str, address: SocketAddr| {
        let said = running.as_ref()?.get(name)?.as_str()?.parse::<SocketAddr>().ok()?;
        Some(said.port() == address.port())
    };
    let mut found = Vec::new();
    for (name, address) in listeners(config) {
        found.push(one(name, address, ours(name, address) == Some(true)));
    }
    found
}

fn one(name: &str, address: SocketAddr, is_ours: bool) -> Finding {
    const CHECK: &str = "ports";
    if is_ours {
        return Finding::ok(CHECK, format!("{name}: {address}, where our server listens"));
    }
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(CHECK, format!("{name}: {address} is free")),
        Err(error) => {
            let advice = match error.kind() {
                ErrorKind::AddrInUse => {
                    let (holder, pid) = holder(address.port());
                    let found = format!("{name}: {address} is held by {holder}");
                    if pid.as_deref() == Some(SYSTEMD) {
                        return Finding::ok(CHECK, format!("{found}, which hands it over"));
                    }
                    let advice = format!("stop it, or name another port in {name}");
                    return Finding::error(CHECK, found, advice);
                }
                ErrorKind::PermissionDenied => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= of the unit), or a port from 1024 on"
                }
                ErrorKind::AddrNotAvailable => {
                    "it is no address of this machine: name one that is, or 0.0.0.0 for all"
                }
                _ => "name another one",
            };
            Finding::error(CHECK, format!("{name}: {address}: {error}"), advice)
        }
    }
}

/// Where our own server says that it listens, if one runs there.
async fn running(admin: SocketAddr) -> Option<Value> {
    let asking = async {
        let mut socket = TcpStream::connect(admin).await.ok()?;
        let request = format!("GET / HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut response = Vec::new();
        socket.take(MOST).read_to_end(&mut response).await.ok()?;
        let response = String::from_utf8(response).ok()?;
        let (_, body) = response.split_once("\r\n\r\n")?;
        let said: Value = serde_json::from_str(body).ok()?;
        (said.get("service")? == "portico").then(|| said.get("listeners").cloned())?
    };
    tokio::time::timeout(PATIENCE, asking).await.ok().flatten()
}

/// Who listens on a port, as far as one may look, and the number of that process.
fn holder(port: u16) -> (String, Option<String>) {
    let unknown = || ("another process".to_owned(), None);
    let files = ["/proc/net/tcp", "/proc/net/tcp6"];
    let Some(inode) = files.iter().find_map(|file| listening(file, port)) else {
        return unknown();
    };
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let open = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut links = open.filter_map(|file| std::fs::read_link(file.path()).ok());
        if links.any(|link| link.as_os_str() == socket.as_str()) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let pid = process.file_name().to_string_lossy().into_owned();
            return (format!("{} (pid {pid})", name.trim()), Some(pid));
        }
    }
    unknown()
}

/// The inode of the socket that listens on a port.
fn listening(file: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let (_, hex) = local.rsplit_once(':')?;
        let is_it = u16::from_str_radix(hex, 16) == Ok(port) && state == LISTEN;
        is_it.then(|| fields.nth(5).map(str::to_owned))?
    })
}
