//! The proxies that are compared: how each is found, configured, started and checked, so that all do the same work.
//!
//! Every peer serves `PORT-SLUG.sandbox.localhost`: port and slug are looked up in a map, the request goes to the address found there with
//! the same forwarding headers, and a JSON line is written for it. All show the same certificate and, where a request goes wrong, a page
//! of the same length. Each has one thread on a core that the load generator does not use.

mod caddy;
mod check;
mod churn;
pub mod client;
mod haproxy;
mod install;
mod nginx;
mod pingora;
mod portico;
mod system;
mod tokens;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

pub use check::check_all;
pub use churn::Churn;
pub use install::prepare;
pub use system::on_core_0;

/// Sandboxes, of those that are not asked for, that changes are about.
const CHANGED: usize = 500;

/// One of the peers, and how to ask it.
#[derive(Debug)]
pub struct Peer {
    pub name: &'static str,
    pub child: Child,
    /// Processes whose CPU time and memory count.
    pub pids: Vec<u32>,
    /// In clear text ...
    pub plain: SocketAddr,
    /// ... and by TLS, where it speaks that.
    pub tls: Option<SocketAddr>,
    /// Tokens for the private host that it verifies; none if it verifies none. The first is *the* token, and the only one unless fresh
    /// ones were asked for.
    pub tokens: Vec<String>,
    /// How its routes are changed, if that can be done without starting it anew.
    pub churn: Option<Churn>,
}

impl Peer {
    fn new(name: &'static str, child: Child, plain: SocketAddr, tls: Option<SocketAddr>) -> Self {
        Self { name, pids: vec![child.id()], child, plain, tls, tokens: Vec::new(), churn: None }
    }

    /// A token whose signature does not hold, else like its token.
    pub fn bad_token(&self) -> String {
        let token = &self.tokens[0];
        let at = token.len() - 20;
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &token[..at], &token[at + 1..])
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Ended by id; nginx ends its own worker.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

/// What is asked of the peers.
#[derive(Clone, Debug)]
pub struct Names {
    /// A host that everybody may see ...
    pub public: String,
    /// ... and one that takes a token.
    pub private: String,
    /// A port of the private sandbox that nothing listens on. The same token opens it.
    pub dead: String,
    /// A host of no sandbox.
    pub unknown: String,
    /// Portico's token. Peers that verify none get it all the same, so that all requests are alike.
    pub token: String,
    /// The pages that are shown when something is wrong.
    pub pages: Pages,
    /// The authority of the certificate that all of them show.
    pub authority: PathBuf,
    dead_port: u16,
    certificate: PathBuf,
    key: PathBuf,
}

/// Bytes of the pages that every peer shows, and where the files are (`404.html` and so on).
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// 404: a host of no sandbox.
    pub not_found: usize,
    /// 502: nothing listens.
    pub bad_gateway: usize,
    /// 401: a token that is none, where tokens are verified.
    pub unauthorized: usize,
    directory: PathBuf,
}

/// What is started.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Sandboxes besides those that are asked for.
    pub others: usize,
    /// The peers, by name; all that are found if there are none.
    pub peers: &'static [&'static str],
    /// Whether peers that verify tokens get 9,000 of them, more than Portico remembers rather than one.
    pub fresh_tokens: bool,
}

impl Setup {
    fn has(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(&name)
    }
}

/// Where a label leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    /// The origin, which everybody may ask ...
    Public,
    /// ... or only who has a token.
    Private,
    /// A port that nothing listens on.
    Dead,
}

impl To {
    /// What it is called in maps of peers that verify no tokens.
    fn word(self) -> &'static str {
        if self == Self::Dead { "dead" } else { "sandbox" }
    }
}

/// What the peers are configured from.
struct Plan<'a> {
    directory: &'a Path,
    origin: SocketAddr,
    names: &'a Names,
    others: usize,
    /// Files that each may have open.
    files: u64,
}

impl Plan<'_> {
    /// Every label, `PORT-SLUG`, and where it leads.
    fn each_label(&self, mut with: impl FnMut(&str, To)) {
        let port = self.origin.port();
        with(&format!("{port}-{}", portico::PUBLIC), To::Public);
        with(&format!("{port}-{}", portico::PRIVATE), To::Private);
        with(&format!("{}-{}", self.names.dead_port, portico::PRIVATE), To::Dead);
        for n in 0..self.others {
            with(&self.label(n), To::Public);
        }
    }

    fn label(&self, n: usize) -> String {
        format!("{}-{}{n}", self.origin.port(), portico::OTHER)
    }

    /// The labels that changes are about.
    fn some_labels(&self) -> Vec<String> {
        (0..self.others.min(CHANGED)).map(|n| self.label(n)).collect()
    }
}

/// Everything that is measured, started and found to respond as it should.
#[derive(Debug)]
pub struct Field {
    pub origin: Peer,
    /// In the order of the columns: the relay, nginx, `HAProxy`, `HAProxy` that verifies tokens, Caddy, Pingora, Portico.
    pub peers: Vec<Peer>,
    pub names: Names,
    /// Idle connections that a proxy can hold when each needs a second one to the app: 10,000 where the system lets us.
    pub holds: usize,
    others: usize,
    _directory: tempfile::TempDir,
}

impl Field {
    /// Starts everything, and panics with what was wrong if a peer does not respond as it should.
    pub fn start(setup: &Setup) -> Self {
        let field = Self::start_unchecked(setup);
        for peer in &field.peers {
            for response in check::ask(peer, &field) {
                assert!(response.is_right(), "{}: {response}", peer.name);
            }
        }
        field
    }

    fn start_unchecked(setup: &Setup) -> Self {
        let files = system::raise_files();
        let directory = tempfile::tempdir().expect("a directory");
        let origin = system::spawn_self("origin", "--role-origin", None, 0);
        // The certificate, the pages and the token come from Portico, so it is always started, if only for a moment.
        let (portico, names) = portico::start(directory.path(), setup, origin.plain.port());
        let plan = Plan {
            directory: directory.path(),
            origin: origin.plain,
            names: &names,
            others: setup.others,
            files,
        };
        let wanted = |name: &str, start: &dyn Fn() -> Option<Peer>| {
            if setup.has(name) { start() } else { None }
        };
        let peers = [
            wanted("relay", &|| {
                Some(system::spawn_self("relay", "--role-relay", Some(origin.plain), 1))
            }),
            wanted("nginx", &|| nginx::start(&plan)),
            wanted("haproxy", &|| haproxy::start(&plan, false, false)),
            wanted("haproxy-jwt", &|| haproxy::start(&plan, true, setup.fresh_tokens)),
            wanted("caddy", &|| caddy::start(&plan)),
            wanted("pingora", &|| pingora::start(&plan)),
            setup.has("portico").then_some(portico),
        ];
        let peers = peers.into_iter().flatten().collect();
        // nginx begins to close connections when only a sixteenth of what it may have open is left.
        let holds = usize::try_from((files / 16 * 15 - 500) / 2).expect("a number").min(10_000);
        Self { origin, peers, names, holds, others: setup.others, _directory: directory }
    }

    /// The host of one of the other sandboxes, whose port of the origin is public.
    pub fn host_of(&self, n: usize) -> String {
        assert!(n < self.others, "there are {} others", self.others);
        portico::host(self.origin.plain.port(), &format!("{}{n}", portico::OTHER))
    }

    /// The token to send to a peer.
    pub fn token<'a>(&'a self, peer: &'a Peer) -> &'a str {
        peer.tokens.first().unwrap_or(&self.names.token)
    }
}
