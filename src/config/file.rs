//! The configuration file: every setting, its bounds and its default. `portico.example.toml` documents the same list.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Value;

use super::MAX_WORKERS;
use super::reader::Reader;
use super::required::missing;
use super::{
    Config, ConfigError, FORBIDDEN_PORTS, Handover, SLUG_QUARANTINE, TLS_HOSTS_PER_DOMAIN,
    TLS_HOSTS_PER_SANDBOX, TlsConfig, UsageConfig, default_data_dir, default_workers, webhooks,
};
use crate::base::clock::Clock;
use crate::base::telemetry::{LogFormat, LogSettings};
use crate::control::usage::Prices;
use crate::edge::upstream::SandboxTls;
use crate::edge::{forward, identity, limits, listen, tls, wire};
use crate::model::Visibility;
use crate::model::network::AddressRules;

/// How often counts of usage may be written. More seldom than this, and a crash loses more of them than was promised.
const MIN_FLUSH: Duration = Duration::from_millis(100);
const MAX_FLUSH: Duration = Duration::from_secs(30);

/// Reads a file. Lists every error.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    serving(&text_of(path)?)
}

/// Reads the text of a file that is to be served by. Lists every error.
pub(super) fn serving(text: &str) -> Result<Config, ConfigError> {
    let (config, mut errors) = parse_all(text)?;
    errors.extend(missing(&config));
    if errors.is_empty() { Ok(config) } else { Err(ConfigError(errors)) }
}

/// Reads a file and what it leads to. Gives warnings besides; the error lists every error, of the certificates too.
pub fn check(path: &Path) -> Result<(Config, Vec<String>), ConfigError> {
    let (config, mut errors) = parse_all(&text_of(path)?)?;
    let mut warnings = config.warnings.clone();
    let settings = config.tls.as_ref().map(|tls| tls.certificates.clone());
    // Without any place to look in, that is the error.
    if let Some(settings) = settings.filter(is_somewhere) {
        match tls::Certificates::load(settings, Clock::system()) {
            Ok(certificates) => warnings.extend(certificates.warnings()),
            Err(tls::TlsError(found)) => errors.extend(found.iter().map(ToString::to_string)),
        }
    }
    if let Some(file) = &config.sandbox_authorities
        && let Err(error) = SandboxTls::new(Some(file))
    {
        errors.push(format!("networks.sandbox_ca_file: {}: {error}", file.display()));
    }
    errors.extend(webhooks::error(&config.webhooks));
    errors.extend(missing(&config));
    if errors.is_empty() { Ok((config, warnings)) } else { Err(ConfigError(errors)) }
}

/// Reads the text of a file. Lists every error.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let (config, errors) = parse_all(text)?;
    if errors.is_empty() { Ok(config) } else { Err(ConfigError(errors)) }
}

/// The data directory that a file names, or the default. Whatever else is wrong with the file does not matter.
pub fn data_of(path: &Path) -> Result<PathBuf, ConfigError> {
    let (config, errors) = parse_all(&text_of(path)?)?;
    let about_data = |error: &String| error.starts_with("store.data: ");
    match errors.into_iter().find(about_data) {
        Some(error) => Err(ConfigError(vec![error])),
        None => Ok(config.data),
    }
}

pub(super) fn text_of(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError(vec![format!("cannot read {}: {error}", path.display())]))
}

/// What could be made of a text, and its errors. Only a text that is not TOML at all gives nothing.
fn parse_all(text: &str) -> Result<(Config, Vec<String>), ConfigError> {
    let mut reader = Reader::new(text).map_err(|error| ConfigError(vec![error]))?;
    let config = read(&mut reader);
    let config = Config { warnings: reader.warnings(), ..config };
    Ok((config, reader.finish()))
}

