//! Where a credential may ride, and how each carrier is read and stripped: ours to the byte, and nothing else.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName};
use percent_encoding::percent_decode;
use smallvec::SmallVec;

use super::RefusalReason;
use super::seen::Seen;
use crate::edge::headers::Headers;
use crate::model::ShareLink;
use crate::model::token::{self, Claims, KeyRing, TokenError, Verifier};
use crate::routing::Routes;

/// The session cookie: bound to its host by its prefix, so that no sibling can plant or read it.
pub const SESSION_COOKIE: &str = "__Host-preview";
/// Its name where a host is served without TLS and is not this machine, so that browsers refuse the prefix.
pub const PLAIN_SESSION_COOKIE: &str = "preview";

/// The cookie that says that a browser knows a host's present holder, where names are bound to their host and where they are not.
pub(super) const MARK: &str = "__Host-preview-holder";
pub(super) const PLAIN_MARK: &str = "preview-holder";

/// Query parameters that may carry a credential, the most trusted name first. They are ours only when the value begins with one
/// of [`token::PREFIXES`]: an app's own `?token=` passes through untouched.
const QUERY_NAMES: [&[u8]; 8] =
    [b"token", b"mt", b"mp", b"ms", b"preview_token", b"t", b"share", RETURNED.as_bytes()];
/// The parameter under which a link opened in a frame comes back once, to show whether the browser kept the session.
pub(super) const RETURNED: &str = "__preview";
/// API keys: never accepted from a visitor, and never passed on to an app either.
const API_KEY_PREFIX: &str = "msk_";
const PREVIEW_TOKEN: HeaderName = HeaderName::from_static("x-miosa-preview-token");

/// Where a credential rode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The query string.
    Query,
    /// The query string of a link that we redirected to itself.
    Returned,
    /// `x-miosa-preview-token`.
    Header,
    /// `Authorization: Bearer`.
    Bearer,
    /// An element of `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// The body of a request to our own endpoint.
    Body,
    /// Our cookie.
    Cookie,
}

/// A credential found on a request, not judged yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where it rode.
    pub carrier: Carrier,
    /// The token.
    pub token: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

/// A visit's credentials. Hardly any has more than one.
pub type Credentials = SmallVec<[Credential; 2]>;

/// The verified verdicts on a visit's credentials, in the same order.
#[derive(Debug, Default)]
pub struct Evidence(pub SmallVec<[Result<Proof, TokenError>; 2]>);

/// What a credential turned out to be. Whether it still holds, and here, is judged later.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A preview token that we signed.
    Token(Arc<Claims>),
    /// A share link that we know.
    Share(Arc<ShareLink>),
}

impl Evidence {
    /// Verifies every credential: tokens through a worker's cache, share links by looking for them.
    pub fn gather(
        credentials: &[Credential],
        routes: &Routes,
        ring: &KeyRing,
        verifier: &mut Verifier,
    ) -> Self {
        let mut verify = |token: &str| {
            if token.starts_with(token::PREFIX) {
                return verifier.verify(ring, token).map(Proof::Token);
            }
            let hash = token::share_hash(token).ok_or(TokenError::Malformed)?;
            routes.share(&hash).map(Proof::Share).ok_or(TokenError::UnknownKey)
        };
        Self(credentials.iter().map(|credential| verify(&credential.token)).collect())
    }
}

/// Finds every credential of a request, explicit ones before the cookie. Two different values in one carrier are refused. `bound`:
/// the session cookie has the name that binds it to its host; under the plain one a sibling may have planted it.
pub(super) fn find(
    target: &[u8],
    headers: &Headers,
    seen: &Seen<'_>,
    bound: bool,
) -> Result<Credentials, RefusalReason> {
    let mut found = Credentials::new();
    let mut add = |carrier, tokens: Vec<String>| {
        let mut tokens = tokens.into_iter();
        let Some(token) = tokens.next() else { return Ok(()) };
        if tokens.any(|other| other != token) {
            return Err(RefusalReason::BadCredential);
        }
        found.push(Credential { carrier, token });
        Ok(())
    };
    let (carrier, tokens) = in_query(target);
    add(carrier, tokens)?;
    if seen.preview_token {
        add(Carrier::Header, texts(headers, &PREVIEW_TOKEN).collect())?;
    }
    if seen.authorization {
        let bearers = texts(headers, &header::AUTHORIZATION)
            .filter_map(|value| bearer(&value).map(str::to_owned));
        add(Carrier::Bearer, bearers.filter(|token| is_ours(token)).collect())?;
    }
    if seen.subprotocol {
        let elements = our_subprotocols(headers);
        add(
            Carrier::Subprotocol,
            elements.iter().map(|element| subprotocol_token(element).to_owned()).collect(),
        )?;
    }
    if seen.cookie {
        found.extend(in_cookie(headers, bound));
    }
    Ok(found)
}

