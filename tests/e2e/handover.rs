//! What a service manager does with the program: hands it listeners that outlive it, and is told how it is.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Connection, Process, Response};

const HOST: &str = "3000-nobody.sandbox.test";

/// A configuration whose addresses are the caller's.
fn configuration(data: &Path, (preview, api): (&str, &str)) -> String {
    let path = data.join("portico.toml");
    let text = format!(
        "[preview]\nlisten = \"{preview}\"\nzones = [\"sandbox.test\"]\nworkers = 2\n[api]\nlisten = \"{api}\"\n\
         [networks]\nallow = [\"127.0.0.0/8\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[store]\ndata = \"{}\"\n[shutdown]\ndrain = \"5s\"\n",
        data.display()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// `portico serve`, as a service manager starts it: its listener is descriptor 3, and the environment says so to this process only.
fn serve(config: &str, listener: &TcpListener, name: &str) -> Command {
    let mut command = Command::new("sh");
    let handed = OwnedFd::from(listener.try_clone().unwrap());
    command
        .args(["-c", r#"exec env LISTEN_PID=$$ "$0" "$@" 3<&0 0</dev/null"#])
        .args([env!("CARGO_BIN_EXE_portico"), "serve", "--json", "--config", config])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .stdin(handed)
        .stderr(Stdio::null());
    command
}

async fn visit(address: SocketAddr) -> Response {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    Connection::open(address).await.roundtrip(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_refuse_nobody_when_the_listener_outlives_the_process() {
    let data = tempfile::tempdir().unwrap();
    // The name is what counts, not the address.
    let config = configuration(data.path(), ("127.0.0.1:1", "127.0.0.1:0"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut process = Process::spawn(serve(&config, &listener, "preview"));
    assert_eq!(process.fact("preview"), address.to_string());

    let visits = tokio::spawn(async move {
        for _ in 0..300 {
            assert_eq!(visit(address).await.status, 404);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        process.terminate();
        assert!(process.ended().await.success());
        // Nobody serves now, and this visitor waits for the one who will.
        let waiting = tokio::spawn(visit(address));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        process = Process::spawn(serve(&config, &listener, "preview"));
        assert_eq!(waiting.await.unwrap().status, 404);
    }
    visits.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_a_known_name_is_found_by_its_address_and_one_that_nobody_wants_is_an_error()
 {
    let data = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = configuration(data.path(), ("127.0.0.1:0", &address.to_string()));
    let process = Process::spawn(serve(&config, &listener, "portico.socket"));
    assert_eq!(process.fact("api_url"), format!("http://{address}"));
    let request = "GET /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(Connection::open(address).await.roundtrip(request).await.status, 401);
    process.kill();

    let config = configuration(data.path(), ("127.0.0.1:0", "127.0.0.1:0"));
    let mut unwanted = serve(&config, &listener, "portico.socket");
    let ended = unwanted.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("FileDescriptorName="), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// What the service manager is told next that has this in it.
fn told(manager: &UnixDatagram, wanted: &str) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    let mut message = [0; 4096];
    loop {
        let length = manager.recv(&mut message).expect("a message");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        if text.lines().any(|line| line == wanted) {
            return text;
        }
        assert!(Instant::now() < until, "{wanted} was not said, but {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_when_it_is_ready_alive_and_stopping() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let config = configuration(data.path(), ("127.0.0.1:0", "127.0.0.1:0"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    command
        .args(["serve", "--json", "--config", &config])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null());
    let process = Process::spawn(command);
    let ready = told(&manager, "READY=1");
    let preview = process.fact("preview").to_owned();
    assert!(ready.contains(&format!("STATUS=serving previews on {preview}")), "{ready}");
    assert_eq!(visit(preview.parse().unwrap()).await.status, 404, "ready means ready");
    for _ in 0..3 {
        told(&manager, "WATCHDOG=1");
    }
    process.terminate();
    told(&manager, "STOPPING=1");
    assert!(process.ended().await.success());
}
