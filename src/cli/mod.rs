//! What a person types: the command line, the operator's commands, and `portico dev`.

pub mod args;
pub mod demo;
pub mod dev;
pub mod operator;
pub mod trust;
