//! The program as a process of its own, for what only a process can show: signals, kills, its log, its command line.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use super::{Api, Connection, Response, eventually};

/// A running `portico dev` on free ports.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub facts: Value,
}

/// Runs a command of the program to its end; `last` follows its arguments.
pub fn command(arguments: &[&str], last: Option<&Path>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portico"))
        .args(arguments)
        .args(last)
        .stdin(Stdio::null())
        .output()
        .expect("run")
}

impl Process {
    /// Starts without a log.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &["--log", "off"])
    }

    pub fn start_with(data: &Path, options: &[&str]) -> Self {
        let ports = ["--port", "--https-port", "--api-port", "--admin-port"];
        let ports: Vec<&str> = ports.iter().flat_map(|port| [*port, "0"]).collect();
        let data = ["--data", data.to_str().expect("a path of text")];
        Self::run(&[&["dev", "--json"], &data[..], &ports, options].concat())
    }

    /// Serves a configuration file, with a tenant and a key of it.
    pub fn serve(file: &str) -> (Self, Api) {
        let process = Self::run(&["serve", "--json", "--config", file]);
        let run = |arguments: &[&str]| {
            let done = command(&[arguments, &["--config", file]].concat(), None);
            assert!(done.status.success(), "{done:?}");
            String::from_utf8(done.stdout).unwrap().trim().to_owned()
        };
        run(&["tenant", "create", "one"]);
        let key = run(&["key", "create", "--quiet", "--tenant", "one"]);
        let address = process.fact("api_url").strip_prefix("http://").unwrap().parse().unwrap();
        (process, Api { address, key })
    }

    /// Starts with these arguments, among them `--json`.
    pub fn run(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        Self::spawn(command)
    }

    /// Starts a command that ends up as the program with `--json`.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).expect("a line");
        Self { child, facts: serde_json::from_str(&line).expect("facts") }
    }

    pub fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().expect("a text")
    }

    pub fn api(&self) -> Api {
        let address = self.fact("api_url").strip_prefix("http://").unwrap();
        Api { address: address.parse().unwrap(), key: self.fact("api_key").to_owned() }
    }

    /// The printed link, taken apart: host with port, and request target.
    pub fn link(&self) -> (&str, &str) {
        let rest = self.fact("preview_url").strip_prefix("http://").expect("a link");
        rest.split_at(rest.find('/').expect("a path"))
    }

    pub fn preview(&self) -> SocketAddr {
        let port = self.link().0.rsplit_once(':').expect("a port").1;
        ([127, 0, 0, 1], port.parse().expect("a port")).into()
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.preview()).await
    }

    /// Asks the admin listener.
    pub async fn admin(&self, path: &str) -> Response {
        let host = self.fact("admin_url").strip_prefix("http://").unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Connection::open(host.parse().unwrap()).await.roundtrip(request).await
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let sent = Command::new("kill").args([&signal, &self.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    pub async fn ended(mut self) -> ExitStatus {
        eventually("the process ends", async || !self.is_running()).await;
        self.child.wait().expect("wait")
    }
}

/// No test leaves a process behind, however it ends.
impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
