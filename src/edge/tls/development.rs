//! Certificates for development: an authority of this machine's own, which cannot vouch for anything outside it, and a certificate for
//! the preview zones below `localhost`.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData as _,
    SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::files::Pair;
use super::pair;

/// How long the authority is valid that vouches for this machine to itself, days.
const AUTHORITY_DAYS: i64 = 3650;
/// How long one is valid that vouches for this machine to others, days. Somebody else trusts it, so it must not outlive its use.
const SHARING_DAYS: i64 = 90;
/// How long a certificate is valid, days.
const CERTIFICATE_DAYS: i64 = 90;
/// A certificate or authority with fewer days than this left is made anew.
const LEAST_DAYS: i64 = 30;

/// Where the development certificates of a data directory are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Development {
    /// The authority's certificate, which browsers are told to trust.
    pub ca: PathBuf,
    ca_key: PathBuf,
    /// What previews are served with.
    pub pair: Pair,
    /// The name that the authority may vouch for, with everything below it.
    name: String,
    /// The addresses that it may vouch for, each with the network that it is named as.
    addresses: Vec<(IpAddr, u8)>,
    /// How long the authority is valid, days.
    days: i64,
}

/// Why there are no development certificates.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// A file that cannot be read or written.
    #[error("{}: {_1}", .0.display())]
    File(PathBuf, io::Error),
    /// A certificate that cannot be made.
    #[error("cannot create a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Development {
    /// The certificates for `localhost` in a directory, made or not.
    pub fn at(directory: &Path) -> Self {
        let loopback =
            [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];
        Self::of(directory, "localhost", loopback.to_vec(), AUTHORITY_DAYS)
    }

    /// The certificates in a directory for a name by which others reach this machine at an address. Their authority can vouch for these
    /// two alone.
    pub fn sharing(directory: &Path, name: &str, address: IpAddr) -> Self {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        Self::of(directory, name, vec![(address, whole)], SHARING_DAYS)
    }

    fn of(directory: &Path, name: &str, addresses: Vec<(IpAddr, u8)>, days: i64) -> Self {
        let pair =
            Pair { certificate: directory.join("preview.pem"), key: directory.join("preview.key") };
        let (ca, ca_key) = (directory.join("ca.pem"), directory.join("ca.key"));
        Self { ca, ca_key, pair, name: name.to_owned(), addresses, days }
    }

    /// Makes what is missing, has come near its end, or does not fit the zones. The authority is kept as long as it can be: somebody
    /// trusts it. Gives its name.
    pub fn prepare(&self, zones: &[String], now: Timestamp) -> Result<String, DevelopmentError> {
        if let Some(directory) = self.ca.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|error| DevelopmentError::File(directory.to_owned(), error))?;
        }
        let (authority, name) = match self.kept_authority(now)? {
            Some(kept) => kept,
            None => self.make_authority(now)?,
        };
        let names = self.names(zones);
        if !self.fits(&names, now) {
            self.make_certificate(names, &authority, now)?;
        }
        Ok(name)
    }

    /// The authority of before, if it is whole and lasts.
    fn kept_authority(
        &self,
        now: Timestamp,
    ) -> Result<Option<(Authority, String)>, DevelopmentError> {
        let (Some(certificate), Some(key)) = (read(&self.ca)?, read(&self.ca_key)?) else {
            return Ok(None);
        };
        let kept = || {
            let key = KeyPair::from_pem(&key).ok()?;
            let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
            let (_, parsed) = X509Certificate::from_der(&der).ok()?;
            let is_its_key = parsed.public_key().subject_public_key.data == key.der_bytes();
            let lasts = lasts(parsed.validity().not_after.timestamp(), now);
            let name = parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
            let issuer = Issuer::from_ca_cert_der(&der, key).ok()?;
            (is_its_key && lasts).then_some((issuer, name))
        };
        Ok(kept())
    }

    fn make_authority(&self, now: Timestamp) -> Result<(Authority, String), DevelopmentError> {
        let key = KeyPair::generate()?;
        // Each authority has a name of its own, so that those of several directories can be trusted side by side.
        let bytes = key.der_bytes().get(1..5).and_then(|bytes| bytes.try_into().ok());
        let mark = bytes.map(u32::from_be_bytes).unwrap_or_default();
        let name = format!("Portico development CA {mark:08x}");
        let mut params = valid(now, self.days);
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(self.constraints());
        let certificate = params.self_signed(&key)?;
        write(&self.ca_key, &key.serialize_pem(), 0o600)?;
        write(&self.ca, &certificate.pem(), 0o644)?;
        Ok((Issuer::new(params, key), name))
    }

    /// Whether the certificate of before does: it is whole, it lasts, it has these names, and this authority has signed it.
    fn fits(&self, names: &[SanType], now: Timestamp) -> bool {
        let Ok(entry) = pair::read(&self.pair, &aws_lc_rs::default_provider()) else {
            return false;
        };
        let wanted = names.iter().all(|name| match name {
            SanType::DnsName(name) => entry.names.covers(&name.as_str().replace('*', "x")),
            SanType::IpAddress(IpAddr::V6(address)) => entry.names.covers(&format!("[{address}]")),
            SanType::IpAddress(address) => entry.names.covers(&address.to_string()),
            _ => false,
        });
        let is_time = entry.not_before <= now && lasts(entry.not_after.as_second(), now);
        wanted && is_time && self.is_signed(&entry).is_some_and(|signed| signed)
    }

    fn is_signed(&self, entry: &pair::Entry) -> Option<bool> {
        let authority = CertificateDer::from_pem_file(&self.ca).ok()?;
        let (_, authority) = X509Certificate::from_der(&authority).ok()?;
        let (_, certificate) = X509Certificate::from_der(entry.key.cert.first()?).ok()?;
        Some(certificate.verify_signature(Some(authority.public_key())).is_ok())
    }

    fn make_certificate(
        &self,
        names: Vec<SanType>,
        authority: &Authority,
        now: Timestamp,
    ) -> Result<(), DevelopmentError> {
        let key = KeyPair::generate()?;
        let mut params = valid(now, CERTIFICATE_DAYS);
        params.distinguished_name.push(DnType::CommonName, "Portico development");
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, authority)?;
        write(&self.pair.key, &key.serialize_pem(), 0o600)?;
        write(&self.pair.certificate, &certificate.pem(), 0o644)
    }

    /// The zones that the authority may vouch for, what is one label below them, and the machine itself.
    fn names(&self, zones: &[String]) -> Vec<SanType> {
        let may = |zone: &&String| {
            let above = zone.strip_suffix(self.name.as_str());
            above.is_some_and(|left| left.is_empty() || left.ends_with('.'))
        };
        let below = zones.iter().filter(may).flat_map(|zone| [format!("*.{zone}"), zone.clone()]);
        let mut names: Vec<String> = below.collect();
        if !names.contains(&self.name) {
            names.push(self.name.clone());
        }
        let dns = names.into_iter().filter_map(|name| name.try_into().ok().map(SanType::DnsName));
        dns.chain(self.addresses.iter().map(|(address, _)| SanType::IpAddress(*address))).collect()
    }

    /// That it may vouch for nothing else. Where addresses of one kind are named, all of the other are excluded as well.
    fn constraints(&self) -> NameConstraints {
        let addresses = self.addresses.iter().filter_map(|(address, prefix)| {
            let network = IpNet::new(*address, *prefix).ok()?.network();
            Some(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network, *prefix)))
        });
        let name = GeneralSubtree::DnsName(self.name.clone());
        NameConstraints {
            permitted_subtrees: std::iter::once(name).chain(addresses).collect(),
            excluded_subtrees: Vec::new(),
        }
    }
}

