//! Names that change hands: slugs in the platform's zones, domains of tenants' own, and names that look like the operator's.

use std::time::Duration;

use jiff::Timestamp;
use portico::base::clock::Clock;
use portico::model::SandboxId;
use serde_json::json;

use super::{create, other_tenant};
use crate::support::dns::Names;
use crate::support::{Api, FakeSandbox, Portico};

const TARGET: &str = "proxy.platform.test";

async fn take(api: &Api, slug: &str) -> (u16, Option<SandboxId>) {
    let made = api.call("POST", "/sandboxes", Some(json!({"name": slug, "slug": slug}))).await;
    let id = made.json()["data"]["id"].as_str().map(|id| id.parse().unwrap());
    (made.status, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_is_not_another_tenants_the_moment_it_is_given_back() {
    let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
    let portico = Portico::start_at(clock.clone(), |config| {
        config.slug_quarantine = Duration::from_hours(24);
    })
    .await;
    let app = FakeSandbox::well_behaved().await;
    let (one, other) = (&portico.api, other_tenant(&portico, "other").await);
    let destroyed = one.sandbox("shop").await.id;
    one.ok("DELETE", &format!("/sandboxes/{destroyed}"), None).await;
    let renamed = one.sandbox("cafe").await.id;
    one.ok("PATCH", &format!("/sandboxes/{renamed}"), Some(json!({"slug": "bar"}))).await;
    let plain = create(one, json!({})).await;
    let by_id = one.ok("GET", &format!("/sandboxes/{plain}"), None).await["slug"].clone();
    let by_id = by_id.as_str().unwrap().to_owned();
    one.ok("DELETE", &format!("/sandboxes/{plain}"), None).await;
    for slug in ["shop", "cafe", &by_id] {
        assert_eq!(take(&other, slug).await.0, 409, "{slug} is still the first tenant's");
    }
    let mine = take(&other, "mine").await.1.unwrap();
    let wanted = Some(json!({"slug": "shop"}));
    assert_eq!(other.call("PATCH", &format!("/sandboxes/{mine}"), wanted).await.status, 409);
    // Its own tenant gets it back at once, and nothing has changed hands.
    let (status, again) = take(one, "shop").await;
    assert_eq!(status, 201);
    let route = |id: SandboxId| portico.running.state.routes.by_id(id).unwrap();
    assert_eq!(route(again.unwrap()).changed_hands_at(), None);
    one.ok("DELETE", &format!("/sandboxes/{}", again.unwrap()), None).await;
    // A restart forgets nothing: the store says it.
    clock.advance(Duration::from_hours(23));
    assert_eq!(take(&other, "shop").await.0, 409);
    clock.advance(Duration::from_hours(2));
    let (status, taken) = take(&other, "shop").await;
    assert_eq!(status, 201);
    assert_eq!(
        route(taken.unwrap()).changed_hands_at(),
        Some(clock.now()),
        "and visitors' browsers are told"
    );
    assert_eq!(route(mine).changed_hands_at(), None);
    other.publish(&taken.unwrap().to_string(), app.port(), json!({})).await;
    let visit = |cookie: &str| {
        let host = format!("{}-shop.sandbox.localhost", app.port());
        format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nCookie: {cookie}\r\n\r\n"
        )
    };
    let told = portico.visit(visit("login=of-the-former-tenants-app")).await;
    assert!(told.field("clear-site-data").is_some_and(|what| what.contains("storage")), "{told:?}");
    let marks = told.all("set-cookie");
    let mark = marks.iter().find(|cookie| !cookie.starts_with("login=")).unwrap();
    let again = portico.visit(visit(mark.split(';').next().unwrap())).await;
    assert_eq!((again.status, again.field("clear-site-data")), (200, None), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_another_end_users_is_not_told_apart_from_what_was_another_tenants() {
    let portico = Portico::start().await;
    let api = &portico.api;
    let body = |user: &str| json!({"slug": "desk", "external_user_id": user});
    let first = create(api, body("user-1")).await;
    api.ok("DELETE", &format!("/sandboxes/{first}"), None).await;
    let second: SandboxId = create(api, body("user-2")).await.parse().unwrap();
    let route = portico.running.state.routes.by_id(second).unwrap();
    assert!(
        route.changed_hands_at().is_some(),
        "the browsers of the first user's visitors hold its data"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_name_that_people_take_for_the_operators() {
    let portico = Portico::start_with(|config| {
        let file = "[preview]\nzones = [\"sandbox.example.com\"]\n";
        config.reserved_slugs = portico::config::parse(file).unwrap().reserved_slugs;
    })
    .await;
    let api = &portico.api;
    for slug in ["login", "admin", "auth", "wpad", "autoconfig", "mail", "localhost", "api"] {
        let refused = api.call("POST", "/sandboxes", Some(json!({"slug": slug}))).await;
        assert_eq!(refused.status, 422, "{slug}: {}", refused.text());
        assert_eq!(refused.json()["error"]["details"]["slug"][0], "is reserved");
    }
    let mine = api.sandbox("mine").await.id;
    let renamed =
        api.call("PATCH", &format!("/sandboxes/{mine}"), Some(json!({"slug": "sso"}))).await;
    assert_eq!(renamed.status, 422);
    let file = "[preview]\nzones = [\"sandbox.example.com\"]\nreserved_slugs = [\"ours\"]\n";
    assert_eq!(portico::config::parse(file).unwrap().reserved_slugs, ["ours"], "it is a setting");
}

async fn with_names() -> (Portico, Names) {
    let names = Names::start().await;
    names.set(TARGET, &["A 192.0.2.1"]);
    let portico = Portico::start_with(|config| {
        config.dns = names.settings(TARGET);
        config.verify.recheck = Duration::ZERO;
    })
    .await;
    (portico, names)
}

async fn verified(api: &Api) -> serde_json::Value {
    api.ok("POST", "/tenant/preview-domain/verify", None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_was_somebody_elses_is_not_verified_by_what_they_left_in_dns() {
    let (portico, names) = with_names().await;
    let (victim, thief) = (&portico.api, other_tenant(&portico, "thief").await);
    let domain = json!({"preview_domain": "victim.test"});
    let register =
        async |api: &Api, body| api.call("PUT", "/tenant/preview-domain", Some(body)).await;
    names.set("*.sandbox.victim.test", &[&format!("CNAME {TARGET}")]);
    register(victim, domain.clone()).await;
    assert_eq!(verified(victim).await["verified"], true);
    victim.call("DELETE", "/tenant/preview-domain", None).await;

    // The alias is still there. The name, one above it, one below it and an exact host: each needs its owner's word.
    for name in ["victim.test", "sandbox.victim.test", "x.sandbox.victim.test"] {
        assert_eq!(register(&thief, json!({"preview_domain": name})).await.status, 200);
        let shown = verified(&thief).await;
        assert_eq!(shown["verified"], false, "{name}: {shown}");
        assert_eq!(shown["challenge"]["required"], true, "{shown}");
    }
    let target = thief.sandbox("trap").await.id;
    names.set("3000-a.sandbox.victim.test", &[&format!("CNAME {TARGET}")]);
    let exact = json!({"fqdn": "3000-a.sandbox.victim.test", "sandbox_id": target});
    thief.ok("POST", "/custom-domains", Some(exact)).await;
    let path = "/custom-domains/3000-a.sandbox.victim.test/verify";
    assert_eq!(thief.ok("POST", path, None).await["verified"], false);

    // The victim comes back without a dispute, by the alias alone.
    let back = register(victim, domain.clone()).await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(verified(victim).await["verified"], true);
    victim.call("DELETE", "/tenant/preview-domain", None).await;

    // Whoever owns the name now shows it, and is verified.
    register(&thief, domain).await;
    let challenge = verified(&thief).await["challenge"].clone();
    let value = format!("TXT {}", challenge["value"].as_str().unwrap());
    names.set(challenge["name"].as_str().unwrap(), &[&value]);
    assert_eq!(verified(&thief).await["verified"], true);
}
