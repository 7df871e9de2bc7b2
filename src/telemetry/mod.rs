//! What is seen from outside: metrics and the log. Knows nothing of hosts, tokens or sandboxes but their labels.

mod log;
mod metrics;

pub use log::{LogError, LogFormat, LogGuard, LogSettings, init as init_log};
pub use metrics::{Metrics, Source};