fn texts<'a>(headers: &'a Headers, name: &'a HeaderName) -> impl Iterator<Item = String> {
    headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn is_ours(token: &str) -> bool {
    token::is_ours(token.as_bytes())
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_ascii())
}

/// Whether an `Authorization` field holds something of ours that no app may see: an API key, or a token for the API or for previews.
pub(super) fn has_our_bearer(headers: &Headers, ring: &KeyRing) -> bool {
    texts(headers, &header::AUTHORIZATION).any(|value| {
        let token = bearer(&value).unwrap_or(&value);
        is_credential(token.as_bytes()) || is_delegation(token, ring)
    })
}

/// Whether a whole value is a credential of ours, by its beginning.
pub fn is_credential(value: &[u8]) -> bool {
    value.first() == Some(&b'm')
        && (token::is_ours(value) || value.starts_with(API_KEY_PREFIX.as_bytes()))
}

/// Tokens for the API look like everybody's: of those that look so, ours are the ones that our keys have signed.
fn is_delegation(token: &str, ring: &KeyRing) -> bool {
    token.starts_with("eyJ") && ring.verify_delegation(token).is_ok()
}

fn parameters(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|b| *b == b'&')
}

/// The position of a parameter's name in [`QUERY_NAMES`] and its value, when it is ours.
fn our_parameter(parameter: &[u8]) -> Option<(usize, Cow<'_, [u8]>)> {
    let eq = parameter.iter().position(|b| *b == b'=')?;
    let (name, value) = parameter.split_at_checked(eq)?;
    let rank = QUERY_NAMES.iter().position(|ours| *ours == name)?;
    let value: Cow<'_, [u8]> = percent_decode(value.get(1..)?).into();
    token::is_ours(&value).then_some((rank, value))
}

fn query(target: &[u8]) -> Option<&[u8]> {
    let at = memchr::memchr(b'?', target)?;
    target.get(at + 1..)
}

fn in_query(target: &[u8]) -> (Carrier, Vec<String>) {
    let Some(query) = query(target) else { return (Carrier::Query, Vec::new()) };
    let mut ours: Vec<_> = parameters(query).filter_map(our_parameter).collect();
    ours.sort_by_key(|(rank, _)| *rank);
    // The last name is the returning one: it is first only when it is alone.
    let returned = ours.first().is_some_and(|(rank, _)| rank + 1 == QUERY_NAMES.len());
    let text = |(_, value): (usize, Cow<'_, [u8]>)| String::from_utf8_lossy(&value).into_owned();
    let carrier = if returned { Carrier::Returned } else { Carrier::Query };
    (carrier, ours.into_iter().map(text).collect())
}

/// The token in a body: alone, or as a parameter of a form. `None` when there is none, or more than one.
pub(super) fn in_body(body: &[u8]) -> Option<String> {
    let body = body.trim_ascii();
    let mut found = parameters(body).filter_map(our_parameter);
    if let Some((_, token)) = found.next() {
        return String::from_utf8(token.into_owned()).ok().filter(|_| found.next().is_none());
    }
    std::str::from_utf8(body).ok().filter(|token| is_ours(token)).map(str::to_owned)
}

/// Whether a parameter holds an API key, under whatever name.
fn holds_key(parameter: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'=', parameter) else { return false };
    let value = parameter.get(at + 1..).unwrap_or_default();
    match value.first() {
        Some(b'm') if value.starts_with(API_KEY_PREFIX.as_bytes()) => true,
        Some(b'm' | b'%') if value.contains(&b'%') => {
            let value: Cow<'_, [u8]> = percent_decode(value).into();
            value.starts_with(API_KEY_PREFIX.as_bytes())
        }
        _ => false,
    }
}

/// The target without our query parameters; `None` when it has none. Every other byte stays as it was.
pub fn strip_query(target: &Bytes) -> Option<Bytes> {
    let at = memchr::memchr(b'?', target)?;
    let query = target.get(at + 1..)?;
    let is_ours = |parameter: &&[u8]| our_parameter(parameter).is_some() || holds_key(parameter);
    parameters(query).find(is_ours)?;
    let mut out = BytesMut::with_capacity(target.len());
    out.extend_from_slice(target.get(..at)?);
    let mut separator: &[u8] = b"?";
    for parameter in parameters(query).filter(|parameter| !is_ours(parameter)) {
        out.extend_from_slice(separator);
        out.extend_from_slice(parameter);
        separator = b"&";
    }
    Some(out.freeze())
}

