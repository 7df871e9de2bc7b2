//! What must not happen: a test for every way that the security reviews have found in, named after it. Each sends the bytes and looks at
//! both sides, on the whole program and real sockets. The table in `docs/security.md` says which test holds which answer.

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

mod control;
mod edge;
#[path = "../e2e/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod support;
