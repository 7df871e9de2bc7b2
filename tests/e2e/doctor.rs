//! `portico doctor` and `portico check --try` against real errors: a taken port, wrong permissions, an expired certificate, a DNS server that
//! says what the test wants.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::dns::Names;
use crate::support::{Api, Authority, FakeSandbox, Process, command};

/// A configuration whose parts a test replaces.
struct Place {
    folder: tempfile::TempDir,
    names: Names,
    ports: [u16; 4],
}

/// Ports that were free a moment ago.
fn free() -> [u16; 4] {
    let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

impl Place {
    async fn new() -> Self {
        let names = Names::start().await;
        names.set("*.sandbox.example.com", &["A 127.0.0.1"]);
        let place = Self { folder: tempfile::tempdir().unwrap(), names, ports: free() };
        place.write("");
        let init = command(&["init", "--config", &place.file()], None);
        assert!(init.status.success(), "{init:?}");
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self) -> String {
        self.folder.path().join("portico.toml").to_str().unwrap().to_owned()
    }

    fn write(&self, more: &str) {
        let [preview, api, admin, _] = self.ports;
        let networks = "[networks]\nallow = [\"10.0.0.0/8\"]\n";
        let networks = if more.contains("[networks]") { "" } else { networks };
        let text = format!(
            "{networks}[preview]\nlisten = \"127.0.0.1:{preview}\"\nzones = [\"sandbox.example.com\"]\n[api]\nlisten = \"127.0.0.1:{api}\"\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n[store]\ndata = \"{}\"\n[dns]\nresolvers = [\"{}\"]\ntimeout = \"500ms\"\n\
             [log]\nfilter = \"off\"\n{more}",
            self.data().display(),
            self.names.address
        );
        std::fs::write(self.file(), text).unwrap();
    }

    /// The findings, and whether the exit code says that something is wrong.
    async fn examine(&self, options: &[&str]) -> Found {
        let arguments: Vec<String> = ["doctor", "--json", "--config", &self.file()]
            .iter()
            .chain(options)
            .map(|argument| (*argument).to_owned())
            .collect();
        // The DNS server of the test responds on this runtime.
        let output = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            command(&arguments, None)
        })
        .await
        .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
        let errors = all.iter().any(|finding| finding["level"] == "error");
        assert_eq!(output.status.code(), Some(i32::from(errors)), "{text}");
        for finding in &all {
            assert_eq!(finding["level"] == "ok", finding["advice"].is_null(), "{finding}");
        }
        Found(all)
    }
}

struct Found(Vec<Value>);

