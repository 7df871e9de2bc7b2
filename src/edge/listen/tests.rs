//! Every page that the program has, rendered in every form, in no face, in a tenant's, and in one that somebody made to do harm.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{self, HeaderName};
use serde_json::{Value, json};

use super::workers::Capped;
use crate::base::failure::{Face, Failure};
use crate::edge::body::BodyError;
use crate::edge::forward::ForwardError;
use crate::edge::gate::RefusalReason;
use crate::edge::headers::Headers;
use crate::edge::limits::Exceeded;
use crate::edge::message::{Minor, RequestParts, ResponseParts};
use crate::edge::pages::{Gallery, Occasion};
use crate::edge::upstream::{DialError, ExchangeError};
use crate::edge::visitor::{HeadersTimeout, ShuttingDown};
use crate::edge::wire::{RequestError, ResponseError};
use crate::model::{Branding, TenantId, TenantPolicy};
use crate::routing::{Routes, TenantView};

#[expect(clippy::too_many_lines, reason = "a table: one line an error")]
fn every_face() -> Vec<&'static Face> {
    use RefusalReason as Reason;
    let io = || io::Error::other("x");
    let errors: Vec<Box<dyn Failure>> = vec![
        Box::new(HeadersTimeout),
        Box::new(ShuttingDown),
        Box::new(Capped::Total),
        Box::new(Capped::Address),
        Box::new(Exceeded::Requests),
        Box::new(Exceeded::Sockets),
        Box::new(Exceeded::Rate),
        Box::new(Exceeded::Address),
        Box::new(Exceeded::Memory),
        Box::new(Reason::BadHost),
        Box::new(Reason::Misdirected),
        Box::new(Reason::MethodNotAllowed),
        Box::new(Reason::BadCredential),
        Box::new(Reason::BadUpgrade),
        Box::new(Reason::NotReady),
        Box::new(Reason::NotFound),
        Box::new(Reason::PortForbidden),
        Box::new(Reason::SignInNeeded),
        Box::new(Reason::InvalidToken),
        Box::new(Reason::TokenExpired),
        Box::new(Reason::TokenRevoked),
        Box::new(Reason::ShareExpired),
        Box::new(Reason::ShareRevoked),
        Box::new(Reason::CookiesBlocked),
        Box::new(Reason::NotAToken),
        Box::new(Reason::WrongSubject),
        Box::new(Reason::InsufficientScope),
        Box::new(Reason::ForeignOrigin),
        Box::new(Reason::Starting),
        Box::new(Reason::Paused),
        Box::new(Reason::Waking),
        Box::new(Reason::WakesSpent),
        Box::new(Reason::Loop),
        Box::new(Reason::NotRunning),
        Box::new(Reason::Blocked),
        Box::new(Reason::Suspended),
        Box::new(RequestError::BareLf),
        Box::new(RequestError::RequestLine),
        Box::new(RequestError::Version),
        Box::new(RequestError::Host),
        Box::new(RequestError::Coding),
        Box::new(RequestError::UnknownCoding),
        Box::new(RequestError::UnknownProtocol),
        Box::new(RequestError::Expectation),
        Box::new(RequestError::HeadersTooLarge),
        Box::new(RequestError::TargetTooLong),
        Box::new(ForwardError::Dial(DialError::NoAddress)),
        Box::new(ForwardError::Dial(DialError::Refused(io()))),
        Box::new(ForwardError::Dial(DialError::Tls(io()))),
        Box::new(ForwardError::Dial(DialError::Forbidden)),
        Box::new(ForwardError::Dial(DialError::TimedOut)),
        Box::new(ForwardError::Dial(DialError::Exhausted(io()))),
        Box::new(ForwardError::Exchange(ExchangeError::ClosedBeforeResponse(io()))),
        Box::new(ForwardError::Exchange(ExchangeError::BadResponse(ResponseError::StatusLine))),
        Box::new(ForwardError::Exchange(ExchangeError::NotHttp2(
            h2::Reason::PROTOCOL_ERROR.into(),
        ))),
        Box::new(ForwardError::NoSwitch),
        Box::new(ForwardError::Exchange(ExchangeError::TimedOut)),
        Box::new(ForwardError::Exchange(ExchangeError::Request(BodyError::Visitor))),
        Box::new(ForwardError::Exchange(ExchangeError::Request(BodyError::Stalled))),
    ];
    errors.iter().map(|error| error.face()).collect()
}

