//! How soon what is open ends when its access does. The figures are printed; the bound is on the median, because a busy machine
//! may hold up any one of them.

use std::time::{Duration, Instant};

use portico::base::clock::Clock;
use serde_json::json;

use crate::support::{Connection, FakeSandbox, Portico, Process, command};

/// What is promised on one machine.
const PROMISED: Duration = Duration::from_millis(100);
const ROUNDS: usize = 20;

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn sockets_and_streams() -> FakeSandbox {
    FakeSandbox::scripted(|mut exchange| async move {
        let Some(headers) = exchange.headers().await else { return };
        let response = if headers.contains("upgrade: websocket") {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        };
        exchange.send(response).await;
        while exchange.read_more().await {}
    })
    .await
}

/// A WebSocket and a stream that are open.
struct Open(Connection, Connection);

impl Open {
    async fn under(token: &str, host: &str, connect: impl AsyncFn() -> Connection) -> Self {
        let ask = async |fields: &str, status: u16| {
            let mut connection = connect().await;
            let token = format!("X-Miosa-Preview-Token: {token}\r\n");
            connection.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}{token}\r\n")).await;
            assert_eq!(connection.headers().await.unwrap().status, status);
            connection
        };
        Self(ask(HANDSHAKE, 101).await, ask("", 200).await)
    }

    /// How long after `since` either ended.
    async fn ended(mut self, since: Instant) -> [Duration; 2] {
        let after = async |connection: &mut Connection| {
            connection.rest().await;
            since.elapsed()
        };
        tokio::join!(after(&mut self.0), after(&mut self.1)).into()
    }
}

fn judge(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    println!(
        "{what}: {} ends, median {:?}, 90th percentile {:?}, slowest {:?}",
        took.len(),
        at(50),
        at(90),
        at(100)
    );
    assert!(at(50) <= PROMISED, "{what}: half of them took longer than {:?}", at(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_felt_at_once() {
    let portico = Portico::start().await;
    let sandbox = sockets_and_streams().await;
    let target = portico.private("mine", sandbox.port()).await;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let (token, id) = portico.api.token(&target.id, json!({})).await;
        let open = Open::under(&token, &target.host, async || portico.connect().await).await;
        let path = format!("/sandboxes/{}/preview-tokens/{id}", target.id);
        // From before the call: what the caller sees is all of it.
        let since = Instant::now();
        let (_, ended) = tokio::join!(portico.api.ok("DELETE", &path, None), open.ended(since));
        took.extend(ended);
    }
    judge("revoked by the API", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_felt_at_once() {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let sandbox = sockets_and_streams().await;
    let target = portico.private("mine", sandbox.port()).await;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let (token, _) = portico.api.token(&target.id, json!({"expires_in": 10})).await;
        let open = Open::under(&token, &target.host, async || portico.connect().await).await;
        clock.advance(Duration::from_secs(10));
        took.extend(open.ended(Instant::now()).await);
    }
    judge("expired", took);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_by_another_process_is_felt_at_once() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path());
    let sandbox = sockets_and_streams().await;
    let api = process.api();
    let target = api.sandbox("mine").await;
    let host = format!("{}-mine.sandbox.localhost", sandbox.port());
    let tenant = api.ok("GET", "/whoami", None).await["tenant_id"].as_str().unwrap().to_owned();
    let mut took = Vec::new();
    for _ in 0..ROUNDS / 2 {
        let (token, id) = api.token(&target.id, json!({})).await;
        let open = Open::under(&token, &host, async || process.connect().await).await;
        let arguments =
            ["token", "revoke", &id, "--tenant", &tenant, "--sandbox", &target.id, "--data"];
        let done = command(&arguments, Some(data.path()));
        assert!(done.status.success(), "{done:?}");
        took.extend(open.ended(Instant::now()).await);
    }
    judge("revoked on the command line", took);
}
