//! The configuration file: every setting, its bounds and its default. `portico.example.toml` documents the same list.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;

use super::cli::MAX_WORKERS;
use super::reader::Reader;
use super::{Config, ConfigError, FORBIDDEN_PORTS, default_data_dir, default_workers};
use crate::address::AddressRules;
use crate::host::Authority;
use crate::model::Visibility;
use crate::telemetry::{LogFormat, LogSettings};
use crate::{forward, listen, wire};

/// Reads a file. The error lists every fault.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(vec![format!("cannot read {}: {error}", path.display())]))?;
    parse(&text)
}

/// Reads the text of a file. The error lists every fault.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(text).map_err(|fault| ConfigError(vec![fault]))?;
    let config = read(&mut reader);
    let faults = reader.finish();
    if faults.is_empty() { Ok(config) } else { Err(ConfigError(faults)) }
}

fn read(r: &mut Reader) -> Config {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let zones = r.list("preview.zones", "a domain such as \"sandbox.example.com\"", zone);
    if zones.as_ref().is_none_or(Vec::is_empty) {
        r.fault(
            "preview.zones",
            "must name at least one domain, such as [\"sandbox.example.com\"]",
        );
    }
    let public_scheme =
        r.text("preview.public_scheme", "\"http\" or \"https\"", |text| match text {
            "http" => Some("http"),
            "https" => Some("https"),
            _ => None,
        });
    let api = r.socket("api.listen").unwrap_or(local(8081));
    let admin = r.socket("admin.listen").unwrap_or(local(8082));
    let preview = r.socket("preview.listen").unwrap_or(local(8080));
    if preview.port() != 0 && (preview == api || preview == admin)
        || api.port() != 0 && api == admin
    {
        r.fault("preview.listen, api.listen, admin.listen", "must be different");
    }
    Config {
        preview,
        api,
        admin,
        zones: zones.unwrap_or_default(),
        public_scheme: public_scheme.unwrap_or("http"),
        public_port: r.number("preview.public_port", (1, 65535)),
        workers: r
            .size("preview.workers", (1, u64::try_from(MAX_WORKERS).unwrap_or(u64::MAX)))
            .unwrap_or_else(default_workers),
        data: data(r),
        listen: visitors(r),
        forward: sandboxes(r),
        networks: networks(r),
        forbidden_ports: r
            .list("preview.forbidden_ports", "a port number from 1 to 65535", |item| {
                u16::try_from(item.as_integer()?).ok().filter(|port| *port > 0)
            })
            .unwrap_or_else(|| FORBIDDEN_PORTS.to_vec()),
        default_visibility: r
            .text("preview.default_visibility", "\"public\" or \"private\"", |text| match text {
                "public" => Some(Visibility::Public),
                "private" => Some(Visibility::Private),
                _ => None,
            })
            .unwrap_or(Visibility::Public),
        drain: r.duration("shutdown.drain").unwrap_or(Duration::from_secs(30)),
        log: log(r),
        dev: None,
    }
}

fn zone(item: &Value) -> Option<String> {
    let authority = Authority::parse(item.as_str()?.as_bytes()).ok()?;
    let is_name = authority.port.is_none() && authority.host.parse::<IpAddr>().is_err();
    (is_name && authority.host.contains('.')).then(|| authority.host.to_string())
}

fn data(r: &mut Reader) -> PathBuf {
    let path =
        r.text("store.data", "a directory", |text| (!text.is_empty()).then(|| PathBuf::from(text)));
    path.unwrap_or_else(default_data_dir)
}

fn visitors(r: &mut Reader) -> listen::Settings {
    let default = listen::Settings::default();
    listen::Settings {
        head: head(r, "limits.request", default.head),
        head_timeout: r.duration("timeouts.request_head").unwrap_or(default.head_timeout),
        keep_alive: r.duration("timeouts.keep_alive").unwrap_or(default.keep_alive),
        body_idle: r.duration("timeouts.request_body_idle").unwrap_or(default.body_idle),
        body_min_rate: r
            .number("limits.request_body_min_rate", (0, 1 << 30))
            .unwrap_or(default.body_min_rate),
        write_idle: r.duration("timeouts.visitor_write").unwrap_or(default.write_idle),
        max_connections: r
            .size("limits.connections", (0, 10_000_000))
            .unwrap_or(default.max_connections),
        max_connections_per_ip: r
            .size("limits.connections_per_ip", (0, 10_000_000))
            .unwrap_or(default.max_connections_per_ip),
    }
}

