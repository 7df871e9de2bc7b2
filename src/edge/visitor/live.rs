//! What is open at the moment, so that it can be ended the moment its access ends.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use slab::Slab;

use crate::edge::body::{BodyError, Payload};
use crate::edge::gate::{Grant, RefusalReason, Renewal, allowed_until};
use crate::edge::limits::{Permit, Shaper};
use crate::model::{SandboxId, ShareId, Subject, TokenId};
use crate::routing::Route;

/// Why an exchange is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What its access rested on holds no more.
    Access(RefusalReason),
    /// The process ends, and its drain time is over.
    Shutdown,
}

impl From<Ending> for BodyError {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Access(_) => Self::AccessEnded,
            Ending::Shutdown => Self::Shutdown,
        }
    }
}

#[derive(Debug)]
struct Entry {
    sandbox: SandboxId,
    port: u16,
    peer: IpAddr,
    grant: Grant,
    /// What it rested on before its session was renewed. Whoever revokes one of these means this exchange as well.
    former: Vec<Grant>,
    /// When it is to be judged again although nothing has changed.
    until: Option<Timestamp>,
    waker: Option<Waker>,
    ended: Option<Ending>,
}

/// The open exchanges of one worker.
#[derive(Clone, Debug, Default)]
pub struct Live(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: RefCell<Slab<Entry>>,
    over: Cell<bool>,
}

/// What a judgement gives: until when an exchange may go on, or why it may not.
type Judged = Result<Option<Timestamp>, RefusalReason>;

impl Live {
    /// Enters an exchange. It is judged again whenever something about it may have changed.
    pub fn watch(&self, grant: &Grant, (route, port): (&Route, u16), peer: IpAddr) -> Watch {
        let entry = Entry {
            sandbox: route.sandbox,
            port,
            peer,
            until: allowed_until(grant, route, port),
            grant: grant.clone(),
            former: Vec::new(),
            waker: None,
            ended: self.0.over.get().then_some(Ending::Shutdown),
        };
        let key = self.0.entries.borrow_mut().insert(entry);
        Watch { live: self.clone(), key, permit: Permit::default() }
    }

    /// Judges again every exchange that `subjects` are about (`None`: every one there is), and ends those that fail.
    pub fn judge_again(
        &self,
        subjects: Option<&[Subject]>,
        judge: impl Fn(&Grant, SandboxId, u16) -> Judged,
    ) {
        let concerned = subjects.map(Concerned::of);
        self.judge_where(
            |entry| concerned.as_ref().is_none_or(|concerned| concerned.includes(entry)),
            judge,
        );
    }

    /// Judges again what was good until now, and ends what has expired.
    pub fn expire(&self, now: Timestamp, judge: impl Fn(&Grant, SandboxId, u16) -> Judged) {
        self.judge_where(|entry| entry.until.is_some_and(|until| until <= now), judge);
    }

    fn judge_where(
        &self,
        concerned: impl Fn(&Entry) -> bool,
        judge: impl Fn(&Grant, SandboxId, u16) -> Judged,
    ) {
        self.end_where(|entry| {
            if !concerned(entry) {
                return None;
            }
            // That a former token has expired is what the renewal was for.
            let former = entry.former.iter();
            let mut errors = former
                .filter_map(|grant| judge(grant, entry.sandbox, entry.port).err())
                .filter(|error| *error != RefusalReason::TokenExpired);
            let judged = match errors.next() {
                Some(error) => Err(error),
                None => judge(&entry.grant, entry.sandbox, entry.port),
            };
            match judged {
                Ok(until) => {
                    entry.until = until;
                    None
                }
                Err(reason) => Some(Ending::Access(reason)),
            }
        });
    }

    /// Lets what is open under a renewed session go on under its new token, `until` it is to be judged again. The same token may have
    /// opened exchanges of other visitors, who brought no new one; the visitor's address tells them apart as well as can be.
    pub fn renew(&self, renewal: &Renewal, until: Option<Timestamp>, now: Timestamp) {
        for (_, entry) in &mut *self.0.entries.borrow_mut() {
            let same = entry.token() == Some(renewal.former)
                && (entry.sandbox, entry.port) == (renewal.sandbox, renewal.port)
                && entry.peer == renewal.peer;
            if same && entry.ended.is_none() {
                let former = std::mem::replace(&mut entry.grant, renewal.grant.clone());
                entry.former.push(former);
                entry.former.retain(|grant| !is_expired(grant, now));
                entry.until = until;
            }
        }
    }

