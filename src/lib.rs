//! Portico: a reverse proxy for sandbox previews, and the control API behind it.
//!
//! ARCHITECTURE.md explains the map, the floors and the invariants.

pub mod address;
pub mod admin;
pub mod api;
pub mod app;
pub mod body;
pub mod certificate;
pub mod clock;
pub mod config;
pub mod connection;
pub mod control;
pub mod deadline;
pub mod demo;
pub mod dev;
pub mod events;
pub mod fault;
pub mod follow;
pub mod forward;
pub mod gate;
pub mod headers;
pub mod host;
pub mod limits;
pub mod listen;
pub mod message;
pub mod model;
pub mod operator;
pub mod pages;
pub mod routes;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod trust;
pub mod upstream;
pub mod usage;
pub mod visitor;
pub mod visits;
pub mod webhooks;
pub mod wire;
