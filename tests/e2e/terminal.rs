//! What a person sees on a terminal of 80 columns and 24 lines: the link first, and then what happens.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Connection, FakeSandbox, Terminal, eventually};

const PORTS: [&str; 8] =
    ["--port", "0", "--https-port", "0", "--api-port", "0", "--admin-port", "0"];

/// A request for a path of a link's host.
fn get(host: &str, target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

async fn visitor(host: &str) -> Connection {
    let port: u16 = host.rsplit_once(':').unwrap().1.parse().unwrap();
    Connection::open(([127, 0, 0, 1], port).into()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banner_fits_on_the_smallest_terminal_and_requests_follow_as_lines() {
    let sandbox = FakeSandbox::well_behaved().await;
    let data = tempfile::tempdir().unwrap();
    let (port, path) = (sandbox.port().to_string(), data.path().to_str().unwrap().to_owned());
    let mut terminal = Terminal::run(&[&["dev", &port, "--data", &path], &PORTS[..]].concat(), &[]);
    terminal.shows("Ctrl-C stops").await;
    let lines = terminal.lines();
    assert_eq!(terminal.wrapped(), [0; 0], "{}", terminal.text());
    assert!(lines.len() <= 12, "{}", terminal.text());
    let first = lines.iter().find(|line| !line.is_empty()).unwrap().trim();
    assert!(first.starts_with(&format!("http://{port}-local.sandbox.localhost:")), "{first}");
    assert!(first.contains("/?ms=ms_") && first.len() < 78, "{first}");
    for word in ["  https://", "API key   msk_live_", "/api/v1", "/metrics"] {
        assert!(terminal.text().contains(word), "{word}");
    }

    let (host, target) = terminal.link();
    let mut visitor = visitor(&host).await;
    let opened = visitor
        .roundtrip(get(
            &host,
            &target,
            "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        ))
        .await;
    let cookie = opened.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let cookie = format!("Cookie: {cookie}\r\n");
    let sent = visitor.roundtrip(format!("POST /form HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{cookie}Content-Length: 0\r\n\r\n")).await;
    assert_eq!(sent.status, 200, "the link lets its holder interact");
    visitor.roundtrip(get(&host, "/src/%1b[2Jmain.ts?q=secret", &cookie)).await;
    visitor.roundtrip(get(&host, "/none", "")).await;
    terminal.shows("/none").await;
    let text = terminal.text();
    let label = host.split('.').next().unwrap();
    for (begin, end) in [
        ("GET    303", format!("{label:<12} /")),
        ("POST   200", format!("{label:<12} /form")),
        ("GET    200", format!("{label:<12} /src/%1b[2Jmain.ts")),
        ("GET    401", format!("{label:<12} /none  sign_in_needed")),
    ] {
        let line = text.lines().find(|line| line.starts_with(begin) && line.ends_with(&end));
        assert!(line.is_some_and(|line| line.contains("ms ")), "{begin} … {end} in:\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    assert!(terminal.lines()[1].starts_with("  http://"), "the link is still there:\n{text}");
    terminal.interrupt();
    assert!(terminal.ended().await);

    let link = (host.split(':').next().unwrap().to_owned(), target);
    let quiet = Terminal::run(
        &[&["dev", "--to", &format!("localhost:{port}"), "--quiet", "--data", &path], &PORTS[..]]
            .concat(),
        &[("NO_COLOR", "1")],
    );
    quiet.shows("Ctrl-C stops").await;
    let (host, target) = quiet.link();
    let again = (host.split(':').next().unwrap().to_owned(), target);
    assert_eq!(again, link, "who starts again finds the link of before");
    assert_eq!(self::visitor(&host).await.roundtrip(get(&host, "/quiet", "")).await.status, 401);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(!quiet.text().contains("/quiet"), "{}", quiet.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_not_there_yet_is_waited_for() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let data = tempfile::tempdir().unwrap();
    let (url, path) = (format!("http://localhost:{free}/a?x=1"), data.path().to_str().unwrap());
    let terminal = Terminal::run(&[&["dev", &url, "--data", path], &PORTS[..]].concat(), &[]);
    terminal.shows(&format!("nothing listens on port {free} yet; waiting")).await;
    let (host, target) = terminal.link();
    assert!(target.starts_with("/a?x=1&ms=ms_"), "{target}");
    let refused = visitor(&host).await.roundtrip(get(&host, &target, "")).await;
    assert_eq!(refused.status, 502);
    terminal.shows("nothing_listening").await;
    let _app = std::net::TcpListener::bind(("127.0.0.1", free)).unwrap();
    terminal.shows(&format!("something listens on port {free} now")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_is_led_to_the_link_once_and_no_command_line_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (opener, called) = (at("xdg-open"), at("called"));
    let script =
        format!("#!/bin/sh\nprintf '%s' \"$*\" > {0}.new && mv {0}.new {0}\n", called.display());
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), env!("PATH"));
    let data = at("data");
    let arguments = [&["dev", "--open", "--data", data.to_str().unwrap()], &PORTS[..]].concat();
    let terminal = Terminal::run(&arguments, &[("PATH", &path)]);
    eventually("the browser is called", async || called.exists()).await;
    let given = std::fs::read_to_string(&called).unwrap();
    let way = given.strip_prefix("http://127.0.0.1:").unwrap();
    assert!(!given.contains("ms_") && !given.contains(' '), "{given}");
    let (port, way) = way.split_at(way.find('/').unwrap());
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let mut browser = Connection::open(address).await;
    let led = browser.roundtrip(get("127.0.0.1", way, "")).await;
    terminal.shows("Ctrl-C stops").await;
    let (host, target) = terminal.link();
    let link = format!("http://{host}{target}");
    assert_eq!((led.status, led.field("location")), (303, Some(link.as_str())));
    eventually("the way is closed", async || std::net::TcpStream::connect(address).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_fits_with_its_code_on_one_screen() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let arguments = ["share", "5173", "--listen", "127.0.0.1", "--port", "0", "--for", "90m"];
    let environment = [("XDG_DATA_HOME", home)];
    let mut terminal = Terminal::run(&arguments, &environment);
    terminal.shows("Revoke  portico share revoke ").await;
    let lines = terminal.lines();
    // Before it may stand that nothing listens there yet.
    let link = lines.iter().find(|line| !line.starts_with("portico: ")).unwrap();
    assert!(
        link.starts_with("https://5173-") && link.contains("127-0-0-1.sslip.io:"),
        "{lines:#?}"
    );
    // The path of the authority is as long as the directory's name; everything else is on its line.
    let ca = lines.iter().position(|line| line.starts_with("CA ")).unwrap();
    let wrapped = terminal.wrapped();
    assert!(wrapped.iter().all(|row| usize::from(*row) == ca), "{wrapped:?}\n{}", terminal.text());
    assert!(lines.iter().filter(|line| line.contains('█')).count() >= 18, "{}", terminal.text());
    for words in ["Port 5173 of this machine.", "use it for 1h 30m", "Ctrl-C ends it."] {
        assert!(terminal.text().contains(words), "{}", terminal.text());
    }
    terminal.interrupt();
    assert!(terminal.ended().await);
}
