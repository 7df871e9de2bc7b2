//! All peers of a run, started.

use super::names::Names;
use super::peer::{Peer, Plan, Setup};
use super::{caddy, haproxy, names, nginx, pingora, portico, system};

/// Everything that is measured, started and found to respond as it should.
#[derive(Debug)]
pub struct Field {
    pub origin: Peer,
    /// In the order of the columns: the relay, nginx, `HAProxy`, `HAProxy` that verifies tokens, Caddy, Pingora, Portico.
    pub peers: Vec<Peer>,
    pub names: Names,
    /// Idle connections that a proxy can hold when each needs a second one to the app: 10,000 where the system lets us.
    pub holds: usize,
    pub others: usize,
    _directory: tempfile::TempDir,
}

impl Field {
    /// Starts everything.
    pub fn start_unchecked(setup: &Setup) -> Self {
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
        names::host(self.origin.plain.port(), &format!("{}{n}", names::OTHER))
    }

    /// The token to send to a peer.
    pub fn token<'a>(&'a self, peer: &'a Peer) -> &'a str {
        peer.tokens.first().unwrap_or(&self.names.token)
    }
}
