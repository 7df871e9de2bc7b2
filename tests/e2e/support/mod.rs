//! What the tests stand on: a running Portico, sandboxes that do as they are told, and visitors who choose every byte.

mod grpc;
mod http;
mod process;
mod proxy;
mod sandbox;

pub use grpc::{Caller, GrpcSandbox, as_text, connect_tls, trusting};
pub use http::{Connection, Response, eventually};
pub use process::{Process, command};
pub use proxy::{Api, Portico, SandboxHandle};
pub use sandbox::FakeSandbox;
