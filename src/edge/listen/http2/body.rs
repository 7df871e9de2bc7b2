//! The body of a request over HTTP/2, read on demand: as fast as it is wanted, never more in memory than the window allows.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::super::Settings;
use super::super::pace::Pace;
use crate::edge::body::{BodyError, Polled, Streamed};
use crate::edge::deadline::{Deadline, Phase};
use crate::edge::message::Framing;
use crate::edge::wire::{self, Direction};

/// The body of a request, read on demand.
#[derive(Debug)]
pub(super) struct RequestBody {
    recv: RecvStream,
    length: Option<u64>,
    data_ended: bool,
    deadline: Deadline,
    pace: Pace,
    settings: Rc<Settings>,
    /// Tells the serving side that somebody wants this body now.
    wanted: Rc<Cell<bool>>,
}

impl RequestBody {
    pub(super) fn new(
        recv: RecvStream,
        framing: Framing,
        (deadline, settings): (Deadline, Rc<Settings>),
        wanted: Rc<Cell<bool>>,
    ) -> Self {
        let length = match framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        Self { recv, length, data_ended: false, deadline, pace: Pace::default(), settings, wanted }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.pace.waits() {
            self.deadline.set(Phase::RequestBody, self.settings.body_idle);
        }
        if self.pace.is_too_slow(&self.settings) {
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        ready!(self.deadline.poll_passed(cx));
        Poll::Ready(Some(Err(BodyError::Stalled)))
    }
}

impl Streamed for RequestBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        self.wanted.set(true);
        if !self.data_ended {
            match self.recv.poll_data(cx) {
                Poll::Ready(Some(data)) => {
                    let data = data.map_err(|_| BodyError::Visitor)?;
                    self.pace.resumed();
                    self.pace.took(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    // Whoever asked has room for it, so the visitor may send as much again.
                    let released = self.recv.flow_control().release_capacity(data.len());
                    released.map_err(|_| BodyError::Visitor)?;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(None) => self.data_ended = true,
                Poll::Pending => return self.wait(cx),
            }
        }
        match self.recv.poll_trailers(cx) {
            Poll::Ready(trailers) => {
                self.deadline.clear();
                let trailers = trailers.map_err(|_| BodyError::Visitor)?;
                let trailers =
                    trailers.map(|trailers| wire::trailing(trailers, Direction::Request));
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
