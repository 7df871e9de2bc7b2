//! A visitor's request from its headers to the last byte of its response. Read this file first: the order of its steps is the
//! security argument. A record is opened; the visit is read; `gate::decide` judges it; only a `Plan` of its making is
//! forwarded; whatever goes wrong becomes one of our pages; the record closes with the last byte.

mod arriving;
mod live;
mod record;
mod renewals;
mod reply;
mod session;
mod switch;
mod wake;
mod worker;

pub use arriving::Arriving;
pub use live::{Ending, Live, Watch};
pub use record::Record;
pub use renewals::Renewals;
pub use reply::{EdgeResponse, HeadersTimeout, Reply, ShuttingDown, error_trailers};
pub use switch::{Switch, run as run_switched};
pub use worker::{Tuning, Worker, WorkerParts};

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::header::SEC_WEBSOCKET_PROTOCOL;

use crate::base::failure::Failure;
use crate::base::machine;
use crate::edge::forward::Outgoing;
use crate::edge::gate::{
    Arrival, Decision, Intent, Plan, Refusal, RefusalReason, Visit, Wake, WokenBy, decide,
};
use crate::edge::identity::Peer;
use crate::edge::limits::{Entry, Exceeded, Permit};
use crate::edge::message::{Framing, RequestParts};
use crate::edge::stage::boxed;
use crate::model::ShareId;
use crate::model::host::Authority;
use reply::Refused;

/// Serves one request.
pub async fn handle(worker: &Rc<Worker>, arriving: Arriving) -> Reply {
    let secure = arriving.secure;
    let mut reply = judge(worker, arriving).await;
    if let Reply::Response(response) = &mut reply {
        worker.finish(&mut response.parts.headers, secure);
    }
    reply
}

/// The response to a request on a listener that only leads on to https.
pub fn lead_to_https(worker: &Rc<Worker>, arriving: Arriving, port: u16) -> EdgeResponse {
    let mut record = Record::open(worker, &arriving);
    let mut response = if let Ok(authority) = Authority::parse(&arriving.parts.authority) {
        record.host(&authority.host);
        reply::to_https(record, &authority, &arriving.parts.target, port)
    } else {
        unread(worker, record, &arriving.parts, &RefusalReason::BadHost)
    };
    worker.finish(&mut response.parts.headers, false);
    response
}

#[expect(clippy::too_many_lines, reason = "the steps, in their order")]
async fn judge(worker: &Rc<Worker>, mut arriving: Arriving) -> Reply {
    let mut record = Record::open(worker, &arriving);
    let arrival = Arrival {
        peer: arriving.peer.ip(),
        secure: arriving.secure,
        has_body: arriving.framing != Framing::None,
    };
    let mut visit = match Visit::read(&arriving.parts, arrival) {
        Ok(visit) => visit,
        // What cannot be read for certain is not followed by anything that could.
        Err(reason) => return last(unread(worker, record, &arriving.parts, &reason)),
    };
    record.host(&visit.authority.host);
    if visit.hop().is_some_and(|hop| hop.as_bytes() == machine::mark().as_bytes()) {
        return last(unread(worker, record, &arriving.parts, &RefusalReason::Loop));
    }
    if arriving.shown.as_ref().is_some_and(|shown| !shown.serves(&visit.authority.host)) {
        // Browsers reuse a connection for every host that its certificate covers, and for no other (RFC 9110 section 7.4).
        let misdirected = &RefusalReason::Misdirected;
        return Reply::Response(unread(worker, record, &arriving.parts, misdirected));
    }
    if visit.takes_token() {
        let body = record.count_request_body(std::mem::take(&mut arriving.body));
        match boxed(session::whole(body)).await {
            Ok(body) => visit.take_token(&body),
            Err(error) => return last(unread(worker, record, &arriving.parts, &error)),
        }
    }
    let evidence = worker.evidence(&visit.credentials);
    let decide = |now| decide(&visit, &evidence, &worker.routes, &worker.rules.borrow(), now);
    let mut decision = decide(record.opened());
    let mut permit = None;
    if let Decision::Wake(wake) = decision {
        // What the limits refuse wakes nothing.
        match worker.limits.admit(&wake_entry(&wake, &arriving.peer), record.started()) {
            Ok(admitted) => permit = Some(admitted),
            Err(exceeded) => return limited(worker, record, &visit, (&wake, &exceeded)),
        }
        let again = || decide(worker.clock.now());
        decision = boxed(wake::wait(worker, &mut record, *wake, again)).await;
    }
    match decision {
        Decision::Forward(plan) => {
            let readable_socket = is_readable_socket(&visit);
            let visited = Visited { authority: visit.authority, readable_socket };
            forward(worker, record, (*plan, visited), arriving, permit).await
        }
        Decision::SignIn(sign_in) => {
            record.subject(&sign_in.subject);
            if let Some(share) = sign_in.share {
                opened(worker, &mut record, share);
            }
            let tenant = worker.routes.tenant(sign_in.subject.route.tenant);
            let names_page =
                visit.is_framed() && tenant.is_some_and(|tenant| tenant.framing.has_own_domain());
            Reply::Response(reply::sign_in(record, sign_in, names_page))
        }
        Decision::Approve(subject) => {
            record.preflight(subject.as_ref());
            Reply::Response(reply::approval(record, &arriving.parts))
        }
        Decision::Session(session) => {
            if let Some(subject) = &session.subject {
                record.subject(subject);
            }
            let asked = (&arriving.parts, &*visit.authority.host);
            Reply::Response(session::respond(worker, record, asked, *session))
        }
        Decision::Moved(moved) => Reply::Response(reply::moved(record, &moved)),
        Decision::Neutral(subject) => {
            record.subject(&subject);
            Reply::Response(reply::neutral(record))
        }
        Decision::Refuse(refusal) => refused(worker, record, &visit, &refusal),
        // It has been waited for already.
        Decision::Wake(wake) => {
            refused(worker, record, &visit, &wake.refuse(RefusalReason::Waking))
        }
    }
}

