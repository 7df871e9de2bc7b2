//! Any bytes as an authority: typed values or a named reason, and what was accepted is accepted again as it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portico::model::host::{Authority, PreviewLabel, SandboxName, Slug};

fuzz_target!(|bytes: &[u8]| {
    let Ok(authority) = Authority::parse(bytes) else { return };
    assert!(!authority.host.is_empty() && authority.host.len() <= 253);
    assert!(!authority.host.bytes().any(|b| b.is_ascii_uppercase() || b <= b' ' || b >= 0x7f));
    let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    let again = Authority::parse(format!("{}{port}", authority.host).as_bytes());
    assert_eq!(again.as_ref(), Ok(&authority));
    let label = authority.host.split('.').next().unwrap_or_default();
    if let Ok(label) = PreviewLabel::parse(label) {
        assert_ne!(label.port, Some(0));
        if let SandboxName::Slug(slug) = label.name {
            assert!(slug.len() <= 57, "{slug}");
        }
    }
    if let Ok(slug) = Slug::parse(label) {
        // A slug names itself, and nothing else: never a port and a shorter name.
        let parsed = PreviewLabel::parse(slug.as_str());
        assert_eq!(parsed.map(|label| label.port), Ok(None));
    }
});
