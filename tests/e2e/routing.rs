//! Hosts over real sockets: zones, ids, custom domains, renames, addresses that change.

use portico::model::{CustomDomain, TenantId};
use serde_json::json;

use crate::support::{FakeSandbox, Portico, eventually};

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

async fn tenant(portico: &Portico) -> TenantId {
    let me = portico.api.ok("GET", "/whoami", None).await;
    me["tenant_id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_host_leads_to_its_sandbox() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let port = sandbox.port();
    let target = portico.public("mine", port).await;
    let tenant = tenant(&portico).await;
    let store = &portico.running.state.store;
    store.put_domain("own.test", tenant, Some(jiff::Timestamp::now())).await.unwrap();
    let exact = CustomDomain {
        fqdn: "app.customer.test".into(),
        sandbox: target.id.parse().unwrap(),
        port: Some(port),
    };
    store.put_custom_domain(exact).await.unwrap();
    eventually("the domains are known", async || {
        portico.visit(get("app.customer.test")).await.status == 200
    })
    .await;
    portico
        .api
        .ok("PATCH", &format!("/sandboxes/{}", target.id), Some(json!({"default_port": port})))
        .await;
    for host in [
        format!("{port}-mine.sandbox.localhost"),
        "mine.sandbox.localhost".into(),
        format!("{port}-mine.sandbox.own.test"),
        "mine.sandbox.own.test".into(),
        "mine.own.test".into(),
        format!("{port}-mine.own.test:8443"),
        format!("{}.sandbox.localhost", target.id),
        "APP.Customer.Test.".into(),
    ] {
        assert_eq!(portico.visit(get(&host)).await.status, 200, "{host}");
    }
    for host in ["nope.sandbox.localhost", "localhost", "127.0.0.1", "own.test", "a.mine.own.test"]
    {
        assert_eq!(portico.visit(get(host)).await.status, 404, "{host}");
    }
    let moved = portico
        .visit(format!(
            "GET /p/{}/x?token=mp_y HTTP/1.1\r\nHost: preview.own.test\r\n\r\n",
            target.id
        ))
        .await;
    let expected = format!("http://{}.own.test/x?token=mp_y", target.id);
    assert_eq!((moved.status, moved.field("location")), (307, Some(expected.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_slug_takes_effect_at_once_and_a_taken_one_is_refused() {
    let portico = Portico::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let (mine, theirs) = (
        portico.public("mine", sandbox.port()).await,
        portico.public("theirs", sandbox.port()).await,
    );
    let path = format!("/sandboxes/{}", mine.id);
    let taken = portico.api.call("PATCH", &path, Some(json!({"slug": "theirs"}))).await;
    assert_eq!(taken.status, 409);
    assert_eq!(taken.json()["error"]["code"], "SLUG_TAKEN");
    assert_eq!(portico.visit(mine.get("/", "")).await.status, 200, "the loser keeps its host");
    let renamed = portico.api.ok("PATCH", &path, Some(json!({"slug": "brand-refresh-2026"}))).await;
    assert!(
        renamed["preview_url"].as_str().unwrap().contains("-brand-refresh-2026.sandbox.localhost:")
    );
    assert_eq!(portico.visit(mine.get("/", "")).await.status, 404);
    let host = mine.host.replace("mine", "brand-refresh-2026");
    assert_eq!(portico.visit(get(&host)).await.status, 200);
    assert_eq!(portico.visit(theirs.get("/", "")).await.status, 200);
    portico.api.ok("DELETE", &path, None).await;
    assert_eq!(portico.visit(get(&host)).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_sandbox_moves_and_nothing_reaches_its_old_address() {
    let portico =
        Portico::start_with(|config| config.networks.allow = vec!["127.0.0.0/8".parse().unwrap()])
            .await;
    let (first, second) = (
        FakeSandbox::responding("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst").await,
        FakeSandbox::responding("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond").await,
    );
    let order = json!({"slug": "vm", "upstream": format!("127.0.0.1:{}", first.port())});
    let created = portico.api.ok("POST", "/sandboxes", Some(order)).await;
    let id = created["id"].as_str().unwrap();
    portico.api.publish(id, 3000, json!({})).await;
    let host = "3000-vm.sandbox.localhost";
    let mut visitor = portico.connect().await;
    assert_eq!(visitor.roundtrip(get(host)).await.text(), "first");
    let moved = json!({"upstream": format!("127.0.0.1:{}", second.port())});
    let moved = portico.api.ok("PATCH", &format!("/sandboxes/{id}"), Some(moved)).await;
    assert_eq!(moved["address_generation"], 1);
    let before = first.received_text();
    for _ in 0..5 {
        assert_eq!(visitor.roundtrip(get(host)).await.text(), "second");
    }
    assert_eq!(first.received_text(), before);
    portico.api.ok("PATCH", &format!("/sandboxes/{id}"), Some(json!({"upstream": null}))).await;
    let starting = visitor.roundtrip(get(host)).await;
    assert_eq!((starting.status, starting.field("retry-after")), (503, Some("2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_ports_and_forbidden_networks_are_never_dialled() {
    let portico = Portico::start().await;
    for own in [portico.running.api.port(), portico.running.admin.port(), portico.preview().port()]
    {
        let target = portico.public(&format!("own{own}"), own).await;
        let response = portico.visit(target.get("/metrics", "")).await;
        assert_eq!(
            (response.status, response.field("x-preview-error")),
            (502, Some("address_forbidden"))
        );
    }
    for upstream in ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0"] {
        let refused =
            portico.api.call("POST", "/sandboxes", Some(json!({"upstream": upstream}))).await;
        assert_eq!(refused.status, 422, "{upstream}");
    }
    let named = portico
        .api
        .ok("POST", "/sandboxes", Some(json!({"slug": "named", "upstream": "localhost"})))
        .await;
    portico.api.publish(named["id"].as_str().unwrap(), 3000, json!({})).await;
    let response = portico.visit(get("3000-named.sandbox.localhost")).await;
    assert_eq!(response.field("x-preview-error"), Some("address_forbidden"));
}
