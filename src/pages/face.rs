//! A tenant's branding as a page may use it. It was checked when it was set; here it is checked again, because it ends up in
//! other people's browsers.

use crate::model::Branding;

/// The longest product name shown, characters.
const MAX_NAME: usize = 120;
/// The longest URL used, octets.
const MAX_URL: usize = 2048;

/// What a page wears.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wear {
    pub(super) product: Option<String>,
    pub(super) logo: Option<String>,
    pub(super) logo_origin: Option<String>,
    pub(super) support: Option<Support>,
    pub(super) accent: Option<Colour>,
    pub(super) ground: Option<Colour>,
}

/// Where help is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Support {
    pub(super) href: String,
    pub(super) label: String,
}

impl Wear {
    pub(super) fn of(branding: &Branding) -> Self {
        let logo = branding.logo_url.as_deref().filter(|url| https_origin(url).is_some());
        let by_url = branding.support_url.as_deref().filter(|url| https_origin(url).is_some());
        let by_mail = branding.support_email.as_deref().filter(|mail| is_mail(mail));
        let support = match (by_url, by_mail) {
            (Some(url), _) => Some(Support { href: url.to_owned(), label: "Get help".into() }),
            (None, Some(mail)) => {
                Some(Support { href: format!("mailto:{mail}"), label: mail.to_owned() })
            }
            (None, None) => None,
        };
        Self {
            product: branding.product_name.as_deref().map(plain).filter(|name| !name.is_empty()),
            logo_origin: logo.and_then(https_origin).map(str::to_owned),
            logo: logo.map(str::to_owned),
            support,
            accent: branding.primary_color.as_deref().and_then(Colour::parse),
            ground: branding.background_color.as_deref().and_then(Colour::parse),
        }
    }
}

/// What is wrong with a face that a tenant wants to set, by field.
pub fn faults(branding: &Branding) -> Vec<(&'static str, &'static str)> {
    let mut faults = Vec::new();
    let mut check = |name, value: &Option<String>, ok: &dyn Fn(&str) -> bool, reason| {
        if value.as_deref().is_some_and(|value| !ok(value)) {
            faults.push((name, reason));
        }
    };
    let is_name = |text: &str| text.chars().count() <= MAX_NAME && plain(text) == text.trim();
    let is_url = |text: &str| https_origin(text).is_some();
    let is_colour = |text: &str| Colour::parse(text).is_some();
    let url = "must be an https:// URL of at most 2048 plain characters";
    let colour = "must be a colour such as #3b6cf6";
    check(
        "product_name",
        &branding.product_name,
        &is_name,
        "must be at most 120 characters without control characters",
    );
    check("logo_url", &branding.logo_url, &is_url, url);
    check("support_url", &branding.support_url, &is_url, url);
    check("support_email", &branding.support_email, &is_mail, "must be an e-mail address");
    check("primary_color", &branding.primary_color, &is_colour, colour);
    check("background_color", &branding.background_color, &is_colour, colour);
    faults
}

/// A text without control and direction-changing characters, cut to a sane length.
fn plain(text: &str) -> String {
    let harmless = |c: &char| !c.is_control() && !is_bidi(*c);
    text.chars().filter(harmless).take(MAX_NAME).collect::<String>().trim().to_owned()
}

/// Characters that reorder what surrounds them (CVE-2021-42574), and invisible ones.
pub(crate) fn is_bidi(c: char) -> bool {
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
    let authority_ok = crate::host::Authority::parse(authority.as_bytes()).is_ok();
    authority_ok.then(|| url.get(.."https://".len() + end)).flatten()
}

/// Roughly an address: enough that nothing but an address gets into a `mailto:`.
pub(crate) fn is_mail(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_ok = !local.is_empty()
        && local.len() <= 64
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    let domain_ok = domain.contains('.')
        && crate::host::Authority::parse(domain.as_bytes()).is_ok_and(|a| a.port.is_none());
    local_ok && domain_ok
}

/// A colour, `#rgb` or `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colour([u8; 3]);

impl Colour {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let part = |from: usize, to: usize| u8::from_str_radix(digits.get(from..to)?, 16).ok();
        match digits.len() {
            3 => Some(Self([part(0, 1)? * 17, part(1, 2)? * 17, part(2, 3)? * 17])),
            6 => Some(Self([part(0, 2)?, part(2, 4)?, part(4, 6)?])),
            _ => None,
        }
    }

    pub(super) fn css(self) -> String {
        let [r, g, b] = self.0;
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// Relative luminance (WCAG 2.1).
    fn luminance(self) -> f64 {
        let channel = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [r, g, b] = self.0.map(channel);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// Whether dark text is easier to read on it than light text.
    pub(super) fn is_light(self) -> bool {
        self.luminance() > 0.179
    }

    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// This colour, moved towards black or white until text in it can be read on `ground`.
    pub(super) fn readable_on(self, ground: Self) -> Self {
        let target = if ground.is_light() { 0_u8 } else { 255 };
        let mut colour = self;
        for _ in 0..16 {
            if colour.contrast(ground) >= 4.5 {
                break;
            }
            colour.0 = colour.0.map(|c| {
                let mixed = (u16::from(c) * 7 + u16::from(target)) / 8;
                u8::try_from(mixed).unwrap_or(target)
            });
        }
        colour
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

    #[test]
    fn colours_follow_a_strict_grammar() {
        assert_eq!(Colour::parse("#fff").map(Colour::css).as_deref(), Some("#ffffff"));
        assert_eq!(Colour::parse("#1A2b3C").map(Colour::css).as_deref(), Some("#1a2b3c"));
        for hostile in [
            "red",
            "#ffff",
            "#12345g",
            "#",
            "fff",
            "#fff;background:url(//x)",
            "#fff ",
            "rgb(0,0,0)",
            "#+ff+ff",
        ] {
            assert_eq!(Colour::parse(hostile), None, "{hostile}");
        }
    }

    #[test]
    fn text_can_be_read_whatever_colours_are_set() {
        let steps = [0, 64, 128, 192, 255];
        let mut all = Vec::new();
        for r in steps {
            for g in steps {
                all.extend(steps.map(|b| Colour([r, g, b])));
            }
        }
        for &ground in &all {
            for &accent in &all {
                let shown = accent.readable_on(ground);
                assert!(shown.contrast(ground) >= 3.0, "{accent:?} on {ground:?} became {shown:?}");
            }
        }
    }

    #[test]
    fn names_lose_what_could_deceive_and_addresses_are_addresses() {
        let branding = Branding {
            product_name: Some(format!("Open\u{202e}\u{0}Designs\n{}", "x".repeat(500))),
            ..Branding::default()
        };
        let product = Wear::of(&branding).product.unwrap();
        assert!(product.starts_with("OpenDesignsx") && product.chars().count() <= MAX_NAME);
        assert!(is_mail("help+de@open-designs.example"));
        for hostile in [
            "",
            "a",
            "a@b",
            "a@b.example?subject=x",
            "<script>@x.example",
            "a b@x.example",
            "a@b@c.example",
            "a@x.example:25",
        ] {
            assert!(!is_mail(hostile), "{hostile}");
        }
    }
}
