//! Processes, ports and limits: how programs are started on a core of their own.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use super::peer::Peer;

/// Files that a proxy needs open for 10,000 `WebSockets`, which are two each, and for all else.
const FILES: u64 = 24_000;
/// How long a program may take until it listens. One million sandboxes take a while to read, most of all without optimisation.
const START: Duration = Duration::from_mins(3);

/// Raises the limit on open files of this process, which those that it starts inherit, and gives what it is then. As root the hard
/// limit goes up as well.
pub fn raise_files() -> u64 {
    static SAID: Once = Once::new();
    let raised = rlimit::setrlimit(rlimit::Resource::NOFILE, FILES, FILES);
    let limit = match raised {
        Ok(()) => FILES,
        Err(_) => rlimit::increase_nofile_limit(FILES).expect("a limit on open files"),
    };
    if limit < FILES {
        SAID.call_once(|| {
            eprintln!(
                "only {limit} files may be open, so fewer than 10,000 connections are held: raise the limit (`ulimit -n {FILES}`)"
            );
        });
    }
    limit
}

/// A program on a core of its own, as far as there are so many.
pub fn pinned(core: usize, program: impl AsRef<OsStr>) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new("taskset");
    command.arg("-c").arg((core.min(cores - 1)).to_string()).arg(program);
    command
}

/// Runs this program again on the first core: the load generator and the origin share it, every proxy has another to itself.
pub fn on_core_0(role: &str, arguments: &[String]) -> i32 {
    let program = std::env::current_exe().expect("this program");
    let mut command = pinned(0, program.to_str().expect("a path"));
    let status = command.arg(role).args(arguments).status().expect("start");
    status.code().unwrap_or(1)
}

/// This program in another role. It prints where it listens.
pub fn spawn_self(name: &'static str, role: &str, to: Option<SocketAddr>, core: usize) -> Peer {
    let program = std::env::current_exe().expect("this program");
    let mut command = pinned(core, program.to_str().expect("a path"));
    command.arg(role).args(to.map(|to| to.to_string())).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start");
    let plain = first_line(&mut child).trim().parse().expect("an address");
    Peer::new(name, child, plain, None)
}

/// The first line that a program prints.
pub fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    line
}

/// A free port of loopback. Nothing listens on it until somebody takes it.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port()
}

/// A port of loopback.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Waits until a program listens, or says that it has ended.
pub fn wait_for(peer: &mut Peer) {
    let started = Instant::now();
    while TcpStream::connect(peer.plain).is_err() {
        if let Some(status) = peer.child.try_wait().expect("a child") {
            panic!("{} did not start: {status}", peer.name);
        }
        assert!(started.elapsed() < START, "{} does not listen on {}", peer.name, peer.plain);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Puts values in the places of a configuration: `@NAME@`.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    text
}
