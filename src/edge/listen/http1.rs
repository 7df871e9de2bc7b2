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
use crate::base::fault::Fault;
use crate::edge::body::Payload;
use crate::edge::connection::Stream;
use crate::edge::deadline::Phase;
use crate::edge::message::{Framing, Interim, Minor, RequestHead};
use crate::edge::stage::boxed;
use crate::edge::visitor::{self, Reply, Worker};
use crate::edge::wire::{self, ConnectionField, ParsedRequest};

/// After an answer that leaves part of a request unread, this much of the rest is read and thrown away, so that the
/// kernel does not destroy the answer by resetting the connection.
const LINGER_BYTES: usize = 512 << 10;
/// ... for at most this long.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, line: Line, worker: Rc<Worker>, settings: Rc<Settings>) {
    let deadlines = [worker.deadlines.deadline(), worker.deadlines.deadline()];
    let link = Rc::new(RefCell::new(Link::new(stream, Rc::clone(&settings), deadlines)));
    // The first request must come as promptly as its head; later ones may keep us waiting.
    let mut patience = settings.head_timeout;
    let switch = loop {
        {
            let link = link.borrow();
            let (phase, after) = if link.inbuf.is_empty() {
                (Phase::KeepAlive, patience)
            } else {
                (Phase::RequestHead, settings.head_timeout)
            };
            link.read_deadline.set(phase, after);
        }
        let next = poll_fn(|cx| link.borrow_mut().poll_request(cx, worker.is_draining())).await;
        let (keep, answered) = match next {
            Ok(request) => match boxed(exchange(&link, &line, request, &worker)).await {
                Exchanged::Answered { keep } => (keep, true),
                Exchanged::Broken => return link.borrow_mut().stream.abort(),
                Exchanged::Switched(switch) => break switch,
            },
            Err(NoRequest::Ended) => (false, false),
            Err(NoRequest::Faulty(fault, glimpse)) => {
                (false, boxed(refuse(&link, &line, (&fault, glimpse), &worker)).await)
            }
            Err(NoRequest::TooSlow(glimpse)) => {
                let slow: &dyn Fault = &visitor::HeadTimeout;
                (false, boxed(refuse(&link, &line, (slow, glimpse), &worker)).await)
            }
        };
        if !keep {
            return finish(&link, answered).await;
        }
        patience = settings.keep_alive;
    };
    if let Some((stream, read_ahead)) = boxed(agree(link, &switch)).await {
        visitor::run_switched(switch, stream, read_ahead, &worker).await;
    }
}

enum Exchanged {
    Answered { keep: bool },
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
        minor: request.head.minor,
        head_only: request.head.method == Method::HEAD,
        keep_alive: request.keep_alive,
    };
    let body = match request.framing {
        Framing::None | Framing::Length(0) => Payload::Empty,
        _ => Payload::stream(RequestBody(Rc::clone(link))),
    };
    let interim = Interim::default();
    let arriving = line.arriving(request.head, (request.framing, body), interim.clone());
    let reply = {
        let mut handling = pin!(async {
            match line.leads_to {
                Some(port) => Reply::Answer(visitor::lead_to_https(worker, arriving, port)),
                None => visitor::handle(worker, arriving).await,
            }
        });
        poll_fn(|cx| {
            let polled = handling.as_mut().poll(cx);
            let mut link = link.borrow_mut();
            if terms.minor == Minor::One {
                interim.take_each(|head| link.out.write_with(|out| wire::write_interim(out, head)));
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
        Some(Reply::Answer(answer)) => {
            let terms = Terms { keep_alive: terms.keep_alive && !worker.is_draining(), ..terms };
            match respond::answer(link, answer, terms).await {
                Ok(keep) => Exchanged::Answered { keep },
                Err(_) => Exchanged::Broken,
            }
        }
    }
}

/// Answers what never became a request. Tells whether an answer was written.
async fn refuse(
    link: &Rc<RefCell<Link>>,
    line: &Line,
    (fault, glimpse): (&dyn Fault, Option<Box<RequestHead>>),
    worker: &Rc<Worker>,
) -> bool {
    let answer =
        visitor::refuse_glimpsed(worker, line.identity.unread(), fault, glimpse.as_deref());
    let head_only = glimpse.is_some_and(|glimpse| glimpse.method == Method::HEAD);
    let terms = Terms { minor: Minor::One, head_only, keep_alive: false };
    respond::answer(link, answer, terms).await.is_ok()
}

/// Ends a connection in order: our end first, then what the visitor still sends is read for a short while.
async fn finish(link: &Rc<RefCell<Link>>, answered: bool) {
    let ended = poll_fn(|cx| link.borrow_mut().stream.poll_finish(cx)).await;
    if !answered || ended.is_err() {
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

/// Says that the protocol is switched, and gives what goes on: the bare stream, and what the visitor sent after its head.
async fn agree(link: Rc<RefCell<Link>>, switch: &visitor::Switch) -> Option<(Stream, BytesMut)> {
    link.borrow_mut().out.write_with(|out| {
        wire::write_response(out, &switch.head, Framing::None, ConnectionField::None);
    });
    poll_fn(|cx| link.borrow_mut().poll_flush(cx)).await.ok()?;
    // The request's body (there is none) was the only other holder of the link.
    let link = Rc::try_unwrap(link).map(RefCell::into_inner).ok()?;
    Some((link.stream, link.inbuf))
}
