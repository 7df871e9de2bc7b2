//! The pages and bodies we respond with ourselves. A page is rendered once per (error, tenant, version of its face) and kept as
//! bytes; what differs per request is put between the pieces. The platform's own name appears nowhere.

mod face;
mod form;
mod gallery;
mod html;

pub use gallery::{Gallery, grpc_trailers};

use http::HeaderValue;

use crate::base::failure::Face;
use crate::routing::TenantView;

/// The policy of a response of ours that is no page, or whose owner is not known: it may do nothing, and be shown nowhere.
pub fn nothing() -> HeaderValue {
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")
}

/// What one response is about; everything here is per request.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The public face of what happened.
    pub face: &'static Face,
    /// Whose face the page wears; `None` = plain.
    pub tenant: Option<&'a TenantView>,
    /// The host as asked for, known to be well formed; empty when it is not.
    pub host: &'a str,
    /// The sandbox's slug and port, where the visitor may know them.
    pub subject: Option<(&'a str, u16)>,
    /// The request id.
    pub request_id: &'a str,
}
