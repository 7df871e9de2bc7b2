//! Quotas of end users: as they are set, told and counted, and held to whoever comes at the same moment.

use futures_util::future::join_all;
use portico::base::clock::Clock;
use portico::control::usage::Prices;
use portico::model::EventType;
use serde_json::{Value, json};

use super::support::{Api, Connection, Portico, Response};

async fn create(api: &Api, user: &str) -> Response {
    api.call("POST", "/sandboxes", Some(json!({ "external_user_id": user }))).await
}

/// The refusal's details; the test fails when it is none.
fn refused(response: &Response) -> Value {
    assert_eq!(response.status, 403, "{}", response.text());
    let error = response.json()["error"].clone();
    assert_eq!(error["code"], "QUOTA_EXCEEDED");
    assert_eq!(error["retryable"], false);
    assert_eq!(response.field("retry-after"), None);
    error["details"].clone()
}

#[tokio::test]
async fn a_hundred_creates_at_once_never_overshoot() {
    let portico = Portico::start().await;
    let api = &portico.api;
    api.ok("PUT", "/quotas/external/crowd", Some(json!({ "max_sandboxes": 7 }))).await;
    let all = join_all((0..100).map(|_| create(api, "crowd"))).await;
    let made = all.iter().filter(|response| response.status == 201).count();
    assert_eq!(made, 7);
    for response in all.iter().filter(|response| response.status != 201) {
        let expected =
            json!({ "quota": "max_sandboxes", "limit": 7, "used": 7, "external_user_id": "crowd" });
        assert_eq!(refused(response), expected);
    }
    let usage = api.ok("GET", "/quotas/external/crowd", None).await["usage"].clone();
    assert_eq!((usage["sandboxes"].as_u64(), usage["concurrent"].as_u64()), (Some(7), Some(7)));
    // Nobody else is concerned.
    assert_eq!(create(api, "somebody else").await.status, 201);
    assert_eq!(api.call("POST", "/sandboxes", Some(json!({}))).await.status, 201);
}

