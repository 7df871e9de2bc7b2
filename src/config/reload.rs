//! Reading the configuration file again while the process runs: what has changed, what of it can be taken over, and what needs a restart.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::file::{self, text_of};
use super::{Config, ConfigError, TlsConfig, UsageConfig};
use crate::edge::identity::Trust;
use crate::edge::listen;

/// Settings that a running process takes over; `*` is a whole section, or everything that begins like this.
const RELOADED: &[&str] = &[
    "preview.forbidden_ports",
    "preview.hide_names",
    "preview.default_visibility",
    "preview.reserved_slugs",
    "preview.slug_quarantine",
    "tls.certificates",
    "tls.directory",
    "tls.reload",
    "tls.hsts",
    "api.allowed_origins",
    "networks.*",
    "limits.request_*",
    "limits.response_*",
    "limits.connections",
    "limits.connections_per_ip",
    "limits.http2_streams",
    "limits.sandbox_*",
    "limits.public_*",
    "limits.control_connections*",
    "limits.api_*",
    "limits.tls_hosts_*",
    "limits.upstream_keep_per_port",
    "limits.wake_*",
    "limits.wakes_per_minute",
    "timeouts.request_head*",
    "timeouts.request_body_idle",
    "timeouts.keep_alive",
    "timeouts.connection_lifetime",
    "timeouts.proxy_header",
    "timeouts.visitor_write",
    "timeouts.connect",
    "timeouts.first_byte",
    "timeouts.response_idle",
    "timeouts.tunnel_idle",
    "timeouts.upstream_keep_alive",
    "timeouts.control_head*",
    "timeouts.control_body",
    "timeouts.control_write",
    "timeouts.wake_hold",
    "webhooks.*",
    "limits.memory",
    "shutdown.*",
    "usage.price_*",
    "log.filter",
    "log.file",
];

/// Remembers the file as it was when the process started, and as it was when it was read last.
#[derive(Debug)]
pub struct Reloader {
    file: PathBuf,
    started: Table,
    last: Table,
}

/// A file that was read again.
#[derive(Debug)]
pub struct Reread {
    /// What is in force from now on.
    pub config: Config,
    /// What an operator should know all the same.
    pub warnings: Vec<String>,
    /// Settings that are taken over.
    pub changed: Vec<String>,
    /// Settings that differ from those of the running process and cannot be taken over.
    pub need_restart: Vec<String>,
}

impl Reloader {
    /// Reads a file for the first time. Lists every error.
    pub fn load(file: &Path) -> Result<(Config, Self), ConfigError> {
        let text = text_of(file)?;
        let config = file::serving(&text)?;
        let started: Table = text.parse().unwrap_or_default();
        Ok((config, Self { file: file.to_owned(), last: started.clone(), started }))
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file again, with what it leads to. On an error everything stays as it is.
    pub fn reread(&mut self, running: &Config) -> Result<Reread, ConfigError> {
        let (read, warnings) = file::check(&self.file)?;
        let table: Table = text_of(&self.file)?.parse().unwrap_or_default();
        let (changed, _) = changes(&self.last, &table);
        let (_, need_restart) = changes(&self.started, &table);
        self.last = table;
        Ok(Reread { config: running.taking_over(&read), warnings, changed, need_restart })
    }
}

/// The settings that differ: those that are taken over, and the others.
fn changes(before: &Table, after: &Table) -> (Vec<String>, Vec<String>) {
    let settings = |table: &Table| -> Vec<(String, Value)> {
        let sections =
            table.iter().filter_map(|(section, value)| Some((section, value.as_table()?)));
        let in_section = |(section, table): (&String, &Table)| {
            let named =
                |(name, value): (&String, &Value)| (format!("{section}.{name}"), value.clone());
            table.iter().map(named).collect::<Vec<_>>()
        };
        sections.flat_map(in_section).collect()
    };
    let (before, after) = (settings(before), settings(after));
    let differs = |setting: &[(String, Value)], other: &[(String, Value)]| -> Vec<String> {
        let new = setting.iter().filter(|one| !other.contains(one));
        new.map(|(key, _)| key.clone()).collect()
    };
    let mut keys = differs(&before, &after);
    keys.extend(differs(&after, &before));
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().partition(|key| is_reloaded(key))
}

fn is_reloaded(key: &str) -> bool {
    RELOADED.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => key == *pattern,
    })
}

