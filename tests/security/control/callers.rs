//! What one caller costs all the others: connections, streams, calls, things that are made, certificates.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{create, delegated, get, other_tenant};
use crate::support::{Api, Connection, Portico, eventually};

fn bearer(api: &Api) -> String {
    format!("Authorization: Bearer {}\r\n", api.key)
}

/// Whether a tenant's backend is served, and soon.
async fn is_served(api: &Api) {
    let started = Instant::now();
    let told = api.call("GET", "/whoami", None).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_without_a_credential_keep_no_key_out() {
    let portico = Portico::start_with(|config| {
        config.control.connections = 40;
        config.control.connections_per_address = 0;
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(Connection::open(portico.api.address).await);
    }
    for _ in 0..50 {
        is_served(&portico.api).await;
    }
    // A key's own connection is not taken from it.
    let mut kept = Connection::open(portico.api.address).await;
    let request = format!("GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(&portico.api));
    assert_eq!(kept.roundtrip(&request).await.status, 200);
    for _ in 0..80 {
        idle.push(Connection::open(portico.api.address).await);
    }
    assert_eq!(kept.roundtrip(&request).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_hold_all_connections() {
    let portico = Portico::start_with(|config| config.control.connections_per_address = 8).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(Connection::open(portico.api.address).await);
    }
    let refused = Connection::open(portico.api.address).await.response().await;
    assert_eq!((refused.status, refused.field("retry-after")), (429, Some("1")));
    idle.clear();
    eventually("there is room again", async || {
        get(&portico.api, "/whoami", &bearer(&portico.api)).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_one_end_user_close_the_api_to_nobody() {
    let portico = Portico::start().await;
    let (api, other) = (&portico.api, other_tenant(&portico, "other").await);
    let (user, _) = delegated(api, "u1").await;
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..530 {
        let mut stream = Connection::open(user.address).await;
        let request =
            format!("GET /api/v1/events/stream HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(&user));
        if !stream.try_send(request).await {
            continue;
        }
        match stream.headers().await.map(|head| head.status) {
            Some(200) => open.push(stream),
            Some(429) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(open.len() <= 16 && refused > 500, "{} open, {refused} refused", open.len());
    for api in [api, &other] {
        is_served(api).await;
        assert_eq!(get(api, "/events/stream", &bearer(api)).await.status, 200);
    }
    let second = delegated(api, "u2").await.0;
    assert_eq!(get(&second, "/events/stream", &bearer(&second)).await.status, 200);
    open.clear();
    eventually("a closed stream's place is free", async || {
        get(&user, "/events/stream", &bearer(&user)).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_does_not_hold_all_connections() {
    let portico = Portico::start_with(|config| {
        config.control.connections = 12;
        config.control.connections_per_tenant = 6;
    })
    .await;
    let other = other_tenant(&portico, "other").await;
    let request = format!("GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(&portico.api));
    let mut held = Vec::new();
    for n in 0..20 {
        let mut connection = Connection::open(portico.api.address).await;
        let told = connection.roundtrip(&request).await;
        assert_eq!(told.status, if n < 6 { 200 } else { 429 });
        assert!(told.status == 200 || told.field("retry-after").is_some());
        held.push(connection);
        is_served(&other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_end_user_does_not_mint_without_end() {
    let portico = Portico::start_with(|config| config.shares.user_mints = 20).await;
    let api = &portico.api;
    let (user, _) = delegated(api, "u1").await;
    let sandbox = create(&user, json!({"name": "mine"})).await;
    let (path, mut made) = (format!("/sandboxes/{sandbox}"), 0);
    let refused = loop {
        let kind = if made % 2 == 0 { "shares" } else { "preview-token" };
        let told = user.call("POST", &format!("{path}/{kind}"), Some(json!({}))).await;
        if told.status == 429 {
            break told;
        }
        made += 1;
        assert!(made < 100, "there is no end");
    };
    assert!((20..=30).contains(&made), "{made}");
    assert!(refused.field("retry-after").is_some());
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    // Other users and the tenant's own key notice nothing.
    let (second, _) = delegated(api, "u2").await;
    let theirs = create(&second, json!({"name": "theirs"})).await;
    for (api, sandbox) in [(api, &sandbox), (&second, &theirs)] {
        api.ok("POST", &format!("/sandboxes/{sandbox}/shares"), Some(json!({}))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_end_user_does_not_call_without_end() {
    let portico = Portico::start_with(|config| config.shares.user_rate = 5).await;
    let (user, _) = delegated(&portico.api, "u1").await;
    let mut connection = Connection::open(user.address).await;
    let request = format!("GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(&user));
    let mut statuses = Vec::new();
    for _ in 0..80 {
        statuses.push(connection.roundtrip(&request).await.status);
    }
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!((50..=75).contains(&served) && statuses.contains(&429), "{statuses:?}");
    is_served(&portico.api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_to_one_sandbox_have_an_end() {
    let portico = Portico::start_with(|config| config.shares.sandbox_shares = 5).await;
    let sandbox = portico.api.sandbox("desk").await.id;
    let path = format!("/sandboxes/{sandbox}/shares");
    let mut first = json!(null);
    for _ in 0..5 {
        first = portico.api.ok("POST", &path, Some(json!({}))).await["id"].clone();
    }
    let refused = portico.api.call("POST", &path, Some(json!({}))).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("QUOTA_EXCEEDED")));
    let gone = format!("{path}/{}", first.as_str().unwrap());
    portico.api.call("DELETE", &gone, None).await;
    portico.api.ok("POST", &path, Some(json!({}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_worth_nothing_are_not_looked_up_without_end() {
    let portico = Portico::start().await;
    let mut connection = Connection::open(portico.api.address).await;
    let mut last = 0;
    for n in 0..2000 {
        let request = format!(
            "GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer msk_{n}\r\n\r\n"
        );
        last = connection.roundtrip(request).await.status;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_use_up_the_certificates_of_all() {
    let portico = Portico::start().await;
    let ask = async |host: String| {
        let request = format!("GET /internal/tls/ask?domain={host} HTTP/1.1\r\nHost: x\r\n\r\n");
        Connection::open(portico.running.admin).await.roundtrip(request).await.status
    };
    let zone = "sandbox.localhost";
    portico.api.sandbox("victim").await;
    portico.api.sandbox("other").await;
    for port in 1..=200 {
        assert_eq!(
            ask(format!("{port}-victim.{zone}")).await,
            404,
            "{port}: nobody has published it"
        );
    }
    assert_eq!(ask(format!("3000-victim.{zone}")).await, 200);
    // Whoever publishes port after port spends its own share.
    let busy = portico.api.sandbox("busy").await;
    let mut allowed = 0;
    for port in 4000..4030 {
        portico.api.publish(&busy.id, port, json!({})).await;
        allowed += usize::from(ask(format!("{port}-busy.{zone}")).await == 200);
    }
    assert!((1..=10).contains(&allowed), "{allowed}");
    assert_eq!(ask(format!("3000-other.{zone}")).await, 200);
    // What is never previewed needs no certificate.
    portico.api.publish(&busy.id, 22, json!({})).await;
    assert_eq!(ask(format!("22-busy.{zone}")).await, 404);
}