#[expect(clippy::too_many_lines, reason = "a table: one entry a setting")]
fn read(r: &mut Reader) -> Config {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let zones =
        r.list("preview.zones", "a domain such as \"sandbox.example.com\"", super::names::zone);
    if zones.as_ref().is_none_or(Vec::is_empty) {
        r.error(
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
    let tls = encryption(r);
    let mut listeners = vec![preview, api, admin];
    listeners.extend(tls.as_ref().map(|tls| tls.listen));
    listeners.retain(|address| address.port() != 0);
    listeners.sort_unstable();
    if listeners.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        r.error("preview.listen, tls.listen, api.listen, admin.listen", "must be different");
    }
    let public_scheme = public_scheme.unwrap_or(if tls.is_some() { "https" } else { "http" });
    let dns = super::names::dns(r, zones.as_deref().unwrap_or_default());
    // A port that the system chooses is not known yet.
    let is_https = public_scheme == "https";
    let tls_port = tls.as_ref().filter(|_| is_https).map(|tls| tls.listen.port());
    let public_port = r.number("preview.public_port", (1, 65535));
    // Without TLS of our own, https can only be a front's, and everything comes through it.
    let visitors = visitors(r, is_https && tls.is_none());
    Config {
        preview,
        api,
        admin,
        zones: zones.unwrap_or_default(),
        public_scheme,
        public_port: public_port.or(tls_port.filter(|port| *port != 0)),
        workers: r
            .size("preview.workers", (1, u64::try_from(MAX_WORKERS).unwrap_or(u64::MAX)))
            .unwrap_or_else(default_workers),
        data: data(r),
        control: super::api::connections(r, &visitors),
        listen: visitors,
        shares: super::api::shares(r),
        forward: sandboxes(r),
        limits: previews(r),
        networks: networks(r),
        sandbox_authorities: r.text("networks.sandbox_ca_file", "a path", |text| {
            (!text.is_empty()).then(|| PathBuf::from(text))
        }),
        forbidden_ports: forbidden_ports(r),
        hide_names: r.flag("preview.hide_names").unwrap_or_default(),
        reserved_slugs: super::api::reserved_slugs(r),
        slug_quarantine: r.duration("preview.slug_quarantine").unwrap_or(SLUG_QUARANTINE),
        default_visibility: default_visibility(r).unwrap_or(Visibility::Public),
        compute: super::compute::commands(r),
        wake: super::compute::wake(r),
        allowed_origins: super::api::allowed_origins(r),
        webhooks: webhooks::read(r),
        dns,
        verify: super::names::verification(r),
        tls_hosts_per_domain: r
            .size("limits.tls_hosts_per_domain", (0, 1_000_000))
            .unwrap_or(TLS_HOSTS_PER_DOMAIN),
        tls_hosts_per_sandbox: r
            .size("limits.tls_hosts_per_sandbox", (0, 1_000_000))
            .unwrap_or(TLS_HOSTS_PER_SANDBOX),
        delay: r.duration("shutdown.delay").unwrap_or_default(),
        memory: r.number("limits.memory", (0, 1 << 50)),
        drain: r.duration("shutdown.drain").unwrap_or(Duration::from_secs(30)),
        tls,
        usage: usage(r),
        log: log(r),
        warnings: Vec::new(),
        handover: Handover::default(),
        dev: None,
    }
}

fn default_visibility(r: &mut Reader) -> Option<Visibility> {
    r.text("preview.default_visibility", "\"public\" or \"private\"", |text| match text {
        "public" => Some(Visibility::Public),
        "private" => Some(Visibility::Private),
        _ => None,
    })
}

fn forbidden_ports(r: &mut Reader) -> Vec<u16> {
    let port = |item: &Value| u16::try_from(item.as_integer()?).ok().filter(|port| *port > 0);
    r.list("preview.forbidden_ports", "a port number from 1 to 65535", port)
        .unwrap_or_else(|| FORBIDDEN_PORTS.to_vec())
}

fn data(r: &mut Reader) -> PathBuf {
    let given = r.given("store.data");
    let path =
        r.text("store.data", "a directory", |text| (!text.is_empty()).then(|| PathBuf::from(text)));
    let path = path.or_else(default_data_dir);
    if path.is_none() && !given {
        r.error(
            "store.data",
            "is missing, and there is no default without HOME or XDG_DATA_HOME: name a directory such as \"/var/lib/portico\"",
        );
    }
    path.unwrap_or_default()
}

fn visitors(r: &mut Reader, behind_https: bool) -> listen::Settings {
    let default = listen::Settings::default();
    listen::Settings {
        header_limits: header_limits(r, "limits.request", default.header_limits),
        header_timeout: r.duration("timeouts.request_headers").unwrap_or(default.header_timeout),
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
        h2_streams: r.number("limits.http2_streams", (1, 10_000)).unwrap_or(default.h2_streams),
        connection_lifetime: r
            .duration("timeouts.connection_lifetime")
            .unwrap_or(default.connection_lifetime),
        trust: identity::Trust {
            proxy_protocol_from: fronts(r, "networks.proxy_protocol_from"),
            forwarded_from: fronts(r, "networks.trusted_proxies"),
            behind_https,
        },
        proxy_header: r.duration("timeouts.proxy_header").unwrap_or(default.proxy_header),
    }
}

/// Networks of fronts that speak for visitors.
fn fronts(r: &mut Reader, key: &str) -> Vec<IpNet> {
    let expected = "a network such as \"10.0.0.0/8\" or \"fd00::/8\"";
    r.list(key, expected, |item| item.as_str()?.parse().ok()).unwrap_or_default()
}

fn header_limits(r: &mut Reader, prefix: &str, default: wire::Limits) -> wire::Limits {
    let mut size = |name: &str, bounds, default| {
        r.size(&format!("{prefix}_{name}"), bounds).unwrap_or(default)
    };
    wire::Limits {
        header_bytes: size("header_bytes", (1024, 1 << 20), default.header_bytes),
        line_bytes: size("header_line_bytes", (256, 1 << 20), default.line_bytes),
        fields: size("headers", (8, 1000), default.fields),
        target_bytes: size("target_bytes", (256, 1 << 20), default.target_bytes),
    }
}

fn sandboxes(r: &mut Reader) -> forward::Settings {
    let default = forward::Settings::default();
    forward::Settings {
        header_limits: response_header_limits(r, default.header_limits),
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

/// Below this a second's worth would be less than one piece that is read at a time.
const LEAST_BANDWIDTH: u64 = 16 << 10;

fn previews(r: &mut Reader) -> limits::Settings {
    let default = limits::Settings::default();
    let mut number = |name: &str, most, default| {
        r.number(&format!("limits.{name}"), (0, most)).unwrap_or(default)
    };
    let settings = limits::Settings {
        requests: number("sandbox_requests", 10_000_000, default.requests),
        sockets: number("sandbox_sockets", 10_000_000, default.sockets),
        rate: number("sandbox_rate", 1_000_000, default.rate),
        burst: number("sandbox_burst", 1_000_000, default.burst),
        public_rate: number("public_rate", 1_000_000, default.public_rate),
        public_burst: number("public_burst", 1_000_000, default.public_burst),
        bandwidth: r.number("limits.sandbox_bandwidth", (0, 1 << 40)).unwrap_or(default.bandwidth),
    };
    if (1..LEAST_BANDWIDTH).contains(&settings.bandwidth) {
        r.error("limits.sandbox_bandwidth", "must be 0 or at least 16384");
    }
    settings
}

fn response_header_limits(r: &mut Reader, default: wire::Limits) -> wire::Limits {
    let size =
        |r: &mut Reader, name: &str, bounds, default| r.size(name, bounds).unwrap_or(default);
    wire::Limits {
        header_bytes: size(
            r,
            "limits.response_header_bytes",
            (1024, 1 << 20),
            default.header_bytes,
        ),
        line_bytes: size(
            r,
            "limits.response_header_line_bytes",
            (256, 1 << 20),
            default.line_bytes,
        ),
        fields: size(r, "limits.response_headers", (8, 1000), default.fields),
        target_bytes: default.target_bytes,
    }
}

/// Off without an address to listen on; everything else is read all the same, for its errors.
fn encryption(r: &mut Reader) -> Option<TlsConfig> {
    let listen = r.socket("tls.listen");
    let pairs = r.tables("tls.certificates", ["certificate", "key"]).unwrap_or_default();
    let pair = |[certificate, key]: [String; 2]| tls::Pair {
        certificate: certificate.into(),
        key: key.into(),
    };
    let certificates = tls::Settings {
        pairs: pairs.into_iter().map(pair).collect(),
        directory: r.text("tls.directory", "a directory", |text| {
            (!text.is_empty()).then(|| PathBuf::from(text))
        }),
        reload: r.duration("tls.reload").unwrap_or(Duration::from_secs(10)),
    };
    let handshake = r.duration("tls.handshake").unwrap_or(Duration::from_secs(5));
    let hsts = r.duration("tls.hsts").unwrap_or_default();
    let redirect = r.flag("tls.redirect").unwrap_or_default();
    if listen.is_none() && !r.given("tls.listen") && is_somewhere(&certificates) {
        r.warning("tls.listen", "is missing: TLS is off, and the certificates are not used");
    }
    let listen = listen?;
    if !is_somewhere(&certificates) {
        r.error("tls", "needs certificates: set tls.certificates, tls.directory or both");
    }
    Some(TlsConfig { listen, certificates, handshake, hsts, redirect })
}

fn is_somewhere(certificates: &tls::Settings) -> bool {
    !certificates.pairs.is_empty() || certificates.directory.is_some()
}

fn networks(r: &mut Reader) -> AddressRules {
    let expected = "a network such as \"10.0.0.0/8\" or \"fd00::/8\"";
    let mut list = |key: &str| {
        r.list(key, expected, |item| item.as_str()?.parse::<IpNet>().ok()).unwrap_or_default()
    };
    let (allow, deny) = (list("networks.allow"), list("networks.deny"));
    AddressRules { allow, deny, ..AddressRules::default() }
}

fn usage(r: &mut Reader) -> UsageConfig {
    let default = UsageConfig::default();
    let flush = r.duration("usage.flush").unwrap_or(default.flush);
    if !(MIN_FLUSH..=MAX_FLUSH).contains(&flush) {
        r.error("usage.flush", "must be from 100ms to 30s");
    }
    let mut price = |key: &str| r.price(key).unwrap_or_default();
    let prices =
        Prices { vcpu_hour: price("usage.price_vcpu_hour"), gib: price("usage.price_gib") };
    UsageConfig { flush, prices }
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
                |text| {
                    text.parse::<tracing_subscriber::filter::Targets>()
                        .ok()
                        .map(|_| text.to_owned())
                },
            )
            .unwrap_or_else(|| "info".into()),
        file: r.text("log.file", "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text))),
        brief: false,
        colour: super::wants_colour(),
    }
}

/// Every setting that there is.
#[cfg(test)]
pub(super) fn known_settings() -> std::collections::BTreeSet<String> {
    let mut reader = Reader::new("").unwrap();
    read(&mut reader);
    reader.known().clone()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::known_settings as known;
    use super::*;

    #[test]
    fn every_setting_is_in_the_example_and_nothing_else_is() {
        let mut section = String::new();
        let mut shown = BTreeSet::new();
        for line in include_str!("../../portico.example.toml").lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((name, _)) = line.trim_start_matches("# ").split_once(" = ")
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            {
                shown.insert(format!("{section}.{name}"));
            }
        }
        assert_eq!(shown, known());
    }

    #[test]
    fn every_limit_and_deadline_is_in_the_operations_tables_and_nothing_else_is() {
        let page = include_str!("../../docs/operations.md");
        let table = page.split("\n## Limits and deadlines").nth(1).unwrap();
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
        let known = known();
        assert!(shown.is_subset(&known), "{:?}", shown.difference(&known));
        let missing: Vec<_> = known.difference(&shown).collect();
        let is_limit = |key: &str| sections.iter().any(|section| key.starts_with(section));
        assert!(!missing.iter().any(|key| is_limit(key)), "{missing:?}");
    }

    const ZONES: &str = "[preview]\nzones = [\"sandbox.example.com\"]\n";

    fn errors(text: &str) -> String {
        parse(&format!("{ZONES}{text}")).unwrap_err().to_string()
    }

    #[test]
    fn with_tls_links_are_https_and_name_its_port_unless_the_file_says_otherwise() {
        let read = |preview: &str, tls: &str| {
            let config = parse(&format!("{ZONES}{preview}\n[tls]\ndirectory = \"x\"\n{tls}"));
            let config = config.unwrap();
            (config.public_scheme, config.public_port, config.tls.is_some())
        };
        let on = "listen = \"0.0.0.0:443\"";
        assert_eq!(read("", ""), ("http", None, false));
        assert_eq!(read("", on), ("https", Some(443), true));
        assert_eq!(read("public_port = 8443", on), ("https", Some(8443), true));
        assert_eq!(read("public_scheme = \"http\"", on), ("http", None, true));
        assert_eq!(read("public_scheme = \"https\"", ""), ("https", None, false));
        assert_eq!(read("", "listen = \"127.0.0.1:0\""), ("https", None, true));
    }

    #[test]
    fn every_setting_of_tls_is_read() {
        let text = format!(
            "{ZONES}[tls]\nlisten = \"127.0.0.1:8443\"\nreload = 0\nhandshake = \"2s\"\nhsts = \"8760h\"\nredirect = true\n\
             certificates = [{{ certificate = \"a.pem\", key = \"a.key\" }}]"
        );
        let tls = parse(&text).unwrap().tls.unwrap();
        let pair = tls::Pair { certificate: "a.pem".into(), key: "a.key".into() };
        let certificates =
            tls::Settings { pairs: vec![pair], directory: None, reload: Duration::ZERO };
        assert_eq!(tls.certificates, certificates);
        assert_eq!((tls.handshake, tls.redirect), (Duration::from_secs(2), true));
        assert_eq!(tls.hsts, Duration::from_hours(8760));
    }

    #[test]
    fn mistakes_about_tls_are_errors_whether_it_is_on_or_off() {
        assert!(
            errors("[tls]\nlisten = \"127.0.0.1:8443\"").starts_with("tls: needs certificates")
        );
        let clash = errors("[tls]\ndirectory = \"x\"\nlisten = \"127.0.0.1:8081\"");
        assert!(clash.contains("tls.listen") && clash.ends_with("must be different"), "{clash}");
        let off = errors("[tls]\nredirect = 1\ncertificates = [{ certificat = \"a\" }]\nhtst = 0");
        for error in [
            "tls.redirect: must be true or false, not 1",
            "tls.certificates[0].certificate: must be a string, not missing",
            "tls.certificates[0].certificat: is not a setting; did you mean tls.certificates[0].certificate?",
            "tls.certificates[0].key: must be a string, not missing",
            "tls.htst: is not a setting; did you mean tls.hsts?",
        ] {
            assert!(off.contains(error), "{error} is not reported: {off}");
        }
    }

    #[test]
    fn what_is_told_of_fronts_streams_and_sandboxes_authorities_is_read() {
        let defaults = parse(ZONES).unwrap();
        assert_eq!(defaults.sandbox_authorities, None);
        assert!(defaults.listen.trust.proxy_protocol_from.is_empty());
        assert!(defaults.listen.trust.forwarded_from.is_empty());
        assert_eq!(defaults.listen.h2_streams, 100);
        assert_eq!(defaults.listen.connection_lifetime, Duration::from_hours(1));
        assert_eq!(defaults.listen.proxy_header, Duration::from_secs(5));
        let read = parse(&format!(
            "{ZONES}[networks]\nsandbox_ca_file = \"ca.pem\"\nproxy_protocol_from = [\"10.0.9.0/24\", \"fd00::/8\"]\n\
             trusted_proxies = [\"192.0.2.0/25\"]\n[limits]\nhttp2_streams = 7\n[timeouts]\nconnection_lifetime = \"2h\"\n\
             proxy_header = \"250ms\""
        ))
        .unwrap();
        assert_eq!(read.sandbox_authorities, Some(PathBuf::from("ca.pem")));
        let nets =
            |all: &[&str]| all.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(read.listen.trust.proxy_protocol_from, nets(&["10.0.9.0/24", "fd00::/8"]));
        assert_eq!(read.listen.trust.forwarded_from, nets(&["192.0.2.0/25"]));
        assert_eq!(read.listen.h2_streams, 7);
        assert_eq!(read.listen.connection_lifetime, Duration::from_hours(2));
        assert_eq!(read.listen.proxy_header, Duration::from_millis(250));
    }

    #[test]
    fn a_check_reads_the_authorities_for_sandboxes() {
        let files = tempfile::tempdir().unwrap();
        let authorities = files.path().join("authorities.pem");
        let file = files.path().join("portico.toml");
        let allow = "allow = [\"10.0.0.0/8\"]";
        let text = format!("{ZONES}[networks]\n{allow}\nsandbox_ca_file = {authorities:?}");
        std::fs::write(&file, text).unwrap();
        let told = |checked: Result<_, ConfigError>| checked.map(|_| ()).unwrap_err().to_string();
        let absent = told(check(&file));
        assert!(absent.starts_with("networks.sandbox_ca_file: "), "{absent}");
        std::fs::write(&authorities, "nothing of the kind").unwrap();
        let empty = told(check(&file));
        assert!(empty.contains("authorities.pem: "), "{empty}");
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        std::fs::write(&authorities, authority.pem()).unwrap();
        check(&file).unwrap();
    }

    #[test]
    fn mistakes_about_trusted_proxies_and_streams_are_errors() {
        for (text, error) in [
            ("[networks]\nproxy_protocol_from = [\"10.0.9.1/40\"]", "networks.proxy_protocol_from"),
            ("[networks]\ntrusted_proxies = \"10.0.0.0/8\"", "networks.trusted_proxies"),
            ("[networks]\nsandbox_ca_file = \"\"", "networks.sandbox_ca_file: must be a path"),
            ("[networks]\nsandbox_ca_fil = \"x\"", "did you mean networks.sandbox_ca_file?"),
            ("[limits]\nhttp2_streams = 0", "limits.http2_streams"),
            ("[timeouts]\nconnection_lifetime = \"soon\"", "timeouts.connection_lifetime"),
            ("[timeouts]\nproxy_header = -1", "timeouts.proxy_header"),
        ] {
            let told = errors(text);
            assert!(told.contains(error), "{text}: {told}");
        }
    }
}