/// The response to a visit that is refused.
fn refused(worker: &Rc<Worker>, mut record: Record, visit: &Visit<'_>, refusal: &Refusal) -> Reply {
    record.refusal(refusal);
    let refused = Refused {
        error: &refusal.reason,
        tenant: refusal.tenant.as_deref(),
        host: &visit.authority.host,
        subject: refusal.subject().map(|on| (on.route.slug.as_str(), on.port)),
        readable_socket: is_readable_socket(visit),
    };
    refuse(worker, record, visit.parts, refused)
}

/// Notes that a share link was opened.
fn opened(worker: &Worker, record: &mut Record, share: ShareId) {
    record.share(share);
    worker.visits.opened(share, worker.clock.now());
}

/// The response to a request about which nothing is decided.
fn unread(
    worker: &Rc<Worker>,
    record: Record,
    parts: &RequestParts,
    error: &dyn Failure,
) -> EdgeResponse {
    reply::page(worker, record, Some(parts), &Refused::unread(error))
}

/// A response after which the connection ends.
fn last(response: EdgeResponse) -> Reply {
    Reply::Response(EdgeResponse { close: true, ..response })
}

/// The response to bytes that never became a request.
pub fn refuse_unread(worker: &Rc<Worker>, peer: &Rc<Peer>, error: &dyn Failure) -> EdgeResponse {
    refuse_glimpsed(worker, (peer, false), error, None)
}

/// ... of which as much is known as what form of response it wants (see [`crate::edge::wire::glimpse`]).
pub fn refuse_glimpsed(
    worker: &Rc<Worker>,
    (peer, secure): (&Rc<Peer>, bool),
    error: &dyn Failure,
    glimpse: Option<&RequestParts>,
) -> EdgeResponse {
    let record = Record::unread(worker, peer);
    let mut response = reply::page(worker, record, glimpse, &Refused::unread(error));
    worker.finish(&mut response.parts.headers, secure);
    response
}

/// What is still needed of a visit once its headers have gone to the sandbox.
struct Visited {
    authority: Authority,
    readable_socket: bool,
}

impl Visited {
    /// What went wrong with a plan, for whom it is told.
    fn refused<'a>(&'a self, plan: &'a Plan, error: &'a dyn Failure) -> Refused<'a> {
        Refused {
            error,
            tenant: Some(plan.tenant.as_ref()),
            host: &self.authority.host,
            subject: Some((plan.route.slug.as_str(), plan.port)),
            readable_socket: self.readable_socket,
        }
    }
}

