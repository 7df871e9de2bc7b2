//! What was used.

use jiff::Timestamp;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Object, remaining_ms};
use crate::control::usage::{Prices, Window};
use crate::model::{Owner, Provisioned, Sandbox, SandboxState, ShareId, Span, Traffic, Used};

envelopes!(SandboxUsageData(SandboxUsage));
pages!(UsageSessionPage(UsageSession));

shapes! {
    /// Responses by the first digit of their status.
    StatusClasses {
        /// Switched connections.
        informational: u64 [rename = "1xx"],
        successful: u64 [rename = "2xx"],
        redirected: u64 [rename = "3xx"],
        refused: u64 [rename = "4xx"],
        failed: u64 [rename = "5xx"],
    }

    /// What visitors moved.
    Moved(traffic: &Traffic) with {
        let [s1, s2, s3, s4, s5] = traffic.responses;
    } {
        /// Requests that went on to the app.
        requests: u64 = traffic.requests,
        /// Bytes of request bodies, and of what visitors sent over WebSockets.
        bytes_in: u64 = traffic.bytes_in,
        /// Bytes of response bodies, and of what WebSockets sent to visitors.
        bytes_out: u64 = traffic.bytes_out,
        /// For how long WebSockets and other switched connections were open, added up.
        websocket_seconds: u64 = traffic.websocket_ms / 1000,
        responses: StatusClasses = json!({ "1xx": s1, "2xx": s2, "3xx": s3, "4xx": s4, "5xx": s5 }),
    }
}

/// A quotient to three decimals.
fn thousandths(amount: u64, of: u64) -> f64 {
    let thousandths = u128::from(amount) * 1000 / u128::from(of.max(1));
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.parse().unwrap_or_default()
}

