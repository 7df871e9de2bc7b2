//! Whether every peer responds as it should.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::all::Field;
use super::churn::Churn;
use super::client::{self, Response};
use super::install::prepare;
use super::peer::{Peer, Setup};
use crate::process::resident;

/// What the origin responds with to `/small`.
const SMALL: usize = 120;
/// Changes a second, and for how long they are tried.
const RATE: u32 = 1000;
const WHILE: Duration = Duration::from_secs(1);

/// What was asked, and what came back.
#[derive(Debug)]
pub struct Asked {
    what: &'static str,
    /// Status and length.
    wanted: (u16, usize),
    got: (u16, usize),
}

impl Asked {
    pub fn is_right(&self) -> bool {
        self.wanted == self.got
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, got: (status, length), .. } = self;
        write!(f, "{what}: {status}, {length} bytes")?;
        if !self.is_right() {
            write!(f, " (WRONG: should be {}, {} bytes)", self.wanted.0, self.wanted.1)?;
        }
        Ok(())
    }
}

impl Field {
    /// Starts everything, and panics with what was wrong if a peer does not respond as it should.
    pub fn start(setup: &Setup) -> Self {
        let field = Self::start_unchecked(setup);
        for peer in &field.peers {
            for response in ask(peer, &field) {
                assert!(response.is_right(), "{}: {response}", peer.name);
            }
        }
        field
    }
}

/// Asks a peer everything that scenarios rely on.
pub fn ask(peer: &Peer, field: &Field) -> Vec<Asked> {
    let names = &field.names;
    let token = Some(field.token(peer));
    let mut asked = Vec::new();
    let mut note = |what, wanted, response: Response| {
        asked.push(Asked { what, wanted, got: (response.status, response.body.len()) });
    };
    let get =
        |host: &str, path: &str, token: Option<&str>| client::get(peer.plain, host, path, token);
    note("public", (200, SMALL), get(&names.public, "/small", None));
    note("private", (200, SMALL), get(&names.private, "/small", token));
    if peer.name == "relay" {
        return asked;
    }
    if field.others > 0 {
        note("first of the others", (200, SMALL), get(&field.host_of(0), "/small", None));
        let last = field.host_of(field.others - 1);
        note("last of the others", (200, SMALL), get(&last, "/small", None));
    }
    note("unknown", (404, names.pages.not_found), get(&names.unknown, "/", None));
    note("dead", (502, names.pages.bad_gateway), get(&names.dead, "/", token));
    if !peer.tokens.is_empty() {
        let refused = (401, names.pages.unauthorized);
        let bad = peer.bad_token();
        note("bad token", refused, get(&names.private, "/", Some(&bad)));
        let last = peer.tokens.last().map(String::as_str);
        note("last token", (200, SMALL), get(&names.private, "/small", last));
        let swapped =
            field.peers.iter().find(|other| other.name != peer.name && !other.tokens.is_empty());
        if let Some(other) = swapped {
            note("another's token", refused, get(&names.private, "/", Some(&other.tokens[0])));
        }
    }
    let tls = peer.tls.expect("TLS");
    let authority = &names.authority;
    let response = client::get_tls(tls, authority, &names.private, "/small", token);
    note("private by TLS", (200, SMALL), response);
    assert!(client::speaks_h2(tls, authority, &names.public), "{} speaks no HTTP/2", peer.name);
    asked
}

/// Starts every peer in both sizes, and prints what it returned. Whether all was right.
///
/// How many changes are made in a second counts with 2,000 sandboxes only: `HAProxy` goes through its whole map for each.
pub fn check_all() -> bool {
    for (name, version) in prepare() {
        println!("{name} {version}");
    }
    let mut right = true;
    for (others, fresh_tokens) in [(2000, true), (1_000_000, false)] {
        println!("\n{others} other sandboxes");
        let field = Field::start_unchecked(&Setup { others, peers: &[], fresh_tokens });
        println!("{} idle connections can be held", field.holds);
        for peer in &field.peers {
            let before = (resident(&peer.pids) / 1024.0).floor();
            let responses = ask(peer, &field);
            right &= responses.iter().all(Asked::is_right);
            let responses: Vec<String> = responses.iter().map(ToString::to_string).collect();
            println!("{} ({before} MiB): {}", peer.name, responses.join("; "));
            if let Some(churn) = &peer.churn {
                let made = churned(churn);
                println!("{}: {made} changes in {} s", peer.name, WHILE.as_secs());
                right &= others > 2000 || made >= u64::from(RATE) / 2;
                let again = ask(peer, &field);
                right &= again.iter().all(Asked::is_right);
            }
        }
    }
    println!("\n{}", if right { "all right" } else { "something is WRONG" });
    right
}

fn churned(churn: &Churn) -> u64 {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| churn.run(RATE, &stop));
        std::thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
        changes.join().expect("the changes")
    })
}