impl Found {
    fn of<'a>(&'a self, check: &'a str, level: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = move |found: &&Value| found["check"] == check && found["level"] == level;
        self.0.iter().filter(is_it).map(|found| found["found"].as_str().unwrap())
    }

    #[track_caller]
    fn has(&self, check: &str, level: &str, what: &str) {
        assert!(self.of(check, level).any(|found| found.contains(what)), "{what}: {:#?}", self.0);
    }

    #[track_caller]
    fn has_no_errors(&self) {
        assert!(!self.0.iter().any(|found| found["level"] == "error"), "{:#?}", self.0);
    }
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_has_no_errors_and_a_running_server_is_recognized() {
    let place = Place::new().await;
    let found = place.examine(&[]).await;
    found.has_no_errors();
    for (check, what) in [
        ("config", "is valid"),
        ("database", "whole"),
        ("permissions", "alone"),
        ("ports", "is free"),
        ("dns", "this machine"),
        ("open files", "may be open"),
    ] {
        found.has(check, "ok", what);
    }
    found.has("certificates", "warning", "clear text");
    let process = Process::run(&["serve", "--json", "--config", &place.file()]);
    let found = place.examine(&[]).await;
    found.has_no_errors();
    assert_eq!(found.of("ports", "ok").filter(|f| f.contains("our server listens")).count(), 3);
    let tried = command(&["check", "--try", "--config", &place.file()], None);
    assert!(tried.status.success(), "{tried:?}");
    let text = command(&["doctor", "--config", &place.file()], None);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("ok       database     whole") && text.contains("→ "), "{text}");
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_an_error_that_names_who_holds_it() {
    let place = Place::new().await;
    let held = TcpListener::bind(("127.0.0.1", place.ports[1])).unwrap();
    let found = place.examine(&[]).await;
    found.has("ports", "error", &format!("api.listen: 127.0.0.1:{} is held by", place.ports[1]));
    found.has("ports", "error", &format!("(pid {})", std::process::id()));
    let tried = command(&["check", "--try", "--config", &place.file()], None);
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(!tried.status.success() && said.contains("api.listen"), "{said}");
    assert!(command(&["check", "--config", &place.file()], None).status.success());
    drop(held);
    place.write("[tls]\nlisten = \"192.0.2.1:443\"\ndirectory = \"/nowhere\"\n");
    let found = place.examine(&[]).await;
    found.has("ports", "error", "tls.listen: 192.0.2.1:443");
    found.has("certificates", "error", "/nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_and_what_has_become_of_the_data_are_told() {
    let place = Place::new().await;
    let data = place.data();
    mode(&data.join("secret.key"), 0o644);
    place.examine(&[]).await.has("permissions", "error", "others may read it");
    mode(&data.join("secret.key"), 0o600);
    mode(&data, 0o777);
    place.examine(&[]).await.has("permissions", "error", "others may replace");
    mode(&data, 0o700);
    place.examine(&[]).await.has_no_errors();
    // The bytes behind the header.
    let database = std::fs::read(data.join("portico.db")).unwrap();
    let mut broken = database.clone();
    for byte in &mut broken[2000..9000] {
        *byte = 0xff;
    }
    for beside in ["portico.db-wal", "portico.db-shm"] {
        drop(std::fs::remove_file(data.join(beside)));
    }
    std::fs::write(data.join("portico.db"), broken).unwrap();
    assert!(place.examine(&[]).await.of("database", "error").next().is_some());
    std::fs::write(data.join("portico.db"), database).unwrap();
    let key = std::fs::read(data.join("secret.key")).unwrap();
    std::fs::write(data.join("secret.key"), "0".repeat(64)).unwrap();
    place.examine(&[]).await.has("database", "error", "does not belong");
    std::fs::write(data.join("secret.key"), key).unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let found = place.examine(&[]).await;
    found.has("database", "warning", "none yet");
    found.has("permissions", "error", "No such file");
    assert!(!data.exists(), "looking creates nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_that_leads_nowhere_or_elsewhere_is_told() {
    let place = Place::new().await;
    place.names.remove("*.sandbox.example.com");
    place.examine(&[]).await.has("dns", "error", "*.sandbox.example.com has no address");
    place.names.set("*.sandbox.example.com", &["A 192.0.2.7"]);
    place.examine(&[]).await.has("dns", "warning", "leads to 192.0.2.7");
    place.names.set("*.sandbox.example.com", &["CNAME front.example.com"]);
    place.names.set("front.example.com", &["A 192.0.2.7"]);
    place.write("[domains]\ntarget = \"front.example.com\"\n");
    place.examine(&[]).await.has("dns", "ok", "192.0.2.7, as domains.target");
    place.names.mood(Some(crate::support::dns::Mood::Fails));
    place.examine(&[]).await.has("dns", "error", "*.sandbox.example.com: the DNS servers");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_have_expired_or_are_missing_for_a_name_are_told() {
    let place = Place::new().await;
    let authority = Authority::new();
    authority.issue("zone", &["*.sandbox.example.com"]);
    let tls = format!(
        "[tls]\nlisten = \"127.0.0.1:{}\"\ndirectory = {:?}\n",
        place.ports[3],
        authority.directory()
    );
    place.write(&tls);
    let found = place.examine(&[]).await;
    found.has_no_errors();
    found.has("certificates", "ok", "all 1 names are covered");
    let run = |arguments: &[&str]| {
        let done = command(&[arguments, &["--config", &place.file()]].concat(), None);
        assert!(done.status.success(), "{done:?}");
    };
    run(&["tenant", "create", "one"]);
    run(&["domain", "add", "own.example", "--tenant", "one"]);
    let found = place.examine(&[]).await;
    found.has("certificates", "error", "no certificate covers *.sandbox.own.example");

    let mut params = rcgen::CertificateParams::new(vec!["*.sandbox.own.example".into()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let expired = params.self_signed(&key).unwrap();
    std::fs::write(authority.directory().join("own.pem"), expired.pem()).unwrap();
    std::fs::write(authority.directory().join("own.key"), key.serialize_pem()).unwrap();
    let found = place.examine(&[]).await;
    found.has("certificates", "error", "own.pem has expired on 2021-01-01");
    assert!(!found.of("certificates", "error").any(|found| found.contains("no certificate")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_reached_or_it_is_said_why_not() {
    let place = Place::new().await;
    place.write("[networks]\nallow = [\"127.0.0.0/8\"]\n");
    let process = Process::run(&["serve", "--json", "--config", &place.file()]);
    let run = |arguments: &[&str]| {
        let done = command(&[arguments, &["--config", &place.file()]].concat(), None);
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    run(&["tenant", "create", "one"]);
    let key = run(&["key", "create", "--quiet", "--tenant", "one"]);
    let api = Api { address: process.fact("api_url")[7..].parse().unwrap(), key };
    let sandbox = FakeSandbox::well_behaved().await;
    let order = json!({"slug": "mine", "upstream": format!("127.0.0.1:{}", sandbox.port())});
    let made = api.ok("POST", "/sandboxes", Some(order)).await;
    let id = made["id"].as_str().unwrap();
    place.examine(&["--sandbox", id]).await.has("sandbox", "ok", "HTTP/1.1 200");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    api.ok("PATCH", &format!("/sandboxes/{id}"), Some(json!({"upstream": nobody.to_string()})))
        .await;
    place.examine(&["--sandbox", id]).await.has("sandbox", "error", "nothing listens on the port");
    place.write("");
    place.examine(&["--sandbox", id]).await.has(
        "sandbox",
        "error",
        "not in the permitted networks",
    );
    let found = place.examine(&["--sandbox", "none"]).await;
    found.has("sandbox", "error", "none is no id");
    process.kill();
}
