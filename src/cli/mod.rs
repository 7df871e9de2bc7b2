//! What a person types: the command line, the operator's commands, and `portico dev`.

pub mod args;
mod backup;
pub mod commands;
mod data;
pub mod demo;
pub mod dev;
pub mod doctor;
mod explain;
pub mod operator;
mod place;
pub mod print;
pub mod signals;
mod takedown;
pub mod trust;
