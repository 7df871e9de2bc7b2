//! A tenant's branding as a page may use it. It was checked when it was set; here it is checked again, because it ends up in
//! other people's browsers.

use crate::model::Branding;
use crate::model::branding::{https_origin, is_mail, plain, rgb};

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

/// A colour, `#rgb` or `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour([u8; 3]);

impl Colour {
    pub(super) fn parse(text: &str) -> Option<Self> {
        rgb(text).map(Self)
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
    use crate::model::branding::MAX_NAME;

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
