//! A visitor whose visit wakes a sandbox waits for it here, for a few seconds and no longer.

use super::{Record, Worker};
use crate::edge::gate::{Decision, RefusalReason, Wake, WokenBy};
use crate::routing::wake::{Waking, Woken};

/// Has the sandbox woken, waits, and judges the visit anew. The request's body is not touched meanwhile.
pub(super) async fn wait(
    worker: &Worker,
    record: &mut Record,
    wake: Wake,
    judge: impl Fn() -> Decision,
) -> Decision {
    record.subject(&wake.subject);
    let route = &wake.subject.route;
    let waking = Waking {
        sandbox: route.sandbox,
        tenant: route.tenant,
        per_minute: wake.tenant.policy.wakes_per_minute,
        by: match wake.by {
            WokenBy::Anyone => "anyone".to_owned(),
            WokenBy::Token(token) => format!("token {token}"),
            WokenBy::Share(share) => format!("share {share}"),
        },
        port: wake.subject.port,
        request: record.id().as_str().to_owned(),
    };
    match worker.waker.wake(waking).await {
        Woken::Judge => judge(),
        Woken::Waiting => Decision::Refuse(wake.refuse(RefusalReason::Waking)),
        Woken::Refused => Decision::Refuse(wake.refuse(RefusalReason::Paused)),
        Woken::Spent => Decision::Refuse(wake.refuse(RefusalReason::WakesSpent)),
    }
}
