//! Any bytes as a token: without the key nothing is verified, neither as a preview token nor as a delegation, and a real one is only itself.
#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use portico::model::token::{Claims, KeyRing, share_hash};
use portico::model::{SandboxId, SigningKeyRecord, TenantId, TokenId, TokenScope};

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let key = SigningKeyRecord {
        kid: "k1".into(),
        secret: vec![7; 32],
        created_at: Timestamp::UNIX_EPOCH,
    };
    KeyRing::new(&[key], 1)
});
static REAL: LazyLock<String> = LazyLock::new(|| {
    let claims = Claims {
        id: TokenId::new(),
        sandbox: SandboxId::new(),
        tenant: TenantId::new(),
        port: None,
        scope: TokenScope::Read,
        generation: 0,
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH,
        external_user_id: None,
    };
    RING.mint(&claims).expect("a token")
});

fuzz_target!(|input: (u16, &[u8])| {
    let (at, bytes) = input;
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(RING.verify(text).is_err());
    assert!(RING.verify_delegation(text).is_err());
    share_hash(text);
    // A real one with anything put into it, or in place of its end, is none any more.
    let at = usize::from(at) % REAL.len();
    let (start, end) = REAL.split_at(at);
    for forged in [format!("{start}{text}{end}"), format!("{start}{text}")] {
        assert!(forged == *REAL || RING.verify(&forged).is_err(), "{forged}");
    }
});
