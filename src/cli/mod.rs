//! What a person types: the command line, the operator's commands, `portico dev` and `portico share`.

pub mod args;
mod backup;
mod banner;
pub mod commands;
mod credentials;
mod data;
pub mod demo;
pub mod dev;
pub mod doctor;
mod explain;
mod keep;
pub mod lan;
mod listing;
mod open;
pub mod operator;
mod place;
pub mod print;
pub mod session;
pub mod share;
pub mod signals;
mod takedown;
pub mod target;
pub mod trust;
