//! Prometheus metrics. No label value is ever chosen by a visitor, a tenant or a sandbox, so the number of series is fixed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::counts::{AllCounts, Counts};
use super::machines::Machines;
use super::process::{Process, register_build};
use super::{DeliveryOutcome, Handshake, Limited};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    code: &'static str,
    party: &'static str,
}

/// Those of the family's old name.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeprecatedErrorLabels {
    code: &'static str,
    blame: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Of the process, under names without ours.
    process: Registry,
    counts: AllCounts,
    errors: Family<ErrorLabels, Counter>,
    former_errors: Family<DeprecatedErrorLabels, Counter>,
    /// Visitors' connections open.
    pub connections: Gauge,
    /// Visitors' connections accepted.
    pub connections_accepted: Counter,
    /// Visitors' connections rejected by a limit.
    pub connections_rejected: Counter,
    handshakes: [Counter; 3],
    limited: [Counter; 6],
    /// Whether new work is refused for want of memory.
    pub memory_pressure: Gauge,
    /// Sandboxes at which something goes on, or did until lately.
    pub loads: Gauge,
    /// Switched connections open.
    pub tunnels: Gauge,
    /// Exchanges cut because access ended.
    pub access_ended: Counter,
    dials: [Counter; 2],
    /// Sandboxes in the tables.
    pub sandboxes: Gauge,
    /// The version of the last change applied to the tables.
    pub routing_version: Gauge,
    /// Changes written and not yet applied to the tables.
    pub routing_lag: Gauge,
    /// Things that do not work at the moment; `/readyz` says which.
    pub degraded: Gauge,
    /// Counts of usage that are not in the store yet.
    pub usage_pending: Gauge,
    /// Batches of usage that could not be written and are written again.
    pub usage_write_failures: Counter,
    certificate_reloads: [Counter; 2],
    certificate_expiry: CertificateExpiry,
    /// What happens to sandboxes and their machines.
    pub machines: Machines,
    deliveries: [Counter; 3],
    delivery_backlog: Gauge,
    delivery_overdue: Gauge<f64, AtomicU64>,
}

/// Told by the log's writer, which knows.
#[derive(Debug)]
struct LostLines;

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lost = ConstCounter::new(super::log::lost());
        let help = "Batches of log lines dropped because the writer could not keep up";
        lost.encode(encoder.encode_descriptor("log_lost", help, None, lost.metric_type())?)
    }
}

/// Told once there is a certificate: an alarm on the moment itself would go off at zero.
#[derive(Clone, Debug, Default)]
struct CertificateExpiry(Arc<AtomicI64>);