#[tokio::test]
async fn what_runs_at_once_is_judged_when_it_is_made_and_when_it_goes_on() {
    let portico = Portico::start().await;
    let api = &portico.api;
    api.ok("PUT", "/quotas/external/u", Some(json!({ "max_concurrent": 1 }))).await;
    let first = create(api, "u").await.json()["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(refused(&create(api, "u").await)["quota"], "max_concurrent");
    api.ok("POST", &format!("/sandboxes/{first}/pause"), None).await;
    let second = create(api, "u").await.json()["data"]["id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let resumed = api.call("POST", &format!("/sandboxes/{first}/resume"), None).await;
        assert_eq!(refused(&resumed)["quota"], "max_concurrent");
    }
    let paused = api.ok("GET", &format!("/sandboxes/{first}"), None).await;
    assert_eq!(paused["state"], "paused");
    // Who has too much because the cap was lowered can do everything but take more.
    api.ok("PUT", "/quotas/external/u", Some(json!({ "max_concurrent": 0 }))).await;
    let path = format!("/sandboxes/{second}");
    api.ok("PATCH", &path, Some(json!({ "name": "renamed" }))).await;
    api.ok("DELETE", &path, None).await;
    api.ok("PUT", "/quotas/external/u", Some(json!({ "max_concurrent": 1 }))).await;
    api.ok("POST", &format!("/sandboxes/{first}/resume"), None).await;
}

#[tokio::test]
async fn disk_is_summed_up_and_no_sandbox_slips_in_by_changing_its_user() {
    let portico = Portico::start().await;
    let api = &portico.api;
    api.ok("PUT", "/quotas/external/d", Some(json!({ "max_storage_gb": 25 }))).await;
    let sized = |size: &str| json!({ "external_user_id": "d", "size": size });
    let first = api.ok("POST", "/sandboxes", Some(sized("small"))).await;
    let large = api.call("POST", "/sandboxes", Some(sized("medium"))).await;
    let expected =
        json!({ "quota": "max_storage_gb", "limit": 25, "used": 10, "external_user_id": "d" });
    assert_eq!(refused(&large), expected);
    api.ok("POST", "/sandboxes", Some(sized("small"))).await;
    let path = format!("/sandboxes/{}", first["id"].as_str().unwrap());
    let grow = |mb: u32| Some(json!({ "disk_size_mb": mb }));
    api.ok("PATCH", &path, grow(15 * 1024)).await;
    assert_eq!(refused(&api.call("PATCH", &path, grow(15 * 1024 + 1)).await)["used"], 25);
    api.ok("PATCH", &path, grow(1024)).await;
    let shown = api.ok("GET", "/quotas/external/d", None).await;
    assert_eq!(shown["usage"]["storage_gb"], 11.0);

    api.ok("PUT", "/quotas/external/full", Some(json!({ "max_sandboxes": 0 }))).await;
    let moved = api.call("PATCH", &path, Some(json!({ "external_user_id": "full" }))).await;
    assert_eq!(refused(&moved)["external_user_id"], "full");
    let nobodys = api.ok("POST", "/sandboxes", Some(json!({}))).await;
    let path = format!("/sandboxes/{}", nobodys["id"].as_str().unwrap());
    refused(&api.call("PATCH", &path, Some(json!({ "external_user_id": "full" }))).await);
}

#[tokio::test]
async fn quotas_are_replaced_told_in_both_shapes_and_fall_back_to_the_tenants_default() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let nothing = json!({ "max_sandboxes": null, "max_concurrent": null, "max_storage_gb": null, "max_credit_cents": null });
    let path = "/quotas/external/a%20b/c";
    let shown = api.ok("GET", path, None).await;
    assert_eq!((&shown["external_user_id"], &shown["limits"]), (&json!("a b/c"), &nothing));
    assert_eq!(shown["effective"]["source"], "platform");
    let body = json!({ "max_sandboxes": 3, "max_credit_cents": 500, "max_concurrent": null });
    let set = api.ok("PUT", path, Some(body)).await;
    assert_eq!((&set["limits"]["max_sandboxes"], &set["max_sandboxes"]), (&json!(3), &json!(3)));
    assert_eq!(api.ok("GET", path, None).await, set);
    let replaced = api.ok("PUT", path, Some(json!({ "max_concurrent": 2 }))).await;
    assert_eq!(
        replaced["limits"],
        json!({ "max_sandboxes": null, "max_concurrent": 2, "max_storage_gb": null, "max_credit_cents": null })
    );
    for bad in [json!(-1), json!(1.5), json!("3"), json!(true), json!([3])] {
        let refused = api.call("PUT", path, Some(json!({ "max_sandboxes": bad }))).await;
        assert_eq!(refused.status, 422, "{bad}");
        assert!(refused.json()["error"]["details"]["max_sandboxes"].is_array());
    }
    assert_eq!(api.ok("GET", path, None).await["limits"], replaced["limits"]);

    api.ok("PUT", "/quotas/default", Some(json!({ "max_sandboxes": 1 }))).await;
    assert_eq!(api.ok("GET", "/tenant/policy", None).await["quotas"]["max_sandboxes"], 1);
    let effective = |of: &'static str| async move {
        api.call("GET", &format!("/external-users/{of}/effective-policy"), None).await.json()
    };
    let own = effective("a%20b%2Fc").await["quotas"].clone();
    assert_eq!(own["max_concurrent"], json!({ "value": 2, "source": "user" }));
    assert_eq!(own["max_sandboxes"], json!({ "value": null, "source": "user" }));
    assert_eq!(api.call("DELETE", path, None).await.status, 204);
    assert_eq!(api.call("DELETE", path, None).await.status, 204);
    let own = effective("a%20b%2Fc").await["quotas"].clone();
    assert_eq!(own["max_sandboxes"], json!({ "value": 1, "source": "tenant" }));
    assert_eq!(create(api, "a b/c").await.status, 201);
    assert_eq!(refused(&create(api, "a b/c").await)["limit"], 1);

    let policy = json!({ "quotas": { "max_sandboxes": 2 } });
    let set = api.ok("PUT", "/external-users/a%20b%2Fc/policy", Some(policy)).await;
    assert_eq!(set["quotas"]["max_sandboxes"], 2);
    assert_eq!(create(api, "a b/c").await.status, 201);
    assert_eq!(api.call("DELETE", "/external-users/a%20b%2Fc/policy", None).await.status, 204);
    assert_eq!(api.call("PUT", "/external-users/u/effective-policy", None).await.status, 405);
    assert_eq!(api.call("GET", "/external-users/u", None).await.status, 404);
    assert_eq!(api.call("DELETE", "/tenant/policy", None).await.status, 204);
    assert_eq!(effective("a%20b%2Fc").await["quotas"]["max_sandboxes"]["source"], "platform");
    assert_eq!(create(api, "a b/c").await.status, 201);
    let bad = api.call("PUT", "/tenant/policy", Some(json!({ "quotas": 3 }))).await;
    assert_eq!(bad.status, 422);
}

