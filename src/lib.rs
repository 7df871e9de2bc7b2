//! Portico: a reverse proxy for sandbox previews, and the control API behind it.
//!
//! ARCHITECTURE.md explains the map, the floors and the invariants.

pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod control;
pub mod edge;
pub mod model;
pub mod routing;
