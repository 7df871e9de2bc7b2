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
    pub(super) fetch_dest: Option<&'a HeaderValue>,
    pub(super) fetch_mode: Option<&'a HeaderValue>,
    pub(super) fetch_site: Option<&'a HeaderValue>,
    pub(super) hop: Option<&'a HeaderValue>,
    pub(super) referer: Option<&'a HeaderValue>,
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
                "referer" => seen.referer = seen.referer.or(Some(value)),
                "sec-fetch-dest" => seen.fetch_dest = seen.fetch_dest.or(Some(value)),
                "sec-fetch-site" => seen.fetch_site = seen.fetch_site.or(Some(value)),
                "sec-fetch-mode" => seen.fetch_mode = seen.fetch_mode.or(Some(value)),
                "sec-websocket-protocol" => seen.subprotocol = true,
                "upgrade" => seen.upgrade = true,
                "x-preview-hop" => seen.hop = seen.hop.or(Some(value)),
                "x-miosa-preview-token" => seen.preview_token = true,
                _ => {}
            }
        }
        seen
    }
}
