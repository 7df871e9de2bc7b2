//! Domains of tenants' own: registered, verified by a real DNS server, disputed, lost again; whose sandboxes are served there.

use std::time::Duration;

use portico::app::Running;
use portico::config::Config;
use portico::control::api;
use portico::control::store::NewApiKey;
use portico::model::KeyScope;
use serde_json::{Value, json};

use crate::support::dns::{Mood, Names};
use crate::support::{Api, Authority, Connection, FakeSandbox, Portico, eventually};

const TARGET: &str = "proxy.platform.test";
const OURS: [&str; 2] = ["A 192.0.2.1", "AAAA 2001:db8::1"];

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// A Portico that asks a DNS server of the test's, and does so only when told to.
async fn start() -> (Portico, Names) {
    start_with(|_| {}).await
}

async fn start_with(adjust: impl FnOnce(&mut Config)) -> (Portico, Names) {
    let names = Names::start().await;
    names.set(TARGET, &OURS);
    let portico = Portico::start_with(|config| {
        config.dns = names.settings(TARGET);
        config.verify.recheck = Duration::ZERO;
        adjust(config);
    })
    .await;
    (portico, names)
}

/// Another tenant.
async fn other_tenant(running: &Running, name: &str) -> Api {
    let (tenant, _) = running.state.store.create_tenant(name).await.unwrap();
    let (secret, prefix, hash) = api::keys::generate();
    let scopes = vec![KeyScope::All];
    let key = NewApiKey {
        tenant: tenant.id,
        label: name.into(),
        prefix,
        hash,
        scopes,
        expires_at: None,
        binding: None,
    };
    running.state.store.put_api_key(key).await.unwrap();
    Api { address: running.api, key: secret }
}

async fn register(api: &Api, level: &str, domain: &str) -> Value {
    let path = format!("{level}/preview-domain");
    api.ok("PUT", &path, Some(json!({"preview_domain": domain}))).await
}

async fn verify(api: &Api, level: &str) -> Value {
    api.ok("POST", &format!("{level}/preview-domain/verify"), None).await
}

/// The record of a name in an answer.
fn record<'a>(response: &'a Value, name: &str) -> &'a Value {
    let records = response["records"].as_array().unwrap();
    records.iter().find(|record| record["name"] == name).unwrap()
}

