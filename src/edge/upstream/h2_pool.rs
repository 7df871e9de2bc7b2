//! The connections over HTTP/2 of one worker: one a port of a sandbox, many requests on it at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use rustc_hash::FxBuildHasher;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ExchangeError;
use super::pool::PoolKey;
use crate::edge::connection::Stream;
use crate::edge::wire::Limits;
use crate::model::SandboxId;

/// How long a connection is kept without a request on it. Unlike one of HTTP/1 its end is announced, so there is no race to lose.
const IDLE: Duration = Duration::from_mins(1);
/// What a sandbox may send ahead of what the visitor has taken, of one response.
const STREAM_WINDOW: u32 = 256 << 10;
/// ... and of all: as much as the protocol has numbers for. Visitors share a connection, so one of them who reads nothing must not use up
/// what the others need; the window of each response is what bounds memory.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What waits for a slow sandbox of one request.
const SEND_BUFFER: usize = 64 << 10;
/// How long a request waits for a connection that another one is making. After that it makes its own.
const OTHERS: Duration = Duration::from_millis(250);

/// The connections of one worker.
#[derive(Debug, Default)]
pub struct H2Pool {
    kept: RefCell<HashMap<PoolKey, Kept, FxBuildHasher>>,
    /// What is being connected to at the moment.
    coming: RefCell<HashMap<PoolKey, Rc<Notify>, FxBuildHasher>>,
}

#[derive(Debug)]
struct Kept {
    send: SendRequest<Bytes>,
    used: Instant,
}

impl H2Pool {
    /// A connection that takes another request: one that is there, or that another request is about to make. Without one, the caller is to
    /// make it, and to say so with [`Self::announce`].
    pub async fn check_out(&self, key: &PoolKey) -> Option<SendRequest<Bytes>> {
        if let Some(kept) = self.look_up(key).await {
            return Some(kept);
        }
        let there = self.coming.borrow().get(key).map(Rc::clone)?;
        // Late or failed, it is no use any more.
        drop(tokio::time::timeout(OTHERS, there.notified()).await);
        self.look_up(key).await
    }

    async fn look_up(&self, key: &PoolKey) -> Option<SendRequest<Bytes>> {
        let send = self.kept.borrow().get(key).map(|kept| kept.send.clone())?;
        let ready = send.ready().await.ok();
        let mut all = self.kept.borrow_mut();
        match (&ready, all.get_mut(key)) {
            (Some(_), Some(kept)) => kept.used = Instant::now(),
            (None, Some(_)) => drop(all.remove(key)),
            (_, None) => {}
        }
        ready
    }

    /// Says that a connection is being made, so that requests that come meanwhile wait for it.
    pub fn announce(&self, key: PoolKey) -> Coming<'_> {
        let there = Rc::new(Notify::new());
        self.coming.borrow_mut().entry(key).or_insert_with(|| Rc::clone(&there));
        Coming { pool: self, key, there }
    }

    /// Speaks HTTP/2 on a new connection and keeps it for more requests.
    pub async fn begin(
        &self,
        key: PoolKey,
        stream: Stream,
        limits: &Limits,
    ) -> Result<SendRequest<Bytes>, ExchangeError> {
        let (send, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            // One request may go ahead; how many more the sandbox takes, it says with its first frame.
            .initial_max_send_streams(1)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(ExchangeError::Http2)?;
        tokio::task::spawn_local(async move {
            // How it ended, its requests have been told.
            drop(connection.await);
        });
        let kept = Kept { send: send.clone(), used: Instant::now() };
        self.kept.borrow_mut().insert(key, kept);
        send.ready().await.map_err(ExchangeError::Http2)
    }

    /// Gives no more requests to a connection that leaves them without a response.
    pub fn forget(&self, key: &PoolKey) {
        self.kept.borrow_mut().remove(key);
    }

    /// Forgets what leads to a sandbox's former addresses; all of it when the sandbox is gone. A connection ends with its last request.
    pub fn evict(&self, sandbox: SandboxId, current_generation: Option<u64>) {
        self.kept
            .borrow_mut()
            .retain(|key, _| key.sandbox != sandbox || Some(key.generation) == current_generation);
    }

    /// Forgets everything. Requests under way come to their end.
    pub fn clear(&self) {
        self.kept.borrow_mut().clear();
    }

    /// Forgets what has been idle for too long.
    pub fn sweep(&self) {
        self.kept.borrow_mut().retain(|_, kept| kept.used.elapsed() < IDLE);
    }
}

/// A connection that is being made. Dropping it tells those who wait that it is there, or will not be.
#[derive(Debug)]
pub struct Coming<'a> {
    pool: &'a H2Pool,
    key: PoolKey,
    there: Rc<Notify>,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut coming = self.pool.coming.borrow_mut();
        // Somebody who did not want to wait may be making another one.
        if coming.get(&self.key).is_some_and(|there| Rc::ptr_eq(there, &self.there)) {
            coming.remove(&self.key);
        }
        self.there.notify_waiters();
    }
}
