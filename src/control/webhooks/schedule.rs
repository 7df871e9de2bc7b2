//! How an attempt went, what comes after it, and when.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::settings::Settings;
use crate::control::store::Verdict;

/// The longest that an endpoint may put us off.
const LONGEST_PUT_OFF: Duration = Duration::from_hours(1);

/// How an attempt went.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The response's status, if there was one.
    pub status: Option<u16>,
    /// The beginning of its body.
    pub body: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// For how long we are to stay away.
    pub retry_after: Option<Duration>,
    /// How long it took.
    pub took: Duration,
}

/// What comes after the `number`th attempt (from 1) of at most `retries` more. `chance` is anywhere from 0 to 1.
pub(super) fn verdict(
    attempt: &Attempt,
    (number, retries): (u32, u32),
    settings: &Settings,
    (now, chance): (Timestamp, f64),
) -> Verdict {
    match attempt.status {
        Some(200..=299) => return Verdict::Delivered,
        Some(410) => return Verdict::SwitchedOff,
        _ if number > retries => return Verdict::GivenUp,
        _ => {}
    }
    let step = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = settings.retry.get(step).or(settings.retry.last()).copied().unwrap_or_default();
    // Full jitter: whatever failed together does not come back together. A tenth is waited at least.
    let pause = pause.mul_f64(0.1 + 0.9 * chance.clamp(0.0, 1.0));
    let put_off = match attempt.status {
        Some(429 | 503) => attempt.retry_after.unwrap_or_default().min(LONGEST_PUT_OFF),
        _ => Duration::ZERO,
    };
    let pause = SignedDuration::try_from(pause.max(put_off)).unwrap_or(SignedDuration::MAX);
    Verdict::Retry(now.saturating_add(pause).unwrap_or(Timestamp::MAX))
}

/// `Retry-After`: seconds, or a moment.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(
        status: Option<u16>,
        (number, retries): (u32, u32),
        retry_after: Option<u64>,
        chance: f64,
    ) -> Result<i64, Verdict> {
        let attempt = Attempt {
            status,
            retry_after: retry_after.map(Duration::from_secs),
            ..Attempt::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        match verdict(&attempt, (number, retries), &Settings::default(), (now, chance)) {
            Verdict::Retry(at) => Ok(at.as_second()),
            other => Err(other),
        }
    }

    #[test]
    fn the_pauses_grow_and_end() {
        let longest: Vec<_> = (1..=8).map(|n| after(Some(500), (n, 8), None, 1.0)).collect();
        let expected = [10, 60, 300, 1800, 7200, 21_600, 21_600, 21_600];
        assert_eq!(longest, expected.map(Ok));
        assert_eq!(after(Some(500), (9, 8), None, 1.0), Err(Verdict::GivenUp));
        assert_eq!(after(None, (1, 0), None, 1.0), Err(Verdict::GivenUp), "no retry was wanted");
        assert_eq!(after(None, (2, 3), None, 0.0), Ok(6));
        assert!((6..=60).contains(&after(None, (2, 3), None, 0.5).unwrap()));
    }

    #[test]
    fn responses_decide() {
        for taken in [200, 202, 204, 299] {
            assert_eq!(after(Some(taken), (1, 3), None, 0.5), Err(Verdict::Delivered));
        }
        assert_eq!(after(Some(410), (1, 3), None, 0.5), Err(Verdict::SwitchedOff));
        for again in [101, 301, 302, 307, 400, 404, 408, 425, 429, 500, 503] {
            assert!(after(Some(again), (1, 3), None, 0.5).is_ok(), "{again}");
        }
    }

    #[test]
    fn an_endpoint_may_put_us_off_within_bounds() {
        assert_eq!(after(Some(429), (1, 3), Some(120), 1.0), Ok(120));
        assert_eq!(after(Some(503), (1, 3), Some(1), 1.0), Ok(10), "never sooner than we would");
        assert_eq!(after(Some(429), (1, 3), Some(9_999_999), 1.0), Ok(3600));
        assert_eq!(after(Some(500), (1, 3), Some(120), 1.0), Ok(10));
        let now: Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
        let read = |text| retry_after(text, now);
        assert_eq!(read("17"), Some(Duration::from_secs(17)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(read("Wed, 21 Oct 2015 07:26:00 GMT"), Some(Duration::ZERO));
        assert_eq!((read("soon"), read("-1")), (None, None));
    }
}
