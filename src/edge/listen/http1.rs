//! Serving HTTP/1 on one connection: a request at a time, in order, until either side has had enough.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;

use super::Settings;
use super::line::Line;
use super::link::{Link, NoRequest, RequestBody};
use super::respond::{self, Terms};
use crate::base::failure::Failure;
use crate::edge::body::Payload;
use crate::edge::connection::Stream;
use crate::edge::deadline::Phase;
use crate::edge::message::{Framing, Interim, Minor, RequestParts};
use crate::edge::stage::boxed;
use crate::edge::visitor::{self, Reply, Worker};
use crate::edge::wire::{self, ConnectionField, ParsedRequest};

/// After a response that leaves part of a request unread, this much of the rest is read and thrown away, so that the
/// kernel does not destroy the response by resetting the connection.
const LINGER_BYTES: usize = 512 << 10;
/// ... for at most this long.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, line: Line, worker: Rc<Worker>, settings: Rc<Settings>) {
    let deadlines = [worker.deadlines.deadline(), worker.deadlines.deadline()];
    let link = Rc::new(RefCell::new(Link::new(stream, Rc::clone(&settings), deadlines)));
    // The first request must come as promptly as its headers; later ones may keep us waiting.
    let mut patience = settings.header_timeout;
    let switch = loop {
        {
            let link = link.borrow();
            let (phase, after) = if link.inbuf.is_empty() {
                (Phase::KeepAlive, patience)
            } else {
                (Phase::RequestHeaders, settings.header_timeout)
            };
            link.read_deadline.set(phase, after);
        }
        let next = poll_fn(|cx| link.borrow_mut().poll_request(cx, worker.is_draining())).await;
        let (keep, responded) = match next {
            Ok(request) => match boxed(exchange(&link, &line, request, &worker)).await {
                Exchanged::Responded { keep } => (keep, true),
                Exchanged::Broken => return link.borrow_mut().stream.abort(),
                Exchanged::Switched(switch) => break switch,
            },
            Err(NoRequest::Ended) => (false, false),
            Err(NoRequest::Invalid(error, glimpse)) => {
                (false, boxed(refuse(&link, &line, (&error, glimpse), &worker)).await)
            }
            Err(NoRequest::TooSlow(glimpse)) => {
                let slow: &dyn Failure = &visitor::HeadersTimeout;
                (false, boxed(refuse(&link, &line, (slow, glimpse), &worker)).await)
            }
        };
        if !keep {
            return finish(&link, responded).await;
        }
        patience = settings.keep_alive;
    };
    if let Some((stream, read_ahead)) = boxed(agree(link, &switch)).await {
        visitor::run_switched(switch, stream, read_ahead, &worker).await;
    }
}

enum Exchanged {
    Responded { keep: bool },
    Switched(Box<visitor::Switch>),
    Broken,
}

async fn exchange(
    link: &Rc<RefCell<Link>>,
    line: &Line,
    request: ParsedRequest,
    worker: &Rc<Worker>,
) -> Exchanged {
    let terms = Terms {
        minor: request.parts.minor,
        headers_only: request.parts.method == Method::HEAD,
        keep_alive: request.keep_alive,
    };
    let body = match request.framing {
        Framing::None | Framing::Length(0) => Payload::Empty,
        _ => Payload::stream(RequestBody(Rc::clone(link))),
    };
    let interim = Interim::default();
    let arriving = line.arriving(request.parts, (request.framing, body), interim.clone());
    let reply = {
        let mut handling = pin!(async {
            match line.leads_to {
                Some(port) => Reply::Response(visitor::lead_to_https(worker, arriving, port)),
                None => visitor::handle(worker, arriving).await,
            }
        });
        poll_fn(|cx| {
            let polled = handling.as_mut().poll(cx);
            let mut link = link.borrow_mut();
            if terms.minor == Minor::One {
                interim
                    .take_each(|parts| link.out.write_with(|out| wire::write_interim(out, parts)));
            }
            if let Poll::Ready(reply) = polled {
                return Poll::Ready(Some(reply));
            }
            if matches!(link.poll_flush(cx), Poll::Ready(Err(_))) || link.poll_gone(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    };
    match reply {
        None => Exchanged::Broken,
        Some(Reply::Switch(switch)) => Exchanged::Switched(switch),
        Some(Reply::Response(response)) => {
            let terms = Terms { keep_alive: terms.keep_alive && !worker.is_draining(), ..terms };
            match respond::send(link, response, terms).await {
                Ok(keep) => Exchanged::Responded { keep },
                Err(_) => Exchanged::Broken,
            }
        }
    }
}

/// Responds to what never became a request. Tells whether a response was written.
async fn refuse(
    link: &Rc<RefCell<Link>>,
    line: &Line,
    (error, glimpse): (&dyn Failure, Option<Box<RequestParts>>),
    worker: &Rc<Worker>,
) -> bool {
    let response =
        visitor::refuse_glimpsed(worker, line.identity.unread(), error, glimpse.as_deref());
    let headers_only = glimpse.is_some_and(|glimpse| glimpse.method == Method::HEAD);
    let terms = Terms { minor: Minor::One, headers_only, keep_alive: false };
    respond::send(link, response, terms).await.is_ok()
}

/// Ends a connection in order: our end first, then what the visitor still sends is read for a short while.
async fn finish(link: &Rc<RefCell<Link>>, responded: bool) {
    let ended = poll_fn(|cx| link.borrow_mut().stream.poll_finish(cx)).await;
    if !responded || ended.is_err() {
        return;
    }
    let linger = async {
        let mut scratch = vec![0_u8; 8 << 10];
        let mut read = link.borrow().inbuf.len();
        while read < LINGER_BYTES {
            match poll_fn(|cx| link.borrow_mut().stream.poll_read_slice(cx, &mut scratch)).await {
                Ok(n) if n > 0 => read += n,
                _ => return,
            }
        }
    };
    // Whoever still sends after this is cut off.
    drop(tokio::time::timeout(LINGER, linger).await);
}

/// Says that the protocol is switched, and gives what goes on: the bare stream, and what the visitor sent after its headers.
async fn agree(link: Rc<RefCell<Link>>, switch: &visitor::Switch) -> Option<(Stream, BytesMut)> {
    link.borrow_mut().out.write_with(|out| {
        wire::write_response(out, &switch.parts, Framing::None, ConnectionField::None);
    });
    poll_fn(|cx| link.borrow_mut().poll_flush(cx)).await.ok()?;
    // The request's body (there is none) was the only other holder of the link.
    let link = Rc::try_unwrap(link).map(RefCell::into_inner).ok()?;
    Some((link.stream, link.inbuf))
}
