//! What is open at the moment, so that it can be ended the moment its access ends.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use slab::Slab;

use crate::gate::{Grant, RefusalReason};
use crate::model::{SandboxId, Subject};

#[derive(Debug)]
struct Entry {
    sandbox: SandboxId,
    port: u16,
    grant: Grant,
    waker: Option<Waker>,
    ended: Option<RefusalReason>,
}

/// The open exchanges of one worker.
#[derive(Clone, Debug, Default)]
pub struct Live(Rc<RefCell<Slab<Entry>>>);

impl Live {
    /// Enters an exchange. It is judged again whenever something about it may have changed.
    pub fn watch(&self, grant: &Grant, sandbox: SandboxId, port: u16) -> Watch {
        let entry = Entry { sandbox, port, grant: grant.clone(), waker: None, ended: None };
        let key = self.0.borrow_mut().insert(entry);
        Watch { live: self.clone(), key }
    }

    /// Judges again every exchange that `subjects` are about (`None`: every one there is), and ends those that fail.
    pub fn judge_again(
        &self,
        subjects: Option<&[Subject]>,
        judge: impl Fn(&Grant, SandboxId, u16) -> Result<(), RefusalReason>,
    ) {
        let concerned = subjects.map(Concerned::of);
        self.end_where(|entry| {
            if concerned.as_ref().is_some_and(|concerned| !concerned.includes(entry)) {
                return None;
            }
            judge(&entry.grant, entry.sandbox, entry.port).err()
        });
    }

    /// Ends what has expired.
    pub fn expire(&self, now: Timestamp) {
        self.end_where(|entry| match entry.grant {
            Grant::Token { expires_at, .. } if expires_at <= now => {
                Some(RefusalReason::TokenExpired)
            }
            _ => None,
        });
    }

    fn end_where(&self, why: impl Fn(&Entry) -> Option<RefusalReason>) {
        let mut wakers = Vec::new();
        for (_, entry) in &mut *self.0.borrow_mut() {
            if entry.ended.is_none()
                && let Some(reason) = why(entry)
            {
                entry.ended = Some(reason);
                wakers.extend(entry.waker.take());
            }
        }
        for waker in wakers {
            waker.wake();
        }
    }

    /// Exchanges open at the moment.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
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
    /// Ready with the reason once access has ended.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<RefusalReason> {
        let mut entries = self.live.0.borrow_mut();
        let Some(entry) = entries.get_mut(self.key) else { return Poll::Pending };
        if let Some(reason) = entry.ended {
            return Poll::Ready(reason);
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.live.0.borrow_mut().try_remove(self.key);
    }
}
