//! Settings that had another name before. The old one works for one version, with a warning.

/// Old names with the new ones.
const RENAMED: [(&str, &str); 12] = [
    ("limits.request_head_bytes", "limits.request_header_bytes"),
    ("limits.request_line_bytes", "limits.request_header_line_bytes"),
    ("limits.request_fields", "limits.request_headers"),
    ("limits.response_head_bytes", "limits.response_header_bytes"),
    ("limits.response_line_bytes", "limits.response_header_line_bytes"),
    ("limits.response_fields", "limits.response_headers"),
    ("timeouts.request_head", "timeouts.request_headers"),
    ("timeouts.control_head", "timeouts.control_headers"),
    ("networks.forwarded_from", "networks.trusted_proxies"),
    ("networks.sandbox_authorities", "networks.sandbox_ca_file"),
    ("webhooks.authorities", "webhooks.ca_file"),
    ("webhooks.header_word", "webhooks.header_name"),
];

/// The name that a setting had before.
pub(super) fn former(key: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(_, new)| *new == key).map(|(old, _)| *old)
}

/// Whether a setting was called so before.
pub(super) fn is_former(key: &str) -> bool {
    RENAMED.iter().any(|(old, _)| *old == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{load, parse};

    const ZONES: &str = "[preview]\nzones = [\"sandbox.example.com\"]\n";

    #[test]
    fn every_old_name_is_read_as_the_new_one_and_warns() {
        let text = |names: [&str; 12]| {
            let mut lines: Vec<(String, String)> = Vec::new();
            for (key, value) in names.into_iter().zip([
                "4096",
                "1024",
                "50",
                "4096",
                "1024",
                "50",
                "\"3s\"",
                "\"4s\"",
                "[\"10.0.0.0/8\"]",
                "\"/ca.pem\"",
                "\"/ca.pem\"",
                "\"Acme\"",
            ]) {
                let (section, name) = key.split_once('.').unwrap();
                lines.push((section.to_owned(), format!("{name} = {value}")));
            }
            lines.sort();
            let mut text = ZONES.to_owned();
            for section in ["limits", "networks", "timeouts", "webhooks"] {
                text += &format!("[{section}]\n");
                for (_, line) in lines.iter().filter(|(of, _)| of == section) {
                    text += &format!("{line}\n");
                }
            }
            text
        };
        let mut old = parse(&text(RENAMED.map(|(old, _)| old))).unwrap();
        let new = parse(&text(RENAMED.map(|(_, new)| new))).unwrap();
        assert_ne!(format!("{new:?}"), format!("{:?}", parse(ZONES).unwrap()));
        assert_eq!(new.warnings, [""; 0]);
        assert_eq!(old.warnings.len(), RENAMED.len(), "{:?}", old.warnings);
        for (old_name, new_name) in RENAMED {
            let warning = |text: &String| text.starts_with(old_name) && text.contains(new_name);
            assert!(old.warnings.iter().any(warning), "{old_name}: {:?}", old.warnings);
        }
        old.warnings.clear();
        assert_eq!(format!("{old:?}"), format!("{new:?}"));
    }

    #[test]
    fn a_setting_under_both_names_is_an_error() {
        let both = "[timeouts]\nrequest_head = \"3s\"\nrequest_headers = \"4s\"";
        let error = parse(&format!("{ZONES}{both}")).unwrap_err().to_string();
        assert!(error.starts_with("timeouts.request_headers: is set twice"), "{error}");
        assert!(error.contains("timeouts.request_head"), "{error}");
    }

    #[test]
    fn what_is_loaded_and_checked_says_its_warnings() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("portico.toml");
        let networks = "[networks]\nallow = [\"10.0.0.0/8\"]\n";
        std::fs::write(&path, format!("{networks}{ZONES}[timeouts]\nrequest_head = \"3s\""))
            .unwrap();
        let expected = "timeouts.request_head: is called timeouts.request_headers now";
        assert!(load(&path).unwrap().warnings[0].starts_with(expected));
        assert!(crate::config::check(&path).unwrap().1[0].starts_with(expected));
    }
}
