//! The pages and bodies we answer with ourselves. Rendered once per (face, tenant, branding version) and kept as bytes.

use bytes::Bytes;

use crate::fault::Face;
use crate::message::{RequestHead, ResponseHead};
use crate::routes::TenantView;

/// What one answer is about; everything here is per request.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The public face of what happened.
    pub face: &'static Face,
    /// Whose face the page wears; `None` = plain.
    pub tenant: Option<&'a TenantView>,
    /// The host as asked for (already known to be well formed), shown small and escaped; empty = not shown.
    pub host: &'a str,
    /// The sandbox's slug and port, where the visitor may know them.
    pub subject: Option<(&'a str, u16)>,
    /// The request id.
    pub request_id: &'a str,
}

/// Keeps rendered pages.
#[derive(Debug, Default)]
pub struct Gallery {
    _private: (),
}

impl Gallery {
    /// The answer of ours for an occasion: head (status and every field of DESIGN 7) and body. The body's form follows
    /// `Sec-Fetch-Dest`, then `Accept`. `request` is `None` when not even a head could be read; then it is plain text.
    pub fn answer(
        &self,
        _occasion: &Occasion<'_>,
        _request: Option<&RequestHead>,
    ) -> (ResponseHead, Bytes) {
        todo!("pages helper")
    }
}