/// The labels of all faces that are written down anywhere: `StatusCode::…, "label"`, with or without the field's name.
fn labels_in_the_sources(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What the control plane sends are no pages.
        if path.ends_with("src/control") {
            continue;
        }
        if path.is_dir() {
            labels_in_the_sources(&path, into);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for after in code.split("StatusCode::").skip(1) {
            let constant = |c: char| c.is_ascii_uppercase() || c == '_';
            let Some(rest) = after.trim_start_matches(constant).strip_prefix(',') else { continue };
            let rest = rest.trim_start();
            let rest = rest.strip_prefix("label:").unwrap_or(rest).trim_start();
            if let Some(rest) = rest.strip_prefix('"') {
                into.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
}

#[test]
fn no_face_is_forgotten_here() {
    let mut written = BTreeSet::new();
    labels_in_the_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut written);
    let shown: BTreeSet<String> = every_face().iter().map(|face| face.label.to_owned()).collect();
    assert!(shown.len() >= 35, "{shown:?}");
    assert_eq!(shown, written);
    let documentation = include_str!("../../../docs/previews.md");
    for label in shown {
        assert!(documentation.contains(&format!("`{label}`")), "{label} is not documented");
    }
}

/// What nobody could have set through the API, as if the store had been tampered with.
fn hostile() -> Branding {
    Branding {
        product_name: Some("\u{202e}\"'><script>document.title='owned'</script>{{7*7}}<img src=x onerror=alert(1)>\u{0}</style></title>".into()),
        logo_url: Some("https://evil.example/x\"onerror=\"alert(1)".into()),
        support_url: Some("javascript:document.title='owned'".into()),
        support_email: Some("a@evil.example?subject=\"><script>alert(1)</script>".into()),
        primary_color: Some("red;background:url(https://evil.example/)".into()),
        background_color: Some("#fff}</style><script>alert(1)</script>".into()),
    }
}

fn faces_of_tenants() -> [(&'static str, Option<TenantView>); 3] {
    let view = |branding| {
        let (id, routes) = (TenantId::new(), Routes::new(&[]));
        routes.put_tenant(TenantView {
            id,
            branding: Some(branding),
            branding_version: 1,
            policy: TenantPolicy {
                allowed_origins: vec!["https://app.opendesigns.example".into()],
                ..TenantPolicy::default()
            },
            blocked: None,
            suspended: None,
            framing: Arc::default(),
        });
        TenantView::clone(&routes.tenant(id).unwrap())
    };
    let branded = Branding {
        product_name: Some("OpenDesigns Workspaces for Brand Studios and Their Clients 60".into()),
        logo_url: Some("https://cdn.opendesigns.example/logo.svg".into()),
        support_email: Some("help@opendesigns.example".into()),
        primary_color: Some("#ffd400".into()),
        background_color: Some("#102040".into()),
        ..Branding::default()
    };
    [("plain", None), ("branded", Some(view(branded))), ("hostile", Some(view(hostile())))]
}

fn asking(accept: &'static str) -> RequestParts {
    let mut headers = Headers::new();
    headers.append(header::ACCEPT, HeaderValue::from_static(accept));
    let nothing = bytes::Bytes::new;
    RequestParts {
        method: http::Method::GET,
        target: nothing(),
        authority: nothing(),
        minor: Minor::One,
        headers,
    }
}

fn field<'a>(parts: &'a ResponseParts, name: &'static str) -> Option<&'a str> {
    parts.headers.get(HeaderName::from_static(name)).map(|value| value.to_str().unwrap())
}

#[test]
fn every_face_is_a_page_a_problem_and_nothing() {
    // The browser's tests look at the same pages: they say where to put them.
    let wanted = std::env::var_os("PORTICO_FACES");
    let gallery = Gallery::default();
    for (worn, tenant) in faces_of_tenants() {
        for face in every_face() {
            let what = format!("{}-{}-{worn}", face.status.as_u16(), face.label);
            let occasion = Occasion {
                face,
                tenant: tenant.as_ref(),
                host: "3000-mine.sandbox.example",
                subject: Some(("mine", 3000)),
                request_id: "req_1",
            };
            let response = |accept| gallery.render(&occasion, Some(&asking(accept)));

            let (parts, body) = response("text/html");
            let page = std::str::from_utf8(&body).unwrap();
            assert_eq!(parts.status, face.status, "{what}");
            assert_eq!(field(&parts, "x-preview-error"), Some(face.label), "{what}");
            assert_eq!(field(&parts, "content-type"), Some("text/html; charset=utf-8"), "{what}");
            let plain = |c: char| !c.is_ascii_alphanumeric() && c != ' ';
            let title = face.title.split(plain).next().unwrap();
            assert!(page.contains(&format!("<h1>{title}")), "{what}: {page}");
            assert!(page.contains("req_1") && page.ends_with("</html>"), "{what}");
            let policy = field(&parts, "content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
            for harm in [
                "<script>document",
                "<script>alert",
                "<img src=x",
                "javascript:",
                "evil.example",
                "url(",
                "\u{202e}",
                "\u{0}",
                "'owned'",
            ] {
                assert!(!page.contains(harm) && !policy.contains(harm), "{what} has {harm}");
            }
            if let Some(folder) = &wanted {
                let fields: serde_json::Map<String, Value> = parts
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
                    .collect();
                let saved =
                    json!({"status": face.status.as_u16(), "headers": fields, "body": page});
                std::fs::write(Path::new(folder).join(what.clone() + ".json"), saved.to_string())
                    .unwrap();
            }

            let (parts, body) = response("application/json");
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["error"]["code"], face.label, "{what}");
            assert_eq!(field(&parts, "content-type"), Some("application/json"), "{what}");

            let (parts, body) = response("image/png");
            assert_eq!((body.len(), field(&parts, "content-type")), (0, None), "{what}");
            assert_eq!(parts.status, face.status, "{what}");
        }
    }
}
