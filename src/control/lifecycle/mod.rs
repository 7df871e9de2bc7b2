//! What happens to sandboxes without a call of the API: visitors wake them, time ends them, and jobs work through many of them. All of
//! it runs in the control plane; workers ask through a bounded channel and never touch the store.

mod jobs;
mod reaper;
mod resumer;

pub use jobs::work_off;
pub use reaper::Reaper;
pub use resumer::{Resumer, WakeSettings};