fn head(r: &mut Reader, prefix: &str, default: wire::Limits) -> wire::Limits {
    let mut size = |name: &str, bounds, default| {
        r.size(&format!("{prefix}_{name}"), bounds).unwrap_or(default)
    };
    wire::Limits {
        head_bytes: size("head_bytes", (1024, 1 << 20), default.head_bytes),
        line_bytes: size("line_bytes", (256, 1 << 20), default.line_bytes),
        fields: size("fields", (8, 1000), default.fields),
        target_bytes: size("target_bytes", (256, 1 << 20), default.target_bytes),
    }
}

fn sandboxes(r: &mut Reader) -> forward::Settings {
    let default = forward::Settings::default();
    forward::Settings {
        head: response_head(r, default.head),
        connect_timeout: r.duration("timeouts.connect").unwrap_or(default.connect_timeout),
        first_byte_timeout: r.duration("timeouts.first_byte").unwrap_or(default.first_byte_timeout),
        response_idle: r.duration("timeouts.response_idle").unwrap_or(default.response_idle),
        tunnel_idle: r.duration("timeouts.tunnel_idle").unwrap_or(default.tunnel_idle),
        keep_alive: r.duration("timeouts.upstream_keep_alive").unwrap_or(default.keep_alive),
        keep_per_port: r
            .size("limits.upstream_keep_per_port", (0, 65536))
            .unwrap_or(default.keep_per_port),
    }
}

fn response_head(r: &mut Reader, default: wire::Limits) -> wire::Limits {
    let size =
        |r: &mut Reader, name: &str, bounds, default| r.size(name, bounds).unwrap_or(default);
    wire::Limits {
        head_bytes: size(r, "limits.response_head_bytes", (1024, 1 << 20), default.head_bytes),
        line_bytes: size(r, "limits.response_line_bytes", (256, 1 << 20), default.line_bytes),
        fields: size(r, "limits.response_fields", (8, 1000), default.fields),
        target_bytes: default.target_bytes,
    }
}

fn networks(r: &mut Reader) -> AddressRules {
    let expected = "a network such as \"10.0.0.0/8\" or \"fd00::/8\"";
    let mut list = |key: &str| {
        r.list(key, expected, |item| item.as_str()?.parse::<IpNet>().ok()).unwrap_or_default()
    };
    AddressRules { allow: list("networks.allow"), deny: list("networks.deny"), own: Vec::new() }
}

fn log(r: &mut Reader) -> LogSettings {
    LogSettings {
        format: r
            .text("log.format", "\"auto\", \"json\" or \"text\"", |text| match text {
                "auto" => Some(LogFormat::Auto),
                "json" => Some(LogFormat::Json),
                "text" => Some(LogFormat::Text),
                _ => None,
            })
            .unwrap_or_default(),
        filter: r
            .text(
                "log.filter",
                "a filter such as \"info\" or \"warn,portico::access=off\"",
                |text| tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| text.to_owned()),
            )
            .unwrap_or_else(|| "info".into()),
        file: r.text("log.file", "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn known() -> BTreeSet<String> {
        let mut reader = Reader::new("").unwrap();
        read(&mut reader);
        reader.known().clone()
    }

    #[test]
    fn every_setting_is_in_the_example_and_nothing_else_is() {
        let mut section = String::new();
        let mut shown = BTreeSet::new();
        for line in include_str!("../../portico.example.toml").lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((name, _)) = line.trim_start_matches("# ").split_once(" = ")
                && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            {
                shown.insert(format!("{section}.{name}"));
            }
        }
        assert_eq!(shown, known());
    }

    #[test]
    fn every_limit_and_deadline_is_in_the_readmes_table_and_nothing_else_is() {
        let readme = include_str!("../../README.md");
        let table = readme.split("### Limits and deadlines").nth(1).unwrap();
        let table = table.split("\nFixed:").next().unwrap();
        let mut shown = BTreeSet::new();
        for line in table.lines().filter(|line| line.starts_with("| `")) {
            // A name without its section is in that of the one before.
            let mut section = "";
            for name in line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
                let (of, name) = name.split_once('.').unwrap_or((section, name));
                section = of;
                shown.insert(format!("{section}.{name}"));
            }
        }
        let sections = ["limits.", "timeouts.", "shutdown."];
        let known = known().into_iter().filter(|key| sections.iter().any(|s| key.starts_with(s)));
        let known: BTreeSet<String> = known.collect();
        assert_eq!(shown, known);
    }
}
