//! What can be told of a request that is refused: enough to respond to it in a form that its sender can show.

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};

use crate::edge::headers::Headers;
use crate::edge::message::{Minor, RequestParts};

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Looks for what refused headers say about the response they want, in whatever there is of them. Nothing else of the result may be
/// relied on, and nothing is decided by it. Of cookies only their presence is told. `None` when the headers do not say.
pub fn glimpse(section: &[u8]) -> Option<RequestParts> {
    let mut headers = Headers::new();
    for line in section.split(|b| *b == b'\n').skip(1) {
        let mut parts = line.splitn(2, |b| *b == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let wanted = [header::ACCEPT, SEC_FETCH_DEST, header::COOKIE];
        let is_named = |wanted: &HeaderName| name.eq_ignore_ascii_case(wanted.as_str().as_bytes());
        let Some(name) = wanted.into_iter().find(is_named) else { continue };
        let value = if name == header::COOKIE { b"" } else { value.trim_ascii() };
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !headers.contains_key(&name)
        {
            headers.append(name, value);
        }
    }
    let says = headers.contains_key(header::ACCEPT) || headers.contains_key(&SEC_FETCH_DEST);
    says.then(|| RequestParts {
        method: if section.starts_with(b"HEAD ") { Method::HEAD } else { Method::GET },
        target: Bytes::new(),
        authority: Bytes::new(),
        minor: Minor::One,
        headers,
    })
}
