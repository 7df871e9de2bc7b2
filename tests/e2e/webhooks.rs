//! Webhooks against real receivers: those that take what they are told, and those that fail in every way there is.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use portico::config::Config;
use serde_json::{Value, json};

use crate::support::{Authority, Portico, Receiver, Reply, eventually};

/// Everything that takes minutes in earnest takes moments.
fn quick(config: &mut Config) {
    config.webhooks.retry = vec![Duration::from_millis(40)];
    config.webhooks.timeout = Duration::from_millis(600);
}

async fn start() -> Portico {
    Portico::start_with(quick).await
}

/// Registers a webhook; gives its id and its secret.
async fn register(portico: &Portico, order: Value) -> (String, String) {
    let made = portico.api.call("POST", "/webhooks", Some(order)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made.as_object().unwrap().len(), 2, "a client unwraps two keys, and no more");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&made["data"]["id"]), text(&made["secret"]))
}

async fn hook(portico: &Portico, receiver: &Receiver, events: &[&str]) -> (String, String) {
    register(portico, json!({ "url": receiver.url(), "events": events, "retry_count": 5 })).await
}

async fn deliveries(portico: &Portico, webhook: &str) -> Vec<Value> {
    let list = portico.api.ok("GET", &format!("/webhooks/{webhook}/deliveries"), None).await;
    list.as_array().unwrap().clone()
}

