//! Many sandboxes at once: ordered here, worked off by the control plane, asked about until it is done.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::fields::Fields;
use super::shapes::{BulkOrder, JobData, Ordered};
use super::{ApiState, Problem, filter};
use crate::control::store::{Job, JobTarget};
use crate::model::{JobId, KeyScope, SandboxId};

/// Ids in one order.
const MAX_IDS: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(destroy)).routes(routes!(show))
}

/// Destroy many sandboxes.
///
/// Starts a bulk job and returns its id; `GET /bulk/jobs/{id}` has its status. An empty filter is rejected unless `all` is sent with it.
#[utoipa::path(
    post, path = "/bulk/sandboxes/destroy", tag = "Sandboxes", operation_id = "destroy_sandboxes", security(("api_key" = ["sandboxes:write"])), request_body = BulkOrder,
    responses((status = 200, body = Ordered), (status = 429, description = "`TOO_MANY_JOBS`: too many of the tenant's jobs are in progress")),
)]
async fn destroy(
    State(state): State<ApiState>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesWrite])?;
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
    let (job, queued) = caller.store(&state).order_destruction(caller.tenant, target).await?;
    Ok(Json(json!({ "job_id": job, "queued": queued })))
}

/// Get bulk job status.
///
/// Kept for a week after the job has ended.
#[utoipa::path(
    get, path = "/bulk/jobs/{id}", tag = "Sandboxes", operation_id = "get_job", security(("api_key" = ["sandboxes:read"]), ("api_key" = ["sandboxes:write"])),
    responses((status = 200, body = JobData)),
)]
async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.needs(&[KeyScope::SandboxesRead, KeyScope::SandboxesWrite])?;
    caller.must_be_unbound()?;
    let id: JobId = id.parse().map_err(|_| Problem::not_found("job"))?;
    let job = state.store.job(caller.tenant, id).await?;
    Ok(Json(json!({ "data": render(&job) })))
}

fn render(job: &Job) -> Value {
    let standing = match (job.finished_at, job.done) {
        (Some(_), _) => "completed",
        (None, 0) => "queued",
        (None, _) => "running",
    };
    let errors: Vec<Value> = job
        .failures
        .iter()
        .map(|(sandbox, reason)| json!({ "id": sandbox, "reason": reason }))
        .collect();
    json!({
        "id": job.id,
        "job_id": job.id,
        "kind": job.kind,
        "state": standing,
        "status": standing,
        "total": job.total,
        "done": job.done,
        "succeeded": job.done - job.failed,
        "failed": job.failed,
        "errors": errors,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
    })
}
