//! Many sandboxes at once: ordered here, worked off by the control plane, asked about until it is done.

use super::filter;
use super::prelude::*;
use crate::control::store::JobTarget;
use crate::model::SandboxId;

/// Ids in one order.
const MAX_IDS: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(destroy_sandboxes)).routes(routes!(get_job))
}

/// Destroy many sandboxes.
///
/// Starts a bulk job and returns its id; `GET /bulk/jobs/{id}` has its status. An empty filter is rejected unless `all` is sent with it.
#[utoipa::path(post, path = "/bulk/sandboxes/destroy", security(("api_key" = ["sandboxes:write"])), request_body = shapes::BulkOrder,
    responses((status = 200, body = shapes::Ordered), (status = 429, description = "`TOO_MANY_JOBS`: too many of the tenant's jobs are in progress. `rate_limit_exceeded`: as everywhere")))]
async fn destroy_sandboxes(caller: Caller, mut fields: Fields) -> Shown {
    caller.must_be_unbound()?;
    let must = format!("must be a list of at most {MAX_IDS} ids");
    let ids = fields.get("ids", &must, |value| {
        let items = value.as_array().filter(|items| items.len() <= MAX_IDS)?;
        items
            .iter()
            .map(|item| item.as_str()?.parse::<SandboxId>().ok())
            .collect::<Option<Vec<_>>>()
    });
    let found = fields.object("filter");
    let all = fields.flag("all").unwrap_or_default();
    fields.finish()?;
    let target = match (ids.flatten(), found) {
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