    /// Ends everything there is, and whatever is entered from now on.
    pub fn shut_down(&self) {
        self.0.over.set(true);
        self.end_where(|_| Some(Ending::Shutdown));
    }

    fn end_where(&self, why: impl Fn(&mut Entry) -> Option<Ending>) {
        let mut wakers = Vec::new();
        for (_, entry) in &mut *self.0.entries.borrow_mut() {
            if entry.ended.is_none()
                && let Some(ending) = why(entry)
            {
                entry.ended = Some(ending);
                wakers.extend(entry.waker.take());
            }
        }
        for waker in wakers {
            waker.wake();
        }
    }

    /// Exchanges open at the moment.
    pub fn len(&self) -> usize {
        self.0.entries.borrow().len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.entries.borrow().is_empty()
    }
}

fn is_expired(grant: &Grant, now: Timestamp) -> bool {
    match grant {
        Grant::Public => false,
        Grant::Token { expires_at, .. } => *expires_at <= now,
        Grant::Share { expires_at, .. } => expires_at.is_some_and(|at| at <= now),
    }
}

fn token_of(grant: &Grant) -> Option<TokenId> {
    match grant {
        Grant::Token { id, .. } => Some(*id),
        Grant::Public | Grant::Share { .. } => None,
    }
}

impl Entry {
    fn token(&self) -> Option<TokenId> {
        token_of(&self.grant)
    }
}

struct Concerned {
    sandboxes: HashSet<SandboxId>,
    tokens: HashSet<TokenId>,
    shares: HashSet<ShareId>,
}

impl Concerned {
    fn of(subjects: &[Subject]) -> Self {
        let mut concerned =
            Self { sandboxes: HashSet::new(), tokens: HashSet::new(), shares: HashSet::new() };
        for subject in subjects {
            match subject {
                Subject::Sandbox(id) => drop(concerned.sandboxes.insert(*id)),
                Subject::Token(id) => drop(concerned.tokens.insert(*id)),
                Subject::Share(id) => drop(concerned.shares.insert(*id)),
                // Keys, faces and names do not change what an open exchange rests on.
                Subject::Tenant(_)
                | Subject::Domain(_)
                | Subject::CustomDomain(_)
                | Subject::SigningKeys => {}
            }
        }
        concerned
    }

    fn includes(&self, entry: &Entry) -> bool {
        let mut grants = entry.former.iter().chain([&entry.grant]);
        self.sandboxes.contains(&entry.sandbox)
            || grants.any(|grant| {
                token_of(grant).is_some_and(|id| self.tokens.contains(&id))
                    || grant.share().is_some_and(|id| self.shares.contains(&id))
            })
    }
}

/// One exchange's place among the open ones; leaving is dropping it.
#[derive(Debug)]
pub struct Watch {
    live: Live,
    key: usize,
    /// What the exchange takes of its sandbox's limits, for as long as it is open.
    permit: Permit,
}

impl Watch {
    /// Keeps a permit until the exchange ends.
    pub fn hold(&mut self, permit: Permit) {
        self.permit = permit;
    }

    /// A body as fast as the sandbox's bandwidth lets it pass.
    pub fn shape(&self, body: Payload) -> Payload {
        self.permit.shape(body)
    }

    /// The same for one direction of a tunnel.
    pub fn shaper(&self) -> Option<Box<Shaper>> {
        self.permit.shaper()
    }

