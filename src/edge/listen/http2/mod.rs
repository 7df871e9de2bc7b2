//! Serving HTTP/2 on one connection: all its streams run in the connection's own task, and the library keeps their order.
//! What it does not limit is limited here: idleness, lifetime, frames that cost nothing.

mod body;
mod meter;
mod parts;
mod stream;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

use super::Settings;
use super::line::Line;
use crate::edge::connection::Stream;
use crate::edge::deadline::Phase;
use crate::edge::visitor::Worker;
use meter::{Alarm, Metered};

/// What one stream may send us ahead of what we have taken; an upload over a long line is this much a round trip.
const STREAM_WINDOW: u32 = 256 << 10;
/// ... and all streams of a connection together.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What waits for a slow visitor of one stream.
const SEND_BUFFER: usize = 64 << 10;
/// The library gives up on headers beyond this; smaller ones that are still too large get a page. Four times the default limit: a browser
/// whose cookies have grown too large must be told so, on a connection that lives.
const HEADER_SLACK: usize = 4;
/// Streams that visitors reset before we had looked at them, and errors of theirs, that a connection survives
/// (CVE-2023-44487, CVE-2025-8671).
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 100;
/// How long a connection that should end may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// ... and what runs on it when the process is cut off.
const CLOSE_GRACE: Duration = Duration::from_millis(300);

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, line: Line, worker: Rc<Worker>, settings: Rc<Settings>) {
    let (metered, alarm) = Metered::new(stream);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(settings.h2_streams)
        .max_header_list_size(
            u32::try_from(settings.header_limits.header_bytes * HEADER_SLACK).unwrap_or(u32::MAX),
        )
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(LOCAL_RESETS))
        .enable_connect_protocol();
    let handshake = builder.handshake::<_, Bytes>(metered);
    let beginning = tokio::time::timeout(settings.header_timeout, handshake);
    let Ok(Ok(connection)) = beginning.await else { return };
    let idle = worker.deadlines.deadline();
    let life = worker.deadlines.deadline();
    // The first request must come as promptly as the headers of one; later ones may keep us waiting.
    idle.set(Phase::KeepAlive, settings.header_timeout);
    life.set(Phase::Lifetime, settings.connection_lifetime);
    let mut serving = Serving {
        connection,
        streams: FuturesUnordered::new(),
        alarm,
        stage: Stage::Serving,
        is_cut: false,
        idle,
        life,
        line: Rc::new(line),
        worker,
        settings,
    };
    poll_fn(|cx| serving.poll(cx)).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// The visitor was told to open no more streams; those that run may end.
    Leaving,
    /// Everything ends now.
    Gone,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

struct Serving {
    connection: Connection<Metered, Bytes>,
    streams: FuturesUnordered<Running>,
    alarm: Alarm,
    stage: Stage,
    is_cut: bool,
    idle: crate::edge::deadline::Deadline,
    life: crate::edge::deadline::Deadline,
    line: Rc<Line>,
    worker: Rc<Worker>,
    settings: Rc<Settings>,
}

impl Serving {
    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        loop {
            self.look_around();
            // Streams first: what they send leaves with the flush that accepting begins with.
            while let Poll::Ready(Some(())) = Pin::new(&mut self.streams).poll_next(cx) {
                if self.streams.is_empty() {
                    let patience = match self.stage {
                        Stage::Serving => self.settings.keep_alive,
                        Stage::Leaving | Stage::Gone => GOODBYE,
                    };
                    self.idle.set(Phase::KeepAlive, patience);
                }
            }
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                // With the connection go the streams that are left; what they were doing for the visitor stops.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending if self.alarm.rings() && self.stage != Stage::Gone => {
                    self.end(Reason::ENHANCE_YOUR_CALM);
                }
                Poll::Pending => {
                    if self.idle.poll_passed(cx).is_ready() {
                        if self.stage == Stage::Gone {
                            return Poll::Ready(());
                        }
                        self.step_down();
                        continue;
                    }
                    if self.life.poll_passed(cx).is_ready() {
                        self.life.clear();
                        self.leave();
                        continue;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether the process ends. The deadlines' wakers are woken when it does.
    fn look_around(&mut self) {
        if self.worker.is_draining() {
            self.leave();
        }
        if self.worker.is_cut() && !self.is_cut {
            // Tunnels see it as well, and have this long to say so to their visitors.
            self.is_cut = true;
            self.idle.set(Phase::KeepAlive, CLOSE_GRACE);
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.idle.clear();
        let exchange = stream::serve(
            request,
            respond,
            Rc::clone(&self.line),
            Rc::clone(&self.worker),
            Rc::clone(&self.settings),
        );
        self.streams.push(Box::pin(exchange));
    }

    /// An idle connection is asked to leave; one that does not is left.
    fn step_down(&mut self) {
        match self.stage {
            Stage::Serving => self.leave(),
            Stage::Leaving if self.streams.is_empty() || self.is_cut => self.end(Reason::NO_ERROR),
            Stage::Leaving | Stage::Gone => self.idle.clear(),
        }
    }

    fn leave(&mut self) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Leaving;
            self.connection.graceful_shutdown();
            self.idle.set(Phase::KeepAlive, GOODBYE);
        }
    }

    fn end(&mut self, reason: Reason) {
        self.stage = Stage::Gone;
        self.connection.abrupt_shutdown(reason);
        self.idle.set(Phase::KeepAlive, GOODBYE);
    }
}
