//! Share tokens: random, so that nothing but the hash of one has to be known to recognise it.

use aws_lc_rs::digest;

use crate::model::ShareHash;

/// What the token of a sandbox's share begins with.
pub const SHARE_PREFIX: &str = "ms_";
/// What the token of a preview's share begins with.
pub const PREVIEW_SHARE_PREFIX: &str = "miosa_pv_";
/// Characters behind the prefix: 32 bytes in base64url, or 16 in a link that a terminal shows on one line.
const SECRETS: [usize; 2] = [43, 22];

/// The hash that a share token is kept and found by; `None` when it does not even look like one. It is found by the whole hash, so how
/// long the look takes says nothing about how much of a guess was right.
pub fn share_hash(token: &str) -> Option<ShareHash> {
    let secret = token
        .strip_prefix(SHARE_PREFIX)
        .or_else(|| token.strip_prefix(PREVIEW_SHARE_PREFIX))
        .filter(|secret| SECRETS.contains(&secret.len()))?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !secret.bytes().all(plain) {
        return None;
    }
    let mut hash = ShareHash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_share_token_is_hashed() {
        let secret = "a".repeat(43);
        let hash = share_hash(&format!("ms_{secret}"));
        assert!(hash.is_some());
        let preview = share_hash(&format!("miosa_pv_{secret}"));
        assert!(preview.is_some() && preview != hash, "the prefix is part of the token");
        let short = share_hash(&format!("ms_{}", "a".repeat(22)));
        assert!(short.is_some() && short != hash);
        for bad in ["", "ms_", "mp_", &secret, &format!("mp_{secret}")] {
            assert_eq!(share_hash(bad), None, "{bad}");
        }
        for length in [1, 21, 23, 42, 44, 64] {
            assert_eq!(share_hash(&format!("ms_{}", "a".repeat(length))), None, "{length}");
        }
        assert_eq!(share_hash(&format!("ms_{}=", "a".repeat(42))), None);
        assert_eq!(share_hash(&format!("ms_{}é", "a".repeat(41))), None);
    }
}