/// The only delivery, once it is in a state.
async fn settled(portico: &Portico, webhook: &str, state: &str) -> Value {
    let mut last = Value::Null;
    eventually("the delivery is settled", async || {
        let all = deliveries(portico, webhook).await;
        last = all.first().cloned().unwrap_or_default();
        last["state"] == state
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_told_once_signed_and_complete() {
    let portico = start().await;
    let receiver = Receiver::start().await;
    let (webhook, secret) = register(
        &portico,
        json!({ "url": receiver.url(), "events": ["sandbox.running"], "headers": {"Authorization": "Bearer mine"} }),
    )
    .await;
    assert!(secret.starts_with("whsec_"));
    let order = json!({"name": "Brand", "slug": "brand", "external_user_id": "user-17", "metadata": {"plan": "pro"}});
    let made = portico.api.ok("POST", "/sandboxes", Some(order)).await;
    let told = &receiver.wait(1).await[0];
    assert_eq!(told.line, "POST /hooks?a=b HTTP/1.1");
    assert_eq!(told.field("host"), receiver.address.to_string());
    assert_eq!(told.field("content-type"), "application/json");
    assert_eq!(told.field("authorization"), "Bearer mine");
    assert!(told.is_signed_by(&secret) && !told.is_signed_by("whsec_other"));
    for word in ["miosa", "webhook"] {
        let field = |name: &str| told.field(&format!("x-{word}-{name}"));
        assert_eq!((field("event"), field("attempt")), ("sandbox.running", "1"));
        assert_eq!(field("delivery"), told.json()["delivery_id"]);
        assert!(
            told.field("miosa-signature").starts_with(&format!("t={},v1=", field("timestamp")))
        );
    }
    let event = told.json();
    assert!(event["id"].as_str().unwrap().starts_with("evt_"));
    assert_eq!(
        (&event["type"], &event["event"]),
        (&json!("sandbox.running"), &json!("sandbox.running"))
    );
    let data = &event["data"];
    assert_eq!((&data["id"], &data["state"]), (&made["id"], &json!("running")));
    assert_eq!(data["preview_url"], made["preview_url"], "the link is the one that the API gives");
    assert_eq!(data["metadata"], json!({"plan": "pro"}));
    assert_eq!(data["external_user_id"], "user-17");
    let delivery = settled(&portico, &webhook, "delivered").await;
    assert_eq!((&delivery["attempts"], &delivery["response_status"]), (&json!(1), &json!(200)));
    assert_eq!(delivery["response_body"], "taken");
    // Paused and resumed is no start; stopped and resumed is one.
    let path = format!("/sandboxes/{}", made["id"].as_str().unwrap());
    for verb in ["pause", "resume", "stop", "resume"] {
        portico.api.ok("POST", &format!("{path}/{verb}"), None).await;
    }
    receiver.wait(2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(receiver.told().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_and_recovers_is_told_the_same_again() {
    let portico = start().await;
    let receiver = Receiver::scripted(|n| match n {
        0 => Reply::Status(500, ""),
        1 => Reply::Close,
        2 => Reply::Hang,
        3 => Reply::Status(404, ""),
        _ => Reply::Status(202, ""),
    })
    .await;
    let (webhook, secret) = hook(&portico, &receiver, &["sandbox.created"]).await;
    portico.api.sandbox("again").await;
    let told = receiver.wait(5).await;
    for (n, one) in told.iter().enumerate() {
        assert_eq!(one.body, told[0].body, "every attempt sends the same bytes");
        assert_eq!(one.field("x-miosa-attempt"), (n + 1).to_string());
        assert!(one.is_signed_by(&secret));
    }
    let moment = |n: usize| told[n].field("x-miosa-timestamp").parse::<i64>().unwrap();
    assert!(moment(4) >= moment(0));
    let delivery = settled(&portico, &webhook, "delivered").await;
    assert_eq!((&delivery["attempts"], &delivery["status_code"]), (&json!(5), &json!(202)));
    assert_eq!((&delivery["error"], &delivery["success"]), (&Value::Null, &json!(true)));
    let shown = portico.api.ok("GET", &format!("/webhooks/{webhook}"), None).await;
    assert_eq!((&shown["failure_count"], &shown["last_status_code"]), (&json!(0), &json!(202)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let portico = start().await;
    let elsewhere = Receiver::start().await;
    let location = format!("Location: http://{}/\r\n", elsewhere.address);
    let location: &'static str = location.leak();
    let receiver = Receiver::scripted(move |_| Reply::Status(307, location)).await;
    let order = json!({ "url": receiver.url(), "events": ["sandbox.created"], "retry_count": 1 });
    let (webhook, _) = register(&portico, order).await;
    portico.api.sandbox("moved").await;
    let given_up = settled(&portico, &webhook, "dead_letter").await;
    assert_eq!((&given_up["attempts"], &given_up["status_code"]), (&json!(2), &json!(307)));
    assert!(given_up["error"].as_str().unwrap().contains("redirect"));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_for_time_gets_it_and_one_that_is_gone_is_left_alone() {
    let portico = start().await;
    let busy = Receiver::scripted(|n| match n {
        0 => Reply::Status(429, "Retry-After: 1\r\n"),
        _ => Reply::Status(200, ""),
    })
    .await;
    let gone = Receiver::scripted(|_| Reply::Status(410, "")).await;
    hook(&portico, &busy, &["sandbox.created"]).await;
    let (webhook, _) = hook(&portico, &gone, &["sandbox.created"]).await;
    portico.api.sandbox("one").await;
    let told = busy.wait(2).await;
    assert!(told[1].at - told[0].at >= Duration::from_secs(1), "{:?}", told[1].at - told[0].at);
    settled(&portico, &webhook, "dead_letter").await;
    let shown = portico.api.ok("GET", &format!("/webhooks/{webhook}"), None).await;
    assert_eq!((&shown["state"], &shown["active"]), (&json!("inactive"), &json!(false)));
    portico.api.sandbox("two").await;
    busy.wait(3).await;
    assert_eq!((gone.told().len(), deliveries(&portico, &webhook).await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_is_read_no_further_than_it_is_kept() {
    let portico = start().await;
    let receiver = Receiver::scripted(|_| Reply::Endless).await;
    let (webhook, _) = hook(&portico, &receiver, &["sandbox.created"]).await;
    portico.api.sandbox("endless").await;
    let delivery = settled(&portico, &webhook, "delivered").await;
    assert_eq!(delivery["response_body"].as_str().unwrap().len(), 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_hang_delay_nobody_else() {
    let portico = Portico::start_with(|config| {
        quick(config);
        config.webhooks.timeout = Duration::from_secs(5);
        config.webhooks.concurrency = 32;
    })
    .await;
    let mut hanging = Vec::new();
    for _ in 0..3 {
        let receiver = Receiver::scripted(|_| Reply::Hang).await;
        hook(&portico, &receiver, &["sandbox.*"]).await;
        hanging.push(receiver);
    }
    for n in 0..20 {
        portico.api.sandbox(&format!("before-{n}")).await;
    }
    hanging[0].wait(1).await;
    // Another tenant's: a tenant's own share of the room is what it can fill.
    let data = portico.data.path();
    let tenant =
        crate::support::command(&["tenant", "create", "other", "--quiet", "--data"], Some(data));
    let tenant = String::from_utf8(tenant.stdout).unwrap();
    let key = ["key", "create", "--quiet", "--tenant", tenant.trim(), "--data"];
    let key = crate::support::command(&key, Some(data));
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let api = crate::support::Api { address: portico.api.address, key };
    let receiver = Receiver::start().await;
    let order = json!({ "url": receiver.url(), "events": ["sandbox.created"] });
    api.ok("POST", "/webhooks", Some(order)).await;
    let started = Instant::now();
    for n in 0..20 {
        api.sandbox(&format!("after-{n}")).await;
    }
    let told = receiver.wait(20).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    let different: HashSet<String> = told.iter().map(super::support::Told::event).collect();
    assert_eq!((told.len(), different.len()), (20, 20), "each once");
    let at_once: usize = hanging.iter().map(|receiver| receiver.told().len()).sum();
    assert!(at_once <= 3 * 4, "{at_once} at once to three that hang");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_is_refused_by_number_and_by_name() {
    let portico = Portico::start_with(|config| {
        quick(config);
        config.webhooks.allow.clear();
    })
    .await;
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    let order = |url: String| json!({ "url": url, "events": [], "retry_count": 0 });
    for host in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00::1]",
        "0.0.0.0",
    ] {
        let url = format!("http://{host}:{port}/");
        let refused = portico.api.call("POST", "/webhooks", Some(order(url))).await;
        assert_eq!(refused.status, 422, "{host}");
        let reason = refused.json()["error"]["details"]["url"][0].clone();
        assert_eq!(reason, "must resolve to a public address", "{host}");
    }
    for host in ["localhost", "0x7f.1", "127.1", "2130706433"] {
        let url = format!("http://{host}:{port}/");
        let (webhook, _) = register(&portico, order(url)).await;
        let test = portico.api.ok("POST", &format!("/webhooks/{webhook}/test"), None).await;
        assert_eq!(
            (&test["delivered"], &test["state"]),
            (&json!(false), &json!("failed")),
            "{host}"
        );
        assert!(test["error"].as_str().unwrap().contains("not public"), "{host}: {test}");
    }
    portico.api.sandbox("private").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_listeners_are_never_told() {
    let portico = start().await;
    for own in [portico.running.api, portico.running.admin, portico.preview()] {
        let order = json!({ "url": format!("http://{own}/"), "events": [] });
        let refused = portico.api.call("POST", "/webhooks", Some(order)).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
    }
    let url = format!("http://localhost:{}/", portico.running.admin.port());
    let (webhook, _) = register(&portico, json!({ "url": url, "events": [] })).await;
    let test = portico.api.ok("POST", &format!("/webhooks/{webhook}/test"), None).await;
    assert_eq!(test["delivered"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_the_certificate_counts() {
    let authority = Authority::new();
    let file = authority.certificate();
    let trusting = Portico::start_with(|config| {
        quick(config);
        config.webhooks.authorities = Some(file.clone());
    })
    .await;
    let wary = start().await;
    let good = Receiver::secure(authority.server(&["localhost"])).await;
    let other = Receiver::secure(authority.server(&["other.example"])).await;
    for (portico, receiver, delivered) in
        [(&trusting, &good, true), (&trusting, &other, false), (&wary, &good, false)]
    {
        // The receivers listen on IPv4 only: the second address is tried as well.
        let url = format!("https://localhost:{}/", receiver.address.port());
        let (webhook, _) = register(portico, json!({ "url": url, "events": [] })).await;
        let test = portico.api.ok("POST", &format!("/webhooks/{webhook}/test"), None).await;
        assert_eq!(test["delivered"], delivered, "{test}");
        let error = test["error"].as_str().unwrap_or_default();
        assert_eq!(error.contains("TLS"), !delivered, "{test}");
    }
    assert_eq!((good.told().len(), other.told().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_too_many_failures_a_webhook_rests_until_it_is_activated_again() {
    let portico = Portico::start_with(|config| {
        quick(config);
        config.webhooks.failed_after = 2;
    })
    .await;
    let receiver = Receiver::scripted(|n| Reply::Status(if n < 2 { 500 } else { 200 }, "")).await;
    let order = json!({ "url": receiver.url(), "events": ["sandbox.created"], "retry_count": 0 });
    let (webhook, _) = register(&portico, order).await;
    let path = format!("/webhooks/{webhook}");
    let shown = portico.api.ok("GET", &path, None).await;
    assert_eq!(shown["retry_count"], 0, "none is not the same as unsaid");
    for slug in ["one", "two"] {
        portico.api.sandbox(slug).await;
        let expected = if slug == "one" { 1 } else { 2 };
        eventually("it is given up", async || {
            let all = deliveries(&portico, &webhook).await;
            all.len() == expected && all.iter().all(|one| one["state"] == "dead_letter")
        })
        .await;
    }
    assert_eq!(receiver.told().len(), 2, "each was tried once");
    assert_eq!(portico.api.ok("GET", &path, None).await["state"], "failed");
    portico.api.sandbox("unheard").await;
    let all = deliveries(&portico, &webhook).await;
    assert_eq!(all.len(), 2, "nothing is queued for one that has failed");
    let id = all[0]["id"].as_str().unwrap();
    let replay = format!("{path}/deliveries/{id}/replay");
    let refused = portico.api.call("POST", &replay, Some(json!({}))).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let revived = portico.api.ok("PATCH", &path, Some(json!({"active": true}))).await;
    assert_eq!((&revived["state"], &revived["failure_count"]), (&json!("active"), &json!(0)));
    portico.api.ok("POST", &replay, Some(json!({"replay_id": "r1"}))).await;
    let told = receiver.wait(3).await;
    assert_eq!(told[2].event(), all[0]["event_id"], "the same event");
    assert_ne!(told[2].json()["delivery_id"], all[0]["id"], "as another delivery");
    let again = portico.api.call("POST", &replay, Some(json!({"replay_id": "r1"}))).await;
    assert_eq!(
        (again.status, &again.json()["error"]["message"]),
        (409, &json!("Replay ID already used"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_changes_both_sign() {
    let portico = Portico::start_with(|config| {
        quick(config);
        config.webhooks.secret_overlap = Duration::from_secs(2);
    })
    .await;
    let receiver = Receiver::start().await;
    let (webhook, old) = hook(&portico, &receiver, &["sandbox.created"]).await;
    let path = format!("/webhooks/{webhook}/rotate-secret");
    let rotated = portico.api.ok("POST", &path, None).await;
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    portico.api.sandbox("during").await;
    let during = receiver.wait(1).await[0].clone();
    assert!(during.is_signed_by(&new));
    let timed = during.field("miosa-signature").to_owned();
    assert_eq!(timed.matches("v1=").count(), 2, "{timed}");
    // Whoever reads fields into a map keeps the last of a name: the new one.
    let last = timed.rsplit_once(',').unwrap().1;
    let of_new = format!("t={},{last}", during.field("x-miosa-timestamp"));
    let mut only_new = during.clone();
    for (name, value) in &mut only_new.fields {
        if name.ends_with("-signature") && !name.starts_with("x-") {
            value.clone_from(&of_new);
        }
    }
    assert!(only_new.is_signed_by(&new));
    let mut only_old = during.clone();
    let previous = during.field("x-miosa-signature-previous").to_owned();
    assert_eq!(during.field("x-webhook-signature-previous"), previous);
    for (name, value) in &mut only_old.fields {
        if name.starts_with("x-") && name.ends_with("-signature") {
            value.clone_from(&previous);
        }
    }
    assert!(only_old.is_signed_by(&old));
    tokio::time::sleep(Duration::from_secs(2)).await;
    portico.api.sandbox("afterwards").await;
    let after = receiver.wait(2).await[1].clone();
    assert!(after.is_signed_by(&new) && !after.is_signed_by(&old));
    assert_eq!(after.field("miosa-signature").matches("v1=").count(), 1);
    assert_eq!(after.field("x-miosa-signature-previous"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_wrongly_is_refused_with_a_reason() {
    let portico = Portico::start_with(|config| config.webhooks.per_tenant = 2).await;
    let url = "https://hooks.example.com/in";
    let refused = async |order: Value, code: &str, field: &str| {
        let response = portico.api.call("POST", "/webhooks", Some(order.clone())).await;
        let error = response.json()["error"].clone();
        assert_eq!((response.status, &error["code"]), (422, &json!(code)), "{order}: {error}");
        assert!(error["details"].get(field).is_some(), "{order}: {error}");
    };
    refused(json!({"events": []}), "VALIDATION_ERROR", "url").await;
    refused(json!({"url": "ftp://a.example/"}), "VALIDATION_ERROR", "url").await;
    refused(json!({"url": "https://u:p@a.example/"}), "VALIDATION_ERROR", "url").await;
    refused(json!({"url": url, "events": ["sandbox.rnning"]}), "UNKNOWN_EVENT_TYPE", "events")
        .await;
    refused(json!({"url": url, "events": ["deployment.*"]}), "UNKNOWN_EVENT_TYPE", "events").await;
    refused(json!({"url": url, "retry_count": 11}), "VALIDATION_ERROR", "retry_count").await;
    refused(json!({"url": url, "secret": "short"}), "VALIDATION_ERROR", "secret").await;
    refused(json!({"url": url, "headers": {"Host": "a"}}), "VALIDATION_ERROR", "headers").await;
    refused(json!({"url": url, "headers": {"X-A": "a\r\nB: c"}}), "VALIDATION_ERROR", "headers")
        .await;
    refused(json!({"url": url, "state": "failed"}), "VALIDATION_ERROR", "state").await;
    let scoped = json!({"url": url, "workspace_id": "w1", "events": ["quota.exceeded"]});
    refused(scoped, "EVENTS_NOT_WORKSPACE_SCOPABLE", "events").await;
    let secret = "a secret of my own".replace(' ', "-");
    let order =
        json!({"url": url, "events": ["sandbox.*", "*"], "secret": secret, "active": false});
    let (webhook, given) = register(&portico, order).await;
    assert_eq!(given, secret);
    let path = format!("/webhooks/{webhook}");
    let shown = portico.api.ok("GET", &path, None).await;
    assert!(shown.get("secret").is_none(), "it is shown once");
    assert_eq!(shown["secret_preview"], "…-own");
    assert_eq!((&shown["state"], &shown["enabled"]), (&json!("inactive"), &json!(false)));
    register(&portico, json!({"url": url})).await;
    let response = portico.api.call("POST", "/webhooks", Some(json!({"url": url}))).await;
    assert_eq!(response.json()["error"]["code"], "WEBHOOK_LIMIT_REACHED");
    let patch = json!({"name": "Mine", "description": null, "events": ["quota.exceeded"], "metadata": {"a": 1}});
    let changed = portico.api.ok("PATCH", &path, Some(patch)).await;
    assert_eq!(
        (&changed["name"], &changed["events"]),
        (&json!("Mine"), &json!(["quota.exceeded"]))
    );
    assert_eq!((&changed["url"], &changed["state"]), (&json!(url), &json!("inactive")));
    let events = portico.api.call("GET", "/webhooks/events", None).await.json();
    assert!(events["events"].as_array().unwrap().contains(&json!("sandbox.ready")));
    assert!(
        events["data"]["sandbox"].as_array().unwrap().contains(&json!("sandbox.share.created"))
    );
    assert_eq!(events["signing"]["header"], "x-miosa-signature");
    for known in [webhook.as_str(), "wh_00000000000000000000000000000000"] {
        let gone = portico.api.call("DELETE", &format!("/webhooks/{known}"), None).await;
        assert_eq!(gone.status, if known == webhook { 204 } else { 404 });
    }
    assert_eq!(portico.api.call("GET", &path, None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_newest_first_page_by_page() {
    let portico = start().await;
    let receiver = Receiver::start().await;
    let (webhook, _) = hook(&portico, &receiver, &["sandbox.*"]).await;
    for n in 0..4 {
        portico.api.sandbox(&format!("page-{n}")).await;
    }
    receiver.wait(12).await;
    let path = format!("/webhooks/{webhook}/deliveries");
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = portico.api.call("GET", &format!("{path}?limit=5&before={next}"), None).await;
        let page = page.json();
        seen.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = cursor.to_owned(),
            None => break,
        }
    }
    let ids: HashSet<&str> = seen.iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!((seen.len(), ids.len()), (12, 12));
    let moments: Vec<&str> = seen.iter().map(|one| one["created_at"].as_str().unwrap()).collect();
    // As moments: their texts leave zeros out at the end.
    let times: Vec<jiff::Timestamp> = moments.iter().map(|text| text.parse().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{moments:?}");
    let before = moments[11];
    let older = portico.api.ok("GET", &format!("{path}?before={before}"), None).await;
    assert_eq!(older, json!([]));
    let metrics = portico_metrics(&portico).await;
    assert!(
        metrics.contains("portico_webhook_deliveries_total{outcome=\"delivered\"} 12"),
        "{metrics}"
    );
}

async fn portico_metrics(portico: &Portico) -> String {
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    crate::support::Connection::open(portico.running.admin).await.roundtrip(request).await.text()
}
