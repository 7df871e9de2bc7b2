//! Certificates made for the test in a directory of its own, and real handshakes over memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{CertificateError, Certificates, Pair, Settings, TlsError};
use crate::base::clock::Clock;
use crate::base::shutdown::{Shutdown, Stage};
use crate::base::telemetry::Metrics;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for names, and its key, as PEM. It ends with a year.
    fn issue(&self, names: &[&str], last_year: i32) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn write(&self, directory: &Path, name: &str, names: &[&str]) -> Pair {
        self.write_until(directory, name, names, 2090)
    }

    fn write_until(&self, directory: &Path, name: &str, names: &[&str], last_year: i32) -> Pair {
        let (certificate, key) = self.issue(names, last_year);
        let pair = Pair {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        std::fs::write(&pair.certificate, certificate).unwrap();
        std::fs::write(&pair.key, key).unwrap();
        pair
    }

    /// A client that trusts this authority.
    fn client(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = self.client_of(rustls::DEFAULT_VERSIONS);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

fn settings(pairs: Vec<Pair>, directory: Option<&Path>) -> Settings {
    let directory = directory.map(Path::to_owned);
    Settings { pairs, directory, reload: Duration::from_millis(20) }
}

fn load(pairs: Vec<Pair>, directory: Option<&Path>) -> Result<Certificates, TlsError> {
    Certificates::load(settings(pairs, directory), Clock::system())
}

/// The first name of the certificate that a name gets.
fn first_name(certificates: &Certificates, sni: Option<&str>) -> String {
    let names = certificates.shown(sni);
    let first = names.exact().next().map(str::to_owned);
    first.or_else(|| names.wildcard_parents().next().map(|parent| format!("*.{parent}"))).unwrap()
}

struct Shaken {
    version: ProtocolVersion,
    alpn: Option<Vec<u8>>,
    kind: HandshakeKind,
}

/// A handshake, and a byte each way so that tickets arrive.
async fn shake(
    certificates: &Certificates,
    client: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<Shaken> {
    let (ours, theirs) = duplex(1 << 16);
    let acceptor = TlsAcceptor::from(certificates.server_config());
    let serving = async move {
        let mut stream = acceptor.accept(ours).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await
    };
    let visiting = async {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, theirs).await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        assert_eq!(stream.read_u8().await?, 7);
        let (_, connection) = stream.get_ref();
        Ok(Shaken {
            version: connection.protocol_version().unwrap(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            kind: connection.handshake_kind().unwrap(),
        })
    };
    let (served, visited) = tokio::join!(serving, visiting);
    // When one side fails, so does the other; what the visitor sees counts.
    drop(served);
    visited
}

#[test]
fn the_exact_name_comes_before_the_wildcard_and_the_wildcard_before_the_default() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let pairs = [
        ("default", &["default.example"][..]),
        ("wild", &["*.a.example"]),
        ("exact", &["x.a.example", "other.example"]),
        ("deep", &["*.b.a.example"]),
    ]
    .map(|(name, names)| authority.write(files.path(), name, names));
    let certificates = load(pairs.to_vec(), None).unwrap();
    for (sni, expected) in [
        (Some("x.a.example"), "other.example"),
        (Some("X.A.Example"), "other.example"),
        (Some("y.a.example"), "*.a.example"),
        (Some("y.b.a.example"), "*.b.a.example"),
        (Some("b.a.example"), "*.a.example"),
        (Some("z.y.b.a.example"), "default.example"),
        (Some("a.example"), "default.example"),
        (Some("unknown"), "default.example"),
        (Some(""), "default.example"),
        (None, "default.example"),
    ] {
        assert_eq!(first_name(&certificates, sni), expected, "{sni:?}");
    }
}

#[test]
fn of_several_certificates_for_a_name_the_one_that_lasts_longest_is_shown() {
    let authority = Authority::new();
    for order in [[2060, 2070], [2070, 2060]] {
        let files = tempfile::tempdir().unwrap();
        for (place, year) in order.into_iter().enumerate() {
            let mark = format!("a{year}.example");
            let names = ["x.example", "*.w.example", mark.as_str()];
            authority.write_until(files.path(), &format!("{place}"), &names, year);
        }
        let certificates = load(Vec::new(), Some(files.path())).unwrap();
        for sni in ["x.example", "1.w.example"] {
            assert_eq!(first_name(&certificates, Some(sni)), "a2070.example");
        }
        let first = format!("a{}.example", order[0]);
        assert_eq!(first_name(&certificates, None), first, "the first of the directory");
    }
}

#[test]
fn a_directory_holds_pairs_of_every_layout_in_the_order_of_their_names() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let named = authority.write(files.path(), ".hidden", &["named.example"]);
    authority.write(files.path(), "b.example", &["b.example"]);
    authority.write(files.path(), "c", &["c.example"]);
    std::fs::rename(files.path().join("c.pem"), files.path().join("c.crt")).unwrap();
    let acme = |directory: PathBuf, name: &str| {
        std::fs::create_dir_all(&directory).unwrap();
        let (certificate, key) = authority.issue(&[name], 2090);
        std::fs::write(directory.join("fullchain.pem"), certificate).unwrap();
        std::fs::write(directory.join("privkey.pem"), key).unwrap();
    };
    acme(files.path().join("a.example"), "a.example");
    std::fs::create_dir(files.path().join("empty")).unwrap();
    for other in ["README", "lonely.key", ".half.pem", "empty/x.pem"] {
        std::fs::write(files.path().join(other), "nothing").unwrap();
    }
    let certificates = load(Vec::new(), Some(files.path())).unwrap();
    assert_eq!(first_name(&certificates, None), "a.example");
    for name in ["a.example", "b.example", "c.example"] {
        assert_eq!(first_name(&certificates, Some(name)), name);
    }
    let certificates = load(vec![named], Some(files.path())).unwrap();
    assert_eq!(first_name(&certificates, None), "named.example", "named pairs come first");

    // The directory of one name, as an ACME client leaves it.
    let live = tempfile::tempdir().unwrap();
    acme(live.path().to_owned(), "live.example");
    for part in ["cert.pem", "chain.pem"] {
        std::fs::copy(live.path().join("fullchain.pem"), live.path().join(part)).unwrap();
    }
    assert_eq!(first_name(&load(Vec::new(), Some(live.path())).unwrap(), None), "live.example");
}

#[test]
fn every_error_of_every_pair_is_reported_at_once() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| files.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    authority.write(files.path(), "good", &["good.example"]);
    authority.write(files.path(), "swapped", &["swapped.example"]);
    std::fs::copy(at("good.key"), at("swapped.key")).unwrap();
    authority.write(files.path(), "keyless", &["keyless.example"]);
    std::fs::remove_file(at("keyless.key")).unwrap();
    let (whole, key) = authority.issue(&["half.example"], 2090);
    write("half.pem", whole.split_at(whole.len() / 2).0);
    write("half.key", key.split_at(key.len() / 2).0);
    write("text.pem", "no certificate");
    write("text.key", "no key");
    authority.write(files.path(), "nameless", &[]);
    write("junk.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    write("junk.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
    write("large.pem", &"x".repeat((1 << 20) + 1));
    write("large.key", &key);
    let nowhere = Pair { certificate: at("no.pem"), key: at("no.key") };
    let error = load(vec![nowhere], Some(files.path())).unwrap_err();
    let text = error.to_string();
    for expected in [
        "no.pem: cannot be read: No such file",
        "no.key: cannot be read: No such file",
        "swapped.key: is not the key of ",
        "keyless.key: cannot be read: No such file",
        "half.pem: is damaged or only half written",
        "half.key: is damaged or only half written",
        "text.pem: contains no certificate",
        "text.key: contains no private key",
        "nameless.pem: is valid for no host",
        "junk.pem: is damaged",
        "large.pem: is larger than 1 MiB",
    ] {
        assert!(text.contains(expected), "{expected} is not told: {text}");
    }
    assert_eq!((error.0.len(), text.lines().count()), (11, 11), "{text}");
    assert!(!text.contains("good"), "{text}");

    authority.write(files.path(), "junk", &["junk.example"]);
    write("junk.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
    let pair = Pair { certificate: at("junk.pem"), key: at("junk.key") };
    let error = load(vec![pair], None).unwrap_err();
    assert!(matches!(error.0[..], [CertificateError::Key(..)]), "{error}");

    let empty = tempfile::tempdir().unwrap();
    let error = load(Vec::new(), Some(empty.path())).unwrap_err();
    assert!(matches!(error.0[..], [CertificateError::None(_)]), "{error}");
    let error = load(Vec::new(), Some(&empty.path().join("no"))).unwrap_err();
    assert!(matches!(error.0[..], [CertificateError::File(..)]), "{error}");
}

#[test]
fn certificates_outside_their_time_are_used_and_warned_of() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let pair = authority.write_until(files.path(), "a", &["a.example"], 2050);
    for (now, expected) in [
        ("1999-12-31T00:00:00Z", Some("is not valid before 2000-01-01")),
        ("2020-01-01T00:00:00Z", None),
        ("2050-12-23T23:59:59Z", None),
        ("2050-12-24T00:00:01Z", Some("expires on 2050-12-31")),
        ("2051-01-01T00:00:00Z", Some("has expired on 2050-12-31")),
    ] {
        let clock = Clock::manual(now.parse().unwrap());
        let certificates = Certificates::load(settings(vec![pair.clone()], None), clock).unwrap();
        let warnings = certificates.warnings();
        match expected {
            None => assert!(warnings.is_empty(), "{now}: {warnings:?}"),
            Some(text) => assert!(warnings[0].contains(text), "{now}: {warnings:?}"),
        }
        assert_eq!(first_name(&certificates, None), "a.example");
    }
}

#[test]
fn a_thousand_certificates_are_loaded_and_each_is_found() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    for number in 0..1000 {
        let name = format!("a{number:03}.example");
        let wild = format!("*.{name}");
        authority.write(files.path(), &name, &[&name, &wild]);
    }
    let certificates = load(Vec::new(), Some(files.path())).unwrap();
    for number in 0..1000 {
        let name = format!("a{number:03}.example");
        assert_eq!(first_name(&certificates, Some(&name)), name);
        assert_eq!(first_name(&certificates, Some(&format!("x.{name}"))), name);
    }
    assert_eq!(first_name(&certificates, None), "a000.example");
}

