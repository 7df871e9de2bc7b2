//! The end of the process: whoever has asked by then is answered.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Connection, Portico, Process};

const GET: &str =
    "GET / HTTP/1.1\r\nHost: 3000-nobody.sandbox.localhost\r\nAccept: application/json\r\n\r\n";

fn start(data: &Path) -> Process {
    Process::start_with(data, &["--log", "off", "--workers", "2"])
}

/// A process that was stopped finds everything at once when it goes on: the signal, and what was sent before it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_sent_before_the_signal_goes_unanswered() {
    for _ in 0..4 {
        let data = tempfile::tempdir().unwrap();
        let process = start(data.path());
        let mut kept = Vec::new();
        for _ in 0..5 {
            let mut connection = process.connect().await;
            assert_eq!(connection.roundtrip(GET).await.status, 404);
            kept.push(connection);
        }
        let mut fresh = Vec::new();
        for _ in 0..5 {
            fresh.push(process.connect().await);
        }
        // The API's callers as well.
        let api = process.api().address;
        let call = "GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut calling = Vec::new();
        for kept in [true, false, false] {
            let mut connection = Connection::open(api).await;
            if kept {
                assert_eq!(connection.roundtrip(call).await.status, 401);
            }
            calling.push(connection);
        }
        // Those that have connected are accepted by then.
        tokio::time::sleep(Duration::from_millis(100)).await;
        process.signal("STOP");
        for connection in kept.iter_mut().chain(&mut fresh) {
            connection.send(GET).await;
        }
        for connection in &mut calling {
            connection.send(call).await;
        }
        calling.push(Connection::open(api).await);
        calling.last_mut().unwrap().send(call).await;
        let mut queued = Vec::new();
        for _ in 0..5 {
            let mut socket = TcpStream::connect(process.preview()).await.unwrap();
            socket.write_all(GET.as_bytes()).await.unwrap();
            queued.push(Connection::over(socket));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        process.terminate();
        process.signal("CONT");
        for (kind, connections) in [("kept", kept), ("fresh", fresh), ("queued", queued)] {
            for mut connection in connections {
                let response = connection.response_to("GET").await;
                assert_eq!(response.map(|response| response.status), Some(404), "{kind}");
            }
        }
        for mut connection in calling {
            let response = connection.response_to("GET").await;
            assert_eq!(response.map(|response| response.status), Some(401), "a call");
        }
        assert!(process.ended().await.success());
    }
}

/// A connection that was made before the end may still ask, a moment later.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_not_asked_yet_is_not_cut_off() {
    let data = tempfile::tempdir().unwrap();
    let process = start(data.path());
    let mut connections = Vec::new();
    for _ in 0..15 {
        connections.push(process.connect().await);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    process.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for mut connection in connections {
        assert_eq!(connection.roundtrip(GET).await.status, 404);
        assert!(connection.is_closed().await);
    }
    assert!(process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_requests_none_fails_until_the_listener_closes() {
    let portico = Arc::new(
        Portico::start_with(|config| {
            config.delay = Duration::from_secs(2);
            config.drain = Duration::from_secs(10);
        })
        .await,
    );
    let ending = Arc::new(AtomicBool::new(false));
    let mut visitors = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (portico, ending) = (Arc::clone(&portico), Arc::clone(&ending));
        visitors.spawn(async move {
            let mut served = 0;
            while served < 100 || !ending.load(Ordering::Relaxed) {
                // Once nobody listens any more, nothing was sent.
                let Ok(mut socket) = TcpStream::connect(portico.preview()).await else { break };
                if socket.write_all(GET.as_bytes()).await.is_err() {
                    break;
                }
                let response = Connection::over(socket).response_to("GET").await;
                assert_eq!(response.map(|response| response.status), Some(404), "after {served}");
                served += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            served
        });
    }
    let admin = portico.running.admin;
    let ready = async || {
        let get = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        Connection::open(admin).await.roundtrip(get).await.status
    };
    assert_eq!(ready().await, 200);
    let stopping = Arc::clone(&portico);
    let stopping = tokio::spawn(async move { stopping.running.stop().await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Load balancers are told, and everything is served meanwhile.
    assert_eq!(ready().await, 503);
    assert_eq!(portico.visit(GET).await.status, 404);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    ending.store(true, Ordering::Relaxed);
    let served: usize = visitors.join_all().await.into_iter().sum();
    assert!(served >= 1000, "{served}");
    stopping.await.unwrap();
}
