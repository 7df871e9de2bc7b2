//! What is seen from outside: metrics and the log. Knows nothing of hosts, tokens or sandboxes but their labels.

mod access;
mod brief;
mod counts;
mod log;
mod machines;
mod metrics;
mod outcomes;
mod process;

pub use access::{AccessLine, Gravity, flush as flush_access};
pub use counts::{Count, Counts};
pub use log::{
    LogControl, LogError, LogFormat, LogGuard, LogSettings, init as init_log,
    trouble as log_trouble,
};
pub use machines::{CommandResult, Machines, Wakes};
pub use metrics::Metrics;
pub use outcomes::{DeliveryOutcome, Handshake, Limited, Source};
