//! Which data directory a command works on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;

use crate::config;

/// What to say where no data directory is named and there is no default.
pub(super) const NO_DIRECTORY: &str = "no data directory is named, and there is no default without HOME or XDG_DATA_HOME: name one with --data";

/// Which store an operator command works on: the same one the server uses, running or not.
#[derive(Args, Clone, Debug)]
pub struct StoreArg {
    /// The data directory [default: portico below the XDG data directory]
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data: Option<PathBuf>,
    /// The server's configuration file, whose `store.data` is the data directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl StoreArg {
    /// The data directory.
    pub(super) fn directory(&self) -> Result<PathBuf> {
        match &self.config {
            Some(file) => config::data_of(file).map_err(|error| anyhow!(error.in_one_line(file))),
            None => self.data.clone().or_else(config::default_data_dir).with_context(|| {
                format!("{NO_DIRECTORY}, or the server's configuration file with --config")
            }),
        }
    }

    /// What an error about the data directory begins with.
    pub(super) fn unusable(&self, data: &Path) -> String {
        let setting = if self.config.is_some() { "store.data" } else { "--data" };
        format!("cannot use the data directory {} (choose another with {setting})", data.display())
    }
}
