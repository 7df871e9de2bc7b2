//! What every part may use and what knows nothing of previews: the time, errors, ending in order, the log and the metrics.

pub mod activity;
pub mod clock;
pub mod condition;
pub mod failure;
pub mod machine;
pub mod owner;
pub mod pressure;
pub mod request_id;
pub mod service;
pub mod shutdown;
pub mod telemetry;
