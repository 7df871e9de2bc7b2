//! Portico: a reverse proxy for sandbox previews, and the control API behind it.
//!
//! ARCHITECTURE.md explains the map, the floors and the invariants.

pub mod body;
pub mod clock;
pub mod fault;
pub mod gate;
pub mod host;
pub mod message;
pub mod model;
pub mod pages;
pub mod routes;
pub mod store;
pub mod token;
pub mod wire;
