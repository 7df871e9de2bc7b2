//! Bandwidth, kept by making those wait who read: what is not read is not sent, all the way back to whoever sends it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, SizeHint};
use tokio::time::Sleep;

use super::bucket::Rate;
use super::load::Load;
use super::{Limits, Permit};
use crate::base::telemetry::Limited;
use crate::edge::body::{Payload, Polled, Streamed};

/// What is reserved before it is known how much will come. All who wait are due in the order in which they reserved.
const PIECE: u64 = 16 << 10;

/// One direction of one exchange, as the sandbox's bandwidth lets it pass.
#[derive(Debug)]
pub struct Shaper {
    limits: Limits,
    load: Arc<Load>,
    rate: Rate,
    reserved: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Shaper {
    fn new(limits: Limits, load: Arc<Load>, rate: Rate) -> Self {
        Self { limits, load, rate, reserved: false, sleep: None }
    }

    /// Ready when the next piece may be read. Ask again after each [`Shaper::passed`].
    pub fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.reserved {
            self.reserved = true;
            let now = self.limits.now();
            let due = self.load.bandwidth.reserve(self.rate, PIECE, now);
            if due > now {
                self.limits.count(Limited::Bandwidth);
                self.sleep = Some(Box::pin(tokio::time::sleep_until(self.limits.instant(due))));
            }
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        Poll::Ready(())
    }

    /// Notes what was read.
    pub fn passed(&mut self, bytes: usize) {
        let reserved = if std::mem::take(&mut self.reserved) { PIECE } else { 0 };
        let used = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.load.bandwidth.settle(self.rate, reserved, used);
    }
}

impl Drop for Shaper {
    fn drop(&mut self) {
        if self.reserved {
            self.passed(0);
        }
    }
}

impl Permit {
    /// What makes one direction of the exchange wait; nothing where bandwidth has no limit.
    pub fn shaper(&self) -> Option<Box<Shaper>> {
        let held = self.0.as_ref()?;
        let (limits, rate) = held.bandwidth.as_ref()?;
        Some(Box::new(Shaper::new(limits.clone(), Arc::clone(&held.load), *rate)))
    }

    /// A body that passes as fast as it may.
    pub fn shape(&self, body: Payload) -> Payload {
        match self.shaper() {
            Some(shaper) if !body.is_empty() => Payload::stream(Shaped { body, shaper }),
            _ => body,
        }
    }
}

/// A body that passes as fast as the bandwidth allows.
struct Shaped {
    body: Payload,
    shaper: Box<Shaper>,
}

impl Streamed for Shaped {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        ready!(self.shaper.poll_due(cx));
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let data = polled.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        self.shaper.passed(data.map_or(0, Bytes::len));
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
