//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::SignedDuration;

pub use super::place::StoreArg;
use crate::base::telemetry::{LogFormat, LogSettings};
use crate::cli::commands::{
    BlockArgs, DomainCommand, ExplainArgs, KeyCommand, OperatorCommand, SandboxCommand,
    ShareCommand, TenantCommand, TokenCommand,
};
use crate::cli::lan::{Listen, NameSuffix};
use crate::cli::target::Target;
use crate::config::{MAX_WORKERS, wants_colour};

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
    /// Show an app of this machine to others on the same network, or list and revoke share links
    Share(ShareArgs),
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
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
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
    /// The app to preview: what listens on a port of this machine, e.g. `5173` or `http://localhost:5173`; new sandboxes preview it as well
    #[arg(value_name = "PORT|URL")]
    pub target: Option<Target>,
    /// The same as an option
    #[arg(long, value_name = "PORT|URL", conflicts_with = "target")]
    pub to: Option<Target>,
    /// Show it to others as well: listen on this address of this machine, or on the one that `auto` finds, as `portico share` does
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Listen>,
    /// How it is shown to others.
    #[command(flatten)]
    pub guests: GuestOptions,
    /// Open the link in a browser
    #[arg(long)]
    pub open: bool,
    /// Print no line for a request
    #[arg(long, conflicts_with = "log")]
    pub quiet: bool,
    /// Data-plane threads [default: one per core]
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

impl DevOptions {
    /// The app to preview, however it was named.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref().or(self.to.as_ref())
    }
}

/// How an app is shown to others.
#[derive(Args, Clone, Debug)]
pub struct GuestOptions {
    /// How long the link for others works, e.g. `30m`, `1h` or `1d`
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    pub lifetime: SignedDuration,
    /// What the name for others ends in: a domain whose names resolve to the address in them, as those of sslip.io and nip.io do; `none` puts the address itself into the link
    #[arg(long, value_name = "DOMAIN", default_value = "sslip.io")]
    pub name_suffix: NameSuffix,
    /// Serve others without TLS, for devices that refuse the certificate: whoever is on the network can read along
    #[arg(long)]
    pub http: bool,
}

/// `portico share`, and its commands for the links that there are.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ShareArgs {
    /// A command for the links that there are.
    #[command(subcommand)]
    pub command: Option<ShareCommand>,
    /// What is to be shown.
    #[command(flatten)]
    pub options: ShareOptions,
}

/// Options of `portico share PORT|URL`.
#[derive(Args, Clone, Debug)]
pub struct ShareOptions {
    /// The app to show: what listens on a port of this machine, e.g. `5173` or `http://localhost:5173`
    #[arg(value_name = "PORT|URL", required = true)]
    pub target: Option<Target>,
    /// How it is shown.
    #[command(flatten)]
    pub guests: GuestOptions,
    /// The address of this machine to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "auto")]
    pub listen: Listen,
    /// Port for visitors; 0 takes any free one [default: 8443, with --http 8080]
    #[arg(long)]
    pub port: Option<u16>,
    /// Print no QR code
    #[arg(long)]
    pub no_qr: bool,
    /// Where the link is kept while it works [default: portico below the XDG data directory]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print the addresses as one JSON line on standard output once everything is ready
    #[arg(long)]
    pub json: bool,
    /// Print no line for a request
    #[arg(long, conflicts_with = "log")]
    pub quiet: bool,
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
    /// The settings, with or without lines for requests when no filter was given.
    pub(super) fn settings(&self, quiet: bool) -> LogSettings {
        let default_filter =
            if quiet { "warn,portico::access=off" } else { "warn,portico::access=info" };
        LogSettings {
            format: match self.log_format {
                LogFormatArg::Auto => LogFormat::Auto,
                LogFormatArg::Json => LogFormat::Json,
                LogFormatArg::Text => LogFormat::Text,
            },
            filter: self.log.clone().unwrap_or_else(|| default_filter.to_owned()),
            file: self.log_file.clone(),
            brief: true,
            colour: wants_colour(),
        }
    }
}

/// The longest time that an app is shown to others for, hours.
const LONGEST_SHARE: i64 = 7 * 24;

fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let longest = SignedDuration::from_hours(LONGEST_SHARE);
    // Weeks and months have no place here; a day is 24 hours.
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u8>().ok());
    let read = match days {
        Some(days) => Some(SignedDuration::from_hours(24 * i64::from(days))),
        None => text.parse::<SignedDuration>().ok(),
    };
    read.filter(|time| *time >= SignedDuration::from_secs(1) && *time <= longest).ok_or_else(|| {
        "must be a time from `1s` to `7d`, such as `30m`, `1h 30m` or `1d`".to_owned()
    })
}

fn parse_workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX_WORKERS).contains(&count) => Ok(count),
        _ => Err(format!("must be a number from 1 to {MAX_WORKERS}")),
    }
}
