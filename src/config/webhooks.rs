//! The settings of webhooks.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use toml::Value;

use super::reader::Reader;
use crate::base::clock::Clock;
use crate::control::webhooks::{Sender, Settings};
use crate::model::network::PublicRules;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);

/// Reads the section.
pub(super) fn read(r: &mut Reader) -> Settings {
    let default = Settings::default();
    let network = "a network such as \"10.0.0.0/8\" or \"fd00::/8\"";
    let pause = "a duration such as \"10s\" or \"5m\", at most \"24h\"";
    let retry = r.list("webhooks.retry", pause, |item: &Value| {
        let signed = jiff::SignedDuration::from_str(item.as_str()?).ok()?;
        Duration::try_from(signed).ok().filter(|pause| *pause <= LONGEST_PAUSE)
    });
    if retry.as_ref().is_some_and(Vec::is_empty) {
        r.error("webhooks.retry", "must name at least one delay, such as [\"10s\"]");
    }
    let timeout = r.duration("webhooks.timeout").unwrap_or(default.timeout);
    if timeout.is_zero() {
        r.error("webhooks.timeout", "must not be 0: a webhook that hangs would never end");
    }
    let word = "letters, digits and hyphens, at most 40";
    Settings {
        timeout,
        retry: retry.unwrap_or(default.retry),
        allow_http: r.flag("webhooks.allow_http").unwrap_or(default.allow_http),
        allow: r
            .list("webhooks.allow", network, |item| item.as_str()?.parse().ok())
            .unwrap_or(default.allow),
        authorities: r.text("webhooks.ca_file", "a path", |text| {
            (!text.is_empty()).then(|| PathBuf::from(text))
        }),
        concurrency: r.size("webhooks.concurrency", (2, 10_000)).unwrap_or(default.concurrency),
        concurrency_per_webhook: r
            .size("webhooks.concurrency_per_webhook", (1, 1000))
            .unwrap_or(default.concurrency_per_webhook),
        failed_after: r
            .number("webhooks.failed_after", (1, 1_000_000))
            .unwrap_or(default.failed_after),
        secret_overlap: r.duration("webhooks.secret_overlap").unwrap_or(default.secret_overlap),
        per_tenant: r.size("webhooks.per_tenant", (0, 10_000)).unwrap_or(default.per_tenant),
        keep: r.duration("webhooks.keep").unwrap_or(default.keep),
        keep_per_tenant: r
            .number("webhooks.keep_per_tenant", (1, 10_000_000))
            .unwrap_or(default.keep_per_tenant),
        header_name: r
            .text("webhooks.header_name", word, |text| {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                (text.len() <= 40 && text.bytes().all(good)).then(|| text.to_owned())
            })
            .unwrap_or(default.header_name),
    }
}

/// In development whatever runs on the same machine may be told.
pub(crate) fn development() -> Settings {
    let loopback = ["127.0.0.0/8", "::1/128"];
    let allow = loopback.iter().filter_map(|net| net.parse().ok()).collect();
    Settings { allow_http: true, allow, ..Settings::default() }
}

/// What is wrong with the files that the settings name.
pub(super) fn error(settings: &Settings) -> Option<String> {
    let file = settings.authorities.as_ref()?;
    let sender = Sender::new(Arc::new(settings.clone()), PublicRules::default(), Clock::system());
    let error = sender.err()?;
    Some(format!("webhooks.ca_file: {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (Settings, Vec<String>) {
        let mut reader = Reader::new(&format!("[webhooks]\n{text}")).unwrap();
        let settings = read(&mut reader);
        (settings, reader.finish())
    }

    #[test]
    fn every_setting_is_read() {
        let (read, errors) = told(
            "timeout = \"2s\"\nretry = [\"1s\", \"2m\"]\nallow_http = true\nallow = [\"10.0.0.0/8\"]\n\
             ca_file = \"ca.pem\"\nconcurrency = 8\nconcurrency_per_webhook = 2\nfailed_after = 3\n\
             secret_overlap = \"1h\"\nper_tenant = 5\nkeep = \"48h\"\nkeep_per_tenant = 100\nheader_name = \"OpenDesigns\"",
        );
        assert_eq!(errors, [""; 0]);
        assert_eq!((read.timeout, read.allow_http), (Duration::from_secs(2), true));
        assert_eq!(read.retry, [Duration::from_secs(1), Duration::from_mins(2)]);
        assert_eq!(read.allow, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(read.authorities, Some("ca.pem".into()));
        assert_eq!((read.concurrency, read.concurrency_per_webhook), (8, 2));
        assert_eq!((read.failed_after, read.per_tenant, read.keep_per_tenant), (3, 5, 100));
        assert_eq!(read.secret_overlap, Duration::from_hours(1));
        assert_eq!(read.keep, Duration::from_hours(48));
        assert_eq!(read.header_name, "OpenDesigns");
        assert!(!told("").0.allow_http && told("").0.allow.is_empty());
    }

    #[test]
    fn mistakes_are_errors() {
        for (text, error) in [
            ("retry = []", "webhooks.retry: must name at least one"),
            ("retry = [\"soon\"]", "webhooks.retry: each item must be a duration"),
            ("retry = [\"48h\"]", "webhooks.retry: each item"),
            ("timeout = 0", "webhooks.timeout: must not be 0"),
            ("concurrency = 1", "webhooks.concurrency: must be"),
            ("header_name = \"a b\"", "webhooks.header_name: must be"),
            ("allow_htp = true", "did you mean webhooks.allow_http?"),
        ] {
            let errors = told(text).1.join("\n");
            assert!(errors.contains(error), "{text}: {errors}");
        }
        let settings = Settings { authorities: Some("/nowhere.pem".into()), ..Settings::default() };
        assert!(error(&settings).unwrap().starts_with("webhooks.ca_file: /nowhere.pem: "));
        assert_eq!(error(&Settings::default()), None);
    }
}
