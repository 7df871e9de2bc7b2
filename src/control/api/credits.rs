//! What end users have spent, held against what they may.

use super::auth::Caller;
use super::{ApiState, Problem};
use crate::control::store::{Idempotency, QuotaExceeded, UsageFilter, UsageGroup};
use crate::control::usage::Window;
use crate::model::{TenantId, Used};

/// What a user has spent since the month began (UTC), cents.
pub(super) async fn spent(state: &ApiState, tenant: TenantId, user: &str) -> Result<u64, Problem> {
    let now = state.clock.now();
    let Window { start, end } = Window::read(Some("mtd"), (None, None), now, "mtd")?;
    let filter = UsageFilter {
        tenant,
        external_user_id: Some(user.to_owned()),
        external_project_id: None,
        external_workspace_id: None,
        workspace_id: None,
        sandbox: None,
        start,
        end,
    };
    let mut used = Used::default();
    for (_, part) in state.store.usage(&filter, UsageGroup::ExternalUser).await? {
        used += part;
    }
    Ok(state.settings.prices.cents(&used))
}

/// Fails when a user has spent what it may: nothing of its begins to cost any more. What runs goes on. This is no part of the
/// transaction, as money is spent by the minute and not by the call. A call that has had its response before is let through to its response.
pub(super) async fn judge(
    caller: &Caller,
    user: Option<&str>,
    again: Option<&Idempotency>,
) -> Result<(), Problem> {
    let (Some(user), store) = (user, &caller.state.store) else { return Ok(()) };
    let (caps, _) = store.quotas_of(caller.tenant, user).await?;
    let Some(limit) = caps.max_credit_cents else { return Ok(()) };
    let used = spent(&caller.state, caller.tenant, user).await?;
    if used < limit {
        return Ok(());
    }
    if let Some(again) = again
        && store.is_remembered(again).await?
    {
        return Ok(());
    }
    let external_user_id = user.to_owned();
    let exceeded = QuotaExceeded { quota: "max_credit_cents", limit, used, external_user_id };
    Err(store.refused(caller.tenant, exceeded).await.into())
}
