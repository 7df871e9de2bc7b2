//! What was used.

use jiff::Timestamp;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::model::SandboxState;

envelopes!(SandboxUsageData(SandboxUsage));
pages!(UsageSessionPage(UsageSession));

/// Responses by the first digit of their status.
#[derive(ToSchema)]
pub(in crate::control::api) struct StatusClasses {
    /// Switched connections.
    #[schema(rename = "1xx")]
    informational: u64,
    #[schema(rename = "2xx")]
    successful: u64,
    #[schema(rename = "3xx")]
    redirected: u64,
    #[schema(rename = "4xx")]
    refused: u64,
    #[schema(rename = "5xx")]
    failed: u64,
}

/// What visitors moved.
#[derive(ToSchema)]
pub(in crate::control::api) struct Moved {
    /// Requests that went on to the app.
    requests: u64,
    /// Bytes of request bodies, and of what visitors sent over WebSockets.
    bytes_in: u64,
    /// Bytes of response bodies, and of what WebSockets sent to visitors.
    bytes_out: u64,
    /// For how long WebSockets and other switched connections were open, added up.
    websocket_seconds: u64,
    responses: StatusClasses,
}

/// What sandboxes took up, and what visitors moved.
#[derive(ToSchema)]
pub(in crate::control::api) struct Amounts {
    #[serde(flatten)]
    moved: Moved,
    /// CPUs times seconds.
    sandbox_seconds: u64,
    /// Seconds, whatever the size.
    wall_seconds: u64,
    memory_gb_hours: f64,
    /// Always 0: there are no computers here.
    computer_seconds: u64,
    storage_gb_hours: f64,
    credit_cents: u64,
}

/// What was used, by whom.
#[derive(ToSchema)]
pub(in crate::control::api) struct UsageReport {
    period_start: Timestamp,
    period_end: Timestamp,
    group_by: UsageGrouping,
    /// The dearest first.
    results: Vec<UsageRow>,
    total_groups: u64,
    /// Whether there are more groups behind these.
    truncated: bool,
    /// Traffic is counted up to here; what sandboxes took up, to the moment.
    as_of: Timestamp,
    /// All groups together, when a `bucket` was asked for.
    timeseries: Option<Vec<UsageBucket>>,
}

/// What one of the groups used. It has the field that the groups are told apart by; null is what belongs to nobody.
#[derive(ToSchema)]
pub(in crate::control::api) struct UsageRow {
    #[serde(flatten)]
    amounts: Amounts,
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    external_user_id: Option<String>,
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    external_project_id: Option<String>,
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    external_workspace_id: Option<String>,
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    workspace_id: Option<String>,
    #[schema(extensions(("x-may-be-missing" = json!(true))))]
    sandbox_id: Option<Uuid>,
}

/// What was used within an hour, a day or a month.
#[derive(ToSchema)]
pub(in crate::control::api) struct UsageBucket {
    #[serde(flatten)]
    amounts: Amounts,
    period_start: Timestamp,
    period_end: Timestamp,
}

/// What was used in all.
#[derive(ToSchema)]
pub(in crate::control::api) struct UsageSummary {
    #[serde(flatten)]
    amounts: Amounts,
    period_start: Timestamp,
    period_end: Timestamp,
    as_of: Timestamp,
    /// CPUs times hours.
    compute_hours: f64,
    /// GiB of disk that were kept, on average.
    storage_gb: f64,
    /// GiB that visitors moved, in both directions.
    bandwidth_gb: f64,
    /// Always 0.
    ai_tokens: u64,
    /// The same as `credit_cents`.
    total_credits: u64,
}

/// A time for which a sandbox ran, and kept its size and its owner.
#[derive(ToSchema)]
pub(in crate::control::api) struct UsageSession {
    id: String,
    sandbox_id: Uuid,
    started_at: Timestamp,
    /// Null: it goes on.
    ended_at: Option<Timestamp>,
    seconds: u64,
    /// CPUs times seconds.
    sandbox_seconds: u64,
    size: Option<String>,
    cpu_count: u32,
    memory_mb: u32,
    disk_size_mb: u32,
    external_user_id: Option<String>,
    external_project_id: Option<String>,
    external_workspace_id: Option<String>,
    workspace_id: Option<String>,
}

