//! A tenant's face on the pages we respond with.

use serde::{Deserialize, Serialize};

use super::host::Authority;

/// The longest product name shown, characters.
pub(crate) const MAX_NAME: usize = 120;
/// The longest URL used, bytes.
const MAX_URL: usize = 2048;

/// Branding as the tenant set it. Values have been validated (lengths, `https:` URLs, `#rrggbb`), not escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Branding {
    /// The product's name: page titles and footer.
    pub product_name: Option<String>,
    /// Logo, `https:` only.
    pub logo_url: Option<String>,
    /// Where visitors find help, `https:` only.
    pub support_url: Option<String>,
    /// Whom visitors write to.
    pub support_email: Option<String>,
    /// Accent colour, `#rgb` or `#rrggbb`.
    pub primary_color: Option<String>,
    /// Background colour, `#rgb` or `#rrggbb`.
    pub background_color: Option<String>,
}

impl Branding {
    /// What is wrong with branding that a tenant wants to set: the field, and what it must be.
    pub fn errors(&self) -> Vec<(&'static str, &'static str)> {
        let mut errors = Vec::new();
        let mut check = |name, value: &Option<String>, ok: &dyn Fn(&str) -> bool, reason| {
            if value.as_deref().is_some_and(|value| !ok(value)) {
                errors.push((name, reason));
            }
        };
        let is_name = |text: &str| text.chars().count() <= MAX_NAME && plain(text) == text.trim();
        let is_url = |text: &str| https_origin(text).is_some();
        let is_colour = |text: &str| rgb(text).is_some();
        let url = "must be an https:// URL of at most 2048 plain characters";
        let colour = "must be a colour such as #3b6cf6";
        check(
            "product_name",
            &self.product_name,
            &is_name,
            "must be at most 120 characters without control characters",
        );
        check("logo_url", &self.logo_url, &is_url, url);
        check("support_url", &self.support_url, &is_url, url);
        check("support_email", &self.support_email, &is_mail, "must be an e-mail address");
        check("primary_color", &self.primary_color, &is_colour, colour);
        check("background_color", &self.background_color, &is_colour, colour);
        errors
    }
}

/// A text without control and direction-changing characters, cut to a sane length.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: &char| !c.is_control() && !is_bidi(*c);
    text.chars().filter(harmless).take(MAX_NAME).collect::<String>().trim().to_owned()
}

/// Characters that reorder what surrounds them (CVE-2021-42574), and invisible ones.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{2028}' | '\u{2029}' | '\u{061C}')
}

/// The origin of an `https:` URL in plain ASCII without user information, or nothing.
pub(crate) fn https_origin(url: &str) -> Option<&str> {
    let visible = |b: u8| {
        matches!(b, 0x21..=0x7e)
            && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`' | b';' | b',')
    };
    if url.len() > MAX_URL || !url.bytes().all(visible) {
        return None;
    }
    let rest = url.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    let authority_ok = Authority::parse(authority.as_bytes()).is_ok();
    authority_ok.then(|| url.get(.."https://".len() + end)).flatten()
}

/// Roughly an address: enough that nothing but an address gets into a `mailto:`.
pub(crate) fn is_mail(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_ok = !local.is_empty()
        && local.len() <= 64
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    let domain_ok =
        domain.contains('.') && Authority::parse(domain.as_bytes()).is_ok_and(|a| a.port.is_none());
    local_ok && domain_ok
}

/// The red, green and blue of a colour: `#rgb` or `#rrggbb`.
pub(crate) fn rgb(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#')?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let part = |from: usize, to: usize| u8::from_str_radix(digits.get(from..to)?, 16).ok();
    match digits.len() {
        3 => Some([part(0, 1)? * 17, part(1, 2)? * 17, part(2, 3)? * 17]),
        6 => Some([part(0, 2)?, part(2, 4)?, part(4, 6)?]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_urls_are_used() {
        assert_eq!(https_origin("https://cdn.example/logo.png?v=1"), Some("https://cdn.example"));
        assert_eq!(https_origin("https://cdn.example:8443/x"), Some("https://cdn.example:8443"));
        for hostile in [
            "http://cdn.example/x",
            "javascript:alert(1)",
            "java\tscript:alert(1)",
            " https://a.example",
            "JavaScript:1",
            "//evil.example",
            "https://x@evil.example",
            "https://",
            "https:///x",
            "data:text/html,x",
            "https://a.example/\"onload=1",
            "https://a.example/;img-src *",
            "https://a.example/ x",
            "https://a.example/\u{202e}",
            "vbscript:x",
            "HTTPS://\\evil",
            "https://a_b.example/",
            "blob:https://a.example/x",
        ] {
            assert_eq!(https_origin(hostile), None, "{hostile:?}");
        }
    }
}
