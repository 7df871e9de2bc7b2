//! Who a visitor is: nobody writes its own address.

use std::time::Duration;

use crate::support::{FakeSandbox, Portico};

/// What the app was told of the last request.
fn told(sandbox: &FakeSandbox) -> (String, String) {
    let received = sandbox.take_received();
    let field = |name: &str| {
        let line = received.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}{received}")).to_owned()
    };
    (field("x-forwarded-for: "), field("x-forwarded-proto: "))
}

/// A load balancer that sends PROXY headers, and that is a trusted proxy besides.
async fn both_lists() -> Portico {
    Portico::start_with(|config| {
        config.listen.trust.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.listen.trust.forwarded_from =
            vec!["127.0.0.0/8".parse().unwrap(), "192.0.2.0/24".parse().unwrap()];
        config.listen.proxy_header = Duration::from_secs(3);
        config.limits.public_rate = 50;
        config.limits.public_burst = 200;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_behind_a_load_balancer_does_not_write_its_own_address() {
    let portico = both_lists().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let claims = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n";
    for (source, expected) in [
        ("203.0.113.9", ("203.0.113.9", "http")),
        // A trusted proxy behind the load balancer is believed.
        ("192.0.2.7", ("6.6.6.6", "https")),
    ] {
        let mut visitor = portico.connect().await;
        visitor.send(format!("PROXY TCP4 {source} 203.0.113.1 4711 443\r\n")).await;
        for _ in 0..2 {
            assert_eq!(visitor.roundtrip(target.get("/", claims)).await.status, 200);
            let (ip, scheme) = told(&sandbox);
            assert_eq!((&*ip, &*scheme), expected, "{source}");
        }
    }
    // A load balancer that speaks for itself has nobody to speak for.
    let mut health = portico.connect().await;
    health.send("PROXY UNKNOWN\r\n").await;
    assert_eq!(health.roundtrip(target.get("/", claims)).await.status, 200);
    assert_eq!(told(&sandbox), ("127.0.0.1".into(), "http".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_does_not_escape_its_limit_by_naming_other_addresses() {
    let portico = both_lists().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = portico.public("mine", sandbox.port()).await;
    let mut visitor = portico.connect().await;
    visitor.send("PROXY TCP4 203.0.113.9 203.0.113.1 4711 443\r\n").await;
    let mut refused = 0;
    for n in 0..600 {
        let claim = format!("X-Forwarded-For: 198.51.{}.{}\r\n", n / 250, n % 250);
        let status = visitor.roundtrip(target.get("/", &claim)).await.status;
        assert!(matches!(status, 200 | 429), "{status}");
        refused += usize::from(status == 429);
    }
    assert!(refused > 50, "{refused} of 600");
}
