//! Prometheus metrics. No label value is ever chosen by a visitor, a tenant or a sandbox, so the number of series is fixed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::counts::{AllCounts, Counts};
use super::machines::Machines;
use super::{DeliveryOutcome, Handshake, Limited};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FaultLabels {
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
    counts: AllCounts,
    faults: Family<FaultLabels, Counter>,
    /// Visitors' connections open.
    pub connections: Gauge,
    /// Visitors' connections accepted.
    pub connections_accepted: Counter,
    /// Visitors' connections turned away by a cap.
    pub connections_capped: Counter,
    handshakes: [Counter; 3],
    limited: [Counter; 5],
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
    pub knowledge_version: Gauge,
    /// Changes written and not yet applied to the tables.
    pub knowledge_lag: Gauge,
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
        let help = "When the first of the certificates in use ends, Unix time";
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
        let faults = Family::<FaultLabels, Counter>::default();
        r.register("faults", "Answers of ours, by code and by who is to blame", faults.clone());
        let dials = Family::<OutcomeLabels, Counter>::default();
        r.register("upstream_connections", "Connections to sandboxes, by outcome", dials.clone());
        let handshakes = Family::<OutcomeLabels, Counter>::default();
        let help = "Beginnings of visitors' connections, by outcome";
        r.register("handshakes", help, handshakes.clone());
        let limited = Family::<LimitLabels, Counter>::default();
        r.register("limited", "Requests refused and pieces delayed, by limit", limited.clone());
        let reloads = Family::<OutcomeLabels, Counter>::default();
        r.register("certificate_reloads", "Changed certificates, by outcome", reloads.clone());
        let deliveries = Family::<OutcomeLabels, Counter>::default();
        let help = "Attempts to tell webhooks, by outcome";
        r.register("webhook_deliveries", help, deliveries.clone());
        let delivery_overdue = Gauge::<f64, AtomicU64>::default();
        let help = "For how long the delivery that has waited longest is due";
        r.register_with_unit("webhook_overdue", help, Unit::Seconds, delivery_overdue.clone());
        let certificate_expiry = CertificateExpiry::default();
        r.register_collector(Box::new(certificate_expiry.clone()));
        r.register_collector(Box::new(LostLines));
        Self {
            counts,
            faults,
            connections: gauge(r, "connections", "Visitors' connections open"),
            connections_accepted: counter(
                r,
                "connections_accepted",
                "Visitors' connections accepted",
            ),
            connections_capped: counter(
                r,
                "connections_capped",
                "Visitors' connections turned away by a cap",
            ),
            handshakes: ["full", "resumed", "failed"]
                .map(|outcome| handshakes.get_or_create(&OutcomeLabels { outcome }).clone()),
            limited: ["requests", "sockets", "rate", "address", "bandwidth"]
                .map(|limit| limited.get_or_create(&LimitLabels { limit }).clone()),
            loads: gauge(r, "visited_sandboxes", "Sandboxes visited at the moment or lately"),
            tunnels: gauge(r, "tunnels", "Switched connections (WebSocket and others) open"),
            access_ended: counter(
                r,
                "access_ended",
                "Exchanges cut because access was revoked or expired",
            ),
            dials: ["made", "failed"]
                .map(|outcome| dials.get_or_create(&OutcomeLabels { outcome }).clone()),
            sandboxes: gauge(r, "sandboxes", "Sandboxes in the routing tables"),
            knowledge_version: gauge(
                r,
                "knowledge_version",
                "Version of the last change applied to the tables",
            ),
            knowledge_lag: gauge(
                r,
                "knowledge_lag",
                "Changes written and not yet applied to the tables",
            ),
            usage_pending: gauge(r, "usage_pending", "Counts of usage not in the store yet, rows"),
            usage_write_failures: counter(
                r,
                "usage_write_failures",
                "Batches of usage that could not be written, and wait",
            ),
            certificate_reloads: ["loaded", "refused"]
                .map(|outcome| reloads.get_or_create(&OutcomeLabels { outcome }).clone()),
            certificate_expiry,
            machines: Machines::register(r),
            deliveries: ["delivered", "retried", "given_up"]
                .map(|outcome| deliveries.get_or_create(&OutcomeLabels { outcome }).clone()),
            delivery_backlog: gauge(r, "webhook_queue", "Deliveries that are not settled"),
            delivery_overdue,
            registry,
        }
    }

    /// The counters of another worker.
    pub fn worker(&self) -> Arc<Counts> {
        self.counts.worker()
    }

    /// Counts an answer of ours by its code.
    pub fn fault(&self, face: &crate::base::fault::Face) {
        let labels = FaultLabels { code: face.label, blame: face.blame.label() };
        self.faults.get_or_create(&labels).inc();
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
        let [requests, sockets, rate, address, bandwidth] = &self.limited;
        match limit {
            Limited::Requests => requests.inc(),
            Limited::Sockets => sockets.inc(),
            Limited::Rate => rate.inc(),
            Limited::Address => address.inc(),
            Limited::Bandwidth => bandwidth.inc(),
        };
    }

    /// All of it in the `OpenMetrics` text format.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
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
    fn every_metric_is_in_the_operations_tables_and_nothing_else_is() {
        let metrics = Metrics::new();
        // What is counted by code is told once there is one.
        metrics.fault(&crate::base::fault::Face {
            status: http::StatusCode::NOT_FOUND,
            label: "x",
            title: "",
            text: "",
            blame: crate::base::fault::Blame::Visitor,
            recovery: crate::base::fault::Recovery::None,
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
        let rows = page.lines().filter(|line| line.starts_with("| `portico_"));
        let names = rows.flat_map(|line| line.split('|').nth(1).unwrap().split('`'));
        let names = names.filter(|name| name.starts_with("portico_"));
        let documented: BTreeSet<String> =
            names.map(|name| name.split('{').next().unwrap().to_owned()).collect();
        assert!(told.len() > 15, "{rendered}");
        assert_eq!(told, documented);
    }
}
