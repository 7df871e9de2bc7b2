//! The headers of HTTP/2 in the one form that everything above knows: a request's as if it had come by HTTP/1.1, a response's the other way.
//! The library has judged what RFC 9113 calls malformed; here is the rest, and our own limits.

use bytes::{Bytes, BytesMut};
use h2::ext::Protocol;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, request};

use crate::edge::headers::Headers;
use crate::edge::message::{Framing, Minor, RequestParts, ResponseParts};
use crate::edge::wire::{Limits, MAX_METHOD, RequestError};

/// Bytes that a field counts besides its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// A request, read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) parts: RequestParts,
    pub(super) framing: Framing,
    /// The visitor waits for 100 Continue before it sends its body.
    pub(super) expects_continue: bool,
    /// The stream is to become a WebSocket (RFC 8441); the headers are those of the handshake that means the same.
    pub(super) is_websocket: bool,
}

/// Why the headers are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Malformed: a stream error (RFC 9113 section 8.1.1).
    Malformed,
    /// Gets an error page.
    Invalid(RequestError),
}

impl From<RequestError> for Unfit {
    fn from(error: RequestError) -> Self {
        Self::Invalid(error)
    }
}

/// As much of the headers that are refused as the form of the refusal depends on.
pub(super) fn glimpse(parts: &request::Parts) -> RequestParts {
    RequestParts {
        method: parts.method.clone(),
        target: Bytes::new(),
        authority: Bytes::new(),
        minor: Minor::One,
        headers: parts.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

/// Reads a request's headers. `bodiless` says that the stream ended with it.
pub(super) fn read(
    parts: &request::Parts,
    bodiless: bool,
    limits: &Limits,
) -> Result<Request, Unfit> {
    let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
    if parts.method.as_str().len() > MAX_METHOD {
        return Err(RequestError::RequestLine.into());
    }
    let target = target(parts, limits)?;
    let mut reading = Reading::default();
    reading.fields(&parts.headers, limits)?;
    let authority = match (parts.uri.authority(), reading.host) {
        (Some(authority), host) => {
            let authority = Bytes::copy_from_slice(authority.as_str().as_bytes());
            // Two names for one request are two requests at once (RFC 9113 section 8.3.1).
            if host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(&authority)) {
                return Err(RequestError::Host.into());
            }
            authority
        }
        (None, Some(host)) => Bytes::copy_from_slice(host.as_bytes()),
        (None, None) => return Err(RequestError::Host.into()),
    };
    let mut parts = RequestParts {
        method: parts.method.clone(),
        target,
        authority,
        minor: Minor::One,
        headers: reading.headers,
    };
    let is_websocket = match protocol {
        None => false,
        Some("websocket") => true,
        Some(_) => return Err(RequestError::UnknownProtocol.into()),
    };
    if is_websocket {
        as_handshake(&mut parts);
    }
    // What follows on such a stream is the other protocol, not a body.
    let framing = match reading.length {
        _ if bodiless || is_websocket => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    };
    let expects_continue = reading.expects_continue && framing != Framing::None;
    Ok(Request { parts, framing, expects_continue, is_websocket })
}

/// Path and query, byte for byte as HTTP/1 would have to send them.
fn target(parts: &request::Parts, limits: &Limits) -> Result<Bytes, Unfit> {
    let is_tunnel = parts.method == Method::CONNECT && parts.extensions.get::<Protocol>().is_none();
    match parts.uri.scheme_str() {
        // Without an authority, or for a tunnel, there is none to see.
        None if is_tunnel || parts.uri.authority().is_none() => {}
        Some(scheme)
            if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") => {}
        _ => return Err(RequestError::Target.into()),
    }
    let target = match parts.uri.path_and_query() {
        Some(target) => target.as_str().as_bytes(),
        // Refused by the gate, with a response that says so.
        None if is_tunnel => b"*",
        None => return Err(Unfit::Malformed),
    };
    if target.len() > limits.target_bytes {
        return Err(RequestError::TargetTooLong.into());
    }
    let is_form = match target {
        [b'/', ..] => true,
        b"*" => is_tunnel || parts.method == Method::OPTIONS,
        _ => false,
    };
    if !is_form || !target.iter().all(|b| matches!(b, 0x21..=0x7e) && *b != b'#') {
        return Err(RequestError::Target.into());
    }
    Ok(Bytes::copy_from_slice(target))
}

/// The handshake over HTTP/1.1 that asks for the same. Its key is ours: what proves a handshake there, the stream proves here.
fn as_handshake(parts: &mut RequestParts) {
    parts.method = Method::GET;
    parts.headers.append(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    parts.headers.append(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = tungstenite::handshake::client::generate_key();
    if let Ok(key) = HeaderValue::try_from(key) {
        parts.headers.insert(header::SEC_WEBSOCKET_KEY, key);
    }
}

#[derive(Default)]
struct Reading {
    headers: Headers,
    host: Option<HeaderValue>,
    length: Option<u64>,
    expects_continue: bool,
}

impl Reading {
    fn fields(&mut self, fields: &HeaderMap, limits: &Limits) -> Result<(), Unfit> {
        self.headers = Headers::with_capacity(fields.len() + 6);
        let mut bytes = 0;
        let mut cookies = BytesMut::new();
        let mut first_cookie = None;
        for (name, value) in fields {
            bytes += name.as_str().len() + value.len() + FIELD_OVERHEAD;
            if bytes > limits.header_bytes {
                return Err(RequestError::HeadersTooLarge.into());
            }
            // White space around a value is malformed here, and was taken off where it came by HTTP/1 (RFC 9113 section 8.2.1).
            if matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']) {
                return Err(Unfit::Malformed);
            }
            if *name == header::COOKIE {
                // Sent in pieces so that they compress well; apps expect one line (section 8.2.3).
                match &first_cookie {
                    None => first_cookie = Some(value),
                    Some(first) => {
                        if cookies.is_empty() {
                            cookies.extend_from_slice(first.as_bytes());
                        }
                        cookies.extend_from_slice(b"; ");
                        cookies.extend_from_slice(value.as_bytes());
                    }
                }
                continue;
            }
            self.field(name, value, limits)?;
        }
        let cookie = if cookies.is_empty() {
            first_cookie.cloned()
        } else {
            HeaderValue::from_maybe_shared(cookies.freeze()).ok()
        };
        if let Some(cookie) = cookie {
            self.headers.append(header::COOKIE, cookie);
        }
        Ok(())
    }

    fn field(
        &mut self,
        name: &HeaderName,
        value: &HeaderValue,
        limits: &Limits,
    ) -> Result<(), Unfit> {
        match *name {
            header::HOST => {
                if self.host.replace(value.clone()).is_some() {
                    return Err(RequestError::Host.into());
                }
            }
            header::CONTENT_LENGTH => {
                let digits =
                    value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                let length = digits.and_then(|text| text.parse().ok());
                let length = length.ok_or(RequestError::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(RequestError::ContentLength.into());
                }
            }
            header::EXPECT => {
                if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestError::Expectation.into());
                }
                self.expects_continue = true;
            }
            _ => {
                if self.headers.len() >= limits.fields {
                    return Err(RequestError::TooManyFields.into());
                }
                if name.as_str().len() + value.len() > limits.line_bytes {
                    return Err(RequestError::LineTooLong.into());
                }
                self.headers.append(name.clone(), value.clone());
            }
        }
        Ok(())
    }
}

