//! The data plane: visitors, the apps behind it, and what stands before it.

mod cost;
mod ending;
mod headers;
mod identity;
mod memory;
mod sessions;
mod upstreams;
