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
    clippy::too_many_lines,
    clippy::type_complexity,
    clippy::unwrap_used,
    reason = "helpers and tables of tests: a panic is how a test fails, and `pub` means for the other modules"
)]

mod access;
mod api;
mod audit;
mod backup;
mod browsers;
mod certificates;
mod command_line;
mod compute;
mod control;
mod crash;
mod deadlines;
mod delegation;
mod doctor;
mod document;
mod domains;
mod embed;
mod emergency;
mod events;
mod explain;
mod first_start;
mod forwarding;
mod framing;
mod fronts;
mod grpc;
mod h2_attacks;
mod h2_endings;
mod h2_smuggling;
mod h2_sockets;
mod h2_spec;
mod h2_stalls;
mod h2_streams;
mod h2c;
mod handover;
mod https;
mod keepalive;
mod lifecycle;
mod limits;
mod pages;
mod process;
mod promptness;
mod quotas;
mod reload;
mod restart;
mod routing;
mod session;
mod share_command;
mod shares;
mod shutdown;
mod smuggling;
mod streaming;
mod support;
mod takedown;
mod terminal;
mod tls;
mod upgrade;
mod usage;
mod wake;
mod webhook_restarts;
mod webhooks;
mod workspaces;
