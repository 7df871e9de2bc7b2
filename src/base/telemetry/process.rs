//! Metrics of the process itself, under the names that every exporter gives them, and which build it is.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::base::machine::memory;

/// What of `/proc/self/stat` follows the name of the program, counted from 0: the user's and the system's ticks, threads, the start.
const USER: usize = 11;
const SYSTEM: usize = 12;
const THREADS: usize = 17;
const START: usize = 19;

/// Registers which build this is.
pub(super) fn register_build(registry: &mut Registry) {
    let build = Family::<[(&'static str, &'static str); 2], Gauge>::default();
    let revision = option_env!("PORTICO_REVISION").unwrap_or_default();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("revision", revision)];
    build.get_or_create(&labels).set(1);
    registry.register("build_info", "Which build this is; always 1", build);
}

/// Read when it is asked for.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let encoder = &mut encoder;
        if let Some(stat) = stat() {
            let ticks = clock_ticks();
            let spent = (field(&stat, USER) + field(&stat, SYSTEM)) / ticks;
            let cpu = ("process_cpu", "User and system CPU time spent", Some(&Unit::Seconds));
            tell(encoder, cpu, &ConstCounter::new(spent))?;
            if let Some(booted) = booted() {
                let start = booted + field(&stat, START) / ticks;
                let help = "When the process started, Unix time";
                let described = ("process_start_time", help, Some(&Unit::Seconds));
                tell(encoder, described, &ConstGauge::new(start))?;
            }
            let threads = ConstGauge::new(field(&stat, THREADS));
            tell(encoder, ("process_threads", "Threads of the process", None), &threads)?;
        }
        if let Some([whole, resident]) = memory() {
            let described = ("process_resident_memory", "Resident memory", Some(&Unit::Bytes));
            tell(encoder, described, &ConstGauge::new(resident))?;
            let described = ("process_virtual_memory", "Virtual memory", Some(&Unit::Bytes));
            tell(encoder, described, &ConstGauge::new(whole))?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the one that is read here.
            let open = u64::try_from(open.count().saturating_sub(1)).unwrap_or_default();
            tell(encoder, ("process_open_fds", "Open files", None), &ConstGauge::new(open))?;
        }
        if let Ok((most, _)) = rlimit::Resource::NOFILE.get() {
            let described = ("process_max_fds", "Files that may be open", None);
            tell(encoder, described, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

fn tell(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    metric: &impl EncodeMetric,
) -> Result<(), std::fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

/// The fields behind the program's name, which may hold anything.
fn stat() -> Option<Vec<f64>> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
}

fn field(stat: &[f64], at: usize) -> f64 {
    stat.get(at).copied().unwrap_or_default()
}

fn clock_ticks() -> f64 {
    let ticks = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    f64::from(ticks.max(1))
}

/// When the machine was started, seconds of Unix time.
fn booted() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_told_as_the_system_sees_it() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse().unwrap()
        };
        let now = jiff::Timestamp::now().as_second();
        let age = f64::from(u32::try_from(now).unwrap()) - value("process_start_time_seconds");
        assert!((-2.0..7200.0).contains(&age), "{age}");
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        let open = value("process_open_fds");
        assert!(open >= 3.0 && value("process_max_fds") > open);
        assert!(value("process_threads") >= 1.0 && value("process_cpu_seconds_total") >= 0.0);
    }
}