impl Collector for CertificateExpiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let at = match self.0.load(Ordering::Relaxed) {
            0 => return Ok(()),
            at => ConstGauge::new(at),
        };
        let help = "When the first of the certificates in use expires, Unix time";
        let unit = Some(&Unit::Seconds);
        at.encode(encoder.encode_descriptor("certificate_expiry", help, unit, at.metric_type())?)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric.
    #[expect(clippy::too_many_lines, reason = "a table: one entry a metric")]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portico");
        let r = &mut registry;
        let counts = AllCounts::default();
        r.register_collector(Box::new(counts.clone()));
        let errors = Family::<ErrorLabels, Counter>::default();
        let help = "Portico's own responses, by code and responsible party";
        r.register("errors", help, errors.clone());
        let former_errors = Family::<DeprecatedErrorLabels, Counter>::default();
        r.register("faults", deprecated("portico_errors_total"), former_errors.clone());
        let dials = Family::<OutcomeLabels, Counter>::default();
        r.register("upstream_connections", "Connections to sandboxes, by outcome", dials.clone());
        let handshakes = Family::<OutcomeLabels, Counter>::default();
        let help = "TLS handshakes of visitors, by outcome";
        r.register("handshakes", help, handshakes.clone());
        let limited = Family::<LimitLabels, Counter>::default();
        r.register(
            "limited",
            "Requests rejected and body chunks delayed, by limit",
            limited.clone(),
        );
        let reloads = Family::<OutcomeLabels, Counter>::default();
        r.register("certificate_reloads", "Changed certificates, by outcome", reloads.clone());
        let deliveries = Family::<OutcomeLabels, Counter>::default();
        let help = "Webhook delivery attempts, by outcome";
        r.register("webhook_deliveries", help, deliveries.clone());
        let delivery_overdue = Gauge::<f64, AtomicU64>::default();
        let help = "How long the oldest pending delivery is overdue";
        r.register_with_unit("webhook_overdue", help, Unit::Seconds, delivery_overdue.clone());
        let certificate_expiry = CertificateExpiry::default();
        r.register_collector(Box::new(certificate_expiry.clone()));
        r.register_collector(Box::new(LostLines));
        let connections_rejected = Counter::default();
        let help = "Visitors' connections rejected by a limit";
        renamed(r, ("connections_capped", "connections_rejected"), help, &connections_rejected);
        let routing_version = Gauge::default();
        let help = "Version of the last change applied to the routing tables";
        renamed(r, ("knowledge_version", "routing_version"), help, &routing_version);
        let routing_lag = Gauge::default();
        let help = "Changes written and not yet applied to the routing tables";
        renamed(r, ("knowledge_lag", "routing_lag"), help, &routing_lag);
        register_build(r);
        let mut process = Registry::default();
        process.register_collector(Box::new(Process));
        Self {
            counts,
            errors,
            former_errors,
            connections: gauge(r, "connections", "Visitors' connections open"),
            connections_accepted: counter(
                r,
                "connections_accepted",
                "Visitors' connections accepted",
            ),
            connections_rejected,
            handshakes: ["full", "resumed", "failed"]
                .map(|outcome| handshakes.get_or_create(&OutcomeLabels { outcome }).clone()),
            limited: ["requests", "sockets", "rate", "address", "memory", "bandwidth"]
                .map(|limit| limited.get_or_create(&LimitLabels { limit }).clone()),
            memory_pressure: gauge(
                r,
                "memory_pressure",
                "Whether new work is rejected because limits.memory is reached",
            ),
            loads: gauge(
                r,
                "visited_sandboxes",
                "Sandboxes visited now or in the last ten seconds",
            ),
            tunnels: gauge(r, "tunnels", "Open WebSockets and other upgraded connections"),
            access_ended: counter(
                r,
                "access_ended",
                "Requests cut because access was revoked or had expired",
            ),
            dials: ["made", "failed"]
                .map(|outcome| dials.get_or_create(&OutcomeLabels { outcome }).clone()),
            sandboxes: gauge(r, "sandboxes", "Sandboxes in the routing tables"),
            routing_version,
            routing_lag,
            degraded: gauge(
                r,
                "degraded",
                "Things that do not work at the moment; /readyz names them",
            ),
            usage_pending: gauge(r, "usage_pending", "Usage rows that are not in the database yet"),
            usage_write_failures: counter(
                r,
                "usage_write_failures",
                "Batches of usage that could not be written and are retried",
            ),
            certificate_reloads: ["loaded", "refused"]
                .map(|outcome| reloads.get_or_create(&OutcomeLabels { outcome }).clone()),
            certificate_expiry,
            machines: Machines::register(r),
            deliveries: ["delivered", "retried", "given_up"]
                .map(|outcome| deliveries.get_or_create(&OutcomeLabels { outcome }).clone()),
            delivery_backlog: gauge(r, "webhook_queue", "Pending webhook deliveries"),
            delivery_overdue,
            registry,
            process,
        }
    }

    /// The counters of another worker.
    pub fn worker(&self) -> Arc<Counts> {
        self.counts.worker()
    }

    /// Counts a response of ours by its code.
    pub fn error(&self, face: &crate::base::failure::Face) {
        let (code, party) = (face.label, face.blame.label());
        self.errors.get_or_create(&ErrorLabels { code, party }).inc();
        self.former_errors.get_or_create(&DeprecatedErrorLabels { code, blame: party }).inc();
    }

    /// Counts an attempt to connect to a sandbox.
    pub fn dialled(&self, made: bool) {
        let [yes, no] = &self.dials;
        if made {
            yes.inc()
        } else {
            no.inc()
        };
    }

    /// Counts a reading of certificates whose files have changed.
    pub fn certificates_read(&self, loaded: bool) {
        let [yes, no] = &self.certificate_reloads;
        if loaded {
            yes.inc()
        } else {
            no.inc()
        };
    }

    /// Notes when the first of the certificates in use ends, seconds of Unix time.
    pub fn certificate_ends(&self, at: i64) {
        self.certificate_expiry.0.store(at, Ordering::Relaxed);
    }

    /// Counts the beginning of a connection that has one.
    pub fn handshake(&self, outcome: Handshake) {
        let [full, resumed, failed] = &self.handshakes;
        match outcome {
            Handshake::Full => full.inc(),
            Handshake::Resumed => resumed.inc(),
            Handshake::Failed => failed.inc(),
        };
    }

    /// Counts an attempt to tell a webhook.
    pub fn webhook_told(&self, outcome: DeliveryOutcome) {
        let [delivered, retried, given_up] = &self.deliveries;
        match outcome {
            DeliveryOutcome::Delivered => delivered.inc(),
            DeliveryOutcome::Retried => retried.inc(),
            DeliveryOutcome::GivenUp => given_up.inc(),
        };
    }

    /// Notes how many deliveries wait, and for how long one of them should not have, milliseconds.
    pub fn webhook_backlog(&self, deliveries: u64, overdue_ms: u64) {
        self.delivery_backlog.set(i64::try_from(deliveries).unwrap_or(i64::MAX));
        self.delivery_overdue.set(Duration::from_millis(overdue_ms).as_secs_f64());
    }

    /// Counts a limit of previews that was reached.
    pub fn limited(&self, limit: Limited) {
        let [requests, sockets, rate, address, memory, bandwidth] = &self.limited;
        match limit {
            Limited::Requests => requests.inc(),
            Limited::Sockets => sockets.inc(),
            Limited::Rate => rate.inc(),
            Limited::Address => address.inc(),
            Limited::Memory => memory.inc(),
            Limited::Bandwidth => bandwidth.inc(),
        };
    }

    /// All of it in the `OpenMetrics` text format.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        text::encode_registry(&mut out, &self.process)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }

    /// All of it in the text format of Prometheus, version 0.0.4, for who asks for no other.
    pub fn render_classic(&self) -> Result<String, std::fmt::Error> {
        Ok(classic(&self.render()?))
    }
}

