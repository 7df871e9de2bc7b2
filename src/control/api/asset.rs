//! A file of this program's own that browsers load: named by a tag of its bytes, so that who has it is not sent it again.

use aws_lc_rs::digest;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

#[derive(Clone, Debug)]
pub(super) struct Asset {
    bytes: Bytes,
    tag: Option<HeaderValue>,
    kind: &'static str,
    is_gzip: bool,
}

impl Asset {
    pub(super) fn new(bytes: impl Into<Bytes>, kind: &'static str) -> Self {
        let bytes = bytes.into();
        let hash = digest::digest(&digest::SHA256, &bytes);
        let tag = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default());
        let tag = HeaderValue::try_from(format!("\"{tag}\"")).ok();
        Self { bytes, tag, kind, is_gzip: false }
    }

    /// One whose bytes are compressed already. It is sent so to everybody: every browser takes gzip.
    pub(super) fn gzip(bytes: impl Into<Bytes>, kind: &'static str) -> Self {
        Self { is_gzip: true, ..Self::new(bytes, kind) }
    }

    /// The response to a request with these headers; `caching` is what caches may do with it.
    pub(super) fn respond(&self, asked: &HeaderMap, caching: &'static str) -> Response {
        let mut response = if self.is_known(asked) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.bytes.clone().into_response()
        };
        let headers = response.headers_mut();
        if let Some(tag) = &self.tag {
            headers.insert(header::ETAG, tag.clone());
        }
        if self.is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, caching),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn is_known(&self, asked: &HeaderMap) -> bool {
        let Some(tag) = &self.tag else { return false };
        asked.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            let mut tags = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
            // Weak comparison: a cache on the way may have weakened it (RFC 9110 section 13.1.2).
            tags.any(|own| own == b"*" || own.strip_prefix(b"W/").unwrap_or(own) == tag.as_bytes())
        })
    }
}
