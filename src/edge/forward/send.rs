//! One request to its sandbox and the response headers back, over a kept connection where that is safe and a new one
//! where it is not.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::StatusCode;
use http::header::{self, HeaderValue};

use super::location::Here;
use super::request::{self, Provenance};
use super::tunnel::Tunnel;
use super::upgrade::Expectation;
use super::{ForwardError, response};
use crate::base::machine;
use crate::base::request_id::RequestId;
use crate::base::telemetry::{Counts, Metrics};
use crate::edge::body::Payload;
use crate::edge::connection::Stream;
use crate::edge::deadline::Deadlines;
use crate::edge::gate::Plan;
use crate::edge::headers::{Headers, is_grpc};
use crate::edge::identity::Peer;
use crate::edge::message::{Framing, Interim, RequestParts, ResponseParts};
use crate::edge::stage::boxed;
use crate::edge::upstream::{
    Conn, Dialler, Exchange, ExchangeError, H2Exchange, H2Pool, H2Terms, Pool, PoolKey, Received,
};
use crate::edge::wire::Limits;
use crate::model::host::Authority;
use crate::model::{Protocol, SandboxId};

/// Deadlines and limits towards sandboxes. A zero duration means "no limit".
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Sizes of response headers.
    pub header_limits: Limits,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long the app may take to begin its response.
    pub first_byte_timeout: Duration,
    /// How long a response's body may stand still. Server-sent events have no such limit.
    pub response_idle: Duration,
    /// How long a switched connection may stand still.
    pub tunnel_idle: Duration,
    /// How long a connection is kept for reuse. Below the 5 s that Node closes at.
    pub keep_alive: Duration,
    /// How many connections to one port of a sandbox each worker keeps.
    pub keep_per_port: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_limits: Limits::default(),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_mins(2),
            response_idle: Duration::from_mins(5),
            tunnel_idle: Duration::from_hours(1),
            keep_alive: Duration::from_secs(4),
            keep_per_port: 128,
        }
    }
}

/// A decided request, ready to go.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// What was decided.
    pub plan: &'a Plan,
    /// The host as the visitor wrote it.
    pub authority: &'a Authority,
    /// The request's headers, as they came. They are made into what the app gets.
    pub parts: &'a mut RequestParts,
    /// How its body is framed.
    pub framing: Framing,
    /// Its body.
    pub body: Payload,
    /// The visitor's address.
    pub peer: &'a Peer,
    /// Whether the visitor came by https.
    pub secure: bool,
    /// The request's id.
    pub request_id: &'a RequestId,
}

/// What came back.
#[derive(Debug)]
pub enum Forwarded {
    /// A response: headers, framing and body.
    Response(ResponseParts, Framing, Payload),
    /// A protocol switch.
    Switched(Switched),
}

/// An agreed protocol switch.
#[derive(Debug)]
pub struct Switched {
    /// The 101, for the visitor.
    pub parts: ResponseParts,
    /// The sandbox's side.
    pub tunnel: Tunnel,
}

/// Forwards requests: one per worker.
#[derive(Debug)]
pub struct Forwarder {
    pool: Rc<Pool>,
    h2_pool: H2Pool,
    dialler: RefCell<Rc<Dialler>>,
    deadlines: Deadlines,
    settings: Cell<Settings>,
    metrics: Arc<Metrics>,
    counts: Arc<Counts>,
    /// What marks requests as having been here.
    hop: HeaderValue,
}

impl Forwarder {
    /// A forwarder with an empty pool.
    pub fn new(
        settings: Settings,
        dialler: Dialler,
        deadlines: Deadlines,
        (metrics, counts): (Arc<Metrics>, Arc<Counts>),
    ) -> Self {
        let pool = Pool::new(settings.keep_alive, settings.keep_per_port);
        let (dialler, settings) = (RefCell::new(Rc::new(dialler)), Cell::new(settings));
        let hop = HeaderValue::from_static(machine::mark());
        Self {
            pool,
            h2_pool: H2Pool::default(),
            dialler,
            deadlines,
            settings,
            metrics,
            counts,
            hop,
        }
    }

