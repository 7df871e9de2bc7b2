//! A switched connection from the visitor's side: a tunnel to the sandbox, or a goodbye that a script can read.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Ending, Record, Watch, Worker};
use crate::base::failure::{Face, Failure};
use crate::edge::connection::{Outbox, Stream};
use crate::edge::forward::{
    Switched, Tunnel, TunnelEnd, TunnelTally, close_frame, refusal_response,
};
use crate::edge::message::{RequestParts, ResponseParts};

/// Close code when the process ends (RFC 6455 section 7.4.1).
const GOING_AWAY: (u16, &str) = (1001, "going away");
/// Close codes of ours are the HTTP status in the range for private use: 4401, 4403, 4404, 4502 …
const CODE_BASE: u16 = 4000;
/// How long a refused WebSocket's other end may take to read why.
const GOODBYE: Duration = Duration::from_secs(1);

/// What happens after the 101.
#[derive(Debug)]
pub struct Switch {
    /// The 101.
    pub parts: ResponseParts,
    kind: Kind,
    record: Option<Record>,
}

#[derive(Debug)]
enum Kind {
    Tunnel(Box<(Tunnel, Watch)>),
    Farewell(Bytes),
}

impl Switch {
    /// A tunnel to the sandbox.
    pub(super) fn tunnel(mut record: Record, watch: Watch, switched: Switched) -> Self {
        record.app_responded(switched.parts.status);
        record.settle();
        let tunnel = switched.tunnel.shaped([watch.shaper(), watch.shaper()]);
        let kind = Kind::Tunnel(Box::new((tunnel, watch)));
        Self { parts: switched.parts, kind, record: Some(record) }
    }

    /// A completed handshake and a close frame with the status and the reason of an error.
    pub(super) fn farewell(request: &RequestParts, face: &Face) -> Option<Self> {
        let parts = refusal_response(request)?;
        let frame = close_frame(close_code(face), face.label);
        Some(Self { parts, kind: Kind::Farewell(frame), record: None })
    }

    /// Attaches the record.
    pub(super) fn with(self, record: Record) -> Self {
        Self { record: Some(record), ..self }
    }
}

fn close_code(face: &Face) -> u16 {
    CODE_BASE + face.status.as_u16()
}

/// Runs what follows the 101 on the visitor's bare stream; `read_ahead` is what the visitor sent after its headers. It may go on for long and do
/// little, so it holds what it needs and no more: what came in boxes is taken out of them before it begins.
pub fn run(
    switch: Box<Switch>,
    stream: Stream,
    read_ahead: BytesMut,
    worker: &Rc<Worker>,
) -> Pin<Box<dyn Future<Output = ()> + '_>> {
    // The headers' fields are slices of all that was read with it.
    let Switch { parts: _, kind, record } = *switch;
    match kind {
        Kind::Tunnel(both) => {
            let (tunnel, watch) = *both;
            Box::pin(pass(tunnel, watch, record, (stream, read_ahead), worker))
        }
        Kind::Farewell(frame) => Box::pin(async move {
            if say(stream, frame).await.is_ok()
                && let Some(mut record) = record
            {
                record.tunnelled(TunnelEnd::Closed, TunnelTally::default());
            }
        }),
    }
}

async fn pass(
    tunnel: Tunnel,
    mut watch: Watch,
    mut record: Option<Record>,
    (stream, read_ahead): (Stream, BytesMut),
    worker: &Rc<Worker>,
) {
    worker.metrics.tunnels.inc();
    let tunnelled = record.as_ref().and_then(Record::tunnel);
    let moved = |tally: TunnelTally| {
        if let Some(tunnelled) = &tunnelled {
            tunnelled.moved(tally.from_visitor, tally.from_sandbox);
        }
    };
    let over = |cx: &mut Context<'_>| {
        // Asked whenever something moves.
        if let Some(record) = &record {
            record.visit();
        }
        watch.poll_ended(cx).map(|ending| {
            // Noted at once: when the process ends, the goodbye may be cut short.
            if let Some(record) = &mut record {
                record.broke(ending.into());
            }
            match ending {
                Ending::Shutdown => GOING_AWAY,
                Ending::Access(reason) => {
                    let face = reason.face();
                    (close_code(face), face.label)
                }
            }
        })
    };
    let (end, tally) = tunnel.run((stream, read_ahead), &worker.scratch, moved, over).await;
    worker.metrics.tunnels.dec();
    if let Some(mut record) = record {
        record.tunnelled(end, tally);
    }
}

async fn say(mut stream: Stream, frame: Bytes) -> std::io::Result<()> {
    let mut out = Outbox::default();
    out.push(frame);
    let saying = async {
        poll_fn(|cx| stream.poll_drain(cx, &mut out)).await?;
        poll_fn(|cx| stream.poll_finish(cx)).await?;
        let mut scratch = [0_u8; 512];
        while poll_fn(|cx| stream.poll_read_slice(cx, &mut scratch)).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(GOODBYE, saying).await.map_err(std::io::Error::from)?
}
