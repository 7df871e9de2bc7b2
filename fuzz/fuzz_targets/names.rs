//! Any text as what tenants and DNS say of names: domains, sources of frames, branding, texts of records. What is accepted means the same
//! when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portico::control::dns::{Finding, proof};
use portico::model::registrable::{is_at_or_below, registered, registrable};
use portico::model::{Branding, FrameSource, Origin};

fuzz_target!(|text: &str| {
    if let Ok(name) = registrable(text, &["sandbox.example.com"]) {
        assert_eq!(registrable(&name, &["sandbox.example.com"]).as_deref(), Ok(&*name));
        assert!(!is_at_or_below(&name, "sandbox.example.com") && name.contains('.'), "{name}");
        assert!(name.ends_with(&registered(&name)));
    }
    if let Ok(source) = FrameSource::parse(text) {
        let written = source.to_string();
        assert!(!written.contains([';', ',', ' ', '\r', '\n']), "{written}");
        assert_eq!(FrameSource::parse(&written).as_ref(), Ok(&source));
    }
    if let Some(origin) = Origin::parse(text) {
        let _ = FrameSource::parse("https://*.example.com").map(|source| source.admits(&origin));
    }
    let all = || Some(text.to_owned());
    let branding = Branding {
        product_name: all(),
        logo_url: all(),
        support_url: all(),
        support_email: all(),
        primary_color: all(),
        background_color: all(),
    };
    let refused: Vec<&str> = branding.errors().into_iter().map(|(name, _)| name).collect();
    if !refused.contains(&"logo_url") {
        assert!(text.starts_with("https://") && !text.contains(['"', '<', '>', ' ', '\n']), "{text}");
    }
    if !refused.contains(&"primary_color") {
        assert!(text.starts_with('#') && text.len() <= 7);
    }
    let (finding, found) = proof(&[text.to_owned()], "preview-challenge=x");
    assert_eq!(finding == Finding::Verified, text.trim() == "preview-challenge=x");
    assert!(found.iter().all(|told| told.chars().count() <= 310));
});
