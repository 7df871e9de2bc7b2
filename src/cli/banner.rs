//! What `portico dev` and `portico share` print for a person, within the 80 columns and 24 lines that every terminal has. The link comes
//! first, and nothing but a link is longer than a line.

use qrcode::{Color, EcLevel, QrCode, Version};

use super::dev::DevFacts;
use super::share::ShareFacts;

/// The widest QR code whose quiet zone may be as wide as readers like it; a wider one would leave no room for what is below it.
const ROOMY: i16 = 4;
/// White on black, so that the code is the right way round on every background; and back.
const IN_COLOUR: [&str; 2] = ["\u{1b}[97;40m", "\u{1b}[0m"];

/// What `portico dev` says once everything is ready.
pub(super) fn dev(facts: &DevFacts) -> String {
    let shown = match facts.to {
        Some(port) => format!("Port {port} of this machine"),
        None => "A demo app (`portico dev PORT` shows one of yours)".to_owned(),
    };
    let mut lines = vec![String::new(), format!("  {}", facts.preview_url)];
    if let Some(https) = &facts.https_url {
        lines.push(format!("  {https}"));
    }
    lines.push(String::new());
    lines.push(format!("  {shown}, private: the link works for 24 hours."));
    if facts.https_url.is_some() {
        lines.push("  HTTPS     `portico dev --trust` makes browsers trust its certificate".into());
    }
    lines.extend([
        format!("  API       {}/api/v1 (described at /api/v1/docs)", facts.api_url),
        format!("  API key   {}", facts.api_key),
        format!("  Metrics   {}/metrics", facts.admin_url),
        String::new(),
        "  Ctrl-C stops. Tenant, key and sandboxes are kept for the next start.".into(),
        String::new(),
    ]);
    lines.join("\n")
}

/// How a QR code is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qr {
    /// Not at all: what is written to is no terminal.
    None,
    /// As the terminal is.
    Plain,
    /// In colours of its own.
    Colour,
}

/// What `portico share` says once everything is ready.
pub(super) fn share(facts: &ShareFacts, qr: Qr) -> String {
    let text = explained(facts);
    let code = (qr != Qr::None).then(|| code(&facts.share_url)).flatten();
    let mut lines = vec![facts.share_url.clone()];
    if let Some(code) = code {
        lines.extend(beside(&code, &text, qr));
    } else {
        lines.push(String::new());
        lines.extend(text);
    }
    if let Some(ca) = &facts.share_ca {
        lines.push(format!("CA      {}", ca.display()));
    }
    lines.push(format!("Revoke  {}", facts.revoke));
    lines.join("\n")
}

/// What there is to know about a link, in lines that fit beside its code.
fn explained(facts: &ShareFacts) -> Vec<String> {
    let mut text = vec![
        format!("Port {} of this machine.", facts.port),
        String::new(),
        "Whoever has this link can open and".into(),
        format!("use it for {:#}; nobody gets in", facts.lifetime),
        "without it.".into(),
        String::new(),
    ];
    if !facts.is_private {
        text.extend(
            ["The address is public: that is not", "only your network.", ""].map(str::to_owned),
        );
    }
    let certificate = if facts.share_ca.is_some() {
        &[
            "The certificate is this machine's",
            "own, so browsers warn once. Go on,",
            "or trust the CA below on the other",
            "device; it is valid for this only.",
        ][..]
    } else {
        &["Without TLS: whoever is on the", "network can read along."][..]
    };
    text.extend(certificate.iter().map(|line| (*line).to_owned()));
    text.extend(["", "Ctrl-C ends it."].map(str::to_owned));
    text
}

/// The lines of a code with those of a text to the right of it.
fn beside(code: &[String], text: &[String], qr: Qr) -> Vec<String> {
    let [begin, end] = if qr == Qr::Colour { IN_COLOUR } else { [""; 2] };
    let width = code.first().map_or(0, |line| line.chars().count());
    let rows = code.len().max(text.len());
    let both = (0..rows).map(|row| {
        let left = code.get(row).map(|line| format!("{begin}{line}{end}"));
        let left = left.unwrap_or_else(|| " ".repeat(width));
        let right = text.get(row).map(String::as_str).unwrap_or_default();
        format!("{left}  {right}").trim_end().to_owned()
    });
    both.collect()
}

/// A text as a QR code of half blocks, two modules a character; `None` when it is too long for one. What is light is drawn: most
/// terminals are dark.
fn code(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let is_roomy = matches!(code.version(), Version::Normal(version) if version <= ROOMY);
    let quiet = if is_roomy { 2 } else { 1 };
    let (width, colours) = (code.width(), code.to_colors());
    let is_light = |x: usize, y: usize| {
        let at = |n: usize| n.checked_sub(quiet).filter(|n| *n < width);
        let colour = at(x).zip(at(y)).and_then(|(x, y)| colours.get(y * width + x));
        colour.is_none_or(|colour| *colour == Color::Light)
    };
    let whole = width + 2 * quiet;
    let row = |y: usize| {
        let block = |x| match (is_light(x, y), is_light(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (0..whole).map(block).collect()
    };
    Some((0..whole).step_by(2).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ShareId;

    fn facts(url: &str) -> ShareFacts {
        ShareFacts {
            share_url: url.to_owned(),
            share_id: ShareId::new(),
            share_expires_at: jiff::Timestamp::UNIX_EPOCH,
            share_address: "192.168.178.123:8443".parse().unwrap(),
            share_ca: Some("/home/somebody/.local/share/portico/tls/share/x/ca.pem".into()),
            revoke: format!("portico share revoke {}", ShareId::new()),
            port: 5173,
            lifetime: jiff::SignedDuration::from_mins(90),
            is_private: true,
        }
    }

    #[test]
    fn every_line_fits_whatever_the_address() {
        let token = "a".repeat(22);
        for (host, port) in
            [("10-0-0-1", "443"), ("192-168-178-123", "8443"), ("192-168-178-123", "65535")]
        {
            let url = format!("https://65535-kx4f.{host}.sslip.io:{port}/?ms=ms_{token}");
            for is_private in [true, false] {
                let said = share(&ShareFacts { is_private, ..facts(&url) }, Qr::Plain);
                assert!(said.starts_with(&url));
                assert!(said.contains("1h 30m"), "{said}");
                // The line after the last is where the cursor is.
                assert!(said.lines().count() < 24, "{said}");
                for line in said.lines() {
                    assert!(line.chars().count() <= 80, "{line}");
                }
            }
        }
    }

    #[test]
    fn a_code_is_light_around_and_dark_in_its_corners() {
        let lines = code("https://example.com/").unwrap();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert!(lines[0].chars().all(|c| c == '█'), "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("██") && line.ends_with("██")));
        // A finder pattern: seven dark, five light within.
        assert!(lines[1].starts_with("██ ▄▄▄▄▄ █"), "{lines:?}");
        assert!(code(&"x".repeat(3000)).is_none());
    }
}