#[tokio::test]
async fn handshakes_show_the_chosen_certificate_and_agree_on_a_protocol() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write(files.path(), "a", &["a.example"]);
    authority.write(files.path(), "b", &["*.b.example"]);
    let certificates = load(Vec::new(), Some(files.path())).unwrap();
    for (offered, agreed) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let client = authority.client(offered);
        for name in ["a.example", "x.b.example"] {
            let shaken = shake(&certificates, &client, name).await.unwrap();
            assert_eq!(shaken.alpn.as_deref(), agreed, "{name}");
            assert_eq!(shaken.version, ProtocolVersion::TLSv1_3);
        }
        let wrong = shake(&certificates, &client, "c.example").await.err().unwrap();
        assert!(wrong.to_string().contains("not valid for name"), "the default is a's: {wrong}");
    }
    let client = authority.client(&[b"ftp"]);
    let refused = shake(&certificates, &client, "a.example").await.err().unwrap();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn sessions_resume_by_ticket_under_the_name_they_were_made_for() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    authority.write(files.path(), "a", &["*.a.example"]);
    let certificates = load(Vec::new(), Some(files.path())).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = authority.client_of(&[version]);
        client.resumption = Resumption::in_memory_sessions(16);
        let client = Arc::new(client);
        let first = shake(&certificates, &client, "x.a.example").await.unwrap();
        assert_eq!((first.version, first.kind), (version.version, HandshakeKind::Full));
        for _ in 0..2 {
            // Any worker may get the connection: each asks for the configuration anew.
            let again = shake(&certificates.clone(), &client, "x.a.example").await.unwrap();
            assert_eq!(again.kind, HandshakeKind::Resumed, "{version:?}");
        }
        let other = shake(&certificates, &client, "y.a.example").await.unwrap();
        assert_eq!(other.kind, HandshakeKind::Full, "{version:?}");
    }
}

