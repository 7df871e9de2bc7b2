//! TLS itself: which certificate for which name, which requests on which connection, and resuming sessions.

use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;

use crate::h2_endings::metrics;
use crate::support::http2::get;
use crate::support::{Authority, Connection, FakeSandbox, Http2, Secure, eventually, shake};

/// The zone's wildcard, and a customer's own name.
async fn two_certificates() -> Secure {
    let authority = Authority::new();
    authority.issue("a-zone", &["*.sandbox.localhost"]);
    authority.issue("b-customer", &["preview.customer.example", "*.customer.example"]);
    Secure::start_as(authority, |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_every_preview_of_its_certificate_and_no_other() {
    let secure = two_certificates().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let one = secure.portico.public("one", sandbox.port()).await;
    let two = secure.portico.public("two", sandbox.port()).await;
    let closed = secure.portico.private("closed", sandbox.port()).await;
    let mut http2 = secure.http2(&one.host).await;
    assert_eq!(http2.get(&one.host, "/").await.text(), "hello");
    // Browsers send requests for the second preview on the connection to the first: it is judged by its own name.
    assert_eq!(http2.get(&two.host, "/").await.text(), "hello");
    assert_eq!(http2.get(&closed.host, "/").await.status, 401);
    for foreign in
        ["preview.customer.example", "sandbox.localhost", "a.b.sandbox.localhost", "127.0.0.1"]
    {
        let told = http2.get(foreign, "/").await;
        assert_eq!(
            (told.status, told.field("x-preview-error")),
            (421, Some("misdirected")),
            "{foreign}"
        );
    }
    assert_eq!(http2.get(&one.host, "/").await.text(), "hello", "the connection goes on");
    let mut customer = secure.http2("preview.customer.example").await;
    assert_eq!(customer.get(&one.host, "/").await.status, 421);
    assert_eq!(customer.get("preview.customer.example", "/").await.status, 404);
    // The same over HTTP/1.1.
    let mut http1 = secure.http1(&one.host).await;
    assert_eq!(http1.roundtrip(one.get("/", "")).await.text(), "hello");
    assert_eq!(http1.roundtrip(two.get("/", "")).await.text(), "hello");
    let foreign = "GET / HTTP/1.1\r\nHost: preview.customer.example\r\n\r\n";
    assert_eq!(http1.roundtrip(foreign).await.status, 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_on_is_spoken() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["http/1.0", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = secure.shake(&target.host, offered).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{offered:?}");
        if agreed == Some(b"h2") {
            assert_eq!(Http2::over(stream).await.get(&target.host, "/").await.text(), "hello");
        } else {
            let mut http1 = Connection::over(stream);
            assert_eq!(http1.roundtrip(target.get("/", "")).await.text(), "hello");
        }
    }
    for foreign in ["ftp", "h2c", "http/0.9", "acme-tls/1"] {
        let config = Arc::new(secure.authority.client(&[foreign]));
        let refused = shake(secure.address(), &target.host, config).await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{foreign}: {refused}");
    }
    // The preface of HTTP/2 where HTTP/1.1 was agreed on is no request of HTTP/1.1.
    let mut http1 = secure.http1(&target.host).await;
    http1.send(crate::support::frames::PREFACE).await;
    assert_eq!(http1.response().await.status, 505);
    assert!(http1.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_text_stays_http_1() {
    let secure = Secure::start().await;
    let mut visitor = secure.portico.connect().await;
    visitor.send(crate::support::frames::PREFACE).await;
    let told = visitor.response().await;
    assert_eq!((told.status, told.field("connection")), (505, Some("close")));
    assert!(visitor.is_closed().await);
    // TLS on the plain port, and plain text on the port of TLS.
    let config = Arc::new(secure.authority.client(&["h2"]));
    assert!(shake(secure.portico.preview(), "3000-a.sandbox.localhost", config).await.is_err());
    let mut visitor = Connection::open(secure.address()).await;
    visitor.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!visitor.rest().await.starts_with(b"HTTP/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_resume_on_every_worker_and_only_for_their_name() {
    let secure = two_certificates().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let other = secure.portico.public("other", sandbox.port()).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let store = Arc::new(ClientSessionMemoryCache::new(32));
        let mut config = secure.authority.client_of(&[version], &["http/1.1"]);
        config.resumption = Resumption::store(Arc::<ClientSessionMemoryCache>::clone(&store));
        let (remembering, mut confused) = (Arc::new(config.clone()), config);
        // Two workers share the port: which of them gets a connection is the kernel's choice.
        for index in 0..12 {
            let config = Arc::clone(&remembering);
            let stream = shake(secure.address(), &target.host, config).await.unwrap();
            let kind = stream.get_ref().1.handshake_kind();
            let mut visitor = Connection::over(stream);
            // Tickets come behind the handshake.
            assert_eq!(visitor.roundtrip(target.get("/", "")).await.text(), "hello");
            let expected = if index == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(kind, Some(expected), "{version:?}, connection {index}");
        }
        // A ticket shown with another name, of another certificate or of the same, is not taken.
        for name in ["preview.customer.example", other.host.as_str()] {
            let known = ServerName::try_from(target.host.clone()).unwrap();
            let renamed = Renamed { store: Arc::clone(&store), known };
            confused.resumption = Resumption::store(Arc::new(renamed));
            let config = Arc::new(confused.clone());
            // Refusing the whole connection is right as well.
            if let Ok(stream) = shake(secure.address(), name, config).await {
                let kind = stream.get_ref().1.handshake_kind();
                assert_eq!(kind, Some(HandshakeKind::Full), "{version:?} {name}");
            }
        }
    }
    eventually("resumed handshakes are counted", async || {
        metrics(&secure.portico).await.contains("outcome=\"resumed\"} 22")
    })
    .await;
}

/// Shows the tickets of one name to every other.
#[derive(Debug)]
struct Renamed {
    store: Arc<ClientSessionMemoryCache>,
    known: ServerName<'static>,
}

impl ClientSessionStore for Renamed {
    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.store.kx_hint(&self.known)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let found = self.store.tls12_session(&self.known);
        assert!(found.is_some(), "there is no session to show");
        found
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.store.take_tls13_ticket(&self.known)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plain_listener_leads_to_https_which_says_that_it_stays() {
    let secure = Secure::start_with(|config| {
        let tls = config.tls.as_mut().unwrap();
        tls.redirect = true;
        tls.hsts = Duration::from_hours(24);
    })
    .await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let port = secure.address().port();
    for (request, path) in [
        (target.get("/a/b?c=d&e=%2F", ""), "/a/b?c=d&e=%2F"),
        (target.get("//evil.example/", ""), "//evil.example/"),
        (target.get("/", "").replacen("GET", "POST", 1), "/"),
    ] {
        let told = secure.portico.visit(request).await;
        assert_eq!(told.status, 308);
        let expected = format!("https://{}:{port}{path}", target.host);
        assert_eq!(told.field("location"), Some(expected.as_str()));
        assert_eq!(told.field("strict-transport-security"), None, "in clear text it means nothing");
    }
    assert_eq!(sandbox.connections(), 0);
    let mut http2 = secure.http2(&target.host).await;
    let served = http2.get(&target.host, "/").await;
    let missing = http2.exchange(get("3000-nobody.sandbox.localhost", "/")).await.unwrap();
    for told in [served, missing] {
        assert_eq!(told.field("strict-transport-security"), Some("max-age=86400"), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_shown_to_new_connections_and_old_ones_go_on() {
    let secure = Secure::start().await;
    let sandbox = FakeSandbox::well_behaved().await;
    let target = secure.portico.public("mine", sandbox.port()).await;
    let shown = async || {
        let stream = secure.shake(&target.host, &["h2"]).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    let mut old = secure.http2(&target.host).await;
    assert_eq!(old.get(&target.host, "/").await.text(), "hello");
    secure.authority.issue("zone", &["*.sandbox.localhost"]);
    eventually("the new one is shown", async || shown().await != first).await;
    let second = shown().await;
    assert_eq!(old.get(&target.host, "/").await.text(), "hello");
    // What is broken is not taken over, and nothing of the old set is lost.
    std::fs::write(secure.authority.directory().join("zone.pem"), "half a").unwrap();
    eventually("it is noticed", async || {
        metrics(&secure.portico).await.contains("outcome=\"refused\"} 1")
    })
    .await;
    assert!(shown().await == second);
    assert_eq!(old.get(&target.host, "/").await.text(), "hello");
}
