//! A running Portico on free ports, with its API at hand.

use std::net::SocketAddr;

use clap::Parser as _;
use portico::app::Running;
use portico::base::clock::Clock;
use portico::cli::args::{Cli, Command};
use portico::cli::dev::{self, Started};
use portico::config::Config;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::document;
use super::http::{Connection, Response};

/// The configuration of `portico dev` on free ports, with data in `data`.
pub fn config_in(data: &std::path::Path) -> Config {
    let data = data.to_str().expect("a path of text");
    let arguments = [
        "portico",
        "dev",
        "--port",
        "0",
        "--https-port",
        "0",
        "--api-port",
        "0",
        "--admin-port",
        "0",
        "--workers",
        "2",
        "--data",
        data,
    ];
    match Cli::parse_from(arguments).command {
        Command::Dev(options) => dev::config(&options).expect("a data directory"),
        other => panic!("{other:?}"),
    }
}

/// A running Portico. Its data goes with it.
#[derive(Debug)]
pub struct Portico {
    pub running: Running,
    pub data: TempDir,
    pub api: Api,
}

impl Portico {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::start_at(Clock::system(), adjust).await
    }

    pub async fn start_at(clock: Clock, adjust: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let mut config = config_in(data.path());
        adjust(&mut config);
        // A configuration is large, and so is a future that holds some.
        Self::of(Box::pin(dev::start(config, clock)).await.expect("start"), data)
    }

    /// What has been started, with a folder that goes with it.
    pub fn of(started: Started, data: TempDir) -> Self {
        let api = Api::of(&started);
        Self { running: started.running, data, api }
    }

    pub fn preview(&self) -> SocketAddr {
        self.running.preview
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.preview()).await
    }

    /// One request on a connection of its own.
    pub async fn visit(&self, request: impl AsRef<[u8]>) -> Response {
        self.connect().await.roundtrip(request).await
    }

    /// A sandbox whose `port` is public, so that tests about something else need no credential.
    pub async fn public(&self, slug: &str, port: u16) -> SandboxHandle {
        let sandbox = self.api.sandbox(slug).await;
        self.api.publish(&sandbox.id, port, json!({})).await;
        sandbox.on_port(port)
    }

    /// A sandbox with nothing published.
    pub async fn private(&self, slug: &str, port: u16) -> SandboxHandle {
        self.api.sandbox(slug).await.on_port(port)
    }
}

/// A sandbox and the host of one of its ports.
#[derive(Clone, Debug)]
pub struct SandboxHandle {
    pub id: String,
    pub slug: String,
    pub host: String,
}

impl SandboxHandle {
    fn on_port(self, port: u16) -> Self {
        Self { host: format!("{port}-{}.sandbox.localhost", self.slug), ..self }
    }

    /// A GET of a path of this host, with further field lines (each ending in CRLF).
    pub fn get(&self, path: &str, fields: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", self.host)
    }
}

/// The control API.
#[derive(Clone, Debug)]
pub struct Api {
    pub address: SocketAddr,
    pub key: String,
}

impl Api {
    pub fn of(started: &Started) -> Self {
        Self { address: started.running.api, key: started.facts.api_key.clone() }
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.key,
            body.len(),
        );
        let reply = Connection::open(self.address).await.roundtrip(request).await;
        document::check(method, &format!("/api/v1{path}"), body.as_bytes(), &reply);
        reply
    }

    /// A call that must succeed; gives the response's `data`, or the whole of a flat response.
    pub async fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let response = self.call(method, path, body).await;
        assert!(response.status < 300, "{method} {path}: {} {}", response.status, response.text());
        if response.body.is_empty() {
            return Value::Null;
        }
        let mut json = response.json();
        match json.get_mut("data") {
            Some(data) => data.take(),
            None => json,
        }
    }

    pub async fn sandbox(&self, slug: &str) -> SandboxHandle {
        let created =
            self.ok("POST", "/sandboxes", Some(json!({"name": slug, "slug": slug}))).await;
        let id = created["id"].as_str().expect("an id").to_owned();
        SandboxHandle { id, slug: slug.to_owned(), host: String::new() }
    }

    pub async fn publish(&self, sandbox: &str, port: u16, more: Value) -> Value {
        let mut body = json!({"port": port, "visibility": "public"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ok("POST", &format!("/sandboxes/{sandbox}/previews"), Some(body)).await
    }

    /// Mints a token; `order` holds `scope`, `expires_in`, `port`.
    pub async fn token(&self, sandbox: &str, order: Value) -> (String, String) {
        let minted =
            self.ok("POST", &format!("/sandboxes/{sandbox}/preview-token"), Some(order)).await;
        let text = |name: &str| minted[name].as_str().expect("text").to_owned();
        (text("token"), text("id"))
    }
}
