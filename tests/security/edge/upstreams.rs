//! Where previews lead: to sandboxes, and nowhere else.

use portico::model::network::AddressRules;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Connection, FakeSandbox, Portico, config_in};

/// Sandboxes on this machine, by their addresses.
async fn registered(adjust: impl FnOnce(&mut portico::config::Config)) -> Portico {
    Portico::start_with(|config| {
        config.networks.allow = vec!["127.0.0.0/8".parse().unwrap()];
        adjust(config);
    })
    .await
}

async fn create(portico: &Portico, slug: &str, upstream: serde_json::Value) -> (u16, String) {
    let order = json!({"slug": slug, "upstream": upstream});
    let response = portico.api.call("POST", "/sandboxes", Some(order)).await;
    let id = response.json()["data"]["id"].as_str().unwrap_or_default().to_owned();
    (response.status, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_port_is_not_reached_through_another() {
    let secret = FakeSandbox::well_behaved().await;
    let forbidden = secret.port();
    let portico = registered(|config| config.forbidden_ports = vec![forbidden]).await;
    for upstream in [
        json!(format!("127.0.0.1:{forbidden}")),
        json!(format!("localhost:{forbidden}")),
        json!({"host": "127.0.0.1", "ports": {"3000": forbidden}}),
    ] {
        assert_eq!(create(&portico, "mine", upstream.clone()).await.0, 422, "{upstream}");
    }
    let (status, id) = create(&portico, "mine", json!("127.0.0.1")).await;
    assert_eq!(status, 201);
    for upstream in [
        json!(format!("127.0.0.1:{forbidden}")),
        json!({"host": "127.0.0.1", "ports": {"3000": forbidden}}),
    ] {
        let path = format!("/sandboxes/{id}");
        let change = json!({"upstream": upstream});
        assert_eq!(portico.api.call("PATCH", &path, Some(change)).await.status, 422);
    }
    portico.api.publish(&id, forbidden, json!({})).await;
    let get = format!("GET / HTTP/1.1\r\nHost: {forbidden}-mine.sandbox.localhost\r\n\r\n");
    assert_eq!(portico.visit(get).await.status, 403);
    assert_eq!(secret.connections(), 0);
}

/// What was stored before a port was forbidden is judged when it is dialled.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_forbidden_later_is_not_dialled_any_more() {
    let secret = FakeSandbox::well_behaved().await;
    let data = tempfile::tempdir().unwrap();
    let start = async |forbidden: Vec<u16>| {
        let mut config = config_in(data.path());
        config.networks.allow = vec!["127.0.0.0/8".parse().unwrap()];
        config.forbidden_ports = forbidden;
        Box::pin(portico::cli::dev::start(config, portico::base::clock::Clock::system()))
            .await
            .unwrap()
    };
    let get =
        "GET / HTTP/1.1\r\nHost: 3000-mine.sandbox.localhost\r\nAccept: application/json\r\n\r\n";
    let started = start(Vec::new()).await;
    let api = crate::support::Api::of(&started);
    let order = json!({"slug": "mine", "upstream": format!("127.0.0.1:{}", secret.port())});
    let made = api.ok("POST", "/sandboxes", Some(order)).await;
    api.publish(made["id"].as_str().unwrap(), 3000, json!({})).await;
    assert_eq!(Connection::open(started.running.preview).await.roundtrip(get).await.status, 200);
    started.running.stop().await;
    drop(started);
    let before = secret.connections();
    let started = start(vec![secret.port()]).await;
    let refused = Connection::open(started.running.preview).await.roundtrip(get).await;
    assert_eq!(
        (refused.status, refused.field("x-preview-error")),
        (502, Some("address_forbidden"))
    );
    assert_eq!(secret.connections(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_is_no_sandbox() {
    let portico = Portico::start_with(|config| {
        let wide = ["0.0.0.0/0", "::/0", "fd00::/8", "100.64.0.0/10"];
        config.networks.allow = wide.map(|net| net.parse().unwrap()).into();
    })
    .await;
    for address in [
        "169.254.169.254",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "::127.0.0.1",
        "2002:7f00:1::",
        "127.0.0.1",
    ] {
        assert_eq!(create(&portico, "mine", json!(address)).await.0, 422, "{address}");
        let webhook = format!(
            "https://{}/x",
            if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
        );
        let order = json!({"url": webhook, "events": ["sandbox.created"]});
        let told = portico.api.call("POST", "/webhooks", Some(order)).await.status;
        assert!(told == 422 || address == "127.0.0.1", "{webhook}: {told}");
    }
    for address in ["10.1.2.3", "fd00::7"] {
        let slug = format!("ok{}", address.len());
        assert_eq!(create(&portico, &slug, json!(address)).await.0, 201, "{address}");
    }
    assert!(AddressRules::default().allow.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_leads_back_to_us_ends_at_the_first_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    let portico = registered(|_| {}).await;
    let address = portico.preview();
    let turns = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&turns);
    let relaying = tokio::spawn(async move {
        while let Ok((mut one, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::spawn(async move {
                let mut other = TcpStream::connect(address).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut one, &mut other).await);
            });
        }
    });
    let (_, id) = create(&portico, "mine", json!(relay.to_string())).await;
    let body = json!({"origin_profile": "public"});
    portico.api.ok("PATCH", &format!("/sandboxes/{id}"), Some(body)).await;
    portico.api.publish(&id, 3000, json!({})).await;
    let get =
        "GET / HTTP/1.1\r\nHost: 3000-mine.sandbox.localhost\r\nAccept: application/json\r\n\r\n";
    let response = portico.visit(get).await;
    assert_eq!(response.json()["error"]["code"], "loop_detected", "{}", response.text());
    assert_eq!(turns.load(std::sync::atomic::Ordering::Relaxed), 1);
    relaying.abort();
}

#[test]
fn a_server_without_its_networks_named_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portico.toml");
    let text = "[preview]\nzones = [\"sandbox.example.com\"]\n";
    std::fs::write(&file, text).unwrap();
    for command in ["check", "serve"] {
        let done = crate::support::command(&[command, "--config"], Some(&file));
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && said.contains("networks.allow: must name"), "{said}");
    }
}