async fn code(api: &Api, method: &str, path: &str, body: Value) -> (u16, Value) {
    let response = api.call(method, path, Some(body)).await;
    (response.status, response.json()["error"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_registered_verified_used_and_deleted() {
    let (portico, names) = start().await;
    let app = FakeSandbox::well_behaved().await;
    let (api, port) = (&portico.api, app.port());
    let target = portico.public("mine", port).await;
    let nothing = api.ok("GET", "/tenant/preview-domain", None).await;
    assert_eq!(
        (&nothing["status"], &nothing["domain"], &nothing["source"], &nothing["cname_target"]),
        (&json!("not_configured"), &Value::Null, &json!("platform"), &json!(TARGET))
    );
    assert_eq!(code(api, "POST", "/tenant/preview-domain/verify", json!({})).await.0, 404);

    // The older spelling of the field, and a spelling that is brought to one form.
    let body = json!({"domain": "OpenDesigns.test."});
    let pending = api.ok("PUT", "/tenant/preview-domain", Some(body)).await;
    assert_eq!(pending["preview_domain"], "opendesigns.test");
    assert_eq!((&pending["status"], &pending["verified"]), (&json!("pending_dns"), &json!(false)));
    assert_eq!(record(&pending, "*.sandbox.opendesigns.test")["status"], "pending");
    assert!(names.take_asked().is_empty(), "registering asks nobody");

    let host = format!("{port}-mine.sandbox.opendesigns.test");
    let missing = verify(api, "/tenant").await;
    assert_eq!((&missing["verified"], &missing["verified_at"]), (&json!(false), &Value::Null));
    let sandbox = record(&missing, "*.sandbox.opendesigns.test");
    assert_eq!((&sandbox["status"], &sandbox["found"]), (&json!("missing"), &json!([])));
    assert_eq!(portico.visit(get(&host)).await.status, 404, "not before it is verified");
    let shown = api.ok("GET", &format!("/sandboxes/{}", target.id), None).await;
    assert_eq!(shown["preview_domain"], "sandbox.localhost");

    names.set("*.sandbox.opendesigns.test", &["CNAME elsewhere.test"]);
    let wrong = verify(api, "/tenant").await;
    let sandbox = record(&wrong, "*.sandbox.opendesigns.test");
    assert_eq!(
        (&sandbox["status"], &sandbox["found"]),
        (&json!("wrong"), &json!(["CNAME elsewhere.test"]))
    );
    assert!(
        sandbox["message"]
            .as_str()
            .unwrap()
            .contains("a CNAME record with the value proxy.platform.test")
    );

    names.set("*.sandbox.opendesigns.test", &[&format!("CNAME {TARGET}")]);
    let right = verify(api, "/tenant").await;
    assert_eq!((&right["verified"], &right["status"]), (&json!(true), &json!("configured")));
    assert_eq!(right["target"], TARGET);
    assert_eq!(record(&right, "*.opendesigns.test")["status"], "missing");
    assert_eq!((&right["short_hosts"], &right["source"]), (&json!(false), &json!("tenant")));
    assert_eq!(portico.visit(get(&host)).await.status, 200, "at once");
    let told = portico.running.state.store.all_events_since(0, 1000).await.unwrap();
    let told: Vec<_> = told.iter().filter(|e| e.kind.name() == "preview_domain.verified").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].data["preview_domain"], "opendesigns.test");
    let short = format!("{port}-mine.opendesigns.test");
    assert_eq!(portico.visit(get(&short)).await.status, 404, "that one does not lead here");
    assert_eq!(portico.visit(get(&target.host)).await.status, 200, "the platform's zone as well");
    let shown = api.ok("GET", &format!("/sandboxes/{}", target.id), None).await;
    assert_eq!(shown["preview_domain"], "sandbox.opendesigns.test");
    assert_eq!(shown["preview_domain_source"], "tenant");
    assert!(shown["preview_url"].as_str().unwrap().contains("-mine.sandbox.opendesigns.test"));
    let minted =
        api.ok("POST", &format!("/sandboxes/{}/preview-token", target.id), Some(json!({}))).await;
    assert!(minted["url"].as_str().unwrap().contains("-mine.sandbox.opendesigns.test"));

    names.set("*.opendesigns.test", &[&format!("CNAME {TARGET}")]);
    assert_eq!(verify(api, "/tenant").await["short_hosts"], true);
    assert_eq!(portico.visit(get(&short)).await.status, 200);

    // Registering it again changes nothing; a rename is followed there.
    let again = register(api, "/tenant", "opendesigns.test").await;
    assert_eq!(again["verified_at"], right["verified_at"]);
    api.ok("PATCH", &format!("/sandboxes/{}", target.id), Some(json!({"slug": "renamed"}))).await;
    assert_eq!(portico.visit(get(&host)).await.status, 404);
    let renamed = format!("{port}-renamed.sandbox.opendesigns.test");
    assert_eq!(portico.visit(get(&renamed)).await.status, 200);

    assert_eq!(api.call("DELETE", "/tenant/preview-domain", None).await.status, 204);
    assert_eq!(api.call("DELETE", "/tenant/preview-domain", None).await.status, 204);
    assert_eq!(portico.visit(get(&renamed)).await.status, 404);
    let gone = api.ok("GET", "/tenant/preview-domain", None).await;
    assert_eq!(gone["status"], "not_configured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_here_by_a_chain_of_aliases_or_by_our_addresses_alone() {
    let (portico, names) = start().await;
    let api = &portico.api;
    register(api, "/tenant", "own.test").await;
    let name = "*.sandbox.own.test";
    let check = async |records: &[&str], status: &str, found: Value| {
        names.set(name, records);
        let response = verify(api, "/tenant").await;
        let record = record(&response, name);
        assert_eq!(record["status"], status, "{records:?}: {record}");
        assert_eq!(record["found"], found, "{records:?}");
    };
    names.set("first.test", &["CNAME second.test"]);
    names.set("second.test", &[&format!("CNAME {TARGET}")]);
    names.set("flat.test", &["A 192.0.2.1"]);
    names.set("round.test", &["CNAME about.test"]);
    names.set("about.test", &["CNAME round.test"]);
    check(&["A 192.0.2.9"], "wrong", json!(["A 192.0.2.9"])).await;
    check(&["A 192.0.2.1", "A 192.0.2.9"], "wrong", json!(["A 192.0.2.1", "A 192.0.2.9"])).await;
    let round = json!(["CNAME round.test", "CNAME about.test", "CNAME round.test"]);
    check(&["CNAME round.test"], "wrong", round).await;
    assert_eq!(verify(api, "/tenant").await["verified"], false);
    let chain = ["CNAME first.test", "CNAME second.test", "CNAME proxy.platform.test"];
    check(&["CNAME first.test"], "verified", json!(chain)).await;
    check(&["A 192.0.2.1"], "verified", json!(["A 192.0.2.1"])).await;
    check(&OURS, "verified", json!(OURS)).await;
    check(&["CNAME flat.test"], "verified", json!(["CNAME flat.test", "A 192.0.2.1"])).await;
    // A wildcard higher up reaches below, as DNS has it.
    names.remove(name);
    names.set("*.own.test", &[&format!("CNAME {TARGET}")]);
    let response = verify(api, "/tenant").await;
    assert_eq!(record(&response, name)["status"], "verified");
    // What was asked for is no name that anybody uses, and never twice the same.
    names.take_asked();
    verify(api, "/tenant").await;
    verify(api, "/tenant").await;
    let mut asked: Vec<String> = names.take_asked().into_iter().map(|(name, _)| name).collect();
    asked.retain(|name| name.ends_with(".sandbox.own.test"));
    asked.dedup();
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_not_a_wrong_answer() {
    let (portico, names) = start_with(|config| config.verify.grace = Duration::ZERO).await;
    let api = &portico.api;
    register(api, "/tenant", "own.test").await;
    names.set("*.sandbox.own.test", &[&format!("CNAME {TARGET}")]);
    for (mood, why) in [
        (Mood::Fails, "Server Failure"),
        (Mood::Refuses, "Query Refused"),
        (Mood::Silent, "in time"),
    ] {
        names.mood(Some(mood));
        let response = verify(api, "/tenant").await;
        let record = record(&response, "*.sandbox.own.test");
        assert_eq!(record["status"], "unknown", "{mood:?} {record}");
        assert!(record["found"][0].as_str().unwrap().contains(why), "{mood:?} {record}");
        assert_eq!(response["verified"], false);
    }
    names.mood(None);
    assert_eq!(verify(api, "/tenant").await["verified"], true);
    // A verified one stays so, however often nobody says anything.
    names.mood(Some(Mood::Fails));
    for _ in 0..5 {
        assert_eq!(verify(api, "/tenant").await["verified"], true);
    }
    let response = api.ok("GET", "/tenant/preview-domain", None).await;
    assert!(response["failing_since"].is_string(), "{response}");
    // Definite answers end it; before the third nothing happens.
    names.mood(None);
    names.remove("*.sandbox.own.test");
    assert_eq!(verify(api, "/tenant").await["verified"], true);
    assert_eq!(verify(api, "/tenant").await["verified"], true);
    let lost = verify(api, "/tenant").await;
    assert_eq!((&lost["verified"], &lost["status"]), (&json!(false), &json!("pending_dns")));
    assert_eq!(lost["source"], "platform");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_verifies_what_comes_right_and_gives_up_what_is_gone() {
    let (portico, names) = start_with(|config| {
        config.verify.recheck = Duration::from_millis(100);
        config.verify.grace = Duration::from_millis(300);
    })
    .await;
    let app = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", app.port()).await;
    let host = format!("{}-mine.sandbox.own.test", app.port());
    let api = &portico.api;
    register(api, "/tenant", "own.test").await;
    names.set("*.sandbox.own.test", &[&format!("CNAME {TARGET}")]);
    let serves = async || portico.visit(get(&host)).await.status == 200;
    eventually("verified by itself", async || serves().await).await;
    let url = async || {
        let shown = api.ok("GET", &format!("/sandboxes/{}", target.id), None).await;
        shown["preview_url"].as_str().unwrap().to_owned()
    };
    assert!(url().await.contains("own.test"));
    names.mood(Some(Mood::Silent));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(serves().await, "a silent server closes nothing");
    names.mood(None);
    names.set("*.sandbox.own.test", &["A 198.51.100.1"]);
    eventually("given up", async || !serves().await).await;
    assert!(url().await.contains("-mine.sandbox.localhost"), "and never minted again");
    let shown = api.ok("GET", "/tenant/preview-domain", None).await;
    assert_eq!(shown["verified"], false);
    assert_eq!(record(&shown, "*.sandbox.own.test")["found"], json!(["A 198.51.100.1"]));
    names.set("*.sandbox.own.test", &OURS);
    eventually("right again", async || serves().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nobodys_or_the_platforms_is_refused() {
    let (portico, _names) = start().await;
    for bad in [
        "co.uk",
        "github.io",
        "192.0.2.1",
        "::1",
        "localhost",
        "sandbox.localhost",
        "proxy.platform.test",
        "platform.test",
        "a.proxy.platform.test",
        "https://own.test",
        "*.own.test",
        "",
    ] {
        for (method, path, field) in [
            ("PUT", "/tenant/preview-domain", "preview_domain"),
            ("PUT", "/projects/p/preview-domain", "domain"),
            ("POST", "/custom-domains", "fqdn"),
        ] {
            let (status, error) = code(&portico.api, method, path, json!({ field: bad })).await;
            assert_eq!((status, &error["code"]), (422, &json!("VALIDATION_ERROR")), "{path} {bad}");
            assert!(error["details"][field].is_array(), "{path} {bad}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_the_first_tenants_until_somebody_proves_that_it_is_theirs() {
    let (portico, names) = start().await;
    let app = FakeSandbox::well_behaved().await;
    let (first, second) = (&portico.api, &other_tenant(&portico.running, "second").await);
    let squatter = portico.public("mine", app.port()).await;
    register(first, "/tenant", "own.test").await;
    names.set("*.sandbox.own.test", &[&format!("CNAME {TARGET}")]);
    names.set("*.own.test", &[&format!("CNAME {TARGET}")]);
    assert_eq!(verify(first, "/tenant").await["verified"], true);
    let host = format!("{}-mine.sandbox.own.test", app.port());
    assert_eq!(portico.visit(get(&host)).await.status, 200);

    // The same, above and below: nobody captures another's hosts, or has another above them.
    let mut challenge = Value::Null;
    for domain in ["own.test", "a.own.test", "sandbox.own.test"] {
        for (method, path) in
            [("PUT", "/tenant/preview-domain"), ("PUT", "/workspaces/w/preview-domain")]
        {
            let (status, error) = code(second, method, path, json!({"domain": domain})).await;
            assert_eq!((status, &error["code"]), (409, &json!("CONFLICT")), "{domain}");
            assert_eq!(error["message"], "Domain already registered");
            challenge = error["details"]["challenge"].clone();
            assert_eq!(challenge["name"], "_preview-challenge.own.test", "the wider name decides");
        }
    }
    let theirs = second.sandbox("theirs").await;
    let order = json!({"fqdn": host, "sandbox_id": theirs.id});
    let (status, _) = code(second, "POST", "/custom-domains", order.clone()).await;
    assert_eq!(status, 409, "an exact name would be looked at before the domain");
    assert_eq!(portico.visit(get(&host)).await.status, 200);

    // Somebody else's value proves nothing, nor does silence.
    names.set("_preview-challenge.own.test", &["TXT preview-challenge=0123"]);
    let put = json!({"domain": "own.test"});
    assert_eq!(code(second, "PUT", "/tenant/preview-domain", put.clone()).await.0, 409);
    names.mood(Some(Mood::Silent));
    let (_, error) = code(second, "PUT", "/tenant/preview-domain", put.clone()).await;
    assert_eq!(error["details"]["challenge"]["status"], "unknown");
    names.mood(None);

    // A holder who has proved it keeps it.
    let mine = first.ok("GET", "/tenant/preview-domain", None).await["challenge"]["value"].clone();
    let (mine, value) = (mine.as_str().unwrap(), challenge["value"].as_str().unwrap());
    assert_ne!(mine, value);
    names.set("_preview-challenge.own.test", &[&format!("TXT {mine}"), &format!("TXT {value}")]);
    assert_eq!(code(second, "PUT", "/tenant/preview-domain", put).await.0, 409);
    let proved = verify(first, "/tenant").await;
    assert!(proved["owner_proved_at"].is_string() && proved["challenge"]["status"] == "verified");

    // One who has not gives it up, at once and with everything below it.
    names.set("_preview-challenge.own.test", &["TXT unrelated", &format!("TXT {value}")]);
    let taken = register(second, "/tenant", "own.test").await;
    assert_eq!(taken["verified"], false);
    assert_eq!(portico.visit(get(&host)).await.status, 404);
    let lost = first.ok("GET", "/tenant/preview-domain", None).await;
    assert_eq!(lost["status"], "not_configured");
    assert_eq!(verify(second, "/tenant").await["verified"], true);
    assert_eq!(portico.visit(get(&host)).await.status, 404, "it is the other tenant's now");
    let by_id = format!("{}-{}.sandbox.own.test", app.port(), squatter.id);
    assert_eq!(portico.visit(get(&by_id)).await.status, 404, "by id as well");
    second.publish(&theirs.id, app.port(), json!({})).await;
    let host = format!("{}-theirs.sandbox.own.test", app.port());
    assert_eq!(portico.visit(get(&host)).await.status, 200);
    let (status, _) =
        code(first, "PUT", "/tenant/preview-domain", json!({"domain": "own.test"})).await;
    assert_eq!(status, 409, "there is no way back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wider_name_is_proved_where_it_is_and_takes_what_is_below_it() {
    let (portico, names) = start().await;
    let (first, second) = (&portico.api, &other_tenant(&portico.running, "second").await);
    register(first, "/tenant", "shop.own.test").await;
    let sandbox = first.sandbox("mine").await;
    let order = json!({"domain": "app.own.test", "sandbox_id": sandbox.id});
    first.ok("POST", "/custom-domains", Some(order)).await;
    let put = json!({"domain": "own.test"});
    let (status, error) = code(second, "PUT", "/tenant/preview-domain", put.clone()).await;
    assert_eq!(status, 409);
    let challenge = &error["details"]["challenge"];
    assert_eq!(challenge["name"], "_preview-challenge.own.test");
    names.set(
        "_preview-challenge.own.test",
        &[&format!("TXT {}", challenge["value"].as_str().unwrap())],
    );
    // A name below that its holder has proved stays, and the whole is refused.
    let mine = first.ok("GET", "/custom-domains/app.own.test", None).await["challenge"].clone();
    let (name, value) = (mine["name"].as_str().unwrap(), mine["value"].as_str().unwrap());
    names.set(name, &[&format!("TXT {value}")]);
    assert_eq!(code(second, "PUT", "/tenant/preview-domain", put.clone()).await.0, 409);
    names.remove(name);
    second.ok("PUT", "/tenant/preview-domain", Some(put)).await;
    let lost = first.ok("GET", "/tenant/preview-domain", None).await;
    assert_eq!(lost["status"], "not_configured");
    assert_eq!(first.call("GET", "/custom-domains/app.own.test", None).await.status, 404);
    // Names beside it are nobody's business.
    register(first, "/tenant", "notown.test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_verified_domain_makes_the_links_and_serves_its_own_sandboxes_only() {
    let (portico, names) = start().await;
    let app = FakeSandbox::well_behaved().await;
    let (api, port) = (&portico.api, app.port());
    let make = async |slug: &str, more: Value| {
        let mut order = json!({"slug": slug});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let id = api.ok("POST", "/sandboxes", Some(order)).await["id"].as_str().unwrap().to_owned();
        api.publish(&id, port, json!({})).await;
        id
    };
    let one = make("one", json!({"workspace_id": "w 1", "project_id": "p1"})).await;
    let two = make("two", json!({"workspace_id": "w 1", "project_id": "p2"})).await;
    let three = make("three", json!({})).await;
    let levels = [
        ("/tenant", "all.test"),
        ("/workspaces/w%201", "work.test"),
        ("/projects/p1", "project.test"),
    ];
    let resolved = async |id: &str| {
        let shown = api.ok("GET", &format!("/sandboxes/{id}"), None).await;
        (shown["preview_domain"].clone(), shown["preview_domain_source"].clone())
    };
    for (level, domain) in levels {
        register(api, level, domain).await;
        let url = resolved(&one).await;
        assert!(!url.0.as_str().unwrap().contains(domain), "unverified domains are never minted");
        names.set(&format!("*.{domain}"), &[&format!("CNAME {TARGET}")]);
        assert_eq!(verify(api, level).await["verified"], true, "{level}");
    }
    let project = api.ok("GET", "/projects/p1/preview-domain", None).await;
    assert_eq!((&project["level"], &project["project_id"]), (&json!("project"), &json!("p1")));
    assert_eq!(
        (&project["source"], &project["resolved_domain"]),
        (&json!("project"), &json!("sandbox.project.test"))
    );
    let other = api.ok("GET", "/projects/p2/preview-domain", None).await;
    assert_eq!((&other["status"], &other["source"]), (&json!("not_configured"), &json!("tenant")));
    assert_eq!(
        api.ok("GET", "/workspaces/w%201/preview-domain", None).await["workspace_id"],
        "w 1"
    );

    let source = |domain: &str, level: &str| (json!(format!("sandbox.{domain}")), json!(level));
    assert_eq!(resolved(&one).await, source("project.test", "project"));
    assert_eq!(resolved(&two).await, source("work.test", "workspace"));
    assert_eq!(resolved(&three).await, source("all.test", "tenant"));

    let serves = async |names: &[&str; 2], domain: &str| {
        let mut answers = Vec::new();
        for name in names {
            answers
                .push(portico.visit(get(&format!("{port}-{name}.sandbox.{domain}"))).await.status);
        }
        assert_eq!(answers[0], answers[1], "by slug and by id, {names:?} {domain}");
        answers[0] == 200
    };
    for (names, at) in [
        (["one", &one], [true, true, true, true]),
        (["two", &two], [true, true, false, true]),
        (["three", &three], [true, false, false, true]),
    ] {
        let domains = ["all.test", "work.test", "project.test"];
        for (domain, expected) in domains.into_iter().zip(at) {
            assert_eq!(serves(&names, domain).await, expected, "{names:?} {domain}");
        }
        let host = format!("{port}-{}.sandbox.localhost", names[0]);
        assert_eq!(portico.visit(get(&host)).await.status, 200);
    }

    // Moving to the project moves the links and where it is served.
    api.ok("PATCH", &format!("/sandboxes/{two}"), Some(json!({"project_id": "p1"}))).await;
    assert_eq!(resolved(&two).await, source("project.test", "project"));
    assert!(serves(&["two", &two], "project.test").await);
    api.ok("PATCH", &format!("/sandboxes/{one}"), Some(json!({"project_id": null}))).await;
    assert!(!serves(&["one", &one], "project.test").await);

    // One name cannot serve two sets of sandboxes.
    let put = json!({"domain": "sandbox.project.test"});
    let (status, error) = code(api, "PUT", "/projects/p2/preview-domain", put).await;
    assert_eq!((status, &error["code"]), (409, &json!("CONFLICT")));
    api.call("DELETE", "/projects/p1/preview-domain", None).await;
    assert_eq!(resolved(&two).await, source("work.test", "workspace"));
    assert!(!serves(&["two", &two], "project.test").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_that_another_holds_in_the_zone_is_not_minted_there() {
    let (portico, names) = start().await;
    let app = FakeSandbox::responding("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst").await;
    portico.public("same", app.port()).await;
    let second = &other_tenant(&portico.running, "second").await;
    register(second, "/tenant", "own.test").await;
    names.set("*.own.test", &[&format!("CNAME {TARGET}")]);
    verify(second, "/tenant").await;
    let other = FakeSandbox::responding("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond").await;
    let mine = second.sandbox("same").await;
    second.publish(&mine.id, other.port(), json!({})).await;
    let url = async || {
        let shown = second.ok("GET", &format!("/sandboxes/{}/previews", mine.id), None).await;
        let url = shown[0]["url"].as_str().unwrap().to_owned();
        url.trim_start_matches("http://").split(':').next().unwrap().to_owned()
    };
    assert!(url().await.ends_with("-same.sandbox.own.test"));
    second.call("DELETE", "/tenant/preview-domain", None).await;
    let host = url().await;
    assert!(host.contains(&mine.id) && host.ends_with(".sandbox.localhost"), "{host}");
    assert_eq!(portico.visit(get(&host)).await.text(), "second");
    let taken = format!("{}-same.sandbox.localhost", app.port());
    assert_eq!(portico.visit(get(&taken)).await.text(), "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_name_leads_to_its_sandbox_once_dns_leads_it_here() {
    let (portico, names) = start().await;
    let app = FakeSandbox::well_behaved().await;
    let (api, host) = (&portico.api, "app.customer.test");
    let target = portico.public("mine", app.port()).await;
    let order =
        json!({"hostname": "App.Customer.test", "sandbox_id": target.id, "port": app.port()});
    let made = api.call("POST", "/custom-domains", Some(order.clone())).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json()["data"].clone();
    assert_eq!((&made["fqdn"], &made["status"]), (&json!(host), &json!("pending")));
    assert_eq!((&made["verification_target"], &made["port"]), (&json!(TARGET), &json!(app.port())));
    let (status, error) = code(api, "POST", "/custom-domains", order.clone()).await;
    assert_eq!((status, &error["code"]), (409, &json!("CONFLICT")));
    assert_eq!(portico.visit(get(host)).await.status, 404);
    let id = made["id"].as_str().unwrap();
    let checked = api.ok("POST", &format!("/custom-domains/{id}/verify"), None).await;
    assert_eq!(
        (&checked["status"], &checked["records"][0]["status"]),
        (&json!("pending"), &json!("missing"))
    );
    names.set(host, &[&format!("CNAME {TARGET}")]);
    let checked = api.ok("POST", &format!("/custom-domains/{host}/verify"), None).await;
    assert_eq!((&checked["status"], &checked["verified"]), (&json!("active"), &json!(true)));
    assert_eq!(portico.visit(get(host)).await.status, 200);

    let second = &other_tenant(&portico.running, "second").await;
    let theirs = second.sandbox("theirs").await;
    let (status, error) =
        code(second, "POST", "/custom-domains", json!({"fqdn": host, "sandbox_id": theirs.id}))
            .await;
    assert_eq!((status, &error["message"]), (409, &json!("Domain already registered")));
    for path in [format!("/custom-domains/{id}"), format!("/custom-domains/{host}")] {
        assert_eq!(second.call("GET", &path, None).await.status, 404);
        assert_eq!(second.call("DELETE", &path, None).await.status, 404);
        assert_eq!(api.ok("GET", &path, None).await["id"], id);
    }
    let foreign = json!({"fqdn": "b.customer.test", "sandbox_id": theirs.id});
    assert_eq!(code(api, "POST", "/custom-domains", foreign).await.0, 404);
    let listed = api.ok("GET", "/custom-domains", None).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);

    api.ok("POST", &format!("/sandboxes/{}/stop", target.id), None).await;
    assert_eq!(api.ok("GET", &format!("/custom-domains/{id}"), None).await["status"], "verified");
    assert_eq!(api.call("DELETE", &format!("/custom-domains/{id}"), None).await.status, 204);
    assert_eq!(portico.visit(get(host)).await.status, 404);
    // A destroyed sandbox takes its names with it.
    api.ok("POST", "/custom-domains", Some(order)).await;
    api.ok("DELETE", &format!("/sandboxes/{}", target.id), None).await;
    assert_eq!(api.call("GET", &format!("/custom-domains/{host}"), None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_allowed_for_hosts_that_lead_somewhere_and_not_too_many() {
    let (portico, names) = start_with(|config| config.tls_hosts_per_domain = 3).await;
    let ask = async |host: &str| {
        let request = format!(
            "GET /internal/tls/ask?domain={host} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        Connection::open(portico.running.admin).await.roundtrip(request).await.status
    };
    let api = &portico.api;
    let mine = api.sandbox("mine").await;
    register(api, "/tenant", "own.test").await;
    assert_eq!(ask("mine.sandbox.own.test").await, 404, "unverified");
    names.set("*.sandbox.own.test", &[&format!("CNAME {TARGET}")]);
    verify(api, "/tenant").await;
    assert_eq!(ask("3000-mine.sandbox.own.test").await, 200);
    for host in [
        "nope.sandbox.own.test",
        "mine.own.test",
        "own.test",
        "",
        "a.b.sandbox.own.test",
        "mine.sandbox.own.test:443",
        "evil.test",
        "%00",
        "mine.sandbox.other.test",
    ] {
        assert_eq!(ask(host).await, 404, "{host}");
    }
    let order = json!({"fqdn": "app.customer.test", "sandbox_id": mine.id});
    api.ok("POST", "/custom-domains", Some(order)).await;
    assert_eq!(ask("app.customer.test").await, 404, "pending");
    names.set("app.customer.test", &OURS);
    api.ok("POST", "/custom-domains/app.customer.test/verify", None).await;
    assert_eq!(ask("app.customer.test").await, 200);
    assert_eq!(ask("3001-mine.sandbox.own.test").await, 404, "nobody has published it");
    for port in [3001, 3002] {
        api.publish(&mine.id, port, json!({})).await;
    }
    // Three hosts of one registered domain; the same again costs nothing, another domain has its own.
    assert_eq!(ask("3001-mine.sandbox.own.test").await, 200);
    assert_eq!(ask("preview.sandbox.own.test").await, 200, "the gateway");
    assert_eq!(ask("3002-mine.sandbox.own.test").await, 429);
    assert_eq!(ask("3000-MINE.sandbox.own.test.").await, 200);
    assert_eq!(ask("mine.sandbox.localhost").await, 200);
    // None of it is said to visitors.
    let visit =
        "GET /internal/tls/ask?domain=mine.sandbox.own.test HTTP/1.1\r\nHost: x.test\r\n\r\n";
    assert_eq!(portico.visit(visit).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_move_to_a_domain_once_there_is_a_certificate_for_it() {
    let authority = Authority::new();
    let directory = authority.directory().to_owned();
    let (portico, names) = start_with(|config| {
        config.public_scheme = "https";
        let tls = config.tls.as_mut().unwrap();
        tls.certificates.directory = Some(directory);
        tls.certificates.reload = Duration::from_millis(50);
    })
    .await;
    let api = &portico.api;
    let target = portico.private("mine", 3000).await;
    let link = async || {
        let path = format!("/sandboxes/{}/preview-token", target.id);
        let minted = api.ok("POST", &path, Some(json!({"scope": "read", "port": 3000}))).await;
        minted["url"].as_str().unwrap().to_owned()
    };
    names.set("*.sandbox.opendesigns.test", &[&format!("CNAME {TARGET}")]);
    register(api, "/tenant", "opendesigns.test").await;
    let verified = verify(api, "/tenant").await;
    assert_eq!(
        (&verified["verified"], &verified["certificate"], &verified["resolved_domain"]),
        (&json!(true), &json!("missing"), &json!("sandbox.localhost"))
    );
    assert!(link().await.starts_with("https://3000-mine.sandbox.localhost:"));
    // One for another name changes nothing.
    authority.issue("other", &["*.opendesigns.test"]);
    authority.issue("own", &["*.sandbox.opendesigns.test"]);
    eventually("the certificate", async || {
        api.ok("GET", "/tenant/preview-domain", None).await["certificate"] == "present"
    })
    .await;
    assert!(link().await.starts_with("https://3000-mine.sandbox.opendesigns.test:"));
    let shown = api.ok("GET", &format!("/sandboxes/{}", target.id), None).await;
    assert_eq!(shown["preview_domain"], "sandbox.opendesigns.test");
}
