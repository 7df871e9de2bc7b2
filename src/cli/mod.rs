//! What a person types: the command line, the operator's commands, and `portico dev`.

pub mod args;
mod backup;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod operator;
mod place;
pub mod signals;
pub mod trust;
