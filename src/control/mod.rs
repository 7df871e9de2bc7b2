//! The control plane: the API, the store, and what happens to sandboxes, domains, webhooks and usage without a visitor. It writes the
//! routing tables and never looks into a visitor's request.

pub mod admin;
pub mod api;
pub mod compute;
pub mod dns;
pub mod events;
pub mod follow;
pub mod issuance;
pub mod lifecycle;
pub mod operator;
mod seats;
pub mod serve;
pub mod store;
pub mod tallies;
pub mod usage;
pub mod verify;
pub mod webhooks;
