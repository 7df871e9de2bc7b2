//! What is noted of one request: one access line and the metrics, once, when its last byte is out or it breaks off.
//!
//! The record observes and never decides. No credential enters it: the path is kept without its query, and header values not at all.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::SizeHint;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Arriving, Worker};
use crate::base::failure::{Blame, Face, Failure};
use crate::base::request_id::RequestId;
use crate::base::telemetry::{AccessLine, Gravity, Source};
use crate::edge::body::{BodyError, Payload, Polled, Streamed};
use crate::edge::forward::{TunnelEnd, TunnelTally};
use crate::edge::gate::{Grant, Plan, Refusal, Subject};
use crate::edge::identity::Peer;
use crate::edge::meter::{Tally, Tunnelled};
use crate::model::{IdText, Place, ShareId, TenantId};
use crate::routing::Route;

/// How a request ends of which nothing else was noted.
const UNFINISHED: &str = "aborted";
/// The longest path that a line holds, bytes.
const MAX_TEXT: usize = 512;

/// The record of one request.
#[derive(Debug)]
pub struct Record {
    worker: Rc<Worker>,
    started: Instant,
    /// The same moment by wall time.
    opened: Timestamp,
    id: RequestId,
    peer: Rc<Peer>,
    method: Method,
    host: Option<Arc<str>>,
    target: Bytes,
    tenant: Option<TenantId>,
    route: Option<(Arc<Route>, u16)>,
    /// Where usage is counted as it comes about, once the visit was let through.
    tally: Option<Tally>,
    access: &'static str,
    share: Option<ShareId>,
    status: StatusCode,
    source: Source,
    face: Option<&'static Face>,
    cause: Option<String>,
    first_byte: Option<Duration>,
    received: Rc<Cell<u64>>,
    sent: u64,
    end: &'static str,
    /// Whether the sandbox wants to know when it was visited.
    visited: bool,
}

impl Record {
    /// Opens the record of a request whose headers were read.
    pub fn open(worker: &Rc<Worker>, arriving: &Arriving) -> Self {
        let target = arriving.parts.target.clone();
        Self::new(worker, Rc::clone(&arriving.peer), arriving.parts.method.clone(), target)
    }

    /// Opens the record of bytes that never became a request.
    pub fn unread(worker: &Rc<Worker>, peer: &Rc<Peer>) -> Self {
        Self::new(worker, Rc::clone(peer), Method::default(), Bytes::new())
    }

    fn new(worker: &Rc<Worker>, peer: Rc<Peer>, method: Method, target: Bytes) -> Self {
        Self {
            worker: Rc::clone(worker),
            started: Instant::now(),
            opened: worker.clock.now(),
            id: worker.next_request_id(),
            peer,
            method,
            host: None,
            target,
            tenant: None,
            route: None,
            tally: None,
            access: "none",
            share: None,
            status: StatusCode::OK,
            source: Source::Proxy,
            face: None,
            cause: None,
            first_byte: None,
            received: Rc::default(),
            sent: 0,
            end: UNFINISHED,
            visited: false,
        }
    }

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// When the request's headers had come.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The same by wall time.
    pub fn opened(&self) -> Timestamp {
        self.opened
    }

    /// Notes the host that was asked for.
    pub fn host(&mut self, host: &Arc<str>) {
        self.host = Some(Arc::clone(host));
    }

    /// Notes that the visit goes on to the app. From here on it is a visit and usage, whatever becomes of it.
    pub fn goes_on(&mut self, plan: &Plan) {
        self.visited = plan.route.activity.is_some();
        self.visit();
        let place = Place { sandbox: plan.route.sandbox, port: plan.port, share: plan.share };
        self.tally = Some(self.worker.meter.enter(place));
        if let Some(share) = plan.share {
            self.worker.visits.passed(share, plan.opens_link, self.opened);
        }
    }

    /// Notes what was decided.
    pub fn plan(&mut self, plan: &Plan) {
        self.tenant = Some(plan.route.tenant);
        self.route = Some((Arc::clone(&plan.route), plan.port));
        self.access = match plan.grant {
            Grant::Public => "public",
            Grant::Token { .. } => "token",
            Grant::Share { .. } => "share",
        };
        self.share = plan.share;
    }

    /// Notes that a preflight was approved here: no visit, and nobody's usage.
    pub fn preflight(&mut self, about: Option<&Subject>) {
        self.access = "preflight";
        if let Some(subject) = about {
            self.subject(subject);
        }
    }

    /// Notes that the sandbox is being visited at this moment.
    pub fn visit(&self) {
        if self.visited {
            self.visit_at(self.started.elapsed());
        }
    }

    fn visit_at(&self, took: Duration) {
        let activity = self.route.as_ref().and_then(|(route, _)| route.activity.as_ref());
        if let Some(activity) = activity.filter(|_| self.visited) {
            let took = i64::try_from(took.as_millis()).unwrap_or_default();
            activity.touch(self.opened.as_millisecond().saturating_add(took));
        }
    }

    /// Notes the share link that the visitor came by.
    pub fn share(&mut self, share: ShareId) {
        self.share = Some(share);
    }

    /// Notes what the request was about, whether or not the visitor may know of it.
    pub fn subject(&mut self, subject: &Subject) {
        self.tenant = Some(subject.route.tenant);
        self.route = Some((Arc::clone(&subject.route), subject.port));
    }

