//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use super::place::StoreArg;
use crate::base::telemetry::{LogFormat, LogSettings};
use crate::cli::commands::{
    BlockArgs, DomainCommand, ExplainArgs, KeyCommand, OperatorCommand, SandboxCommand,
    ShareCommand, TenantCommand, TokenCommand,
};
use crate::config::MAX_WORKERS;

/// A reverse proxy for sandbox previews, with access control, share links, custom domains and branded pages.
#[derive(Debug, Parser)]
#[command(name = "portico", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start everything on loopback, with a demo app, and print a link to a preview
    Dev(DevOptions),
    /// Serve previews with a configuration file
    Serve {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print the addresses as one JSON line on standard output once everything is ready
        #[arg(long)]
        json: bool,
    },
    /// Create the data directory: the database, and the key with which secrets in it are encrypted
    Init {
        #[command(flatten)]
        store: StoreArg,
    },
    /// Save the data, of a running server as well, in one file
    Backup {
        /// The file to write, readable by its owner only: it contains every secret
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace a file of that name
        #[arg(long)]
        force: bool,
        /// Leave secret.key out. Keep it elsewhere: without it the backup cannot be restored
        #[arg(long)]
        without_key: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Put the data of a backup in place; the server must be stopped
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Set data aside that is there
        #[arg(long)]
        force: bool,
        /// The secret.key of a backup that was created without it
        #[arg(long, value_name = "KEY")]
        key: Option<PathBuf>,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Check a configuration file and report every error
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Try the data directory and the ports as well; a running server of the same file is recognized
        #[arg(long)]
        r#try: bool,
    },
    /// Look at everything around the server: clock, ports, permissions, database, DNS, certificates; exit code 1 if anything is wrong
    Doctor {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Reach this sandbox's app as well, by its id
        #[arg(long, value_name = "ID")]
        sandbox: Option<String>,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Create, list, suspend, resume and delete tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Create, list and revoke API keys; rotate the keys that sign preview tokens
    #[command(subcommand)]
    Key(KeyCommand),
    /// Add and remove tenants' preview domains and exact host names
    #[command(subcommand)]
    Domain(DomainCommand),
    /// List sandboxes
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// List and revoke preview tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// List and withdraw share links
    #[command(subcommand)]
    Share(ShareCommand),
    /// Show what is served at a host or URL, and who owns it
    Find {
        /// The host or URL
        #[arg(value_name = "HOST|URL")]
        what: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Take previews down, whatever their tenant does; visitors get status 451
    ///
    /// A host that names a port blocks that port of its sandbox, under every name that the sandbox has or gets; any other host blocks its
    /// whole sandbox. What is open is cut within a second. Only `portico unblock` undoes it.
    Block(BlockArgs),
    /// Undo a block
    Unblock {
        /// The block's id, or what was blocked
        #[arg(value_name = "BLOCK|HOST|SANDBOX|TENANT")]
        what: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// The operator API of the admin listener
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Show step by step what is decided about a request, and why
    ///
    /// Nothing is sent. The request is judged by the server's own code over the data directory as it is now; limits, and what the app
    /// responds, are not part of it.
    Explain(ExplainArgs),
    /// Show who changed what, when and from where
    Audit {
        /// Only this tenant, by id or name
        #[arg(long)]
        tenant: Option<String>,
        /// How many of the newest changes
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages, one per command, for packaging
    #[command(hide = true)]
    Man {
        /// The folder to write to
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// Options of `portico dev`.
#[derive(Args, Clone, Debug)]
pub struct DevOptions {
    /// Port for previews; 0 takes any free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Port for previews over HTTPS; 0 takes any free one
    #[arg(long, default_value_t = 8443)]
    pub https_port: u16,
    /// Port for the control API; 0 takes any free one
    #[arg(long, default_value_t = 8081)]
    pub api_port: u16,
    /// Port for metrics and health; 0 takes any free one
    #[arg(long, default_value_t = 8082)]
    pub admin_port: u16,
    /// Where tenant, keys and sandboxes are kept [default: portico below the XDG data directory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Preview what already listens on this port of 127.0.0.1 (or `::1`), in new sandboxes as well
    #[arg(long, value_name = "PORT")]
    pub to: Option<u16>,
    /// Data-plane threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = parse_workers)]
    pub workers: Option<usize>,
    /// Print the addresses as one JSON line on standard output once everything is ready
    #[arg(long)]
    pub json: bool,
    /// Make this machine trust the development CA where possible, print what is left to do, and exit
    #[arg(long)]
    pub trust: bool,
    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
}

/// Where the log goes.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormatArg::Auto)]
    log_format: LogFormatArg,
    /// Log levels, e.g. `info`, `debug`, `warn,portico::access=off`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Append the log to a file instead of standard error
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatArg {
    /// Readable on a terminal, JSON elsewhere
    Auto,
    /// One JSON object a line
    Json,
    /// Human-readable text
    Text,
}

impl LogOptions {
    /// The settings, with a filter for when none was given.
    pub(super) fn settings(&self, default_filter: &str) -> LogSettings {
        LogSettings {
            format: match self.log_format {
                LogFormatArg::Auto => LogFormat::Auto,
                LogFormatArg::Json => LogFormat::Json,
                LogFormatArg::Text => LogFormat::Text,
            },
            filter: self.log.clone().unwrap_or_else(|| default_filter.to_owned()),
            file: self.log_file.clone(),
        }
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX_WORKERS).contains(&count) => Ok(count),
        _ => Err(format!("must be a number from 1 to {MAX_WORKERS}")),
    }
}