/// Whether a refusal should be told as a close code: a browser's script opened this WebSocket, and can read nothing else.
fn is_readable_socket(visit: &Visit<'_>) -> bool {
    visit.intent == Intent::WebSocket && visit.parts.headers.contains_key(http::header::ORIGIN)
}

/// The response to a visit that would wake a sandbox and is one too many.
fn limited(
    worker: &Rc<Worker>,
    mut record: Record,
    visit: &Visit<'_>,
    (wake, exceeded): (&Wake, &Exceeded),
) -> Reply {
    record.subject(&wake.subject);
    let refused = Refused {
        error: exceeded,
        tenant: Some(&wake.tenant),
        host: &visit.authority.host,
        subject: Some((wake.subject.route.slug.as_str(), wake.subject.port)),
        readable_socket: is_readable_socket(visit),
    };
    refuse(worker, record, visit.parts, refused)
}

/// What the limits judge a visit by that would wake a sandbox. No socket does.
fn wake_entry<'a>(wake: &'a Wake, peer: &Peer) -> Entry<'a> {
    Entry {
        sandbox: wake.subject.route.sandbox,
        tenant: &wake.tenant.policy.limits,
        peer: peer.ip(),
        is_stranger: wake.by == WokenBy::Anyone,
        is_socket: false,
    }
}

/// What the limits judge by.
fn entry<'a>(plan: &'a Plan, peer: &Peer) -> Entry<'a> {
    Entry {
        sandbox: plan.route.sandbox,
        tenant: &plan.tenant.policy.limits,
        peer: peer.ip(),
        is_stranger: !plan.by_credential,
        is_socket: plan.upgrade,
    }
}

async fn forward(
    worker: &Rc<Worker>,
    mut record: Record,
    (plan, visited): (Plan, Visited),
    mut arriving: Arriving,
    permit: Option<Permit>,
) -> Reply {
    record.plan(&plan);
    let admit = || worker.limits.admit(&entry(&plan, &arriving.peer), record.started());
    let permit = match permit.map_or_else(admit, Ok) {
        Ok(permit) => permit,
        Err(exceeded) => {
            let refused = visited.refused(&plan, &exceeded);
            return refuse(worker, record, &arriving.parts, refused);
        }
    };
    record.goes_on(&plan);
    let mut watch = worker.live.watch(&plan.grant, (&*plan.route, plan.port), arriving.peer.ip());
    watch.hold(permit);
    // A browser takes a refusal of its WebSocket only in one of the subprotocols it named, and ours is taken out of the headers.
    let offered = || arriving.parts.headers.get(SEC_WEBSOCKET_PROTOCOL).cloned();
    let protocols = plan.upgrade.then(offered).flatten();
    let outgoing = Outgoing {
        plan: &plan,
        authority: &visited.authority,
        parts: &mut arriving.parts,
        framing: arriving.framing,
        body: watch.shape(record.count_request_body(arriving.body)),
        peer: &arriving.peer,
        secure: arriving.secure,
        request_id: record.id(),
    };
    let sent = {
        let mut sending = pin!(worker.forwarder.send(outgoing, &arriving.interim));
        poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(Ok(sent));
            }
            watch.poll_ended(cx).map(Err)
        })
        .await
    };
    let error: &dyn Failure = match sent {
        Ok(Ok(forwarded)) => return reply::app(record, watch, forwarded, plan),
        Ok(Err(ref error)) => error,
        Err(Ending::Access(ref reason)) => reason,
        Err(Ending::Shutdown) => {
            record.broke(Ending::Shutdown.into());
            &ShuttingDown
        }
    };
    record.cause(error);
    if let Some(protocols) = protocols {
        arriving.parts.headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    refuse(worker, record, &arriving.parts, visited.refused(&plan, error))
}

fn refuse(
    worker: &Rc<Worker>,
    mut record: Record,
    parts: &RequestParts,
    refused: Refused<'_>,
) -> Reply {
    if refused.readable_socket
        && let Some(switch) = Switch::farewell(parts, refused.error.face())
    {
        record.refused(refused.error.face());
        return Reply::Switch(Box::new(switch.with(record)));
    }
    Reply::Response(reply::page(worker, record, Some(parts), &refused))
}