/// A `Referer` without our query parameters; `None` when it has none.
pub fn strip_referer(value: &[u8]) -> Option<Bytes> {
    memchr::memchr(b'?', value)?;
    let (url, fragment) = match memchr::memchr(b'#', value) {
        Some(at) => value.split_at_checked(at)?,
        None => (value, &b""[..]),
    };
    let stripped = strip_query(&Bytes::copy_from_slice(url))?;
    Some([&stripped, fragment].concat().into())
}

/// What stands between the semicolons, however little.
fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = memchr::memchr(b';', all);
        rest = end.and_then(|end| all.get(end + 1..));
        all.get(..end.unwrap_or(all.len()))
    })
}

/// A cookie pair's name, exactly: only the blanks that RFC 6265 puts before it are skipped. Nothing is decoded, no Unicode space is
/// trimmed, `$Version` means nothing.
pub(super) fn cookie_name(pair: &[u8]) -> &[u8] {
    let pair = pair.trim_ascii_start();
    pair.get(..memchr::memchr(b'=', pair).unwrap_or(pair.len())).unwrap_or_default()
}

/// The value of our cookie, when the pair is ours. The plain name could be an app's own: it is ours only with our value.
fn our_cookie(pair: &[u8]) -> Option<&[u8]> {
    let name = cookie_name(pair);
    let value = pair.trim_ascii_start().get(name.len() + 1..).unwrap_or_default().trim_ascii_end();
    let plain = name == PLAIN_SESSION_COOKIE.as_bytes() && token::is_ours(value);
    (name == SESSION_COOKIE.as_bytes() || plain).then_some(value)
}

pub(super) fn cookie_pairs(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    headers.get_all(header::COOKIE).flat_map(|value| pairs(value.as_bytes()))
}

/// Whether a cookie's name is that of the mark of a host's holder.
pub(super) fn is_mark(name: &[u8]) -> bool {
    name == MARK.as_bytes() || name == PLAIN_MARK.as_bytes()
}

/// Our cookie. When it comes more than once nobody can tell which one a sibling planted, so none of them counts.
fn in_cookie(headers: &Headers, bound: bool) -> Option<Credential> {
    let counts = |pair: &&[u8]| !bound || cookie_name(pair) == SESSION_COOKIE.as_bytes();
    let mut ours = cookie_pairs(headers).filter(counts).filter_map(our_cookie);
    let first = ours.next()?;
    // What is not text is no token of ours.
    let single = ours.next().is_none();
    let token = std::str::from_utf8(first).ok().filter(|_| single).unwrap_or_default().to_owned();
    Some(Credential { carrier: Carrier::Cookie, token })
}

/// The cookies without ours, several fields joined to one (RFC 9113 section 8.2.3); `None` when nothing is left.
pub fn strip_cookie<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Bytes> {
    let mut out = BytesMut::new();
    for value in values {
        let mut first = true;
        for pair in pairs(value) {
            if our_cookie(pair).is_some() || is_mark(cookie_name(pair)) {
                continue;
            }
            if out.is_empty() {
                out.extend_from_slice(pair.trim_ascii_start());
            } else {
                out.extend_from_slice(if first { b"; " } else { b";" });
                out.extend_from_slice(if first { pair.trim_ascii_start() } else { pair });
            }
            first = false;
        }
    }
    (!out.is_empty()).then(|| out.freeze())
}

fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The token in a subprotocol element: the element itself, or what follows `bearer.`.
fn subprotocol_token(element: &str) -> &str {
    element.strip_prefix("bearer.").unwrap_or(element)
}

/// The elements of `Sec-WebSocket-Protocol` that are credentials of ours, as written.
pub(super) fn our_subprotocols(headers: &Headers) -> Vec<String> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .flat_map(|value| elements(value.as_bytes()))
        .map(|element| String::from_utf8_lossy(element).into_owned())
        .filter(|element| is_ours(subprotocol_token(element)))
        .collect()
}

