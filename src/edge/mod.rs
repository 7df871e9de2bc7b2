//! The data plane: visitors' requests, from a connection to the sandbox and back. It reads the routing tables and never asks the store.

pub mod body;
pub mod connection;
pub mod deadline;
pub mod forward;
pub mod gate;
pub mod headers;
pub mod identity;
pub mod limits;
pub mod listen;
pub mod message;
pub mod meter;
pub mod pages;
pub mod pipe;
pub mod stage;
pub mod tls;
pub mod upstream;
pub mod visitor;
pub mod visits;
pub mod waker;
pub mod wire;