#[tokio::test]
async fn keys_that_nobody_knows_are_ignored() {
    let portico = Portico::start().await;
    let body = r#"{"max_sandboxes": 1, "colour": [], "external_user_id": "somebody else"}"#;
    let request = format!(
        "PUT /api/v1/quotas/external/u HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        portico.api.key,
        body.len(),
    );
    let set = Connection::open(portico.api.address).await.roundtrip(request).await.json();
    assert_eq!(
        (&set["data"]["external_user_id"], &set["data"]["max_sandboxes"]),
        (&json!("u"), &json!(1))
    );
}

#[tokio::test]
async fn a_create_that_is_sent_again_gets_its_first_response_whatever_the_quota_says() {
    let portico = Portico::start().await;
    let api = &portico.api;
    api.ok("PUT", "/quotas/external/u", Some(json!({ "max_sandboxes": 1 }))).await;
    let body = json!({ "external_user_id": "u" }).to_string();
    let send = |key: &'static str| {
        let request = format!(
            "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            api.key,
            body.len(),
        );
        async move { Connection::open(api.address).await.roundtrip(request).await }
    };
    let first = send("one").await;
    assert_eq!(first.status, 201);
    refused(&send("two").await);
    let again = send("one").await;
    assert_eq!((again.status, &again.json()["data"]["id"]), (201, &first.json()["data"]["id"]));
    // A refusal is not remembered.
    let id = first.json()["data"]["id"].as_str().unwrap().to_owned();
    api.ok("DELETE", &format!("/sandboxes/{id}"), None).await;
    assert_eq!(send("two").await.status, 201);
}

#[tokio::test]
async fn whoever_listens_is_told_of_an_exceeded_quota_once_a_minute() {
    let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let clock = Clock::manual(now);
    let portico = Portico::start_at(clock.clone(), |_| {}).await;
    let api = &portico.api;
    api.ok("PUT", "/quotas/default", Some(json!({ "max_sandboxes": 0 }))).await;
    let told = async || {
        let events = portico.running.state.store.all_events_since(0, 1000).await.unwrap();
        events.iter().filter(|event| event.kind == EventType::QuotaExceeded).count()
    };
    join_all((0..20).map(|_| create(api, "one"))).await;
    create(api, "two").await;
    assert_eq!(told().await, 2);
    clock.advance(std::time::Duration::from_secs(61));
    create(api, "one").await;
    create(api, "one").await;
    assert_eq!(told().await, 3);
}

#[tokio::test]
async fn who_has_spent_what_it_may_this_month_begins_nothing_more() {
    let clock = Clock::manual(jiff::Timestamp::from_second(1_800_000_000).unwrap());
    let prices = Prices { vcpu_hour: 10_000, gib: 0 };
    let portico = Portico::start_at(clock.clone(), |config| config.usage.prices = prices).await;
    let api = &portico.api;
    api.ok("PUT", "/quotas/external/u", Some(json!({ "max_credit_cents": 20 }))).await;
    let send = |key: &'static str| {
        let body = json!({ "external_user_id": "u", "cpu_count": 2 }).to_string();
        let request = format!(
            "POST /api/v1/sandboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {key}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            api.key,
            body.len(),
        );
        async move { Connection::open(api.address).await.roundtrip(request).await }
    };
    let first = send("one").await;
    let id = first.json()["data"]["id"].as_str().unwrap().to_owned();
    // Two CPUs at ten cents an hour each.
    clock.advance(std::time::Duration::from_hours(1));
    assert_eq!(api.ok("GET", "/quotas/external/u", None).await["usage"]["credit_cents"], 20);
    let spent = send("two").await;
    assert_eq!((spent.status, &spent.json()["error"]["code"]), (402, &json!("QUOTA_EXCEEDED")));
    let details = &spent.json()["error"]["details"];
    assert_eq!(
        details,
        &json!({ "quota": "max_credit_cents", "limit": 20, "used": 20, "external_user_id": "u" })
    );
    assert_eq!(send("one").await.json()["data"]["id"], json!(id));
    api.ok("POST", &format!("/sandboxes/{id}/pause"), None).await;
    assert_eq!(api.call("POST", &format!("/sandboxes/{id}/resume"), None).await.status, 402);
    assert_eq!(create(api, "another").await.status, 201);
    // 2027-01-15 it was; in the next month there is as much to spend again.
    clock.advance(std::time::Duration::from_hours(20 * 24));
    api.ok("POST", &format!("/sandboxes/{id}/resume"), None).await;
}
