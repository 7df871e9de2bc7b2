//! Who may embed a tenant's previews, worked out once for every version of its rules and domains.

use http::HeaderValue;

use crate::model::{FrameSource, Origin, TenantPolicy};

/// What pages on this machine may be called, for previews that are served on it.
const LOCAL: [&str; 3] = ["http://localhost:*", "http://*.localhost:*", "http://127.0.0.1:*"];

/// The embedders of a tenant's previews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framing {
    value: HeaderValue,
    /// The same without what is meant only for being below a domain of the tenant's.
    narrow: Option<HeaderValue>,
    sources: Box<[FrameSource]>,
}

impl Default for Framing {
    /// A preview's own pages, and nobody else's.
    fn default() -> Self {
        let value = HeaderValue::from_static("frame-ancestors 'self'");
        Self { value, narrow: None, sources: Box::default() }
    }
}

impl Framing {
    /// The embedders: the preview itself, the tenant's own domains and all below them, the origins and sources of its rules. Where
    /// previews are served below `localhost`, the pages of this machine as well: that is somebody developing.
    pub(super) fn new(policy: &TenantPolicy, domains: &[&str], local: bool) -> Self {
        let own = domains.iter().flat_map(|d| [format!("https://{d}"), format!("https://*.{d}")]);
        let machine = LOCAL.iter().filter(|_| local).map(|&text| text.to_owned());
        let texts = own.chain(machine).chain(policy.allowed_origins.iter().cloned());
        // What the grammar of the directive has no word for (an address in brackets) cannot be said.
        let implied = texts.filter_map(|text| FrameSource::parse(&text).ok());
        let mut sources: Vec<FrameSource> = Vec::new();
        for source in implied.chain(policy.frame_ancestors.iter().cloned()) {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let below: Vec<FrameSource> = domains
            .iter()
            .filter_map(|domain| FrameSource::parse(&format!("https://*.{domain}")).ok())
            .filter(|source| !policy.frame_ancestors.contains(source))
            .collect();
        let named = sources.iter().filter(|source| !below.contains(source));
        let narrow = (!below.is_empty()).then(|| directive(named));
        Self { value: directive(sources.iter()), narrow, sources: sources.into() }
    }

    /// The directive for who is named one by one.
    pub fn narrow_value(&self) -> &HeaderValue {
        self.narrow.as_ref().unwrap_or(&self.value)
    }

    /// Whether pages may embed just for being below a domain of the tenant's.
    pub fn has_own_domain(&self) -> bool {
        self.narrow.is_some()
    }

    /// The directive, as the value of a `Content-Security-Policy` field.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// Whether everybody may embed.
    pub fn is_open(&self) -> bool {
        self.sources.iter().any(FrameSource::is_any)
    }

    /// Who may embed, besides the preview itself.
    pub fn sources(&self) -> &[FrameSource] {
        &self.sources
    }

    /// Whether the pages of an origin may embed.
    pub fn admits(&self, origin: &str) -> bool {
        let Some(origin) = Origin::parse(origin) else { return false };
        self.sources.iter().any(|source| source.admits(&origin))
    }
}

fn directive<'a>(sources: impl Iterator<Item = &'a FrameSource> + Clone) -> HeaderValue {
    let mut text = "frame-ancestors".to_owned();
    if sources.clone().any(FrameSource::is_any) {
        text.push_str(" *");
    } else {
        text.push_str(" 'self'");
        for source in sources {
            text.push(' ');
            text.push_str(&source.to_string());
        }
    }
    // Sources are plain ASCII, so this cannot fail; if it did, nobody would be the safe response.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("frame-ancestors 'none'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directive_names_everybody_once() {
        let mut policy = TenantPolicy {
            allowed_origins: vec!["https://app.example".into(), "http://[::1]:3000".into()],
            frame_ancestors: ["https://app.example", "https://*.studio.example"]
                .map(|text| FrameSource::parse(text).unwrap())
                .into(),
            ..TenantPolicy::default()
        };
        let framing = Framing::new(&policy, &["own.test"], false);
        assert_eq!(
            framing.value(),
            "frame-ancestors 'self' https://own.test https://*.own.test https://app.example https://*.studio.example"
        );
        assert_eq!(
            framing.narrow_value(),
            "frame-ancestors 'self' https://own.test https://app.example https://*.studio.example"
        );
        assert!(framing.admits("https://a.studio.example") && framing.admits("https://own.test"));
        assert!(!framing.admits("https://evil.example") && !framing.admits("null"));
        policy.frame_ancestors.push(FrameSource::parse("*").unwrap());
        let framing = Framing::new(&policy, &[], true);
        assert_eq!(framing.value(), "frame-ancestors *");
        assert!(framing.admits("https://evil.example") && !framing.admits("null"));
    }

    #[test]
    fn a_tenant_that_set_nothing_is_embedded_by_itself_and_in_development_by_this_machine() {
        let nothing = TenantPolicy::default();
        assert_eq!(Framing::new(&nothing, &[], false), Framing::default());
        let local = Framing::new(&nothing, &[], true);
        assert!(local.admits("http://localhost:5173") && local.admits("http://127.0.0.1:4000"));
        assert!(!local.admits("http://192.168.0.2:4000"));
    }
}