    /// Takes other settings over, for requests from now on. No connection is kept that was made under those before: it may lead where
    /// none may be made any more.
    pub fn tune(&self, settings: Settings, dialler: Dialler) {
        self.settings.set(settings);
        self.dialler.replace(Rc::new(dialler));
        self.pool.begin_anew(settings.keep_alive, settings.keep_per_port);
        self.h2_pool.clear();
    }

    /// Drops the connections that lead to a sandbox's former addresses; all of them when it is gone.
    pub fn evict(&self, sandbox: SandboxId, current_generation: Option<u64>) {
        self.pool.evict(sandbox, current_generation);
        self.h2_pool.evict(sandbox, current_generation);
    }

    /// Drops connections that have been idle for too long.
    pub fn sweep(&self) {
        self.pool.sweep();
        self.h2_pool.sweep();
    }

    /// Carries a request to its sandbox. The response's body streams; dropping it cancels the exchange.
    pub async fn send(
        &self,
        out: Outgoing<'_>,
        interim: &Interim,
    ) -> Result<Forwarded, ForwardError> {
        let Outgoing { plan, authority, parts, framing, body, .. } = out;
        let from = Provenance {
            peer: out.peer,
            secure: out.secure,
            port: plan.port,
            request_id: out.request_id,
            hop: &self.hop,
        };
        let expectation =
            if plan.upgrade { Expectation::of(parts, &plan.strip.subprotocols) } else { None };
        request::prepare(parts, &plan.strip, plan.profile, expectation.is_some(), from);
        let here = Here { authority, secure: out.secure, route: &plan.route, port: plan.port };
        if plan.protocol == Protocol::H2c {
            if expectation.is_some() {
                return Err(ForwardError::NoSwitch);
            }
            return boxed(self.send_h2c(plan, parts, (framing, body), (here, interim))).await;
        }
        let received =
            self.exchange(plan, parts, (framing, body), (expectation.is_some(), interim)).await?;
        self.receive(received, plan, here, expectation)
    }

