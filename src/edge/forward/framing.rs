//! Who may show an app's pages in a frame is the tenant's to say, not the app's: most frameworks refuse every frame, and a preview
//! lives in one. What the app says of framing is taken out, the tenant's policy is put in, every other directive stays as it is.

use http::StatusCode;
use http::header::{self, HeaderValue};

use crate::edge::headers::Headers;
use crate::edge::message::ResponseParts;

const DIRECTIVE: &[u8] = b"frame-ancestors";

/// Puts the tenant's directive in the place of the app's.
///
/// A second policy beside the app's own would not do: browsers apply both, and the stricter one wins. So `X-Frame-Options` goes, and
/// `frame-ancestors` goes out of every policy. `Content-Security-Policy-Report-Only` forbids nothing and stays.
pub fn set_framing(parts: &mut ResponseParts, embedders: &HeaderValue) {
    if shows_nothing(parts) {
        return;
    }
    let said = Said::in_headers(&parts.headers);
    if said.framing {
        take_out(&mut parts.headers);
    }
    let speaks = if parts.status == StatusCode::NOT_MODIFIED {
        // A 304 replaces the stored fields that it names, and leaves the others (RFC 9111 section 3.2). If it names the policy, then
        // ours belongs to it; if it does not, ours alone would replace what the app said when the page was stored.
        said.policy
    } else {
        // Style sheets and the like need no word about frames, unless the app had one that is missing now.
        said.document || said.framing
    };
    if speaks {
        parts.headers.append(header::CONTENT_SECURITY_POLICY, embedders.clone());
    }
}

/// Whether a response puts nothing into a frame: one without content, or a redirect, of which only the last response is shown.
fn shows_nothing(parts: &ResponseParts) -> bool {
    match parts.status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => true,
        StatusCode::NOT_MODIFIED => false,
        // Not 300, 305 and 306: browsers follow none of these, and show what came with them.
        status => {
            matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
                && parts.headers.contains_key(header::LOCATION)
        }
    }
}

/// What a response says, as far as it matters here.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// It may be a document with something in it to click on.
    document: bool,
    /// It has a policy.
    policy: bool,
    /// It says something about framing.
    framing: bool,
}

impl Said {
    fn in_headers(headers: &Headers) -> Self {
        let (mut typed, mut active) = (false, false);
        let (mut policy, mut framing) = (false, false);
        for (name, value) in headers.iter() {
            match *name {
                header::CONTENT_TYPE => {
                    typed = true;
                    active |= !is_inert(value.as_bytes());
                }
                header::CONTENT_SECURITY_POLICY => {
                    policy = true;
                    framing |= names_ancestors(value.as_bytes());
                }
                header::X_FRAME_OPTIONS => framing = true,
                _ => {}
            }
        }
        // Without a type the browser guesses one.
        Self { document: active || !typed, policy, framing }
    }
}

