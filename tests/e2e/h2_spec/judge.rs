//! What a server did with a case, compared with what it should have done.

use std::time::Duration;

use super::{Case, Expect, Step};
use crate::support::Raw;
use crate::support::frames::*;

/// A PING of ours: its response tells that everything before it has been looked at.
const BARRIER: &[u8; 8] = b"barrier!";
/// How long to wait for more behind that.
const QUIET: Duration = Duration::from_millis(300);

/// What happened on a connection.
#[derive(Debug, Default)]
struct Seen {
    frames: Vec<Frame>,
    ended: bool,
}

impl Seen {
    /// Reads one more frame. False at the end, and when nothing more comes although everything has been looked at.
    async fn more(&mut self, raw: &mut Raw) -> bool {
        let next = if self.is_past_barrier() {
            let Ok(next) = raw.frame_within(QUIET).await else { return false };
            next
        } else {
            raw.frame().await
        };
        let Some(frame) = next else {
            self.ended = true;
            return false;
        };
        self.frames.push(frame);
        true
    }

    fn goaway(&self) -> Option<u32> {
        self.frames.iter().find(|frame| frame.kind == GOAWAY).map(Frame::code)
    }

    fn reset(&self, stream: u32) -> Option<u32> {
        self.frames.iter().find(|frame| frame.is(RST_STREAM, stream)).map(Frame::code)
    }

    fn has_response(&self, stream: u32) -> bool {
        self.frames.iter().any(|frame| frame.stream == stream && frame.ends_stream())
    }

    fn status(&self, stream: u32) -> Option<&str> {
        self.frames.iter().rfind(|frame| frame.is(HEADERS, stream)).map(Frame::status)
    }

    fn is_past_barrier(&self) -> bool {
        self.frames.iter().any(|f| f.kind == PING && f.flags & ACK != 0 && f.payload == BARRIER)
    }

    /// The connection is over, as far as any case is concerned.
    fn is_over(&self) -> bool {
        self.ended || self.goaway().is_some()
    }
}

pub(super) async fn judge(case: &Case, raw: &mut Raw) -> Result<(), String> {
    let mut seen = Seen::default();
    for step in &case.steps {
        match step {
            // The other end may have ended the connection already.
            Step::Send(bytes) => drop(raw.try_send(bytes).await),
            Step::Responded(stream) => {
                while !seen.has_response(*stream) && !seen.is_over() && seen.more(raw).await {}
            }
        }
    }
    raw.try_send(frame(PING, 0, 0, BARRIER)).await;
    verdict(case.expect, &mut seen, raw).await.map_err(|()| {
        let last = seen.frames.iter().rev().take(6).rev().collect::<Vec<_>>();
        format!("expected {:?}, got {last:?}, ended: {}", case.expect, seen.ended)
    })
}

async fn verdict(expect: Expect, seen: &mut Seen, raw: &mut Raw) -> Result<(), ()> {
    let holds = match expect {
        Expect::Served => {
            let is_done = |seen: &Seen| seen.has_response(1) && seen.is_past_barrier();
            while !is_done(seen) && !seen.is_over() && seen.more(raw).await {}
            is_done(seen)
                && seen.status(1) == Some("200")
                && seen.reset(1).is_none()
                && !seen.is_over()
        }
        Expect::Ignored => {
            while !seen.is_past_barrier() && !seen.is_over() && seen.more(raw).await {}
            let resets = seen.frames.iter().any(|frame| frame.kind == RST_STREAM);
            !seen.is_over() && !resets
        }
        Expect::Connection(codes) => {
            while !seen.is_over() && !seen.is_past_barrier() && seen.more(raw).await {}
            let told = seen.goaway().is_some_and(|code| codes.contains(&code));
            // After an error a connection ends (section 5.4.1).
            told && raw.ends().await
        }
        Expect::Closed => {
            while !seen.is_past_barrier() && seen.more(raw).await {}
            seen.ended
        }
        Expect::Stream(stream, codes) => {
            let is_told = |seen: &Seen| seen.reset(stream).is_some() || seen.is_over();
            while !is_told(seen) && !seen.has_response(stream) && seen.more(raw).await {}
            // What has its response may still be reset behind it.
            while !is_told(seen) && seen.more(raw).await {}
            let code = seen.reset(stream).or(seen.goaway());
            code.is_some_and(|code| codes.contains(&code))
        }
        Expect::Malformed => {
            let stream = 1;
            let is_told = |seen: &Seen| seen.reset(stream).is_some() || seen.is_over();
            while !is_told(seen) && !seen.has_response(stream) && seen.more(raw).await {}
            let reset = seen.reset(stream).or(seen.goaway()) == Some(PROTOCOL_ERROR);
            reset || (seen.has_response(stream) && seen.status(stream) == Some("400"))
        }
        Expect::Frame(fits) => {
            while !seen.frames.iter().any(fits) && seen.more(raw).await {}
            seen.frames.iter().any(fits)
        }
        Expect::Either(one, other) => {
            let first = Box::pin(verdict(*one, seen, raw)).await;
            if first.is_ok() {
                return Ok(());
            }
            return Box::pin(verdict(*other, seen, raw)).await;
        }
    };
    if holds { Ok(()) } else { Err(()) }
}
