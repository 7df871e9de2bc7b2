//! What runs out is said before it has run out.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Connection, FakeSandbox, Portico, Process, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn new_work_is_refused_before_memory_runs_out_and_taken_again_after() {
    let portico = Portico::start_with(|config| config.memory = Some(0)).await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let get = target.get("/", "Accept: application/json\r\n");
    let mut kept = portico.connect().await;
    assert_eq!(kept.roundtrip(&get).await.status, 200);
    let set = |memory: u64| {
        let config = portico::config::Config { memory: Some(memory), ..portico.running.config() };
        portico.running.reload(config).unwrap();
    };
    // Less than any process has.
    set(1 << 20);
    eventually("it is refused", async || portico.visit(&get).await.status == 503).await;
    let refused = portico.visit(&get).await;
    assert_eq!(refused.field("x-preview-error"), Some("overloaded"));
    assert!(refused.field("retry-after").is_some());
    assert_eq!(kept.roundtrip(&get).await.status, 503, "on a connection that is open as well");
    let ready = async || {
        let get = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        Connection::open(portico.running.admin).await.roundtrip(get).await
    };
    let told = ready().await;
    assert_eq!((told.status, told.text().contains("limits.memory")), (503, true));
    let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let metrics = Connection::open(portico.running.admin).await.roundtrip(metrics).await.text();
    assert!(metrics.contains("portico_memory_pressure 1"), "{metrics}");
    set(1 << 50);
    eventually("it is taken again", async || portico.visit(&get).await.status == 200).await;
    assert_eq!(ready().await.status, 200);
}

/// With few open files, a connection that is one too many is told so and does not wait in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_for_whom_no_file_is_left_is_told_so() {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"ulimit -n 256 && exec "$0" "$@""#, env!("CARGO_BIN_EXE_portico")])
        .args(["dev", "--json", "--log", "off", "--workers", "1"])
        .args(["--port", "0", "--https-port", "0", "--api-port", "0", "--admin-port", "0"])
        .args(["--data", data.path().to_str().unwrap()])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let process = Process::spawn(command);
    let mut open = Vec::new();
    let mut refused = None;
    for _ in 0..250 {
        let mut connection = process.connect().await;
        connection.try_send("GET / HTTP/1.1\r\n").await;
        let waiting = tokio::time::timeout(Duration::from_millis(20), connection.headers()).await;
        if let Ok(Some(response)) = waiting {
            refused = Some(response);
            break;
        }
        open.push(connection);
    }
    let refused = refused.expect("a refusal");
    assert_eq!(
        (refused.status, refused.field("x-preview-error")),
        (503, Some("too_many_connections"))
    );
    assert!((60..=120).contains(&open.len()), "{}", open.len());
    assert_eq!(process.admin("/healthz").await.status, 200);
    drop(open);
    eventually("it recovers", async || {
        let get = "GET / HTTP/1.1\r\nHost: 1-x.sandbox.localhost\r\n\r\n";
        let response = process.connect().await.roundtrip(get).await;
        response.status == 404
    })
    .await;
}
