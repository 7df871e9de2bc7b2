//! What can be told of a request that is refused: enough to respond to it in a form that its sender can show.

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderName, HeaderValue};

use crate::edge::headers::{Headers, largest_cookies};
use crate::edge::message::{Minor, RequestParts};

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Looks for what refused headers say about the response they want, in whatever there is of them. Nothing else of the result may be
/// relied on, and nothing is decided by it. Of cookies only the names are told, the largest first. `None` when the headers do not say.
pub fn glimpse(section: &[u8]) -> Option<RequestParts> {
    let mut headers = Headers::new();
    let mut authority = Bytes::new();
    for line in section.split(|b| *b == b'\n').skip(1) {
        let mut parts = line.splitn(2, |b| *b == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if name.eq_ignore_ascii_case(b"host") {
            authority = Bytes::copy_from_slice(value.trim_ascii());
        }
        let wanted = [header::ACCEPT, SEC_FETCH_DEST, header::COOKIE];
        let is_named = |wanted: &HeaderName| name.eq_ignore_ascii_case(wanted.as_str().as_bytes());
        let Some(name) = wanted.into_iter().find(is_named) else { continue };
        let names;
        let value = if name == header::COOKIE {
            names = largest_cookies(value);
            &names
        } else {
            value.trim_ascii()
        };
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
        authority,
        minor: Minor::One,
        headers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_cookies_the_names_are_told_and_the_largest_first() {
        let section =
            b"GET / HTTP/1.1\r\nAccept: x\r\nCookie: a=1; big=12345678 ;c\r\nHost: h.example\r\n";
        let told = glimpse(section).unwrap();
        assert_eq!(told.headers.get(header::COOKIE).unwrap(), "big; a; c");
        assert_eq!(told.authority, "h.example");
        let many: Vec<u8> = (0..40).flat_map(|n| format!("n{n}=x; ").into_bytes()).collect();
        assert_eq!(largest_cookies(&many).split(|b| *b == b';').count(), 16);
    }
}
