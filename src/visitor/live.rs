//! What is open at the moment, so that it can be ended the moment its access ends.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use slab::Slab;

use crate::body::BodyError;
use crate::gate::{Grant, RefusalReason, allowed_until};
use crate::model::{SandboxId, Subject};
use crate::routes::Route;

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
    grant: Grant,
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
    pub fn watch(&self, grant: &Grant, route: &Route, port: u16) -> Watch {
        let entry = Entry {
            sandbox: route.sandbox,
            port,
            until: allowed_until(grant, route, port),
            grant: grant.clone(),
            waker: None,
            ended: self.0.over.get().then_some(Ending::Shutdown),
        };
        let key = self.0.entries.borrow_mut().insert(entry);
        Watch { live: self.clone(), key }
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
            match judge(&entry.grant, entry.sandbox, entry.port) {
                Ok(until) => {
                    entry.until = until;
                    None
                }
                Err(reason) => Some(Ending::Access(reason)),
            }
        });
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

struct Concerned {
    sandboxes: HashSet<SandboxId>,
    tokens: HashSet<crate::model::TokenId>,
}

impl Concerned {
    fn of(subjects: &[Subject]) -> Self {
        let mut concerned = Self { sandboxes: HashSet::new(), tokens: HashSet::new() };
        for subject in subjects {
            match subject {
                Subject::Sandbox(id) => drop(concerned.sandboxes.insert(*id)),
                Subject::Token(id) => drop(concerned.tokens.insert(*id)),
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
        let token = matches!(&entry.grant, Grant::Token { id, .. } if self.tokens.contains(id));
        token || self.sandboxes.contains(&entry.sandbox)
    }
}

/// One exchange's place among the open ones; leaving is dropping it.
#[derive(Debug)]
pub struct Watch {
    live: Live,
    key: usize,
}

impl Watch {
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
