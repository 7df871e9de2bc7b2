//! What the tests stand on: a running Portico, sandboxes that do as they are told, and visitors who choose every byte.

mod compute;
pub mod dns;
pub mod document;
pub mod frames;
mod grpc;
mod http;
pub mod http2;
mod process;
mod proxy;
mod receiver;
mod relay;
mod sandbox;
mod terminal;
mod tls;

pub use compute::Commands;
pub use frames::Raw;
pub use grpc::{Caller, GrpcSandbox, as_text, connect_tls, trusting};
pub use http::{Connection, Response, eventually};
pub use http2::Http2;
pub use process::{Process, command};
pub use proxy::{Api, Portico, SandboxHandle, config_in};
pub use receiver::{Receiver, Reply, Told};
pub use relay::LenientRelay;
pub use sandbox::FakeSandbox;
pub use terminal::Terminal;
pub use tls::{Authority, Secure, shake};
