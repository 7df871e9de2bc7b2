//! One stream: a request, its response, or the tunnel that it becomes.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response, StatusCode};

use super::super::Settings;
use super::super::line::Line;
use super::body::RequestBody;
use super::parts::{self, Unfit};
use crate::edge::body::{BodyError, Payload};
use crate::edge::connection::{H2Send, H2SendError, H2Stream, Stream};
use crate::edge::deadline::Phase;
use crate::edge::headers::is_grpc;
use crate::edge::message::{Framing, Interim, ResponseParts};
use crate::edge::visitor::{self, EdgeResponse, Reply, Switch, Worker};

/// How long what came before a break may take to leave.
const LAST_PIECES: Duration = Duration::from_millis(20);

/// Serves a stream to its end.
pub(super) async fn serve(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    line: Rc<Line>,
    worker: Rc<Worker>,
    settings: Rc<Settings>,
) {
    let (parts, recv) = request.into_parts();
    let request = match parts::read(&parts, recv.is_end_stream(), &settings.header_limits) {
        Ok(request) => request,
        Err(Unfit::Malformed) => return respond.send_reset(Reason::PROTOCOL_ERROR),
        Err(Unfit::Invalid(error)) => {
            let glimpse = parts::glimpse(&parts);
            let refusal =
                visitor::refuse_glimpsed(&worker, line.identity.unread(), &error, Some(&glimpse));
            let headers_only = parts.method == Method::HEAD;
            return respond_with(respond, refusal, headers_only, (&worker, settings)).await;
        }
    };
    let headers_only = request.parts.method == Method::HEAD;
    let wanted = Rc::new(Cell::new(false));
    let mut tunnel = None;
    let body = if request.is_websocket {
        tunnel = Some(recv);
        Payload::Empty
    } else if request.framing == Framing::None {
        Payload::Empty
    } else {
        let terms = (worker.deadlines.deadline(), Rc::clone(&settings));
        Payload::stream(RequestBody::new(recv, request.framing, terms, Rc::clone(&wanted)))
    };
    let interim = Interim::default();
    let arriving = line.arriving(request.parts, (request.framing, body), interim.clone());
    let mut owes_continue = request.expects_continue;
    let reply = {
        let mut handling = pin!(visitor::handle(&worker, arriving));
        poll_fn(|cx| {
            let polled = handling.as_mut().poll(cx);
            if owes_continue && wanted.get() {
                owes_continue = false;
                tell(&mut respond, ResponseParts::new(StatusCode::CONTINUE));
            }
            interim.take_each(|parts| tell(&mut respond, parts.clone()));
            if let Poll::Ready(reply) = polled {
                return Poll::Ready(Some(reply));
            }
            // Whoever resets a stream wants its work to stop, not only its response.
            respond.poll_reset(cx).map(|_| None)
        })
        .await
    };
    match (reply, tunnel) {
        (None, _) => {}
        (Some(Reply::Response(reply)), _) => {
            respond_with(respond, reply, headers_only, (&worker, settings)).await;
        }
        (Some(Reply::Switch(switch)), Some(recv)) => switched(respond, recv, switch, &worker).await,
        // Only what asked for a switch is switched.
        (Some(Reply::Switch(_)), None) => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}

/// Sends an interim response. Once the stream is gone there is nobody to tell, which the next step finds out.
fn tell(respond: &mut SendResponse<Bytes>, parts: ResponseParts) {
    drop(respond.send_informational(parts::write(parts, Framing::None)));
}

async fn respond_with(
    mut respond: SendResponse<Bytes>,
    response: EdgeResponse,
    headers_only: bool,
    (worker, settings): (&Rc<Worker>, Rc<Settings>),
) {
    let EdgeResponse { parts, framing, body, .. } = response;
    let told_only = headers_only || parts.status == StatusCode::NOT_MODIFIED;
    let body = if told_only { Payload::Empty } else { body };
    let bodiless =
        told_only || (body.is_empty() && matches!(framing, Framing::None | Framing::Length(0)));
    let is_grpc = is_grpc(&parts.headers);
    let response: Response<()> = parts::write(parts, framing);
    let Ok(send) = respond.send_response(response, bodiless) else { return };
    if bodiless {
        return;
    }
    let stall = (worker.deadlines.deadline(), Phase::VisitorWrite, settings.write_idle);
    let mut sending = H2Send::new(body, send, framing, stall);
    // What broke off must not look whole, and whoever left wants no more of it.
    match poll_fn(|cx| sending.poll(cx)).await {
        Ok(()) | Err(H2SendError::Gone) => {}
        Err(H2SendError::Stalled) => sending.reset(Reason::CANCEL),
        Err(H2SendError::Body(error)) => match visitor::error_trailers(error).filter(|_| is_grpc) {
            Some(status) => sending.end_with(status),
            None if matches!(error, BodyError::AccessEnded) => sending.reset(Reason::CANCEL),
            None => {
                // A reset overtakes what was sent before the break, which is still the visitor's.
                let leaving = poll_fn(|cx| sending.poll_gone(cx));
                drop(tokio::time::timeout(LAST_PIECES, leaving).await);
                sending.reset(Reason::INTERNAL_ERROR);
            }
        },
    }
}

async fn switched(
    mut respond: SendResponse<Bytes>,
    recv: RecvStream,
    mut switch: Box<Switch>,
    worker: &Rc<Worker>,
) {
    let parts = std::mem::replace(&mut switch.parts, ResponseParts::new(StatusCode::OK));
    let Ok(send) = respond.send_response(parts::write_switch(parts), false) else { return };
    let stream = Stream::h2(H2Stream::new(send, recv));
    visitor::run_switched(switch, stream, BytesMut::new(), worker).await;
}