shapes! {
    /// What sandboxes took up, and what visitors moved.
    Amounts(prices: Prices, used: &Used) with {
        let Provisioned { vcpu_ms, wall_ms, memory_mb_s, disk_mb_s } = used.provisioned;
    } {
        ..moved: Moved = Moved::of(&used.traffic),
        /// CPUs times seconds.
        sandbox_seconds: u64 = vcpu_ms / 1000,
        /// Seconds, whatever the size.
        wall_seconds: u64 = wall_ms / 1000,
        memory_gb_hours: f64 = thousandths(memory_mb_s, 1024 * 3600),
        /// Always 0: there are no computers here.
        computer_seconds: u64 = 0,
        storage_gb_hours: f64 = thousandths(disk_mb_s, 1024 * 3600),
        credit_cents: u64 = prices.cents(used),
    }

    /// What was used, by whom.
    UsageReport(window: Window, by: &str, (rows, groups, is_cut): (Vec<Object>, u64, bool), until: Timestamp) {
        period_start: Timestamp = window.start,
        period_end: Timestamp = window.end,
        group_by: UsageGrouping = by,
        /// The dearest first.
        results: Vec<UsageRow> = rows,
        total_groups: u64 = groups,
        /// Whether there are more groups behind these.
        truncated: bool = is_cut,
        /// Traffic is counted up to here; what sandboxes took up, to the moment.
        as_of: Timestamp = until,
        /// All groups together, when a `bucket` was asked for.
        timeseries: Option<Vec<UsageBucket>>,
    }

    /// What one of the groups used. It has the field that the groups are told apart by; null is what belongs to nobody.
    UsageRow {
        ..amounts: Amounts,
        external_user_id: Option<String> [extensions(("x-may-be-missing" = json!(true)))],
        external_project_id: Option<String> [extensions(("x-may-be-missing" = json!(true)))],
        external_workspace_id: Option<String> [extensions(("x-may-be-missing" = json!(true)))],
        workspace_id: Option<String> [extensions(("x-may-be-missing" = json!(true)))],
        sandbox_id: Option<Uuid> [extensions(("x-may-be-missing" = json!(true)))],
    }

    /// What was used within an hour, a day or a month.
    UsageBucket(prices: Prices, used: &Used, window: Window) {
        ..amounts: Amounts = Amounts::of(prices, used),
        period_start: Timestamp = window.start,
        period_end: Timestamp = window.end,
    }

    /// What was used in all.
    UsageSummary(prices: Prices, used: &Used, window: Window, until: Timestamp) with {
        let seconds = window.end.as_second().saturating_sub(window.start.as_second());
        let seconds = u64::try_from(seconds).unwrap_or(0).max(1);
        let bytes = used.traffic.bytes_in + used.traffic.bytes_out;
    } {
        ..amounts: Amounts = Amounts::of(prices, used),
        period_start: Timestamp = window.start,
        period_end: Timestamp = window.end,
        as_of: Timestamp = until,
        /// CPUs times hours.
        compute_hours: f64 = thousandths(used.provisioned.vcpu_ms, 3_600_000),
        /// GiB of disk that were kept, on average.
        storage_gb: f64 = thousandths(used.provisioned.disk_mb_s, 1024 * seconds),
        /// GiB that visitors moved, in both directions.
        bandwidth_gb: f64 = thousandths(bytes, 1 << 30),
        /// Always 0.
        ai_tokens: u64 = 0,
        /// The same as `credit_cents`.
        total_credits: u64 = prices.cents(used),
    }

    /// A time for which a sandbox ran, and kept its size and its owner.
    UsageSession(span: &Span, now: Timestamp) with {
        let Owner { external_user_id: user, external_project_id: project, external_workspace_id: theirs, workspace_id: ours } =
            &span.owner;
        let end = span.ended_at.unwrap_or(now).as_millisecond();
        let ms = u64::try_from(end - span.started_at.as_millisecond()).unwrap_or(0);
    } {
        id: String = span.id.to_string(),
        sandbox_id: Uuid = span.sandbox,
        started_at: Timestamp = span.started_at,
        /// Null: it goes on.
        ended_at: Option<Timestamp> = span.ended_at,
        seconds: u64 = ms / 1000,
        /// CPUs times seconds.
        sandbox_seconds: u64 = span.shape.over(ms).vcpu_ms / 1000,
        size: Option<String> = span.shape.size,
        cpu_count: u32 = span.shape.vcpus,
        memory_mb: u32 = span.shape.memory_mb,
        disk_size_mb: u32 = span.shape.disk_mb,
        external_user_id: Option<String> = user,
        external_project_id: Option<String> = project,
        external_workspace_id: Option<String> = theirs,
        workspace_id: Option<String> = ours,
    }

    /// What visitors moved to a port.
    PortUsage(traffic: &Traffic, of: u16) {
        ..moved: Moved = Moved::of(traffic),
        port: u16 = of,
    }

    /// What the visitors of a share link moved to a port.
    ShareUsage(traffic: &Traffic, of: u16, share: ShareId) {
        ..moved: Moved = Moved::of(traffic),
        share_id: Uuid = share,
        port: u16 = of,
    }

    /// How each part is known.
    MeasurementStatus {
        runtime: String,
        network: String,
        active_cpu: String,
    }

    /// What a sandbox used.
    SandboxUsage(prices: Prices, (sandbox, used, starts): (&Sandbox, &Used, u64), (of_ports, of_shares): (Vec<Object>, Vec<Object>), (now, until): (Timestamp, Timestamp)) {
        ..amounts: Amounts = Amounts::of(prices, used),
        sandbox_id: Uuid = sandbox.id,
        state: SandboxState = sandbox.state,
        /// The same as `wall_seconds`.
        runtime_sec: u64 = used.provisioned.wall_ms / 1000,
        provisioned_vcpu_ms: u64 = used.provisioned.vcpu_ms,
        provisioned_memory_mb_ms: u64 = used.provisioned.memory_mb_s.saturating_mul(1000),
        /// How often it began to run, or ran on with another size or owner.
        creation_count: u64 = starts,
        /// Always null: nobody measures it.
        active_cpu_ms: Option<u64> = Value::Null,
        /// The same as `bytes_in`.
        network_ingress_bytes: u64 = used.traffic.bytes_in,
        /// The same as `bytes_out`.
        network_egress_bytes: u64 = used.traffic.bytes_out,
        measurement_status: MeasurementStatus =
            json!({ "runtime": "measured", "network": "measured", "active_cpu": "unavailable" }),
        /// The same as `credit_cents`.
        estimated_cost_cents: u64 = prices.cents(used),
        timeout_sec: Option<u64> = sandbox.attributes.timeout_sec,
        timeout_remaining_ms: Option<u64> = remaining_ms(sandbox, now),
        ports: Vec<PortUsage> = of_ports,
        shares: Vec<ShareUsage> = of_shares,
        /// Traffic is counted up to here.
        as_of: Timestamp = until,
    }

    /// For which time. A start and an end count for more than a period.
    in Query PeriodQuery {
        /// How long ago it begins. `mtd` and `month-to-date` are since the first of the month, UTC.
        period: Option<UsagePeriod> [inline],
        /// When it begins: a time, or a day.
        start: Option<String>,
        /// When it ends, at most a year later; now, when only a start is given.
        end: Option<String>,
        /// Another name of `start`.
        period_start: Option<String>,
        /// Another name of `end`.
        period_end: Option<String>,
    }
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

shapes! {
    /// The field that usage is grouped by.
    UsageGrouping: external_user_id, external_project_id, external_workspace_id, workspace_id, sandbox_id;
    /// The lengths of buckets.
    UsageBucketing: hour, day, month;

    /// What tells groups apart, and how the time is cut.
    in Query GroupQuery {
        /// The field that usage is grouped by; `external_user_id` when it is not sent.
        group_by: Option<UsageGrouping> [inline],
        /// Cuts the time, by UTC; at most 2300 pieces.
        bucket: Option<UsageBucketing> [inline],
    }

    /// Of whom.
    in Query OwnerQuery {
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
}