/// A response's headers.
pub(super) fn write(parts: ResponseParts, framing: Framing) -> Response<()> {
    let mut fields = copied(parts.headers.iter());
    if let Framing::Length(length) = framing {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    with(parts.status, fields)
}

/// The headers that open a WebSocket: what HTTP/1.1 says by 101, this says by 200 (RFC 8441 section 5).
pub(super) fn write_switch(parts: ResponseParts) -> Response<()> {
    let gone =
        [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_ACCEPT, header::CONTENT_LENGTH];
    with(StatusCode::OK, copied(parts.headers.iter().filter(|(name, _)| !gone.contains(name))))
}

/// The fields of a response in memory of their own: compression remembers them for as long as a connection lives, and a value is a slice of
/// all that was read with it.
fn copied<'a>(
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> + Clone,
) -> HeaderMap {
    let length = fields.clone().map(|(_, value)| value.len()).sum();
    let mut memory = BytesMut::with_capacity(length);
    let mut map = HeaderMap::with_capacity(fields.clone().count() + 1);
    for (name, value) in fields {
        memory.extend_from_slice(value.as_bytes());
        if let Ok(value) = HeaderValue::from_maybe_shared(memory.split().freeze()) {
            map.append(name.clone(), value);
        }
    }
    map
}

fn with(status: StatusCode, fields: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

#[cfg(test)]
mod tests {
    use http::Request as HttpRequest;

    use super::*;

    fn parts(uri: &str, fields: &[(&str, &str)]) -> request::Parts {
        let mut request = HttpRequest::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    fn verdict(uri: &str, fields: &[(&str, &str)]) -> Result<Request, Unfit> {
        read(&parts(uri, fields), true, &Limits::default())
    }

    #[test]
    fn cookies_become_one_line_and_every_other_field_stays() {
        let fields =
            [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("cookie", "c=3; d=4")];
        let read = verdict("https://3000-a.example/x?y=1", &fields).unwrap();
        let cookies: Vec<_> = read.parts.headers.get_all(header::COOKIE).collect();
        assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
        assert_eq!(read.parts.headers.len(), 2);
        assert_eq!(&read.parts.target[..], b"/x?y=1");
        assert_eq!(&read.parts.authority[..], b"3000-a.example");
    }

    #[test]
    fn authority_and_host_must_agree_and_one_of_them_must_be_there() {
        let same = verdict("https://A.example/", &[("host", "a.example")]).unwrap();
        assert_eq!(&same.parts.authority[..], b"A.example");
        assert!(!same.parts.headers.contains_key(header::HOST));
        let only_host = verdict("/", &[("host", "a.example")]).unwrap();
        assert_eq!(&only_host.parts.authority[..], b"a.example");
        for (uri, fields) in [
            ("https://a.example/", &[("host", "b.example")][..]),
            ("/", &[]),
            ("/", &[("host", "a.example"), ("host", "a.example")]),
        ] {
            let error = verdict(uri, fields).unwrap_err();
            assert_eq!(error, Unfit::Invalid(RequestError::Host), "{uri} {fields:?}");
        }
    }

    #[test]
    fn limits_are_those_of_http_1() {
        let long = "x".repeat(17 << 10);
        let target = format!("https://a.example/{long}");
        assert_eq!(verdict(&target, &[]).unwrap_err(), RequestError::TargetTooLong.into());
        let error = verdict("https://a.example/", &[("x-a", &long)]).unwrap_err();
        assert_eq!(error, RequestError::LineTooLong.into());
        let names: Vec<String> = (0..101).map(|i| format!("x-{i}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let error = verdict("https://a.example/", &many).unwrap_err();
        assert_eq!(error, RequestError::TooManyFields.into());
        let cookie = "y".repeat(9 << 10);
        let bomb: Vec<(&str, &str)> = (0..8).map(|_| ("cookie", cookie.as_str())).collect();
        let error = verdict("https://a.example/", &bomb).unwrap_err();
        assert_eq!(error, RequestError::HeadersTooLarge.into());
    }

    #[test]
    fn what_http_1_could_not_carry_is_refused() {
        for (fields, error) in [
            (&[("x-a", " padded")][..], Unfit::Malformed),
            (&[("x-a", "padded\t")], Unfit::Malformed),
            (&[("expect", "miracles")], RequestError::Expectation.into()),
            (
                &[("content-length", "5"), ("content-length", "5")],
                RequestError::ContentLength.into(),
            ),
            (&[("content-length", "+5")], RequestError::ContentLength.into()),
        ] {
            assert_eq!(verdict("https://a.example/", fields).unwrap_err(), error, "{fields:?}");
        }
    }

    #[test]
    fn a_target_is_of_http_or_https() {
        assert!(verdict("http://a.example/", &[]).is_ok());
        let error = verdict("gopher://a.example/", &[]).unwrap_err();
        assert_eq!(error, RequestError::Target.into());
    }

    #[test]
    fn a_websocket_reads_like_its_handshake() {
        let mut parts = parts("https://a.example/socket", &[("sec-websocket-version", "13")]);
        parts.method = Method::CONNECT;
        parts.extensions.insert(Protocol::from_static("websocket"));
        let read = read(&parts, false, &Limits::default()).unwrap();
        assert!(read.is_websocket && read.framing == Framing::None);
        assert_eq!(read.parts.method, Method::GET);
        assert_eq!(read.parts.headers.get(header::UPGRADE).unwrap(), "websocket");
        assert_eq!(read.parts.headers.get(header::SEC_WEBSOCKET_KEY).unwrap().len(), 24);
    }

    #[test]
    fn a_switch_loses_what_only_http_1_says() {
        let mut parts = ResponseParts::new(StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_ACCEPT, "x"),
            (header::SEC_WEBSOCKET_PROTOCOL, "chat"),
        ] {
            parts.headers.append(name, HeaderValue::from_static(value));
        }
        let response = write_switch(parts);
        assert_eq!(response.status(), StatusCode::OK);
        let names: Vec<_> = response.headers().keys().collect();
        assert_eq!(names, [&header::SEC_WEBSOCKET_PROTOCOL]);
    }
}
