//! Which header fields that decisions rest on a request has, found in one pass.

use http::HeaderValue;

use crate::edge::headers::Headers;

/// Which of the fields that decisions rest on the headers have: found in one pass, because asking a map for each of them costs more than
/// all the deciding.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct Seen<'a> {
    pub(super) authorization: bool,
    pub(super) cookie: bool,
    pub(super) preview_token: bool,
    pub(super) subprotocol: bool,
    pub(super) upgrade: bool,
    pub(super) purpose: bool,
    pub(super) fetch_mode: Option<&'a HeaderValue>,
    pub(super) accept: Option<&'a HeaderValue>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(headers: &'a Headers) -> Self {
        let mut seen = Self::default();
        for (name, value) in headers.iter() {
            match name.as_str() {
                "accept" => seen.accept = seen.accept.or(Some(value)),
                "authorization" => seen.authorization = true,
                "cookie" => seen.cookie = true,
                "purpose" | "sec-purpose" | "x-moz" => seen.purpose = true,
                "sec-fetch-mode" => seen.fetch_mode = seen.fetch_mode.or(Some(value)),
                "sec-websocket-protocol" => seen.subprotocol = true,
                "upgrade" => seen.upgrade = true,
                "x-miosa-preview-token" => seen.preview_token = true,
                _ => {}
            }
        }
        seen
    }
}
