//! What a sandbox may do with cookies: set them for its own host, and nothing else.

use bytes::Bytes;
use http::header::{self, HeaderValue};

use crate::edge::gate::{PLAIN_SESSION_COOKIE, SESSION_COOKIE};
use crate::edge::headers::Headers;
use crate::model::token;

/// Drops `Domain` from every `Set-Cookie` (a cookie for a parent domain would reach other sandboxes), drops cookies that bear
/// the name of ours, and leaves every other byte as it was. `plain`: ours has the plain name here.
pub(super) fn confine(headers: &mut Headers, plain: bool) {
    let is_ours = |value: &[u8]| is_ours(value, plain);
    let needs_work = headers
        .get_all(header::SET_COOKIE)
        .any(|value| is_ours(value.as_bytes()) || has_domain(value.as_bytes()));
    if !needs_work {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .filter(|value| !is_ours(value.as_bytes()))
        .filter_map(|value| {
            if has_domain(value.as_bytes()) {
                HeaderValue::from_maybe_shared(without_domain(value.as_bytes())).ok()
            } else {
                Some(value.clone())
            }
        })
        .collect();
    headers.remove(header::SET_COOKIE);
    for value in kept {
        headers.append(header::SET_COOKIE, value);
    }
}

/// Whether a cookie would shadow or forge our session. Browsers trim what surrounds a name, so we do before comparing, and the
/// prefix is compared without regard to case because some browsers do.
fn is_ours(cookie: &[u8], plain: bool) -> bool {
    let pair = cookie.split(|b| *b == b';').next().unwrap_or_default();
    let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
    let value = pair.get(name.len() + 1..).unwrap_or_default().trim_ascii();
    let name = trim_wide(name);
    // The plain name may be an app's own; with a value like ours it would be taken for our session.
    let plain = name == PLAIN_SESSION_COOKIE.as_bytes() && (plain || token::is_ours(value));
    let mark = name.eq_ignore_ascii_case(b"__Host-preview-holder") || name == b"preview-holder";
    name.eq_ignore_ascii_case(SESSION_COOKIE.as_bytes()) || plain || mark
}

/// Trims ASCII white space and, because browsers differ about it, every non-ASCII byte at the ends.
fn trim_wide(mut name: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = name
        && (first.is_ascii_whitespace() || !first.is_ascii())
    {
        name = rest;
    }
    while let [rest @ .., last] = name
        && (last.is_ascii_whitespace() || !last.is_ascii())
    {
        name = rest;
    }
    name
}

fn is_domain_attribute(attribute: &[u8]) -> bool {
    let name = attribute.split(|b| *b == b'=').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"domain")
}

fn has_domain(cookie: &[u8]) -> bool {
    cookie.split(|b| *b == b';').skip(1).any(is_domain_attribute)
}

fn without_domain(cookie: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(cookie.len());
    for (index, part) in cookie.split(|b| *b == b';').enumerate() {
        if index == 0 {
            out.extend_from_slice(part);
        } else if !is_domain_attribute(part) {
            out.push(b';');
            out.extend_from_slice(part);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: &[&str], kept: &[&str]) {
        check_where(false, set, kept);
    }

    fn check_where(plain: bool, set: &[&str], kept: &[&str]) {
        let mut headers = Headers::new();
        for value in set {
            headers.append(header::SET_COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        confine(&mut headers, plain);
        let left: Vec<&[u8]> =
            headers.get_all(header::SET_COOKIE).map(HeaderValue::as_bytes).collect();
        let expected: Vec<&[u8]> = kept.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(left, expected, "{set:?}");
    }

    #[test]
    fn a_domain_is_dropped_however_it_is_written_and_the_rest_is_kept() {
        check(&["s=1; Domain=sandbox.example; Path=/"], &["s=1; Path=/"]);
        check(&["s=1;domain = .sandbox.example ;  Secure"], &["s=1;  Secure"]);
        check(&["s=1; DOMAIN"], &["s=1"]);
        check(&["s=\"a; Domain=x\""], &["s=\"a"]);
        check(&["domain=mine; Path=/", "u=2; HttpOnly"], &["domain=mine; Path=/", "u=2; HttpOnly"]);
        check(
            &["t=a==; Expires=Wed, 21 Oct 2026 07:28:00 GMT"],
            &["t=a==; Expires=Wed, 21 Oct 2026 07:28:00 GMT"],
        );
    }

    #[test]
    fn cookies_that_bear_our_name_are_dropped() {
        check(
            &[
                "__Host-preview=evil; Path=/; Secure",
                " __host-PREVIEW =x",
                "\u{2000}__Host-preview=x",
                "preview=mp_x",
                "preview=theirs",
                "previews=y",
                "__Host-previewer=z",
            ],
            &["preview=theirs", "previews=y", "__Host-previewer=z"],
        );
        // Where the session has the plain name, no cookie of that name is an app's.
        check_where(
            true,
            &["preview=x; Domain=sandbox.test", " preview =", "previews=y"],
            &["previews=y"],
        );
    }
}
