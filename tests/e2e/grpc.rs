//! gRPC end to end: a tonic client over TLS and HTTP/2, a tonic server in the sandbox over h2c.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::support::{Caller, FakeSandbox, GrpcSandbox, Portico, as_text, eventually};

/// How soon the other side must know of the end of a call.
const PROMPTLY: Duration = Duration::from_secs(1);

async fn published(portico: &Portico, port: u16) -> (String, Caller) {
    let sandbox = portico.api.sandbox("calls").await;
    portico.api.publish(&sandbox.id, port, json!({"protocol": "h2c"})).await;
    let host = format!("{port}-calls.sandbox.localhost");
    let caller = Caller::new(portico, &host);
    (sandbox.id, caller)
}

fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_four_kinds_of_calls_go_through() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;

    assert_eq!(caller.call("Echo", "hello").await.unwrap(), "hello");
    assert_eq!(caller.call("Echo", "").await.unwrap(), "", "an empty message is a message");

    let parts = ["one ", "two ", "three"].map(Bytes::from).to_vec();
    assert_eq!(caller.send_all("Collect", parts).await.unwrap(), "one two three");

    let mut responses = caller.listen("Count", "1000").await.unwrap();
    for n in 0..1000 {
        assert_eq!(responses.message().await.unwrap().unwrap(), n.to_string());
    }
    assert!(responses.message().await.unwrap().is_none());

    // Every response comes before the next message is said: neither direction waits for the other's end.
    let mut talk = caller.converse("Echo").await.unwrap();
    for n in 0..50 {
        let said = format!("message {n}");
        talk.say.send(said.clone().into()).await.unwrap();
        assert_eq!(talk.responses.message().await.unwrap().unwrap(), said);
    }
    drop(talk.say);
    assert!(talk.responses.message().await.unwrap().is_none());
    assert_eq!(sandbox.connections(), 1);
    assert_eq!(sandbox.cancelled(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_pass_both_ways() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;
    let large = pattern(8 << 20);
    assert!(caller.call("Echo", large.clone()).await.unwrap() == large);
    let both = join_all((0..3).map(|_| caller.call("Echo", large.clone()))).await;
    assert!(both.into_iter().all(|response| response.unwrap() == large));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_passes_both_ways_and_our_credential_does_not() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (id, caller) = published(&portico, sandbox.port()).await;
    let bytes = Bytes::from_static(b"\x00\xff\x80 binary");
    let (token, _) = portico.api.token(&id, json!({"scope": "interact"})).await;
    let caller = caller.with_token(&token);
    let response = caller.call_with("Echo", "x", |request| {
        let metadata = request.metadata_mut();
        metadata.insert("x-text", MetadataValue::from_static("plain"));
        metadata.insert_bin("x-bytes-bin", MetadataValue::from_bytes(&bytes));
        metadata.insert("x-forwarded-for", MetadataValue::from_static("1.2.3.4"));
    });
    let response = response.await.unwrap();
    assert_eq!(response.metadata().get("x-text").unwrap(), "plain");
    let echoed = response.metadata().get_bin("x-bytes-bin").unwrap();
    assert_eq!(echoed.to_bytes().unwrap(), bytes);
    assert_eq!(response.metadata().get("grpc-status").unwrap(), "0", "trailers come through");

    let [seen] = <[_; 1]>::try_from(sandbox.calls()).unwrap();
    let text = as_text(&seen);
    assert_eq!(text.get("te").map(String::as_str), Some("trailers"));
    assert_eq!(text.get("x-forwarded-for").map(String::as_str), Some("127.0.0.1"));
    assert_eq!(text.get("x-forwarded-proto").map(String::as_str), Some("https"));
    assert!(text.contains_key("x-request-id"));
    assert!(!text.contains_key("connection"), "{text:?}");
    assert!(!text.values().any(|value| value.contains("mp_")), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_that_is_the_apps_own_reaches_it() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;
    caller.with_token("theirs").call("Echo", "x").await.unwrap();
    let text = as_text(&sandbox.calls()[0]);
    assert_eq!(text.get("authorization").map(String::as_str), Some("Bearer theirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_keep_their_code_message_details_and_metadata() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;

    let status = caller.call("Fail", "x").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "not today: 50% done, na\u{ef}ve");
    assert_eq!(status.details(), b"\x00\x01detail\xff");
    assert_eq!(status.metadata().get("x-why").unwrap(), "tired");
    assert!(status.metadata().get("x-preview-error").is_none());

    let mut responses = caller.listen("FailLate", "x").await.unwrap();
    assert_eq!(responses.message().await.unwrap().unwrap(), "one");
    assert_eq!(responses.message().await.unwrap().unwrap(), "two");
    let status = responses.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "enough"));
    assert_eq!(status.details(), b"\xfe");

    let status = caller.call("NoSuchMethod", "x").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no such method"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_ends_in_the_sandbox_too() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;

    // While both streams are open.
    let mut talk = caller.converse("Echo").await.unwrap();
    talk.say.send("x".into()).await.unwrap();
    talk.responses.message().await.unwrap().unwrap();
    assert_eq!(sandbox.cancelled(), 0);
    let since = Instant::now();
    drop(talk);
    // A dropped stream of messages may also be taken for its end, so only a stream that stays open is a sharp test.
    let mut stays = caller.listen("Stay", "x").await.unwrap();
    assert_eq!(stays.message().await.unwrap().unwrap(), "here");
    let before = sandbox.cancelled();
    drop(stays);
    eventually("the stream is cancelled", async || sandbox.cancelled() > before).await;
    assert!(since.elapsed() < PROMPTLY, "took {:?}", since.elapsed());

    // Before any response.
    let before = sandbox.cancelled();
    let calls = sandbox.calls().len();
    let hanging = tokio::spawn(async move { caller.call("Hang", "x").await });
    eventually("the call arrives", async || sandbox.calls().len() > calls).await;
    let since = Instant::now();
    hanging.abort();
    eventually("the call is cancelled", async || sandbox.cancelled() > before).await;
    assert!(since.elapsed() < PROMPTLY, "took {:?}", since.elapsed());
    assert_eq!(sandbox.connections(), 1, "cancelling a call costs no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_told_to_the_sandbox_and_ends_the_call_on_both_sides() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;
    let since = Instant::now();
    let timed =
        |request: &mut tonic::Request<Bytes>| request.set_timeout(Duration::from_millis(300));
    let status = caller.call_with("Hang", "x", timed).await.unwrap_err();
    let took = since.elapsed();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(took >= Duration::from_millis(290) && took < 2 * PROMPTLY, "took {took:?}");
    eventually("the call has ended in the sandbox", async || sandbox.cancelled() == 1).await;
    assert!(since.elapsed() < 2 * PROMPTLY);
    let text = as_text(&sandbox.calls()[0]);
    assert_eq!(text.get("grpc-timeout").map(String::as_str), Some("300000u"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_be_silent_for_longer_than_other_responses() {
    let portico = Portico::start_with(|config| {
        config.forward.first_byte_timeout = Duration::from_millis(300);
        config.forward.response_idle = Duration::from_millis(300);
    })
    .await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;
    let mut talk = caller.converse("Echo").await.unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    talk.say.send("still here".into()).await.unwrap();
    assert_eq!(talk.responses.message().await.unwrap().unwrap(), "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_one_connection() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let (_, caller) = published(&portico, sandbox.port()).await;
    // More than a connection takes at once, and all of them before there is any connection.
    let calls = (0..300).map(|n| {
        let caller = caller.clone();
        async move { caller.call("Echo", format!("call {n}")).await.unwrap() == format!("call {n}") }
    });
    assert!(join_all(calls).await.into_iter().all(|same| same));
    assert_eq!(sandbox.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_ours_are_statuses_that_a_client_reads() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let private = portico.private("mine", sandbox.port()).await;
    let caller = Caller::new(&portico, &private.host);
    let expect = |status: Status, code: Code, label: &str, message: &str| {
        assert_eq!((status.code(), status.message()), (code, message), "{status:?}");
        assert_eq!(status.metadata().get("x-preview-error").unwrap(), label);
    };
    let status = caller.call("Echo", "x").await.unwrap_err();
    expect(status, Code::Unauthenticated, "sign_in_needed", "This preview is private");
    let status = caller.clone().with_token("mp_nonsense").call("Echo", "x").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");

    let other = portico.api.sandbox("other").await;
    let (token, _) = portico.api.token(&other.id, json!({"scope": "interact"})).await;
    let status = caller.clone().with_token(&token).call("Echo", "x").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(status.metadata().get("x-preview-error").unwrap(), "forbidden");

    let nowhere = Caller::new(&portico, "0-nobody.sandbox.localhost");
    let status = nowhere.call("Echo", "x").await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    assert_eq!(sandbox.calls().len(), 0, "nothing of it reached the app");

    let free = FakeSandbox::well_behaved().await.port();
    let (_, caller) = published(&portico, free).await;
    let status = caller.call("Echo", "x").await.unwrap_err();
    let message = format!("Nothing is listening on port {free} yet");
    expect(status, Code::Unavailable, "nothing_listening", &message);
    // Streams are told in the same way, before their first message.
    let status = caller.converse("Echo").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, message.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_an_open_stream_with_a_status() {
    let portico = Portico::start().await;
    let sandbox = GrpcSandbox::start().await;
    let private = portico.private("mine", sandbox.port()).await;
    let publish = json!({"protocol": "h2c", "visibility": "private"});
    portico.api.publish(&private.id, sandbox.port(), publish).await;
    let (token, id) = portico.api.token(&private.id, json!({"scope": "interact"})).await;
    let caller = Caller::new(&portico, &private.host).with_token(&token);
    let mut stays = caller.listen("Stay", "x").await.unwrap();
    assert_eq!(stays.message().await.unwrap().unwrap(), "here");
    let ended = tokio::spawn(async move { (stays.message().await, Instant::now()) });
    let path = format!("/sandboxes/{}/preview-tokens/{id}", private.id);
    portico.api.ok("DELETE", &path, None).await;
    let since = Instant::now();
    let (status, at) = ended.await.unwrap();
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_eq!(status.message(), "Access to this preview has ended");
    assert!(at.saturating_duration_since(since) < PROMPTLY);
    eventually("the sandbox's side has ended", async || sandbox.cancelled() == 1).await;
    let status = caller.call("Echo", "x").await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_dies_ends_an_open_stream_with_a_status_and_the_next_call_finds_the_new_one()
{
    let portico = Portico::start().await;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let sandbox = runtime.spawn(GrpcSandbox::start()).await.unwrap();
    let (address, seen) = (sandbox.address, std::sync::Arc::clone(&sandbox.seen));
    let (_, caller) = published(&portico, address.port()).await;
    let mut stays = caller.listen("Stay", "x").await.unwrap();
    assert_eq!(stays.message().await.unwrap().unwrap(), "here");
    // With its runtime every connection of it closes at once, without a goodbye.
    runtime.shutdown_background();
    let status = stays.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "The app closed the connection")
    );
    drop(sandbox);
    let status = caller.call("Echo", "x").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("x-preview-error").unwrap(), "nothing_listening");
    let again = GrpcSandbox::start_on(tokio::net::TcpListener::bind(address).await.unwrap());
    assert_eq!(caller.call("Echo", "x").await.unwrap(), "x");
    assert_eq!((seen.calls.lock().unwrap().len(), again.calls().len()), (1, 1));
}
