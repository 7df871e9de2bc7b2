//! What `portico check` and a start say of certificates, and the ones that development mode makes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::Process;

/// Writes a certificate that ends with a year, and its key.
fn write(directory: &Path, name: &str, last_year: i32) {
    let mut params = CertificateParams::new([format!("{name}.example")]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(last_year, 12, 31);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// Exit code, standard output and standard error.
fn run(command: &str, config: &Path) -> (Option<i32>, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_portico"))
        .args([command, "--config"])
        .arg(config)
        .output()
        .expect("run");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

#[test]
fn a_check_reads_the_certificates_and_reports_their_errors_with_all_others() {
    let files = tempfile::tempdir().unwrap();
    let certificates = files.path().join("certificates");
    std::fs::create_dir(&certificates).unwrap();
    write(&certificates, "good", 2090);
    write(&certificates, "old", 2020);
    let config = files.path().join("portico.toml");
    let configure = |more: &str| {
        let text = format!(
            "[preview]\nzones = [\"sandbox.example.com\"]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
             [networks]\nallow = [\"127.0.0.0/8\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\ndata = {:?}\n[tls]\nlisten = \"127.0.0.1:0\"\ndirectory = {certificates:?}\n{more}",
            files.path().join("data")
        );
        std::fs::write(&config, text).unwrap();
    };
    configure("");
    let (code, said, errors) = run("check", &config);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(
        said.starts_with("warning: ") && said.contains("old.pem: has expired on 2020"),
        "{said}"
    );
    assert!(said.contains("configuration OK"), "{said}");

    write(&certificates, "broken", 2090);
    std::fs::write(certificates.join("broken.key"), "").unwrap();
    std::fs::copy(certificates.join("old.key"), certificates.join("good.key")).unwrap();
    for (command, more, expected) in
        [("check", "[limits]\nconnections = -1", "limits.connections: must be"), ("serve", "", "")]
    {
        configure(more);
        let (code, _, errors) = run(command, &config);
        assert_eq!(code, Some(1), "{command}");
        for error in
            ["broken.key: contains no private key", "good.key: is not the key of", expected]
        {
            assert!(errors.contains(error), "{command} does not tell {error}: {errors}");
        }
        assert!(!errors.contains("old.pem"), "{errors}");
    }
}

/// Visits a link of this machine by https, trusting one authority.
async fn visit(link: &str, authority: &str) -> String {
    let (host, target) = link.strip_prefix("https://").unwrap().split_once('/').unwrap();
    let (name, port) = host.split_once(':').unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let port: u16 = port.parse().unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap();
    let request = format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    String::from_utf8(response).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn development_mode_makes_its_certificates_once_and_serves_with_them() {
    let data = tempfile::tempdir().unwrap();
    let mut authorities = Vec::new();
    for _ in 0..2 {
        let process = Process::start(data.path());
        let (plain, secure) = (process.fact("preview_url"), process.fact("https_url"));
        assert!(secure.starts_with("https://3000-demo.sandbox.localhost:"), "{secure}");
        let target = |link: &str| link.split_once("/?ms=").unwrap().1.to_owned();
        assert_eq!(target(plain), target(secure), "one link for both");
        let ca = Path::new(process.fact("ca"));
        assert_eq!(ca, data.path().join("tls").join("ca.pem"));
        authorities.push(std::fs::read_to_string(ca).unwrap());
        // The authority of the first start is still the one to trust.
        let response = visit(secure, &authorities[0]).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(response.contains("<title>It works · Portico</title>"), "{response}");
        let metrics = process.admin("/metrics").await.text();
        assert!(metrics.contains("portico_certificate_expiry_seconds "), "{metrics}");
        process.kill();
    }
    assert_eq!(authorities[0], authorities[1]);
}
