//! Our own endpoint on preview hosts: the token out of a body, and the responses.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use http_body::Body;
use serde_json::json;

use super::reply::{self, Refused};
use super::{EdgeResponse, Record, Worker};
use crate::base::failure::Failure;
use crate::edge::body::Payload;
use crate::edge::gate::{RefusalReason, Says, Session};
use crate::edge::headers::Headers;
use crate::edge::message::{RequestParts, ResponseParts};
use crate::edge::pages;

/// The longest body that is read: a token, and a little around it.
const MAX_BODY: usize = 8 << 10;
/// Reads a body to its end.
pub(super) async fn whole(mut body: Payload) -> Result<Bytes, RefusalReason> {
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|_| RefusalReason::NotAToken)?.into_data() else { continue };
        if whole.len() + data.len() > MAX_BODY {
            return Err(RefusalReason::NotAToken);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The response.
pub(super) fn respond(
    worker: &Rc<Worker>,
    record: Record,
    (parts, host): (&RequestParts, &str),
    session: Session,
) -> EdgeResponse {
    let mut response = match session.says {
        Says::Refused(reason) => {
            let refused = Refused {
                error: &reason,
                tenant: session.tenant.as_deref(),
                host,
                subject: None,
                readable_socket: false,
            };
            reply::page(worker, record, Some(parts), &refused)
        }
        Says::Approved => reply::plain(record, approval(), Bytes::new()),
        Says::Renewed { cookie, renewal } => {
            if let Some(renewal) = renewal {
                worker.renewals.send(renewal);
            }
            let mut response = reply::ours(StatusCode::NO_CONTENT);
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers.insert(header::SET_COOKIE, cookie);
            }
            reply::plain(record, response, Bytes::new())
        }
        Says::Standing { public, cookie } => {
            let body = json!({
                "public": public,
                "cookie": cookie.is_some(),
                "valid": matches!(cookie, Some(Ok(_))),
                "expires_at": cookie.and_then(Result::ok).flatten(),
                "code": cookie.and_then(Result::err).map(|reason| reason.face().label),
            });
            let mut response = reply::ours(StatusCode::OK);
            let kind = HeaderValue::from_static("application/json");
            response.headers.insert(header::CONTENT_TYPE, kind);
            response.headers.insert(header::CONTENT_SECURITY_POLICY, pages::nothing());
            let nosniff = HeaderValue::from_static("nosniff");
            response.headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
            reply::plain(record, response, body.to_string().into())
        }
    };
    let origin = parts.headers.get(header::ORIGIN).filter(|_| session.readable);
    share(&mut response.parts.headers, origin);
    response
}

/// Lets a page read the response; what a cache keeps is kept for that page alone.
fn share(headers: &mut Headers, origin: Option<&HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("Origin, Cookie"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        let exposed = HeaderValue::from_static("x-preview-error, x-request-id");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn approval() -> ResponseParts {
    let mut parts = reply::ours(StatusCode::NO_CONTENT);
    let mut set = |name: HeaderName, value| {
        parts.headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST");
    set(header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, x-miosa-preview-token");
    set(header::ACCESS_CONTROL_MAX_AGE, "600");
    parts
}
