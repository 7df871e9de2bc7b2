//! Connections kept for reuse, per worker. A connection is never reused across sandboxes or across a restart of one:
//! the key holds both the sandbox and the generation of its address.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use bytes::BytesMut;
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use crate::edge::connection::Stream;
use crate::edge::deadline::{Deadline, Deadlines};
use crate::model::{Protocol, SandboxId};

/// Requests that must not be sent twice ride only on connections that were in use this recently.
const FRESH: Duration = Duration::from_secs(1);
/// The tightest we follow a `Keep-Alive: timeout=` hint.
const MIN_IDLE: Duration = Duration::from_millis(500);

/// What a pooled connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The generation of its address.
    pub generation: u64,
    /// The port.
    pub port: u16,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// A connection to a sandbox.
#[derive(Debug)]
pub struct Conn {
    pub(super) stream: Stream,
    pub(super) inbuf: BytesMut,
    pub(super) deadline: Deadline,
    pub(super) reused: bool,
    idle_limit: Duration,
    idle_since: Instant,
}

impl Conn {
    /// A connection that was just made.
    pub fn fresh(stream: Stream, deadlines: &Deadlines) -> Self {
        Self {
            stream,
            inbuf: BytesMut::new(),
            deadline: deadlines.deadline(),
            reused: false,
            idle_limit: Duration::MAX,
            idle_since: deadlines.now(),
        }
    }

    /// Follows the sandbox's own `Keep-Alive: timeout=` (seconds), staying a good second below it.
    pub(super) fn learn_timeout(&mut self, seconds: u32) {
        let theirs = Duration::from_secs(u64::from(seconds));
        self.idle_limit = theirs.saturating_sub(Duration::from_millis(1500)).max(MIN_IDLE);
    }

    /// For how long it has been idle, give or take a sweep.
    fn age(&self) -> Duration {
        self.deadline.now().saturating_duration_since(self.idle_since)
    }

    /// Takes the parts for a switched connection.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.inbuf)
    }
}

/// The pool of one worker.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<HashMap<PoolKey, Vec<Conn>, FxBuildHasher>>,
    idle_limit: Cell<Duration>,
    per_key: Cell<usize>,
}

impl Pool {
    /// A pool that keeps connections at most `idle_limit` and at most `per_key` of them for one port of a sandbox.
    pub fn new(idle_limit: Duration, per_key: usize) -> Rc<Self> {
        let (idle_limit, per_key) = (Cell::new(idle_limit), Cell::new(per_key));
        Rc::new(Self { idle: RefCell::default(), idle_limit, per_key })
    }

    /// Other limits from now on, and nothing kept of what was.
    pub fn begin_anew(&self, idle_limit: Duration, per_key: usize) {
        self.idle_limit.set(idle_limit);
        self.per_key.set(per_key);
        self.idle.borrow_mut().clear();
    }

    /// Takes out a connection that is still good: silent, open and idle for less than its limit. `repeatable` says that a
    /// request may be sent again if the connection turns out to be stale after all.
    pub fn check_out(&self, cx: &mut Context<'_>, key: &PoolKey, repeatable: bool) -> Option<Conn> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(key)?;
        let found = loop {
            let Some(mut conn) = list.pop() else { break None };
            let age = conn.age();
            let limit = self.idle_limit.get().min(conn.idle_limit);
            if age >= limit {
                // The list is ordered by age: what is below is older.
                list.clear();
                break None;
            }
            if !repeatable && age >= FRESH {
                list.push(conn);
                return None;
            }
            if conn.stream.is_quiet(cx) {
                conn.reused = true;
                break Some(conn);
            }
        };
        if list.is_empty() {
            idle.remove(key);
        }
        found
    }

    /// Gives a connection back for reuse.
    pub(super) fn give_back(&self, key: PoolKey, mut conn: Conn) {
        conn.deadline.clear();
        conn.idle_since = conn.deadline.now();
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(key).or_default();
        if list.len() < self.per_key.get() {
            list.push(conn);
        }
    }

    /// Closes what a sandbox's former addresses left behind; all of it when the sandbox is gone.
    pub fn evict(&self, sandbox: SandboxId, current_generation: Option<u64>) {
        self.idle
            .borrow_mut()
            .retain(|key, _| key.sandbox != sandbox || Some(key.generation) == current_generation);
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, list| {
            list.retain(|conn| conn.age() < self.idle_limit.get().min(conn.idle_limit));
            !list.is_empty()
        });
    }

    /// Connections kept at the moment.
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }
}
