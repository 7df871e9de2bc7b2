//! One of the peers, and what it is started from.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use super::churn::{CHANGED, Churn};
use super::names::{Names, OTHER, PRIVATE, PUBLIC};

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
    pub fn new(
        name: &'static str,
        child: Child,
        plain: SocketAddr,
        tls: Option<SocketAddr>,
    ) -> Self {
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
    pub fn has(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(&name)
    }
}

/// Where a label leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The origin, which everybody may ask ...
    Public,
    /// ... or only who has a token.
    Private,
    /// A port that nothing listens on.
    Dead,
}

impl To {
    /// What it is called in maps of peers that verify no tokens.
    pub fn word(self) -> &'static str {
        if self == Self::Dead { "dead" } else { "sandbox" }
    }
}

/// What the peers are configured from.
pub struct Plan<'a> {
    pub directory: &'a Path,
    pub origin: SocketAddr,
    pub names: &'a Names,
    pub others: usize,
    /// Files that each may have open.
    pub files: u64,
}

impl Plan<'_> {
    /// Every label, `PORT-SLUG`, and where it leads.
    pub fn each_label(&self, mut with: impl FnMut(&str, To)) {
        let port = self.origin.port();
        with(&format!("{port}-{PUBLIC}"), To::Public);
        with(&format!("{port}-{PRIVATE}"), To::Private);
        with(&format!("{}-{PRIVATE}", self.names.dead_port), To::Dead);
        for n in 0..self.others {
            with(&self.label(n), To::Public);
        }
    }

    pub fn label(&self, n: usize) -> String {
        format!("{}-{OTHER}{n}", self.origin.port())
    }

    /// The labels that changes are about.
    pub fn some_labels(&self) -> Vec<String> {
        (0..self.others.min(CHANGED)).map(|n| self.label(n)).collect()
    }
}