/// The offered subprotocols without `ours`; `None` when nothing is left.
pub fn strip_subprotocols<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    ours: &[String],
) -> Option<Bytes> {
    let rest: Vec<&[u8]> = values
        .flat_map(elements)
        .filter(|element| !ours.iter().any(|own| own.as_bytes() == *element))
        .collect();
    (!rest.is_empty()).then(|| rest.join(&b", "[..]).into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> Headers {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        fields.iter().map(pair).collect()
    }

    fn found(
        target: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Vec<(Carrier, String)>, RefusalReason> {
        found_where(target, fields, false)
    }

    fn found_where(
        target: &str,
        fields: &[(&'static str, &str)],
        bound: bool,
    ) -> Result<Vec<(Carrier, String)>, RefusalReason> {
        let headers = headers(fields);
        let found = find(target.as_bytes(), &headers, &Seen::of(&headers), bound)?;
        Ok(found.into_iter().map(|credential| (credential.carrier, credential.token)).collect())
    }

    #[test]
    fn every_carrier_is_read_and_explicit_ones_come_first() {
        let check =
            |target: &str, fields: &[(&'static str, &str)], expected: &[(Carrier, &str)]| {
                let expected = expected.iter().map(|(c, t)| (*c, (*t).to_owned())).collect();
                assert_eq!(found(target, fields), Ok(expected), "{target} {fields:?}");
            };
        for name in ["token", "mt", "mp", "ms", "preview_token", "t", "share"] {
            check(&format!("/?a=1&{name}=mp_x"), &[], &[(Carrier::Query, "mp_x")]);
            check(&format!("/?{name}=theirs"), &[], &[]);
        }
        check("/?__preview=mp_x", &[], &[(Carrier::Returned, "mp_x")]);
        check("/?__preview=mp_x&mt=mp_x", &[], &[(Carrier::Query, "mp_x")]);
        check("/?__preview=theirs", &[], &[]);
        check("/?mt=m%70_x", &[], &[(Carrier::Query, "mp_x")]);
        check("/?mt=mp_x&token=mp_x", &[], &[(Carrier::Query, "mp_x")]);
        check("/", &[("x-miosa-preview-token", "mp_h")], &[(Carrier::Header, "mp_h")]);
        check("/", &[("authorization", "bearer mp_b")], &[(Carrier::Bearer, "mp_b")]);
        check("/", &[("authorization", "Bearer app-token")], &[]);
        check("/", &[("authorization", "Basic mp_x")], &[]);
        check(
            "/",
            &[("sec-websocket-protocol", "vite-hmr, mp_w")],
            &[(Carrier::Subprotocol, "mp_w")],
        );
        check(
            "/",
            &[("sec-websocket-protocol", "pty, bearer.mp_w")],
            &[(Carrier::Subprotocol, "mp_w")],
        );
        check("/", &[("cookie", "a=1; __Host-preview=mp_c; b=2")], &[(Carrier::Cookie, "mp_c")]);
        check("/", &[("cookie", "preview=mp_c")], &[(Carrier::Cookie, "mp_c")]);
        check("/", &[("cookie", "preview=yes")], &[]);
        check(
            "/?mt=mp_q",
            &[("cookie", "__Host-preview=mp_c"), ("x-miosa-preview-token", "mp_h")],
            &[(Carrier::Query, "mp_q"), (Carrier::Header, "mp_h"), (Carrier::Cookie, "mp_c")],
        );
    }

    #[test]
    fn a_body_is_the_token_or_a_form_with_it() {
        for (body, token) in [
            ("mp_x", Some("mp_x")),
            ("  mp_x\n", Some("mp_x")),
            ("a=1&mt=mp_x", Some("mp_x")),
            ("token=mp%5Fx", Some("mp_x")),
            ("mt=mp_x&token=mp_y", None),
            ("mt=theirs", None),
            ("{\"token\":\"mp_x\"}", None),
            ("", None),
        ] {
            assert_eq!(in_body(body.as_bytes()).as_deref(), token, "{body}");
        }
    }

    #[test]
    fn doubled_credentials_are_refused() {
        assert_eq!(found("/?mt=mp_a&mt=mp_b", &[]), Err(RefusalReason::BadCredential));
        assert_eq!(found("/?mt=mp_a&token=mp_b", &[]), Err(RefusalReason::BadCredential));
        let twice = [("x-miosa-preview-token", "mp_a"), ("x-miosa-preview-token", "mp_b")];
        assert_eq!(found("/", &twice), Err(RefusalReason::BadCredential));
        let none = Ok(vec![(Carrier::Cookie, String::new())]);
        assert_eq!(found("/", &[("cookie", "__Host-preview=mp_a; __Host-preview=mp_b")]), none);
        assert_eq!(
            found("/", &[("cookie", "__Host-preview=mp_a"), ("cookie", "__Host-preview=mp_a")]),
            none
        );
    }

    #[test]
    fn where_the_bound_name_is_kept_the_plain_one_neither_counts_nor_stands_in_the_way() {
        let plain = [("cookie", "preview=mp_planted")];
        assert_eq!(found_where("/", &plain, true), Ok(vec![]));
        let both = [("cookie", "preview=mp_planted; __Host-preview=mp_c")];
        assert_eq!(found_where("/", &both, true), Ok(vec![(Carrier::Cookie, "mp_c".into())]));
    }

    #[test]
    fn cookie_names_are_compared_byte_for_byte() {
        for name in [
            "\u{2000}__Host-preview",
            "__host-preview",
            "__Host-preview ",
            "\"__Host-preview\"",
            "$Version",
            "__Host-previe%77",
        ] {
            assert_eq!(found("/", &[("cookie", &format!("{name}=mp_x"))]), Ok(vec![]), "{name:?}");
        }
    }

    #[test]
    fn our_parameters_go_and_every_other_byte_stays() {
        let check = |target: &'static str, stripped: Option<&str>| {
            let result = strip_query(&Bytes::from_static(target.as_bytes()));
            assert_eq!(result.as_deref(), stripped.map(str::as_bytes), "{target}");
        };
        check("/p?mt=mp_x", Some("/p"));
        check("/p?mt=mp_x&a=1", Some("/p?a=1"));
        check("/p?a=1&mt=mp_x", Some("/p?a=1"));
        check("/p?a=1&mt=mp_x&b=%2F%2f&&=", Some("/p?a=1&b=%2F%2f&&="));
        check("/p?token=mp_x&mt=mp_x&t=ms_y", Some("/p"));
        check("/p?mt=m%70_x&q=mp_x", Some("/p?q=mp_x"));
        check("/p?token=theirs", None);
        check("/p?", None);
        check("/mt=mp_x", None);
        check("/p?x=1?mt=mp_x", None);
    }

    #[test]
    fn our_cookie_goes_and_the_others_are_joined() {
        let check = |values: &[&str], left: Option<&str>| {
            let result = strip_cookie(values.iter().map(|v| v.as_bytes()));
            assert_eq!(result.as_deref(), left.map(str::as_bytes), "{values:?}");
        };
        check(&["__Host-preview=mp_x"], None);
        check(&["a=1; __Host-preview=mp_x; b=\"2; c=3\""], Some("a=1; b=\"2; c=3\""));
        check(&["__Host-preview=mp_x;a=1;b=2"], Some("a=1;b=2"));
        check(&["a=1", "b=2; __Host-preview=mp_x", "c=3"], Some("a=1; b=2; c=3"));
        check(&["preview=yes; preview=mp_x"], Some("preview=yes"));
        check(&["\u{2000}__Host-preview=mp_x"], Some("\u{2000}__Host-preview=mp_x"));
    }

    #[test]
    fn our_subprotocol_and_our_part_of_a_referer_go() {
        let ours = vec!["bearer.mp_x".to_owned()];
        let left = strip_subprotocols([&b"pty , bearer.mp_x,b"[..]].into_iter(), &ours);
        assert_eq!(left.as_deref(), Some(&b"pty, b"[..]));
        assert_eq!(strip_subprotocols([&b"bearer.mp_x"[..]].into_iter(), &ours), None);
        let referer = strip_referer(b"https://h.example/p?mt=mp_x&a=1#f");
        assert_eq!(referer.as_deref(), Some(&b"https://h.example/p?a=1#f"[..]));
        assert_eq!(strip_referer(b"https://h.example/p?a=1"), None);
    }

    proptest! {
        #[test]
        fn stripping_twice_is_stripping_once(target in "/[a-z]{0,4}(\\?((mt|a|token|)=?(mp_|ms_|x)?[a-z%0-9]{0,4}&?){0,6})?") {
            let target = Bytes::from(target);
            let once = strip_query(&target).unwrap_or(target);
            prop_assert_eq!(strip_query(&once), None);
            prop_assert!(in_query(&once).1.is_empty());
        }

        #[test]
        fn cookies_of_others_survive(values in proptest::collection::vec("[ a-zA-Z_=;-]{0,30}(__Host-preview=mp_x)?", 0..4)) {
            let once = strip_cookie(values.iter().map(String::as_bytes));
            let once_bytes = once.clone().unwrap_or_default();
            prop_assert!(!once_bytes.split(|b| *b == b';').any(|pair| our_cookie(pair).is_some()));
            prop_assert_eq!(strip_cookie(std::iter::once(&once_bytes[..])), once);
        }
    }
}
