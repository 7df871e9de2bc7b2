//! The whole program in one process, on real sockets: fake sandboxes behind it, raw-byte visitors before it.

#![allow(
    unreachable_pub,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails, and `pub` means for the other modules"
)]

mod access;
mod api;
mod certificates;
mod command_line;
mod deadlines;
mod forwarding;
mod keepalive;
mod pages;
mod process;
mod promptness;
mod restart;
mod routing;
mod shutdown;
mod smuggling;
mod streaming;
mod support;
mod upgrade;