impl Config {
    /// This one, with what can be taken over from another.
    fn taking_over(&self, new: &Self) -> Self {
        let tls = |own: &TlsConfig| {
            let from = new.tls.as_ref().unwrap_or(own);
            TlsConfig { certificates: from.certificates.clone(), hsts: from.hsts, ..own.clone() }
        };
        let mut log = new.log.clone();
        log.format = self.log.format;
        Self {
            listen: listen::Settings {
                trust: Trust {
                    behind_https: self.listen.trust.behind_https,
                    ..new.listen.trust.clone()
                },
                ..new.listen.clone()
            },
            shares: new.shares,
            control: new.control.clone(),
            forward: new.forward,
            limits: new.limits,
            networks: new.networks.clone(),
            sandbox_authorities: new.sandbox_authorities.clone(),
            forbidden_ports: new.forbidden_ports.clone(),
            hide_names: new.hide_names,
            reserved_slugs: new.reserved_slugs.clone(),
            slug_quarantine: new.slug_quarantine,
            default_visibility: new.default_visibility,
            wake: new.wake,
            allowed_origins: new.allowed_origins.clone(),
            webhooks: new.webhooks.clone(),
            tls_hosts_per_domain: new.tls_hosts_per_domain,
            tls_hosts_per_sandbox: new.tls_hosts_per_sandbox,
            delay: new.delay,
            drain: new.drain,
            memory: new.memory,
            tls: self.tls.as_ref().map(tls),
            usage: UsageConfig { prices: new.usage.prices, ..self.usage },
            log,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::known_settings;
    use super::*;

    const BASE: [(&str, &str); 7] = [
        ("preview.zones", "[\"sandbox.example.com\"]"),
        ("tls.listen", "\"127.0.0.1:8443\""),
        ("tls.directory", "\"certificates\""),
        ("compute.create", "[\"/bin/create\"]"),
        ("compute.start", "[\"/bin/start\"]"),
        ("compute.stop", "[\"/bin/stop\"]"),
        ("compute.destroy", "[\"/bin/destroy\"]"),
    ];
    /// Values of every kind; one of them is another than the default and good.
    const VALUES: &[&str] = &[
        "70",
        "7",
        "\"7s\"",
        "true",
        "17000",
        "0.5",
        "\"private\"",
        "\"http\"",
        "\"text\"",
        "\"other\"",
        "\"other.example.com\"",
        "\"debug\"",
        "\"127.0.0.1:7\"",
        "[\"10.9.0.0/16\"]",
        "[7]",
        "[\"PATH\"]",
        "[\"7s\"]",
        "[\"/bin/other\"]",
        "[\"other.example.com\"]",
        "[\"https://other.example.com\"]",
        "[\"127.0.0.1:7\"]",
        "[{ certificate = \"a\", key = \"b\" }]",
        "1024",
    ];

    fn text(settings: &[(&str, &str)]) -> String {
        let mut sections = std::collections::BTreeMap::<&str, String>::new();
        for (key, value) in settings {
            let (section, name) = key.split_once('.').unwrap();
            *sections.entry(section).or_default() += &format!("{name} = {value}\n");
        }
        let sections = sections.iter().map(|(section, lines)| format!("[{section}]\n{lines}"));
        sections.collect::<Vec<_>>().concat()
    }

    /// What a setting makes of the process, as far as it shows.
    fn shown(config: &Config) -> String {
        let compute = config.compute.as_ref().map(|compute| compute.environment.clone());
        format!("{:?}{compute:?}", Config { warnings: Vec::new(), ..config.clone() })
    }

    #[test]
    fn every_setting_is_either_taken_over_or_named() {
        let base = file::parse(&text(&BASE)).unwrap();
        for key in known_settings() {
            let others = BASE.iter().filter(|(other, _)| *other != key);
            let others: Vec<_> = others.copied().collect();
            let with = |value| file::parse(&text(&[&others[..], &[(&*key, value)]].concat())).ok();
            let differs = |config: &Config| shown(config) != shown(&base);
            let changed = VALUES.iter().filter_map(|value| with(value)).find(differs);
            let changed = changed.unwrap_or_else(|| panic!("no value is good for {key}"));
            let taken = differs(&base.taking_over(&changed));
            assert_eq!(taken, is_reloaded(&key), "{key}");
        }
    }

    #[test]
    fn what_differs_from_the_start_is_told_again_until_the_process_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portico.toml");
        let write = |more: &str| {
            let zones = "zones = [\"sandbox.example.com\"]";
            let networks = "[networks]\nallow = [\"10.0.0.0/8\"]";
            std::fs::write(&path, format!("{networks}\n[preview]\n{zones}\n{more}")).unwrap();
        };
        write("");
        let (config, mut reloader) = Reloader::load(&path).unwrap();
        write("workers = 7\n[limits]\nsandbox_rate = 5\n");
        for changed in [&["limits.sandbox_rate"][..], &[]] {
            let read = reloader.reread(&config).unwrap();
            assert_eq!(read.changed, changed);
            assert_eq!(read.need_restart, ["preview.workers"]);
            assert_eq!((read.config.limits.rate, read.config.workers), (5, config.workers));
        }
        write("[limits]\nsandbox_rate = -1\nunknown = 1\n");
        assert_eq!(reloader.reread(&config).unwrap_err().0.len(), 2);
        write("");
        let read = reloader.reread(&config).unwrap();
        assert_eq!((read.changed, read.need_restart), (vec!["limits.sandbox_rate".into()], vec![]));
        assert_eq!(read.config.limits.rate, config.limits.rate);
    }
}
