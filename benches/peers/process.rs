//! This program and the proxies as processes: a runtime, CPU time and memory, and how far the run has come.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A runtime for one round; what is left of the round ends with it.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Says how far it has come, and after how long.
pub fn say(what: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let seconds = START.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[{seconds:4} s] {what}");
}

/// CPU time that processes have spent, from the scheduler's own nanoseconds, over all their threads.
pub fn cpu(pids: &[u32]) -> Duration {
    let of_thread = |path: PathBuf| -> u64 {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    };
    let of_process = |pid: &u32| -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
        threads.map(|thread| of_thread(thread.expect("a thread").path())).sum()
    };
    Duration::from_nanos(pids.iter().map(of_process).sum())
}

/// Resident memory of processes, KiB.
pub fn resident(pids: &[u32]) -> f64 {
    let of_process = |pid: &u32| -> u32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    pids.iter().map(|pid| f64::from(of_process(pid))).sum()
}