/// What visitors moved to a port.
#[derive(ToSchema)]
pub(in crate::control::api) struct PortUsage {
    #[serde(flatten)]
    moved: Moved,
    port: u16,
}

/// What the visitors of a share link moved to a port.
#[derive(ToSchema)]
pub(in crate::control::api) struct ShareUsage {
    #[serde(flatten)]
    moved: Moved,
    share_id: Uuid,
    port: u16,
}

/// How each part is known.
#[derive(ToSchema)]
pub(in crate::control::api) struct MeasurementStatus {
    runtime: String,
    network: String,
    active_cpu: String,
}

/// What a sandbox used.
#[derive(ToSchema)]
pub(in crate::control::api) struct SandboxUsage {
    #[serde(flatten)]
    amounts: Amounts,
    sandbox_id: Uuid,
    state: SandboxState,
    /// The same as `wall_seconds`.
    runtime_sec: u64,
    provisioned_vcpu_ms: u64,
    provisioned_memory_mb_ms: u64,
    /// How often it began to run, or ran on with another size or owner.
    creation_count: u64,
    /// Always null: nobody measures it.
    active_cpu_ms: Option<u64>,
    /// The same as `bytes_in`.
    network_ingress_bytes: u64,
    /// The same as `bytes_out`.
    network_egress_bytes: u64,
    measurement_status: MeasurementStatus,
    /// The same as `credit_cents`.
    estimated_cost_cents: u64,
    timeout_sec: Option<u64>,
    timeout_remaining_ms: Option<u64>,
    ports: Vec<PortUsage>,
    shares: Vec<ShareUsage>,
    /// Traffic is counted up to here.
    as_of: Timestamp,
}

/// For which time. A start and an end count for more than a period.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct PeriodQuery {
    /// How long ago it begins. `mtd` and `month-to-date` are since the first of the month, UTC.
    #[param(inline)]
    period: Option<UsagePeriod>,
    /// When it begins: a time, or a day.
    start: Option<String>,
    /// When it ends, at most a year later; now, when only a start is given.
    end: Option<String>,
    /// Another name of `start`.
    period_start: Option<String>,
    /// Another name of `end`.
    period_end: Option<String>,
}

/// The periods that have a name.
#[derive(ToSchema)]
pub(in crate::control::api) enum UsagePeriod {
    #[schema(rename = "7d")]
    Week,
    #[schema(rename = "30d")]
    Month,
    #[schema(rename = "90d")]
    Quarter,
    #[schema(rename = "mtd")]
    Mtd,
    #[schema(rename = "month-to-date")]
    MonthToDate,
    #[schema(rename = "custom")]
    Custom,
}

/// The field that usage is grouped by.
#[derive(ToSchema)]
pub(in crate::control::api) enum UsageGrouping {
    #[schema(rename = "external_user_id")]
    ExternalUser,
    #[schema(rename = "external_project_id")]
    ExternalProject,
    #[schema(rename = "external_workspace_id")]
    ExternalWorkspace,
    #[schema(rename = "workspace_id")]
    Workspace,
    #[schema(rename = "sandbox_id")]
    Sandbox,
}

/// The lengths of buckets.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::control::api) enum UsageBucketing {
    Hour,
    Day,
    Month,
}

/// What tells groups apart, and how the time is cut.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct GroupQuery {
    /// The field that usage is grouped by; `external_user_id` when it is not sent.
    #[param(inline)]
    group_by: Option<UsageGrouping>,
    /// Cuts the time, by UTC; at most 2300 pieces.
    #[param(inline)]
    bucket: Option<UsageBucketing>,
}

/// Of whom.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control::api) struct OwnerQuery {
    /// Only what belonged to this end user.
    external_user_id: Option<String>,
    /// Only what belonged to this project.
    external_project_id: Option<String>,
    /// Only what belonged to this workspace of the tenant's.
    external_workspace_id: Option<String>,
    /// Only what belonged to this workspace.
    workspace_id: Option<String>,
    /// Only this sandbox.
    sandbox_id: Option<Uuid>,
}