/// `OpenMetrics` as the older format has it: a counter is described under the name that its samples have, and there are no units.
fn classic(text: &str) -> String {
    let counter =
        |line: &str| Some(line.strip_suffix(" counter")?.strip_prefix("# TYPE ")?.to_owned());
    let counters: HashSet<String> = text.lines().filter_map(counter).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let described = line.strip_prefix("# ").and_then(|rest| {
            let (keyword, rest) = rest.split_once(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            counters.contains(name).then(|| format!("# {keyword} {name}_total {rest}"))
        });
        out.push_str(described.as_deref().unwrap_or(line));
        out.push('\n');
    }
    out
}

/// What the help of a metric's old name says. It is exported for one version beside the new one.
fn deprecated(new: &str) -> String {
    format!("Deprecated: is called {new} now")
}

/// Registers a metric under its new name, and for one version under its old one as well.
fn renamed<M: Metric + Clone>(
    registry: &mut Registry,
    (old, new): (&str, &str),
    help: &str,
    metric: &M,
) {
    registry.register(new, help, metric.clone());
    // Counters get their ending when they are written.
    let ending = if metric.metric_type().as_str() == "counter" { "_total" } else { "" };
    registry.register(old, deprecated(&format!("portico_{new}{ending}")), metric.clone());
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_metric_with_a_new_name_is_exported_under_its_old_one_too() {
        let metrics = Metrics::new();
        metrics.connections_rejected.inc();
        metrics.routing_version.set(7);
        metrics.routing_lag.set(3);
        metrics.worker().upstream_retries.add(2);
        let rendered = metrics.render().unwrap();
        for (old, new, value) in [
            ("connections_capped_total", "connections_rejected_total", 1),
            ("upstream_repeated_total", "upstream_retries_total", 2),
            ("knowledge_version", "routing_version", 7),
            ("knowledge_lag", "routing_lag", 3),
        ] {
            for name in [old, new] {
                let line = format!("portico_{name} {value}");
                assert!(rendered.lines().any(|told| told == line), "{line}: {rendered}");
            }
            let old = old.trim_end_matches("_total");
            let help = format!("# HELP portico_{old} Deprecated: is called portico_{new} now");
            assert!(rendered.contains(&help), "{help}: {rendered}");
        }
    }

    #[test]
    fn every_metric_is_in_the_operations_tables_and_nothing_else_is() {
        let metrics = Metrics::new();
        // What is counted by code is told once there is one.
        metrics.error(&crate::base::failure::Face {
            status: http::StatusCode::NOT_FOUND,
            label: "x",
            title: "",
            text: "",
            blame: crate::base::failure::Blame::Visitor,
            recovery: crate::base::failure::Recovery::None,
        });
        metrics.certificate_ends(1);
        let rendered = metrics.render().unwrap();
        let told = rendered.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let told: BTreeSet<String> = told
            .map(|line| match line.split_once(' ').unwrap() {
                (name, "counter") => format!("{name}_total"),
                (name, _) => name.to_owned(),
            })
            .collect();
        let page = include_str!("../../../docs/operations.md");
        let is_ours = |name: &&str| name.starts_with("portico_") || name.starts_with("process_");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter(is_ours);
        let names = rows.flat_map(|line| line.split('|').next().unwrap().split('`'));
        let names = names.filter(is_ours);
        let documented: BTreeSet<String> =
            names.map(|name| name.split('{').next().unwrap().to_owned()).collect();
        assert!(told.len() > 15, "{rendered}");
        assert_eq!(told, documented);
    }

    #[test]
    fn the_classic_format_describes_what_it_holds_and_promtool_has_nothing_to_say() {
        let metrics = Metrics::new();
        metrics.connections_accepted.inc();
        let text = metrics.render_classic().unwrap();
        let help = "# HELP portico_connections_accepted_total ";
        assert!(text.contains(help) && text.contains("portico_connections_accepted_total 1\n"));
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
        let described: HashSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"];
            let base = of_histogram.iter().find_map(|end| name.strip_suffix(end));
            let is_described =
                described.contains(name) || base.is_some_and(|base| described.contains(base));
            assert!(is_described, "{line}");
        }
        let promtool = std::process::Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else {
            println!("SKIPPED: promtool is not there");
            return;
        };
        std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let said = promtool.wait_with_output().unwrap();
        assert!(said.status.success(), "{said:?}");
    }
}