/// Types in which nothing can be clicked on when they are shown by themselves. Everything else counts as a document.
fn is_inert(kind: &[u8]) -> bool {
    const WHOLE: [&[u8]; 9] = [
        b"application/grpc",
        b"application/javascript",
        b"application/json",
        b"application/manifest+json",
        b"application/octet-stream",
        b"application/wasm",
        b"text/css",
        b"text/event-stream",
        b"text/javascript",
    ];
    const FAMILIES: [&[u8]; 4] = [b"audio/", b"font/", b"image/", b"video/"];
    // Of a list of types browsers take the last that they know.
    if memchr::memchr(b',', kind).is_some() {
        return false;
    }
    let end = memchr::memchr(b';', kind).unwrap_or(kind.len());
    let kind = kind.get(..end).unwrap_or_default().trim_ascii();
    let begins = |start: &[u8]| {
        kind.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    WHOLE.iter().any(|whole| kind.eq_ignore_ascii_case(whole))
        || (FAMILIES.iter().any(|family| begins(family)) && !begins(b"image/svg"))
}

fn names_ancestors(value: &[u8]) -> bool {
    value.split(|b| matches!(b, b',' | b';')).any(is_ancestors)
}

/// Whether a directive is `frame-ancestors` (CSP level 3, section 2.2.1: ASCII white space, names in any case).
fn is_ancestors(directive: &[u8]) -> bool {
    let directive = directive.trim_ascii_start();
    let end = directive.iter().position(u8::is_ascii_whitespace).unwrap_or(directive.len());
    directive.get(..end).is_some_and(|name| name.eq_ignore_ascii_case(DIRECTIVE))
}

fn take_out(headers: &mut Headers) {
    headers.remove(header::X_FRAME_OPTIONS);
    let policies = headers.get_all(header::CONTENT_SECURITY_POLICY);
    if !policies.into_iter().any(|value| names_ancestors(value.as_bytes())) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(header::CONTENT_SECURITY_POLICY)
        .filter_map(|value| {
            if !names_ancestors(value.as_bytes()) {
                return Some(value.clone());
            }
            let rest = without_ancestors(value.as_bytes());
            HeaderValue::from_bytes(&rest).ok().filter(|rest| !rest.is_empty())
        })
        .collect();
    headers.remove(header::CONTENT_SECURITY_POLICY);
    for value in kept {
        headers.append(header::CONTENT_SECURITY_POLICY, value);
    }
}

/// A list of policies without the directive. A policy of which nothing is left goes as well; every other byte stays, but for white
/// space at the ends of the whole.
fn without_ancestors(value: &[u8]) -> Vec<u8> {
    let mut policies: Vec<Vec<u8>> = Vec::new();
    for policy in value.split(|b| *b == b',') {
        let directives = || policy.split(|b| *b == b';');
        if !directives().any(is_ancestors) {
            policies.push(policy.to_vec());
            continue;
        }
        let rest: Vec<&[u8]> = directives().filter(|directive| !is_ancestors(directive)).collect();
        if rest.iter().any(|directive| !directive.trim_ascii().is_empty()) {
            policies.push(rest.join(&b';'));
        }
    }
    policies.join(&b',').trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const OURS: &str = "frame-ancestors 'self' https://app.example";

    fn parts(status: u16, fields: &[(&str, &[u8])]) -> ResponseParts {
        let mut parts = ResponseParts::new(StatusCode::from_u16(status).unwrap());
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            parts.headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        parts
    }

    fn framed(status: u16, fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let mut parts = parts(status, &fields);
        set_framing(&mut parts, &HeaderValue::from_static(OURS));
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    /// What is left of an HTML page's policies when these are set, without ours, which must be the last.
    fn check(policies: &[&str], left: &[&str]) {
        let mut fields = vec![("content-type", "text/html"), ("x-frame-options", "DENY")];
        fields.extend(policies.iter().map(|policy| ("content-security-policy", *policy)));
        let framed = framed(200, &fields);
        let mut expected = vec![("content-type".to_owned(), "text/html".to_owned())];
        let all = left.iter().chain([&OURS]);
        expected.extend(all.map(|p| ("content-security-policy".to_owned(), (*p).to_owned())));
        assert_eq!(framed, expected, "{policies:?}");
    }

    #[test]
    fn the_directive_goes_however_it_is_written_and_the_rest_stays() {
        check(&[], &[]);
        check(&["frame-ancestors 'none'"], &[]);
        check(&[" FRAME-Ancestors\t'none' ; "], &[]);
        check(&["default-src 'self'; frame-ancestors 'none'"], &["default-src 'self'"]);
        check(
            &["frame-ancestors 'none';default-src 'self' ;  img-src *"],
            &["default-src 'self' ;  img-src *"],
        );
        check(&["a b;frame-ancestors;frame-ancestors x;c  d;"], &["a b;c  d;"]);
        check(
            &["default-src 'self', frame-ancestors 'none', img-src *;frame-ancestors x"],
            &["default-src 'self', img-src *"],
        );
        check(
            &["frame-ancestors 'none'", "script-src 'nonce-Ab+/=='", "x; frame-ancestors y"],
            &["script-src 'nonce-Ab+/=='", "x"],
        );
        // Not the directive, and nothing to touch.
        let others = "frame-src 'none'; x-frame-ancestors a; report-uri /frame-ancestors, ,;";
        check(&[others], &[others]);
        check(&["frame-ancestors-x 'none'"], &["frame-ancestors-x 'none'"]);
    }

    #[test]
    fn what_only_reports_stays() {
        let report = ("content-security-policy-report-only", "frame-ancestors 'none'");
        let kept: Vec<_> = framed(200, &[("content-type", "text/html"), report])
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(kept, ["content-type", report.0, "content-security-policy"]);
    }

    #[test]
    fn documents_are_framed_and_what_shows_nothing_is_left_alone() {
        let ours = |status, fields: &[(&str, &str)]| {
            framed(status, fields).iter().any(|(_, value)| value == OURS)
        };
        for kind in [
            "text/html; charset=utf-8",
            "application/xhtml+xml",
            "image/svg+xml",
            "application/pdf",
            "text/plain",
            "multipart/x-mixed-replace",
        ] {
            assert!(ours(200, &[("content-type", kind)]), "{kind}");
            assert!(ours(404, &[("content-type", kind)]), "{kind}");
        }
        assert!(ours(200, &[]), "without a type it may be a page");
        assert!(ours(200, &[("content-type", "text/css"), ("content-type", "text/html")]));
        for kind in ["text/css", "Text/JavaScript;x", "application/json", "image/png", "font/woff2"]
        {
            assert!(!ours(200, &[("content-type", kind)]), "{kind}");
            assert!(ours(200, &[("content-type", kind), ("x-frame-options", "DENY")]), "{kind}");
        }
        assert!(!ours(204, &[("x-frame-options", "DENY")]));
        assert!(!ours(302, &[("location", "/"), ("content-type", "text/html")]));
        for status in [300, 305, 306] {
            assert!(ours(status, &[("location", "/"), ("content-type", "text/html")]), "{status}");
        }
        for kind in ["image/png, text/html", "text/css,text/html", "image/png;x=\",\", text/html"] {
            assert!(ours(200, &[("content-type", kind)]), "{kind}");
        }
    }

    #[test]
    fn a_304_never_takes_the_apps_stored_policy_away() {
        assert_eq!(framed(304, &[("etag", "x")]), [("etag".to_owned(), "x".to_owned())]);
        assert_eq!(framed(304, &[("x-frame-options", "DENY")]), []);
        let names = "content-security-policy".to_owned();
        assert_eq!(
            framed(304, &[("content-security-policy", "a b; frame-ancestors 'none'")]),
            [(names.clone(), "a b".to_owned()), (names, OURS.to_owned())]
        );
    }

    /// Another reading of the same: the directives of every policy of every field, in order, each with the bytes between its
    /// semicolons.
    fn model(fields: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        let white = |b: &u8| matches!(b, b' ' | b'\t' | 0x0c);
        let mut all = Vec::new();
        for field in fields {
            let mut policy: Vec<Vec<u8>> = vec![Vec::new()];
            for byte in field.iter().chain(b",") {
                match byte {
                    b',' => all.push(std::mem::replace(&mut policy, vec![Vec::new()])),
                    b';' => policy.push(Vec::new()),
                    other => policy.last_mut().unwrap().push(*other),
                }
            }
        }
        for policy in &mut all {
            policy.retain(|directive| {
                let name: Vec<u8> = directive
                    .iter()
                    .copied()
                    .skip_while(|b| white(b))
                    .take_while(|b| !white(b))
                    .map(|b| b.to_ascii_lowercase())
                    .collect();
                !name.is_empty() && name != b"frame-ancestors"
            });
        }
        all.retain(|policy| !policy.is_empty());
        all
    }

    fn trimmed(policies: Vec<Vec<Vec<u8>>>) -> Vec<Vec<Vec<u8>>> {
        let trim = |directive: Vec<u8>| directive.trim_ascii().to_vec();
        policies.into_iter().map(|policy| policy.into_iter().map(trim).collect()).collect()
    }

    fn policy() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop_oneof![Just("frame-ancestors"), Just("Frame-AncestorS"), Just("default-src"), Just("frame-ancestor")]
                .prop_map(|text| text.as_bytes().to_vec()),
            4 => prop_oneof![Just(","), Just(";"), Just(" "), Just("\t"), Just("; "), Just(" 'none'")]
                .prop_map(|text| text.as_bytes().to_vec()),
            1 => proptest::collection::vec(
                any::<u8>().prop_filter("a field's byte", |b| *b == b'\t' || (*b >= 32 && *b != 127)),
                0..6
            ),
        ];
        proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_other_directive_stays_byte_for_byte(fields in proptest::collection::vec(policy(), 0..4)) {
            let named: Vec<_> = fields.iter().map(|field| ("content-security-policy", field.as_slice())).collect();
            let mut parts = parts(200, &named);
            set_framing(&mut parts, &HeaderValue::from_static(OURS));
            let mut left: Vec<Vec<u8>> =
                parts.headers.get_all(header::CONTENT_SECURITY_POLICY).map(|v| v.as_bytes().to_vec()).collect();
            prop_assert_eq!(left.pop().unwrap(), OURS.as_bytes());
            prop_assert!(left.iter().all(|value| !names_ancestors(value)));
            prop_assert_eq!(trimmed(model(&left)), trimmed(model(&fields)));
        }
    }
}
