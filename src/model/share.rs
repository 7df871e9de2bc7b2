//! Share links: whoever has one sees what it opens, until it expires or is revoked.

use jiff::{SignedDuration, Timestamp};

use super::{PreviewId, SandboxId, ShareId, TokenScope};

/// How long a link that has expired or was revoked is remembered, so that it leads to a page that says so. After that it is a
/// token like any that nobody knows.
pub const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);

/// SHA-256 of a share token: what a link is found by.
pub type ShareHash = [u8; 32];

/// A share link as stored.
#[derive(Clone)]
pub struct Share {
    /// Its id.
    pub id: ShareId,
    /// The sandbox it opens.
    pub sandbox: SandboxId,
    /// The preview it was made for, if for one.
    pub preview: Option<PreviewId>,
    /// The only port it opens, or any.
    pub port: Option<u16>,
    /// What it allows.
    pub scope: TokenScope,
    /// The first characters of its token, for recognising it.
    pub prefix: String,
    /// The token, as long as the link may be shown again.
    pub token: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself; `None` = never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How often it was opened, and what came by it.
    pub tally: ShareTally,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Share").field("id", &self.id).finish_non_exhaustive()
    }
}

/// How much a link was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShareTally {
    /// How often the link itself was opened.
    pub visits: u64,
    /// Requests that came by it and went on to the app.
    pub requests: u64,
    /// When the last of them came.
    pub last_visited_at: Option<Timestamp>,
}

impl ShareTally {
    /// Adds another one to this.
    pub fn add(&mut self, other: Self) {
        self.visits = self.visits.saturating_add(other.visits);
        self.requests = self.requests.saturating_add(other.requests);
        self.last_visited_at = self.last_visited_at.max(other.last_visited_at);
    }
}

/// What judging a visitor needs to know of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareLink {
    /// Its id.
    pub id: ShareId,
    /// What it is found by.
    pub hash: ShareHash,
    /// The sandbox it opens.
    pub sandbox: SandboxId,
    /// The only port it opens, or any.
    pub port: Option<u16>,
    /// What it allows.
    pub scope: TokenScope,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ShareLink {
    /// Whether it ended so long ago that nobody needs to be told why it opens nothing.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        let ended = [self.expires_at, self.revoked_at].into_iter().flatten().min();
        ended.is_some_and(|ended| now.duration_since(ended) >= REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_remembered_for_a_while_after_it_ended() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let days = |n: i64| n * 24 * 3600;
        let link = |expires_at: Option<i64>, revoked_at: Option<i64>| ShareLink {
            id: ShareId::new(),
            hash: [0; 32],
            sandbox: SandboxId::new(),
            port: None,
            scope: TokenScope::Read,
            expires_at: expires_at.map(at),
            revoked_at: revoked_at.map(at),
        };
        for (link, forgotten_at) in [
            (link(None, None), None),
            (link(Some(100), None), Some(100 + days(30))),
            (link(None, Some(100)), Some(100 + days(30))),
            (link(Some(days(1)), Some(100)), Some(100 + days(30))),
            (link(Some(100), Some(days(1))), Some(100 + days(30))),
        ] {
            for moment in [0, 100, days(30), 99 + days(30), 100 + days(30), days(400)] {
                let expected = forgotten_at.is_some_and(|forgotten| forgotten <= moment);
                assert_eq!(link.is_forgotten(at(moment)), expected, "{link:?} at {moment}");
            }
        }
    }
}
