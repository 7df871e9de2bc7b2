//! The whole program in one process, on real sockets: fake sandboxes behind it, raw-byte visitors before it.

#![allow(unreachable_pub, reason = "`pub` in a test binary means: for the other modules")]

mod access;
mod deadlines;
mod forwarding;
mod keepalive;
mod pages;
mod restart;
mod routing;
mod shutdown;
mod smuggling;
mod streaming;
mod support;
mod upgrade;
