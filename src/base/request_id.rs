//! The id of a request: sent to the app and the visitor, written to the log.

use std::cell::Cell;
use std::fmt;

use http::HeaderValue;

/// The id of a request, on every response of ours and towards the app.
pub const X_REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// The id of one request: told to the app, to the visitor and to the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 30]);

impl RequestId {
    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// As the value of a field.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static("req_"))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Ids that do not repeat: random per worker and start, counted within.
#[derive(Debug)]
pub struct RequestIds {
    seed: u64,
    count: Cell<u64>,
}

impl Default for RequestIds {
    fn default() -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        Self { seed: high, count: Cell::new(low) }
    }
}

impl RequestIds {
    /// The next one.
    pub fn next(&self) -> RequestId {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        // An odd multiplier makes every count a different number that looks like no other.
        let mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let value = (u128::from(self.seed) << 64) | u128::from(mixed);
        let mut text = *b"req_00000000000000000000000000";
        for (place, shift) in text.iter_mut().skip(4).zip((0..26).rev()) {
            let digit = usize::try_from((value >> (shift * 5)) & 31).unwrap_or_default();
            *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        }
        RequestId(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_short_plain_and_do_not_repeat() {
        let ids = RequestIds::default();
        let made: std::collections::HashSet<String> =
            (0..10_000).map(|_| ids.next().as_str().to_owned()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|id| id.len() == 30 && id.starts_with("req_")));
    }
}
