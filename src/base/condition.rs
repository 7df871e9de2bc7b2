//! What goes wrong outside the program for a while: a disk that is full, a database that is locked. It is logged with its cause, once per
//! cause and interval, shown to whoever asks how the process is, and over as soon as the same thing works again.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a cause that has been logged is not logged again.
const INTERVAL: Duration = Duration::from_secs(30);
/// Causes that are remembered; with more than that at once, further ones share a line.
const CAUSES: usize = 256;

/// Something that does not work at the moment, or does.
#[derive(Debug)]
pub struct Condition {
    /// What fails, as the log and `/readyz` say it.
    what: &'static str,
    standing: Mutex<Option<Standing>>,
}

/// Since when something fails, and why.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What fails.
    pub what: &'static str,
    /// Why, the newest cause.
    pub cause: String,
    since: Instant,
}

impl Standing {
    /// For how long it has failed.
    pub fn lasts(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Condition {
    /// All is well with `what`.
    pub const fn new(what: &'static str) -> Self {
        Self { what, standing: Mutex::new(None) }
    }

    /// It has failed: logged, if that is news.
    pub fn raise(&self, cause: &(dyn Error + 'static)) {
        self.note(chain(cause));
        warn_seldom(self.what, cause);
    }

    /// The same without a word in the log: somebody else says more, or the log itself is what fails.
    pub fn note(&self, cause: String) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = standing.as_ref().map_or_else(Instant::now, |standing| standing.since);
        *standing = Some(Standing { what: self.what, cause, since });
    }

    /// It has worked. Whether it had failed before.
    pub fn clear(&self) -> bool {
        let ended = self.standing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ended) = ended else { return false };
        let seconds = ended.lasts().as_secs();
        tracing::warn!(lasted_sec = seconds, cause = ended.cause, "over: {}", self.what);
        true
    }

    /// What fails, if it does.
    pub fn stands(&self) -> Option<Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An error with all its causes, on one line. What one has said already, the next does not say again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}

/// When a line was last written, and how many have not been since.
type Written = HashMap<(&'static str, String), (Instant, u64)>;

/// Whether a line about a cause is to be written now: then, how many were left out since the last.
fn is_due(written: &mut Written, about: &'static str, cause: &str, now: Instant) -> Option<u64> {
    let is_recent = |at: Instant| now.saturating_duration_since(at) < INTERVAL;
    let mut key = (about, cause.to_owned());
    if written.len() >= CAUSES && !written.contains_key(&key) {
        written.retain(|_, (at, _)| is_recent(*at));
        if written.len() >= CAUSES {
            key.1 = String::new();
        }
    }
    match written.get_mut(&key) {
        Some((at, left_out)) if is_recent(*at) => {
            *left_out += 1;
            None
        }
        Some(entry) => {
            let left_out = entry.1;
            *entry = (now, 0);
            Some(left_out)
        }
        None => {
            written.insert(key, (now, 0));
            Some(0)
        }
    }
}

/// Warns that something failed, with the whole chain of causes, once per cause and interval: what fails for one fails for thousands.
pub fn warn_seldom(what: &'static str, error: &(dyn Error + 'static)) {
    static WRITTEN: OnceLock<Mutex<Written>> = OnceLock::new();
    let cause = chain(error);
    let written = WRITTEN.get_or_init(Mutex::default);
    let due = {
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        is_due(&mut written, what, &cause, Instant::now())
    };
    if let Some(left_out) = due {
        tracing::warn!(error = cause, left_out, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn a_condition_keeps_its_beginning_and_its_newest_cause_until_it_is_over() {
        let condition = Condition::new("nothing can be written");
        assert!(condition.stands().is_none() && !condition.clear());
        condition.raise(&Outer(Inner));
        let first = condition.stands().unwrap();
        condition.raise(&Inner);
        let second = condition.stands().unwrap();
        assert_eq!((first.cause.as_str(), second.cause.as_str()), ("outer: inner", "inner"));
        assert_eq!(first.since, second.since);
        assert!(condition.clear());
        assert!(condition.stands().is_none());
    }

    #[test]
    fn a_cause_is_written_once_an_interval_and_many_causes_share_a_line() {
        let mut written = Written::new();
        let start = Instant::now();
        let mut due =
            |cause: &str, after: Duration| is_due(&mut written, "x", cause, start + after);
        assert_eq!(due("full", Duration::ZERO), Some(0));
        assert_eq!(due("full", Duration::from_secs(1)), None);
        assert_eq!(due("locked", Duration::from_secs(1)), Some(0), "another cause");
        assert_eq!(due("full", INTERVAL), Some(1), "one was left out");
        for n in 0..2 * CAUSES {
            due(&n.to_string(), INTERVAL);
        }
        assert!(written.len() <= CAUSES + 1, "{}", written.len());
    }
}
