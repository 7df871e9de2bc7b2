//! Rendered pages, kept; and the whole response around them.

use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::Occasion;
use super::form::Form;
use super::html::{Rendered, with_port};
use crate::base::failure::{Blame, Face, Recovery};
use crate::base::request_id::X_REQUEST_ID;
use crate::edge::headers::largest_cookies;
use crate::edge::message::{RequestParts, ResponseParts};
use crate::model::TenantId;

/// Rendered pages kept at most; beyond it everything is rendered anew as it is asked for. About 8 KiB each.
const KEPT: usize = 4096;

/// Cookies that are ended at once, and the domains above a host for which they are.
const ENDED: usize = 16;
const ABOVE: usize = 3;

type Key = (&'static str, Option<(TenantId, u64)>);

/// Keeps rendered pages.
#[derive(Debug, Default)]
pub struct Gallery {
    rendered: DashMap<Key, Arc<Rendered>>,
}

impl Gallery {
    /// The response of ours for an occasion. The body's form follows `Sec-Fetch-Dest`, then `Accept`. `request` is `None` when not
    /// even so much could be read of it.
    pub fn render(
        &self,
        occasion: &Occasion<'_>,
        request: Option<&RequestParts>,
    ) -> (ResponseParts, Bytes) {
        let form = Form::for_request(request);
        let mut parts = parts(occasion, form);
        if occasion.face.status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            && let Some(request) = request
        {
            end_cookies(&mut parts, request);
        }
        let body = match form {
            Form::Html => {
                let page = self.page(occasion);
                if let Ok(policy) = HeaderValue::try_from(page.policy.as_str()) {
                    // Our pages are shown where the preview is, and nowhere when nobody knows whose they are.
                    let nobody = HeaderValue::from_static("frame-ancestors 'none'");
                    let embedders = occasion.tenant.map(|tenant| tenant.framing.value().clone());
                    let policies = [policy, embedders.unwrap_or(nobody)];
                    parts.headers.remove(header::CONTENT_SECURITY_POLICY);
                    for policy in policies {
                        parts.headers.append(header::CONTENT_SECURITY_POLICY, policy);
                    }
                }
                page.fill(occasion)
            }
            Form::Json => problem(occasion),
            Form::Script | Form::Style => {
                format!(
                    "/* {}: {} */\n",
                    occasion.face.label,
                    with_port(occasion.face.title, occasion.subject)
                )
            }
            Form::Text => format!(
                "{}: {}\n",
                occasion.face.label,
                with_port(occasion.face.title, occasion.subject)
            ),
            Form::Grpc => {
                grpc(&mut parts, occasion);
                String::new()
            }
            Form::Empty => String::new(),
        };
        (parts, body.into())
    }

    fn page(&self, occasion: &Occasion<'_>) -> Arc<Rendered> {
        let tenant = occasion.tenant;
        let key = (occasion.face.label, tenant.map(|tenant| (tenant.id, tenant.branding_version)));
        if let Some(page) = self.rendered.get(&key) {
            return Arc::clone(&page);
        }
        let page = Arc::new(Rendered::new(occasion.face, tenant));
        if self.rendered.len() >= KEPT {
            self.rendered.clear();
        }
        // A new version of a face makes its former pages useless.
        if let Some(tenant) = tenant {
            let outdated = |of: &Key| matches!(of.1, Some((id, version)) if id == tenant.id && version < tenant.branding_version);
            self.rendered.retain(|of, _| !outdated(of));
        }
        self.rendered.insert(key, Arc::clone(&page));
        page
    }
}

/// Ends the largest cookies of a request that was too large: with them the visitor would be refused for ever, and has no other way to be
/// rid of them. By their names, for this host and for the domains above it, where any preview's page may have set them: all cookies at once
/// are those of all previews of the domain, sessions included.
fn end_cookies(parts: &mut ResponseParts, request: &RequestParts) {
    let authority = std::str::from_utf8(&request.authority).unwrap_or_default();
    let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let is_plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let mut domains = vec![String::new()];
    let mut rest = host.as_str();
    while is_plain && let Some((_, above)) = rest.split_once('.') {
        // A domain of one label has no cookies.
        if above.contains('.') && domains.len() < ABOVE {
            domains.push(format!("; Domain={above}"));
        }
        rest = above;
    }
    let largest =
        request.headers.get_all(header::COOKIE).map(|value| largest_cookies(value.as_bytes()));
    let names = largest.collect::<Vec<_>>().join(&b"; "[..]);
    let names = names.split(|b| *b == b';').filter_map(|name| std::str::from_utf8(name).ok());
    for name in names.map(str::trim_ascii).filter(|name| is_ended(name)).take(ENDED) {
        for domain in &domains {
            for how in ["", "; Secure; SameSite=None; Partitioned"] {
                if let Ok(value) =
                    HeaderValue::try_from(format!("{name}=; Path=/; Max-Age=0{domain}{how}"))
                {
                    parts.headers.append(header::SET_COOKIE, value);
                }
            }
        }
    }
}

/// Whether a cookie may be ended: it has a name, and is not our session.
fn is_ended(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("__Host-preview")
}

/// Tells the error as gRPC does: always 200, and a status in fields that would be trailers if there were a body.
fn grpc(parts: &mut ResponseParts, occasion: &Occasion<'_>) {
    for (name, value) in
        grpc_fields(parts.status, &with_port(occasion.face.title, occasion.subject))
    {
        parts.headers.insert(name, value);
    }
    parts.status = StatusCode::OK;
}

/// What ends a response of gRPC that has begun and cannot be finished.
pub fn grpc_trailers(face: &Face) -> HeaderMap {
    grpc_fields(face.status, face.title).collect()
}

/// A status as gRPC tells it. The codes are those that its clients take the HTTP statuses for.
fn grpc_fields(
    status: StatusCode,
    message: &str,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let code = match status.as_u16() {
        400 | 431 => "13",
        // A share link that has expired is a credential that did.
        401 | 410 => "16",
        403 | 451 => "7",
        404 => "12",
        429 | 502..=504 => "14",
        _ => "2",
    };
    // Made of visible ASCII only, and so its own percent-encoding, but for `%`, which no title has.
    let message = HeaderValue::try_from(message).ok();
    [
        (HeaderName::from_static("grpc-status"), Some(HeaderValue::from_static(code))),
        (HeaderName::from_static("grpc-message"), message),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

fn parts(occasion: &Occasion<'_>, form: Form) -> ResponseParts {
    let face = occasion.face;
    let mut parts = ResponseParts::new(face.status);
    parts.headers.insert(header::CONTENT_SECURITY_POLICY, super::nothing());
    let mut set = |name: HeaderName, value: &'static str| {
        parts.headers.insert(name, HeaderValue::from_static(value));
    };
    if let Some(kind) = form.content_type() {
        set(header::CONTENT_TYPE, kind);
    }
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::VARY, "Accept, Sec-Fetch-Dest");
    set(HeaderName::from_static("x-preview-source"), "proxy");
    set(HeaderName::from_static("x-preview-error"), face.label);
    set(HeaderName::from_static("x-robots-tag"), "noindex");
    if face.status == StatusCode::UNAUTHORIZED {
        set(header::WWW_AUTHENTICATE, "Bearer");
    }
    if face.status == StatusCode::METHOD_NOT_ALLOWED {
        set(header::ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    if let Some(after) = retry_after(&face.recovery) {
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if let Ok(id) = HeaderValue::from_str(occasion.request_id) {
        parts.headers.insert(X_REQUEST_ID, id);
    }
    parts
}

fn retry_after(recovery: &Recovery) -> Option<std::time::Duration> {
    match recovery {
        Recovery::Reload { after } | Recovery::RetryAfter(after) => Some(*after),
        Recovery::None | Recovery::NewCredential | Recovery::StorageAccess => None,
    }
}

/// The error shape that the control API uses as well.
fn problem(occasion: &Occasion<'_>) -> String {
    let face = occasion.face;
    let after = retry_after(&face.recovery);
    let message = format!(
        "{}. {}",
        with_port(face.title, occasion.subject),
        with_port(face.text, occasion.subject)
    );
    json!({
        "ok": false,
        "error": {
            "code": face.label,
            "message": message,
            "details": {},
            "retryable": after.is_some() && face.blame != Blame::Visitor,
            "retry_after_ms": after.map_or(0, |after| after.as_millis()),
            "request_id": occasion.request_id,
        },
        "request_id": occasion.request_id,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_grpc_are_those_its_clients_would_make_of_ours() {
        for (status, code) in [
            (400, "13"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (408, "2"),
            (429, "14"),
            (431, "13"),
            (451, "7"),
            (501, "2"),
            (502, "14"),
            (503, "14"),
            (504, "14"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let fields: HeaderMap = grpc_fields(status, "It is not there").collect();
            assert_eq!(fields.get("grpc-status").unwrap(), code, "{status}");
            assert_eq!(fields.get("grpc-message").unwrap(), "It is not there");
        }
    }
}