    async fn exchange(
        &self,
        plan: &Plan,
        parts: &RequestParts,
        (framing, mut body): (Framing, Payload),
        (upgrade, interim): (bool, &Interim),
    ) -> Result<Received, ForwardError> {
        let key = key(plan);
        let repeatable = parts.method.is_idempotent() && framing == Framing::None;
        // A switched connection never comes back, so it may as well begin as a new one.
        let mut may_reuse = !upgrade;
        loop {
            let kept = if may_reuse {
                poll_fn(|cx| Poll::Ready(self.pool.check_out(cx, &key, repeatable))).await
            } else {
                None
            };
            let conn = match kept {
                Some(conn) => {
                    self.counts.upstream_reused.add(1);
                    conn
                }
                None => Conn::fresh(boxed(self.dial(plan)).await?, &self.deadlines),
            };
            let settings = self.settings.get();
            let limits = (settings.first_byte_timeout, settings.header_limits);
            let exchange = Exchange::new(conn, parts, framing, body, limits);
            let early = |mut parts: ResponseParts| {
                response::finish_interim(&mut parts);
                interim.send(parts);
            };
            match exchange.response(early).await {
                Ok(received) => return Ok(received),
                Err((error, exchange)) if exchange.is_repeatable(&error) => {
                    self.counts.upstream_retries.add(1);
                    body = exchange.into_request_body();
                    may_reuse = false;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    async fn dial(&self, plan: &Plan) -> Result<Stream, ForwardError> {
        let route = &plan.route;
        let to = (plan.port, plan.protocol);
        let dialler = Rc::clone(&self.dialler.borrow());
        let dialled = dialler.dial(route.driver, route.upstream.as_ref(), to).await;
        self.metrics.dialled(dialled.is_ok());
        Ok(dialled?)
    }

    /// The same over HTTP/2. What is sent again, and only once, the sandbox has not looked at, or it is as repeatable as over HTTP/1.
    async fn send_h2c(
        &self,
        plan: &Plan,
        parts: &RequestParts,
        (framing, mut body): (Framing, Payload),
        (here, interim): (Here<'_>, &Interim),
    ) -> Result<Forwarded, ForwardError> {
        // Calls of gRPC may be silent for as long as they like, and carry deadlines of their own.
        let patience = |usual| if is_grpc(&parts.headers) { Duration::ZERO } else { usual };
        let settings = self.settings.get();
        let terms = H2Terms {
            first_byte: patience(settings.first_byte_timeout),
            idle: patience(settings.response_idle),
            deadlines: &self.deadlines,
            limits: &settings.header_limits,
        };
        let early = |mut parts: ResponseParts| {
            response::finish_interim(&mut parts);
            interim.send(parts);
        };
        let mut may_repeat = true;
        let (mut parts, framing, body) = loop {
            let connection = self.h2_connection(plan).await?;
            let exchange = H2Exchange::begin(connection, parts, (framing, body), &terms)?;
            match exchange.response(&terms, early).await {
                Ok(response) => break response,
                Err((_, Some(again))) if may_repeat => {
                    self.counts.upstream_retries.add(1);
                    body = again;
                    may_repeat = false;
                }
                Err((error, _)) => {
                    if matches!(error, ExchangeError::TimedOut) {
                        self.h2_pool.forget(&key(plan));
                    }
                    return Err(error.into());
                }
            }
        };
        response::finish(&mut parts, plan, here, false);
        Ok(Forwarded::Response(parts, framing, body))
    }

    /// A connection for another request over HTTP/2, and whether it has served before.
    async fn h2_connection(&self, plan: &Plan) -> Result<(SendRequest<Bytes>, bool), ForwardError> {
        let key = key(plan);
        if let Some(kept) = self.h2_pool.check_out(&key).await {
            self.counts.upstream_reused.add(1);
            return Ok((kept, true));
        }
        let _coming = self.h2_pool.announce(key);
        let stream = boxed(self.dial(plan)).await?;
        Ok((self.h2_pool.begin(key, stream, &self.settings.get().header_limits).await?, false))
    }

    fn receive(
        &self,
        received: Received,
        plan: &Plan,
        here: Here<'_>,
        expectation: Option<Expectation>,
    ) -> Result<Forwarded, ForwardError> {
        let Received { mut parsed, exchange } = received;
        if parsed.parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let expectation = expectation.ok_or(ForwardError::BadSwitch)?;
            if !expectation.is_met_by(&parsed.parts.headers) {
                return Err(ForwardError::BadSwitch);
            }
            response::finish(&mut parsed.parts, plan, here, true);
            let (sandbox, sandbox_in) = exchange.into_conn().into_parts();
            let is_websocket = expectation.is_websocket();
            expectation.complete(&mut parsed.parts.headers);
            let tunnel = Tunnel {
                sandbox,
                sandbox_in,
                is_websocket,
                deadline: self.deadlines.deadline(),
                idle: self.settings.get().tunnel_idle,
                shapers: Default::default(),
            };
            return Ok(Forwarded::Switched(Switched { parts: parsed.parts, tunnel }));
        }
        let framing = parsed.framing;
        let idle = if is_event_stream(&parsed.parts.headers) {
            Duration::ZERO
        } else {
            self.settings.get().response_idle
        };
        let body = exchange.into_body(&parsed, (Rc::clone(&self.pool), key(plan)), idle);
        response::finish(&mut parsed.parts, plan, here, false);
        Ok(Forwarded::Response(parsed.parts, framing, body))
    }
}

fn key(plan: &Plan) -> PoolKey {
    PoolKey {
        sandbox: plan.route.sandbox,
        generation: plan.route.address_generation,
        port: plan.port,
        protocol: plan.protocol,
    }
}

fn is_event_stream(headers: &Headers) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .get(..17)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
    })
}
