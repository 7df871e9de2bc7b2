//! Many sandboxes at once: ordered here, worked off by the control plane, asked about until it is done.

use super::filter;
use super::prelude::*;
use crate::control::store::JobTarget;

endpoints!([destroy_sandboxes], [get_job]);

/// Destroy many sandboxes.
///
/// Starts a bulk job and returns its id; `GET /bulk/jobs/{id}` has its status. An empty filter is rejected unless `all` is sent with it.
#[utoipa::path(post, path = "/bulk/sandboxes/destroy", security(("api_key" = ["sandboxes:write"])), request_body = shapes::BulkOrder,
    responses((status = 200, body = shapes::Ordered), (status = 429, description = "`TOO_MANY_JOBS`: too many of the tenant's jobs are in progress. `rate_limit_exceeded`: as everywhere")))]
async fn destroy_sandboxes(caller: Caller, mut fields: Fields) -> Shown {
    caller.must_be_unbound()?;
    let ids = fields.list_or_null("ids").flatten();
    let found = fields.object("filter");
    let all = fields.flag("all").unwrap_or_default();
    fields.finish()?;
    let target = match (ids, found) {
        (Some(ids), None) => JobTarget::Ids(ids),
        (None, Some(found)) => match filter::of_object(&found)? {
            // Everything there is, by a slip, would be a catastrophe.
            Some(filter) if filter::is_empty(&filter) && !all => {
                return Err(Problem::field(
                    "filter",
                    "names nothing to filter by; send \"all\": true to destroy every sandbox",
                ));
            }
            Some(filter) => JobTarget::Filter(Box::new(filter)),
            None => JobTarget::Ids(Vec::new()),
        },
        _ => return Err(Problem::field("filter", "must be sent, or ids, but not both")),
    };
    let (job, queued) = caller.state.store.order_destruction(caller.tenant, target).await?;
    Ok(Json(json!({ "job_id": job, "queued": queued })))
}

/// Get bulk job status.
///
/// Kept for a week after the job has ended.
#[utoipa::path(get, path = "/bulk/jobs/{id}", security(("api_key" = ["sandboxes:read", "sandboxes:write"])), responses((status = 200, body = shapes::JobData)))]
async fn get_job(caller: Caller, Path(job): Path<String>) -> Shown {
    caller.must_be_unbound()?;
    data(shapes::Job::of(&caller.state.store.job(caller.tenant, id(&job, "job")?).await?))
}
