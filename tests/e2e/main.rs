//! The whole program in one process, on real sockets: fake sandboxes behind it, raw-byte visitors before it.

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
