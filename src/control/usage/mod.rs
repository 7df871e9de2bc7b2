//! What is used, on its way: counted by each worker for itself, written to the store every few seconds, and cut into windows, buckets
//! and prices when somebody asks.

mod collector;

mod report;
#[cfg(test)]
mod tests;

pub use collector::{Collector, Progress};

pub use report::{Bucket, Prices, Series, Window, WindowError};