type Authority = Issuer<'static, KeyPair>;

/// Parameters with nothing but a time: from yesterday, as clocks differ, for so many days.
fn valid(now: Timestamp, days: i64) -> CertificateParams {
    let day = |from_now: i64| {
        let at = now.saturating_add(SignedDuration::from_hours(24 * from_now));
        let date = TimeZone::UTC.to_datetime(at.unwrap_or(Timestamp::MAX)).date();
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = day(-1);
    params.not_after = day(days);
    params
}

fn lasts(not_after: i64, now: Timestamp) -> bool {
    not_after - now.as_second() >= LEAST_DAYS * 24 * 3600
}

fn read(path: &Path) -> Result<Option<String>, DevelopmentError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DevelopmentError::File(path.to_owned(), error)),
    }
}

/// Writes a whole file or none: under another name first.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevelopmentError> {
    let error = |error| DevelopmentError::File(path.to_owned(), error);
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(mode).open(&unfinished);
    let mut file = opened.map_err(error)?;
    file.write_all(text.as_bytes()).map_err(error)?;
    file.sync_all().map_err(error)?;
    std::fs::rename(&unfinished, path).map_err(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zones(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// Whether who trusts the authority accepts a certificate for a name.
    fn is_accepted(made: &Development, certificate: &Path, name: &str, now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&made.ca).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let certificate = CertificateDer::from_pem_file(certificate).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let seconds = Duration::from_secs(now.as_second().try_into().unwrap());
        let now = UnixTime::since_unix_epoch(seconds);
        let verifier = verifier.build().unwrap();
        verifier.verify_server_cert(&certificate, &[], &name, &[], now).is_ok()
    }

    fn texts(made: &Development) -> [String; 2] {
        [&made.ca, &made.pair.certificate].map(|path| std::fs::read_to_string(path).unwrap())
    }

    #[test]
    fn the_first_start_makes_certificates_and_the_next_keeps_them() {
        let files = tempfile::tempdir().unwrap();
        let made = Development::at(&files.path().join("tls"));
        let (zones, now) = (zones(&["sandbox.localhost"]), at("2026-02-03T04:05:06Z"));
        let name = made.prepare(&zones, now).unwrap();
        for accepted in
            ["3000-demo.sandbox.localhost", "sandbox.localhost", "localhost", "127.0.0.1", "::1"]
        {
            assert!(is_accepted(&made, &made.pair.certificate, accepted, now), "{accepted}");
        }
        for other in ["a.b.sandbox.localhost", "demo.localhost", "10.0.0.1", "example.com"] {
            assert!(!is_accepted(&made, &made.pair.certificate, other, now), "{other}");
        }
        for key in [&made.ca_key, &made.pair.key] {
            let mode = std::fs::metadata(key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", key.display());
        }
        let before = texts(&made);
        assert_eq!(made.prepare(&zones, now).unwrap(), name);
        assert_eq!(texts(&made), before);
        assert_eq!(std::fs::read_dir(files.path().join("tls")).unwrap().count(), 4);
    }

    #[test]
    fn the_authority_can_vouch_for_nothing_outside_this_machine() {
        let files = tempfile::tempdir().unwrap();
        let made = Development::at(files.path());
        let now = at("2026-02-03T00:00:00Z");
        made.prepare(&[], now).unwrap();
        let (authority, _) = made.kept_authority(now).unwrap().unwrap();
        for (name, accepted) in [
            ("anything.localhost", true),
            ("127.3.2.1", true),
            ("bank.example", false),
            ("localhost.example", false),
            ("notlocalhost", false),
            ("10.0.0.1", false),
            ("::2", false),
        ] {
            let name_of = match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.try_into().unwrap()),
            };
            made.make_certificate(vec![name_of], &authority, now).unwrap();
            assert_eq!(is_accepted(&made, &made.pair.certificate, name, now), accepted, "{name}");
        }
    }

    #[test]
    fn an_authority_for_others_can_vouch_for_one_name_and_one_address() {
        let files = tempfile::tempdir().unwrap();
        let (zone, address) = ("192-168-1-7.sslip.io", "192.168.1.7".parse().unwrap());
        let made = Development::sharing(&files.path().join(zone), zone, address);
        let now = at("2026-02-03T00:00:00Z");
        made.prepare(&zones(&[zone]), now).unwrap();
        for name in ["5173-x.192-168-1-7.sslip.io", zone, "192.168.1.7"] {
            assert!(is_accepted(&made, &made.pair.certificate, name, now), "{name}");
        }
        let (authority, _) = made.kept_authority(now).unwrap().unwrap();
        for other in [
            "sslip.io",
            "192-168-1-8.sslip.io",
            "x-192-168-1-7.sslip.io",
            "localhost",
            "bank.example",
        ] {
            let name = SanType::DnsName(other.try_into().unwrap());
            made.make_certificate(vec![name], &authority, now).unwrap();
            assert!(!is_accepted(&made, &made.pair.certificate, other, now), "{other}");
        }
        for other in ["192.168.1.8", "127.0.0.1", "::1", "fd00::7"] {
            let name = SanType::IpAddress(other.parse().unwrap());
            made.make_certificate(vec![name], &authority, now).unwrap();
            assert!(!is_accepted(&made, &made.pair.certificate, other, now), "{other}");
        }
        let ended = at("2026-05-05T00:00:00Z");
        let before = texts(&made);
        made.prepare(&zones(&[zone]), ended).unwrap();
        assert_ne!(texts(&made)[0], before[0], "it does not outlive its use");
    }

    #[test]
    fn certificates_are_made_anew_before_they_end_and_the_authority_is_kept() {
        let files = tempfile::tempdir().unwrap();
        let made = Development::at(files.path());
        let zones = zones(&["sandbox.localhost"]);
        made.prepare(&zones, at("2026-01-01T12:00:00Z")).unwrap();
        let [authority, certificate] = texts(&made);
        made.prepare(&zones, at("2026-03-01T12:00:00Z")).unwrap();
        assert_eq!(texts(&made), [authority.clone(), certificate.clone()]);
        let later = at("2026-03-04T12:00:00Z");
        made.prepare(&zones, later).unwrap();
        let renewed = texts(&made);
        assert!(renewed[0] == authority && renewed[1] != certificate);
        assert!(is_accepted(&made, &made.pair.certificate, "localhost", later));
        // A clock that went back: what is not yet valid is of no use.
        made.prepare(&zones, at("2026-01-01T12:00:00Z")).unwrap();
        assert_ne!(texts(&made)[1], renewed[1]);
        let end = at("2035-12-20T00:00:00Z");
        made.prepare(&zones, end).unwrap();
        assert_ne!(texts(&made)[0], authority);
        assert!(is_accepted(&made, &made.pair.certificate, "localhost", end));
    }

    #[test]
    fn certificates_follow_the_zones_that_the_authority_may_vouch_for() {
        let files = tempfile::tempdir().unwrap();
        let made = Development::at(files.path());
        let now = at("2026-01-01T00:00:00Z");
        made.prepare(&zones(&["sandbox.localhost"]), now).unwrap();
        let [authority, _] = texts(&made);
        made.prepare(&zones(&["other.localhost", "example.com", "notlocalhost"]), now).unwrap();
        assert_eq!(texts(&made)[0], authority);
        assert!(is_accepted(&made, &made.pair.certificate, "x.other.localhost", now));
        assert!(!is_accepted(&made, &made.pair.certificate, "x.sandbox.localhost", now));
        assert!(!is_accepted(&made, &made.pair.certificate, "x.example.com", now));
    }

    #[test]
    fn what_is_damaged_or_belongs_to_another_authority_is_made_anew() {
        let files = tempfile::tempdir().unwrap();
        let made = Development::at(files.path());
        let (zones, now) = (zones(&["sandbox.localhost"]), at("2026-01-01T00:00:00Z"));
        made.prepare(&zones, now).unwrap();
        let [authority, certificate] = texts(&made);
        std::fs::write(&made.pair.key, "").unwrap();
        made.prepare(&zones, now).unwrap();
        let repaired = texts(&made);
        assert!(repaired[0] == authority && repaired[1] != certificate);
        for lost in [&made.ca_key, &made.ca] {
            let before = texts(&made);
            std::fs::remove_file(lost).unwrap();
            made.prepare(&zones, now).unwrap();
            let after = texts(&made);
            assert!(after[0] != before[0] && after[1] != before[1], "{}", lost.display());
            assert!(is_accepted(&made, &made.pair.certificate, "localhost", now));
        }
        let other = tempfile::tempdir().unwrap();
        let foreign = Development::at(other.path());
        foreign.prepare(&zones, now).unwrap();
        std::fs::copy(&foreign.ca_key, &made.ca_key).unwrap();
        let before = texts(&made);
        made.prepare(&zones, now).unwrap();
        assert_ne!(texts(&made)[0], before[0], "a key of another authority");
        let blocked = files.path().join("blocked");
        std::fs::write(&blocked, "").unwrap();
        let error = Development::at(&blocked.join("tls")).prepare(&zones, now).unwrap_err();
        assert!(error.to_string().contains("blocked"), "{error}");
    }
}
