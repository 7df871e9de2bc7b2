//! What happens, as it happens: one task reads new events and hands them to everybody who listens. Whoever listens has a place in the
//! order of events; who falls behind reads on from the store, so that nothing is kept in memory for anybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::base::condition::warn_seldom;
use crate::control::store::{Store, StoreError};
use crate::model::{Event, EventId, TenantId};

/// Events that listeners may be behind before they read from the store.
const HANDED: usize = 256;
/// How often the store is looked at although nobody said that something happened: another process may have written.
const POLL: Duration = Duration::from_secs(1);
/// Events read at once.
const PAGE: u32 = 100;

/// A handle on the feed. Cheap to clone; it ends with the last one.
#[derive(Clone, Debug)]
pub struct EventFeed {
    store: Store,
    handed: broadcast::Sender<Arc<Event>>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl EventFeed {
    /// Begins to hand out what happens from now on.
    pub async fn start(store: Store) -> Result<Self, StoreError> {
        let handed = broadcast::Sender::new(HANDED);
        let hint = store.event_hint();
        let newest = store.newest_event().await?;
        let task = tokio::spawn(hand_out(store.clone(), hint, handed.clone(), newest));
        Ok(Self { store, handed, _task: Arc::new(AbortOnDropHandle::new(task)) })
    }

    /// Listens to a tenant's events: from now on, or from the one after `last`.
    pub async fn listen(
        &self,
        tenant: TenantId,
        last: Option<EventId>,
    ) -> Result<Listener, StoreError> {
        // First of all, so that nothing happens between reading and listening.
        let live = self.handed.subscribe();
        let seq = match last {
            Some(id) => self.store.place_of_event(tenant, id).await?,
            None => self.store.newest_event().await?,
        };
        let is_behind = last.is_some();
        Ok(Listener {
            store: self.store.clone(),
            tenant,
            seq,
            live,
            read: VecDeque::new(),
            is_behind,
        })
    }
}

async fn hand_out(
    store: Store,
    mut hint: watch::Receiver<i64>,
    handed: broadcast::Sender<Arc<Event>>,
    mut seq: i64,
) {
    loop {
        tokio::select! {
            hinted = hint.changed() => if hinted.is_err() { return },
            () = tokio::time::sleep(POLL) => {}
        }
        if let Err(error) = catch_up(&store, &handed, &mut seq).await {
            warn_seldom("events cannot be read; event streams are delayed", &error);
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn catch_up(
    store: &Store,
    handed: &broadcast::Sender<Arc<Event>>,
    seq: &mut i64,
) -> Result<(), StoreError> {
    let newest = store.newest_event().await?;
    // Asked for after the newest was read: whoever comes now begins behind it.
    if handed.receiver_count() == 0 {
        *seq = (*seq).max(newest);
        return Ok(());
    }
    while *seq < newest {
        let events = store.all_events_since(*seq, PAGE).await?;
        let Some(last) = events.last() else { return Ok(()) };
        *seq = last.seq;
        for event in events {
            // The last listener may have left meanwhile.
            drop(handed.send(Arc::new(event)));
        }
    }
    Ok(())
}

/// Somebody who listens to a tenant's events.
#[derive(Debug)]
pub struct Listener {
    store: Store,
    tenant: TenantId,
    /// The last that was given.
    seq: i64,
    live: broadcast::Receiver<Arc<Event>>,
    read: VecDeque<Event>,
    is_behind: bool,
}

impl Listener {
    /// The next event; `None` when there will be none. Can be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, StoreError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.seq = event.seq;
                return Ok(Some(Arc::new(event)));
            }
            if self.is_behind {
                let page = self.store.events_since(self.tenant, self.seq, PAGE).await?;
                self.is_behind = !page.is_empty();
                self.read = page.into();
                continue;
            }
            match self.live.recv().await {
                Ok(event) if event.seq > self.seq && event.tenant == self.tenant => {
                    self.seq = event.seq;
                    return Ok(Some(event));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.is_behind = true,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::control::store::NewWebhook;
    use crate::model::{EventType, WebhookState};

    async fn store(dir: &std::path::Path) -> (Store, TenantId) {
        let store = Store::open_dir(dir, Clock::system()).await.unwrap();
        let tenant = store.create_tenant("t").await.unwrap().0.id;
        (store, tenant)
    }

    /// Makes something happen to the tenant.
    async fn happen(store: &Store, tenant: TenantId, times: usize) {
        let new = NewWebhook {
            workspace: None,
            name: None,
            description: None,
            url: "https://a.example/".into(),
            events: crate::model::EventFilter::default(),
            secret: crate::model::WebhookSecret("s".into()),
            state: WebhookState::Inactive,
            headers: serde_json::Map::new(),
            retry_count: 0,
            metadata: serde_json::Map::new(),
        };
        let webhook = store.create_webhook(tenant, new, usize::MAX).await.unwrap();
        for _ in 0..times {
            store.begin_test(&webhook).await.unwrap();
        }
    }

    async fn next(listener: &mut Listener) -> Arc<Event> {
        let next = tokio::time::timeout(Duration::from_secs(5), listener.next());
        next.await.expect("in time").unwrap().unwrap()
    }

    #[tokio::test]
    async fn listeners_hear_their_tenants_events_in_order_and_from_where_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let (store, tenant) = store(dir.path()).await;
        let other = store.create_tenant("other").await.unwrap().0.id;
        let feed = EventFeed::start(store.clone()).await.unwrap();
        happen(&store, tenant, 1).await;
        let mut live = feed.listen(tenant, None).await.unwrap();
        happen(&store, other, 1).await;
        happen(&store, tenant, 2).await;
        let (first, second) = (next(&mut live).await, next(&mut live).await);
        assert_eq!(first.kind, EventType::WebhookTest);
        assert!(first.seq < second.seq && first.tenant == tenant && second.tenant == tenant);
        let mut resumed = feed.listen(tenant, Some(first.id)).await.unwrap();
        assert_eq!(next(&mut resumed).await.id, second.id);
        happen(&store, tenant, 1).await;
        assert_eq!(next(&mut resumed).await.id, next(&mut live).await.id);
        // An event that is no longer kept: everything that is.
        let mut whole = feed.listen(tenant, Some(EventId::new())).await.unwrap();
        assert!(next(&mut whole).await.seq < first.seq);
    }

    #[tokio::test]
    async fn who_falls_behind_reads_on_from_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let (store, tenant) = store(dir.path()).await;
        let feed = EventFeed::start(store.clone()).await.unwrap();
        let mut slow = feed.listen(tenant, None).await.unwrap();
        let many = HANDED + 150;
        happen(&store, tenant, many).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut seqs = Vec::new();
        for _ in 0..many {
            seqs.push(next(&mut slow).await.seq);
        }
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "in order, and none twice");
        let more = tokio::time::timeout(Duration::from_millis(50), slow.next()).await;
        assert!(more.is_err(), "and then there is nothing more: {more:?}");
    }
}