    /// Ready with the reason once the exchange has been ended.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let mut entries = self.live.0.entries.borrow_mut();
        let Some(entry) = entries.get_mut(self.key) else { return Poll::Pending };
        if let Some(ending) = entry.ended {
            return Poll::Ready(ending);
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.live.0.entries.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::model::host::Slug;
    use crate::model::{Driver, Profile, SandboxState, TenantId, TokenScope};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn grant(id: TokenId, until: i64) -> Grant {
        Grant::Token { id, generation: 0, expires_at: at(until), scope: TokenScope::Read }
    }

    fn route(sandbox: SandboxId) -> Route {
        Route {
            sandbox,
            tenant: TenantId::new(),
            slug: Slug::parse("mine").unwrap(),
            state: SandboxState::Running,
            driver: Driver::Loopback,
            upstream: None,
            address_generation: 0,
            token_generation: 0,
            default_port: 3000,
            profile: Profile::default(),
            ports: Box::default(),
            external_user_id: None,
            part_of: None,
            activity: None,
            taken: crate::routing::Taken::Nothing,
        }
    }

    async fn ended(watch: &mut Watch) -> Option<Ending> {
        let ended = poll_fn(|cx| Poll::Ready(watch.poll_ended(cx))).await;
        match ended {
            Poll::Ready(ending) => Some(ending),
            Poll::Pending => None,
        }
    }

    /// The judgement of a world in which exactly these tokens are revoked.
    fn revoked(tokens: &[TokenId], now: i64) -> impl Fn(&Grant, SandboxId, u16) -> Judged {
        move |grant, _, _| match grant {
            grant if is_expired(grant, at(now)) => Err(RefusalReason::TokenExpired),
            Grant::Token { id, .. } if tokens.contains(id) => Err(RefusalReason::TokenRevoked),
            Grant::Token { expires_at, .. } => Ok(Some(*expires_at)),
            _ => Ok(None),
        }
    }

    #[tokio::test]
    async fn a_renewed_exchange_outlives_its_first_token_and_ends_with_either_revocation() {
        let (sandbox, peer) = (SandboxId::new(), IpAddr::from([127, 0, 0, 1]));
        let (first, second) = (TokenId::new(), TokenId::new());
        let renewal = |place: (SandboxId, u16), peer| Renewal {
            sandbox: place.0,
            port: place.1,
            peer,
            former: first,
            grant: grant(second, 20),
        };
        for (revoke, now, expected) in [
            (vec![], 5, None),
            (vec![], 15, None),
            (vec![first], 5, Some(Ending::Access(RefusalReason::TokenRevoked))),
            (vec![first], 15, None),
            (vec![second], 15, Some(Ending::Access(RefusalReason::TokenRevoked))),
        ] {
            let live = Live::default();
            let mut watch = live.watch(&grant(first, 10), (&route(sandbox), 3000), peer);
            live.renew(&renewal((sandbox, 3000), peer), Some(at(20)), at(1));
            live.expire(at(now), revoked(&[], now));
            let subjects: Vec<Subject> = revoke.iter().copied().map(Subject::Token).collect();
            live.judge_again(Some(&subjects), revoked(&revoke, now));
            assert_eq!(ended(&mut watch).await, expected, "{revoke:?} at {now}");
            live.expire(at(20), revoked(&[], 20));
            assert!(ended(&mut watch).await.is_some(), "the new token ends it");
        }
        // Another port, another sandbox, another visitor with the same link: none of them goes on.
        let other = IpAddr::from([127, 0, 0, 2]);
        for (place, from) in
            [((sandbox, 3001), peer), ((SandboxId::new(), 3000), peer), ((sandbox, 3000), other)]
        {
            let live = Live::default();
            let mut watch = live.watch(&grant(first, 10), (&route(sandbox), 3000), peer);
            live.renew(&renewal(place, from), Some(at(20)), at(1));
            live.expire(at(10), revoked(&[], 10));
            let expired = Ending::Access(RefusalReason::TokenExpired);
            assert_eq!(ended(&mut watch).await, Some(expired));
        }
    }

    #[tokio::test]
    async fn what_is_open_by_a_share_link_ends_with_it_and_with_no_other() {
        let (sandbox, peer) = (SandboxId::new(), IpAddr::from([127, 0, 0, 1]));
        let (mine, other) = (ShareId::new(), ShareId::new());
        let share = |id| Grant::Share { id, expires_at: None, scope: TokenScope::Read };
        let live = Live::default();
        let mut watch = live.watch(&share(mine), (&route(sandbox), 3000), peer);
        let revoked = |grant: &Grant, _, _| match grant.share() {
            Some(_) => Err(RefusalReason::ShareRevoked),
            None => Ok(None),
        };
        live.judge_again(Some(&[Subject::Share(other), Subject::Token(TokenId::new())]), revoked);
        assert_eq!(ended(&mut watch).await, None);
        live.judge_again(Some(&[Subject::Share(mine)]), revoked);
        let revoked = Ending::Access(RefusalReason::ShareRevoked);
        assert_eq!(ended(&mut watch).await, Some(revoked));
    }
}
