//! The arguments of operator's commands.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::place::StoreArg;

/// `portico operator`.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Print the token of the operator API (`/operator/v1` on the admin listener), created at the first use
    Token {
        /// Create a new one; the previous one stops working
        #[arg(long)]
        rotate: bool,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// `portico explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The URL, as a visitor opens it
    #[arg(value_name = "URL")]
    pub(super) url: String,
    /// A preview token or share token, sent in a header; it is not printed
    #[arg(long, value_name = "TOKEN")]
    pub(super) token: Option<String>,
    /// The session cookie's value, or a whole `Cookie` header
    #[arg(long, value_name = "COOKIE")]
    pub(super) cookie: Option<String>,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub(super) method: String,
    /// A header, such as 'Accept: text/html'; may be repeated
    #[arg(long = "header", value_name = "HEADER")]
    pub(super) headers: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreArg,
}

/// `portico block`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BlockArgs {
    #[command(subcommand)]
    pub(super) command: Option<BlockCommand>,
    /// What to take down: a host or URL, a sandbox's id, a tenant's id or name
    #[arg(value_name = "HOST|SANDBOX|TENANT", required = true)]
    pub(super) what: Option<String>,
    /// Why; the owner reads it, visitors do not
    #[arg(long, value_name = "TEXT", required = true)]
    pub(super) reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) store: StoreArg,
}

/// `portico block list`.
#[derive(Debug, Subcommand)]
pub enum BlockCommand {
    /// List blocks, newest first
    List {
        /// Lifted ones as well
        #[arg(long)]
        all: bool,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// A name that is not empty.
fn parse_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err("must have at most 100 characters, none of them a control character".to_owned());
    }
    Ok(name.to_owned())
}

/// A span of time: a number and `s`, `m`, `h`, `d` or `w`.
fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number and s, m, h, d or w, such as 30d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 =
        text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    match number.checked_mul(seconds) {
        // A hundred years are as good as for ever, and can be added to any moment.
        Some(seconds @ 1..=3_155_760_000) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be between a second and a hundred years".to_owned()),
    }
}

/// `portico tenant`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Create a tenant
    Create {
        /// Its name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Print only its id
        #[arg(long, short)]
        quiet: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Suspend a tenant: its API keys get 403, its previews are closed
    Suspend {
        /// The tenant, by id or name
        tenant: String,
        /// Why; the owner reads it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Resume a suspended tenant
    Resume {
        /// The tenant, by id or name
        tenant: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Delete a tenant with all of its data; only the audit log and blocks stay
    Delete {
        /// The tenant, by id or name
        tenant: String,
        /// Confirm the deletion
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// List tenants
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// `portico key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create an API key; it is shown only once
    Create {
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        /// A label for the key
        #[arg(long, default_value = "key")]
        label: String,
        /// Its scopes, comma-separated, e.g. `sandboxes:read,previews:write`; `*` is everything
        #[arg(long, default_value = "*")]
        scopes: String,
        /// Its lifetime, e.g. `30d`, `12h` [default: no expiry]
        #[arg(long, value_name = "SPAN", value_parser = parse_span)]
        expires_in: Option<Duration>,
        /// Print only the key
        #[arg(long, short)]
        quiet: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// List a tenant's API keys
    List {
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Revoke an API key
    Revoke {
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        /// The key's id
        id: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Sign preview tokens with a new key from now on; tokens of the previous key stay valid until the next rotation
    RotateSigning {
        /// After a leak: end every session and invalidate every preview and delegation token at once
        #[arg(long)]
        revoke_old: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// List the keys that verify preview tokens, newest first; the first one signs
    ListSigning {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// `portico domain`.
#[derive(Debug, Subcommand)]
pub enum DomainCommand {
    /// Add a preview domain to a tenant: `{port}-{slug}.sandbox.DOMAIN` and `{port}-{slug}.DOMAIN`
    Add {
        /// The domain
        domain: String,
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Add an exact host name for one port of a sandbox
    Exact {
        /// The host name
        fqdn: String,
        /// The sandbox's id
        #[arg(long)]
        sandbox: String,
        /// The port [default: the sandbox's default port]
        #[arg(long)]
        port: Option<u16>,
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Remove a preview domain or an exact host name
    Remove {
        /// The domain or host name
        name: String,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// `portico sandbox`.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// List a tenant's sandboxes
    List {
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// `portico token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// List a sandbox's preview tokens
    List {
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        /// The sandbox's id
        #[arg(long)]
        sandbox: String,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Revoke one preview token, or all of a sandbox's
    Revoke {
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        /// The sandbox's id
        #[arg(long)]
        sandbox: String,
        /// The token's id; all tokens without it
        id: Option<String>,
        #[command(flatten)]
        store: StoreArg,
    },
}

/// `portico share`.
#[derive(Debug, Subcommand)]
pub enum ShareCommand {
    /// List a sandbox's share links, without their tokens
    List {
        /// The tenant, by id or name
        #[arg(long)]
        tenant: String,
        /// The sandbox's id
        #[arg(long)]
        sandbox: String,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArg,
    },
    /// Revoke one link; what is open by it ends
    Revoke {
        /// The tenant, by id or name [default: that of the link]
        #[arg(long)]
        tenant: Option<String>,
        /// The sandbox's id [default: that of the link]
        #[arg(long)]
        sandbox: Option<String>,
        /// The link's id
        id: String,
        #[command(flatten)]
        store: StoreArg,
    },
}