/// Waits until something holds, for at most five seconds.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test]
async fn changed_files_are_taken_over_and_broken_ones_are_not() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let pair = authority.write(files.path(), "a", &["a1.example"]);
    let certificates = load(Vec::new(), Some(files.path())).unwrap();
    let (shutdown, metrics) = (Shutdown::default(), Arc::new(Metrics::new()));
    let keeping = tokio::spawn(certificates.clone().keep(shutdown.watcher(), Arc::clone(&metrics)));
    let shown = || first_name(&certificates, None);
    assert!(!metrics.render().unwrap().contains("portico_certificate_expiry_seconds "));
    eventually("the end is told", || read(&metrics, "expiry_seconds ") == Some(3_818_361_600))
        .await;
    let reloads = |outcome| read(&metrics, &format!("reloads_total{{outcome=\"{outcome}\"}} "));
    assert_eq!((reloads("loaded"), reloads("refused")), (Some(0), Some(0)));

    // A connection of before goes on; one of afterwards gets the new certificate.
    let client = authority.client(&[]);
    let (ours, theirs) = duplex(1 << 16);
    let connector = TlsConnector::from(Arc::clone(&client));
    let name = ServerName::try_from("a1.example").unwrap();
    let (before, visitor) = tokio::join!(
        TlsAcceptor::from(certificates.server_config()).accept(ours),
        connector.connect(name, theirs)
    );
    let (mut before, mut visitor) = (before.unwrap(), visitor.unwrap());
    authority.write(files.path(), "a", &["a2.example"]);
    eventually("the new certificate", || shown() == "a2.example").await;
    shake(&certificates, &client, "a2.example").await.unwrap();
    assert!(shake(&certificates, &authority.client(&[]), "a1.example").await.is_err());
    visitor.write_all(b"on").await.unwrap();
    visitor.flush().await.unwrap();
    let mut heard = [0; 2];
    before.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"on");

    // Half a certificate, another one's key, no key at all: each is refused, and nothing changes.
    let (whole, key) = authority.issue(&["a3.example"], 2090);
    let before = reloads("refused");
    std::fs::write(&pair.certificate, whole.split_at(whole.len() - 60).0).unwrap();
    eventually("half a certificate is refused", || reloads("refused") > before).await;
    let before = reloads("refused");
    std::fs::write(&pair.certificate, &whole).unwrap();
    eventually("another one's key is refused", || reloads("refused") > before).await;
    let before = reloads("refused");
    std::fs::remove_file(&pair.key).unwrap();
    eventually("a missing key is refused", || reloads("refused") > before).await;
    assert_eq!(shown(), "a2.example");
    shake(&certificates, &client, "a2.example").await.unwrap();
    let told = reloads("refused");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(reloads("refused"), told, "one change is told once");

    std::fs::write(&pair.key, &key).unwrap();
    eventually("the whole pair", || shown() == "a3.example").await;

    // A new pair joins; when the files are gone altogether, the last good set stays.
    authority.write(files.path(), "b", &["b.example"]);
    eventually("the second pair", || first_name(&certificates, Some("b.example")) == "b.example")
        .await;
    let before = reloads("refused");
    std::fs::remove_dir_all(files.path()).unwrap();
    eventually("no files are refused", || reloads("refused") > before).await;
    assert_eq!(shown(), "a3.example");

    shutdown.reach(Stage::Draining);
    keeping.await.unwrap();
    shutdown.everybody_left().await;
}

/// A metric of certificates, by the rest of its name.
fn read(metrics: &Metrics, name: &str) -> Option<u64> {
    let text = metrics.render().unwrap();
    let told =
        |line: &str| line.strip_prefix("portico_certificate_")?.strip_prefix(name)?.parse().ok();
    text.lines().find_map(told)
}