    /// Notes what a refusal was about, or at least below whose domain it was given.
    pub fn refusal(&mut self, refusal: &Refusal) {
        self.tenant = refusal.tenant.as_ref().map(|tenant| tenant.id);
        if let Some(subject) = &refusal.about {
            self.subject(subject);
        }
    }

    /// Notes the headers of the app's response.
    pub fn app_responded(&mut self, status: StatusCode) {
        self.responded(status, Source::App);
        let took = self.started.elapsed();
        self.first_byte = Some(took);
        self.worker.counts.first_byte(took);
    }

    /// Makes ready for a long time: what is kept of the request's headers no longer holds all of it in memory.
    pub fn settle(&mut self) {
        self.target = Bytes::copy_from_slice(&self.target);
    }

    /// Notes a response of ours that is no error.
    pub fn proxy_responded(&mut self, status: StatusCode) {
        self.responded(status, Source::Proxy);
    }

    fn responded(&mut self, status: StatusCode, source: Source) {
        self.status = status;
        self.source = source;
        if let Some(tally) = &self.tally {
            tally.responded(status);
        }
    }

    /// Notes a response of ours that tells of an error.
    pub fn refused(&mut self, face: &'static Face) {
        self.proxy_responded(face.status);
        self.face = Some(face);
        self.worker.metrics.error(face);
    }

    /// Notes what an operator should know of an error, beyond its public face.
    pub fn cause(&mut self, error: &dyn Failure) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.cause = Some(text);
    }

    /// Counts a request's body as it passes.
    pub fn count_request_body(&self, body: Payload) -> Payload {
        match body {
            Payload::Stream(body) => {
                let (count, tally) = (Rc::clone(&self.received), self.tally.clone());
                Payload::stream(CountedBody { body, count, tally })
            }
            whole => whole,
        }
    }

    /// Counts a tunnel's time and bytes as usage while it is open.
    pub fn tunnel(&self) -> Option<Tunnelled> {
        self.tally.as_ref().map(Tally::tunnel)
    }

    /// Notes how a tunnel went.
    pub fn tunnelled(&mut self, end: TunnelEnd, tally: TunnelTally) {
        self.received.set(self.received.get() + tally.from_visitor);
        self.sent += tally.from_sandbox;
        self.end = match end {
            TunnelEnd::Closed => "complete",
            TunnelEnd::Idle => "idle_timeout",
            // Why was noted when it was ended.
            TunnelEnd::Ended(_) => return,
        };
    }

    /// Counts bytes of a response's body.
    pub fn sent(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sent += bytes;
        if let Some(tally) = &self.tally {
            tally.sent(bytes);
        }
    }

    /// Notes that everything went out, unless it is known already why that is not all there was to say.
    pub fn complete(&mut self) {
        if self.end == UNFINISHED {
            self.end = "complete";
        }
    }

    /// Notes why an exchange was broken off.
    pub fn broke(&mut self, error: BodyError) {
        self.end = match error {
            BodyError::Visitor => "client_closed",
            BodyError::Sandbox => "upstream_closed",
            BodyError::Stalled => "timeout",
            BodyError::AccessEnded => "access_ended",
            BodyError::Shutdown => "shutdown",
        };
    }

    /// The path without its query. The codec lets only visible ASCII through, so it is text, and plain.
    fn path(&self) -> &str {
        let path = self.target.split(|b| *b == b'?').next().unwrap_or_default();
        let path = path.get(..MAX_TEXT).unwrap_or(path);
        std::str::from_utf8(path).unwrap_or_default()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.visit_at(took);
        let counts = &self.worker.counts;
        counts.responded(self.source, self.status, took);
        counts.received_bytes.add(self.received.get());
        counts.sent_bytes.add(self.sent);
        if self.end == "access_ended" {
            self.worker.metrics.access_ended.inc();
        }
        self.log(took);
    }
}

impl Record {
    fn log(&self, took: Duration) {
        let route = self.route.as_ref().map(|(route, _)| route);
        let (mut tenant, mut sandbox) = (IdText::default(), IdText::default());
        let mut share = IdText::default();
        let line = AccessLine {
            at: self.opened.checked_add(took).unwrap_or(self.opened),
            request_id: self.id.as_str(),
            peer: self.peer.text().to_str().unwrap_or_default(),
            method: self.method.as_str(),
            host: self.host.as_deref().unwrap_or_default(),
            path: self.path(),
            status: self.status.as_u16(),
            source: self.source.label(),
            end: self.end,
            access: self.access,
            bytes_in: self.received.get(),
            bytes_out: self.sent,
            duration_us: micros(took),
            first_byte_us: self.first_byte.map(micros),
            tenant: self.tenant.as_ref().map(|id| id.text(&mut tenant)),
            sandbox: route.map(|route| route.sandbox.text(&mut sandbox)),
            external_user_id: route.and_then(|route| route.external_user_id.as_deref()),
            share: self.share.map(|id| id.text(&mut share)),
            port: self.route.as_ref().map(|(_, port)| *port),
            code: self.face.map(|face| face.label),
            cause: self.cause.as_deref(),
        };
        line.write(match self.face.map(|face| face.blame) {
            Some(Blame::Proxy) => Gravity::Error,
            Some(Blame::Sandbox) => Gravity::Warn,
            _ => Gravity::Info,
        });
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// A request's body, counted.
struct CountedBody {
    body: Box<dyn Streamed>,
    count: Rc<Cell<u64>>,
    tally: Option<Tally>,
}

impl Streamed for CountedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let polled = self.body.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.count.set(self.count.get() + length);
            if let Some(tally) = &self.tally {
                tally.received(length);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
