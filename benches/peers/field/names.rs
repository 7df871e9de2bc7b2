//! What is asked of the peers, and what it is called.

use std::path::PathBuf;

/// Tokens for scenarios where each request brings another.
pub const TOKENS: usize = 9_000;
/// The sandboxes besides those that are asked for are named with a number behind this.
pub const OTHER: &str = "customer-site-";

/// The slug of the sandbox with a published port, and of the one that takes a token.
pub const PUBLIC: &str = "public";
pub const PRIVATE: &str = "bench";

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
    pub dead_port: u16,
    pub certificate: PathBuf,
    pub key: PathBuf,
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
    pub directory: PathBuf,
}

/// The host of a port of a sandbox.
pub fn host(port: u16, slug: &str) -> String {
    format!("{port}-{slug}.sandbox.localhost")
}
