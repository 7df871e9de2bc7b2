//! The program: reads the command line, does one thing, and turns an error into one line and exit code 1.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::{CommandFactory as _, Parser as _};
use portico::app::{self, Running};
use portico::base::clock::Clock;
use portico::base::{service, telemetry};
use portico::cli::args::{Cli, Command};
use portico::cli::dev::{self, DevFacts};
use portico::cli::{operator, trust};
use portico::config::{self, Config, Handover};
use tokio::signal::unix::{SignalKind, signal};

/// Small blocks come and go with every request; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` is the whole chain of causes on one line.
            say_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Dev(options) if options.trust => {
            let config = dev::config(&options);
            say(trust::trust(&config.data, &config.zones)?.trim_end())
        }
        Command::Dev(options) => {
            let json = options.json;
            serve(dev::config(&options), json)
        }
        Command::Serve { config, json } => {
            let loaded = config::load(&config);
            serve(loaded.map_err(|error| anyhow!(error.in_one_line(&config)))?, json)
        }
        Command::Check { config } => {
            let (loaded, warnings) = config::check(&config)?;
            for warning in warnings {
                say(&format!("warning: {warning}"))?;
            }
            let zones = loaded.zones.join(", ");
            say(&format!("{}: configuration OK; zones: {zones}", config.display()))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "portico", &mut script);
            Ok(std::io::stdout().write_all(&script)?)
        }
        Command::Man { folder } => {
            let pages = clap_mangen::generate_to(Cli::command(), &folder);
            pages.with_context(|| format!("cannot write to {}", folder.display()))
        }
        operator => {
            let report = runtime()?.block_on(operator::run(operator))?;
            say(report.trim_end())
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control runtime")
}

fn serve(mut config: Config, json: bool) -> Result<()> {
    config.handover = Handover::from_env()?;
    let _log = telemetry::init_log(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_open_files(config.listen.max_connections);
    let runtime = runtime()?;
    runtime.block_on(async {
        // Before anything is said to be ready, so that no signal is missed.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (running, facts) = if config.dev.is_some() {
            let started = dev::start(config, Clock::system()).await?;
            (started.running, Some(started.facts))
        } else {
            (app::start(config).await?, None)
        };
        announce(&running, facts.as_ref(), json)?;
        service::ready(&format!("serving previews on {}", running.preview));
        tokio::spawn(service::keep_alive());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        service::stopping();
        tokio::select! {
            () = running.stop() => {}
            () = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            } => running.cut().await,
        }
        Ok(())
    })
}

/// Raises the number of files that may be open as far as the system lets us: a visitor may need two, one to us and one to the sandbox.
fn raise_open_files(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "the limit on open files is too low for limits.connections: raise it (`ulimit -n`, LimitNOFILE=) or lower the setting"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
}

fn announce(running: &Running, facts: Option<&DevFacts>, json: bool) -> Result<()> {
    let Running { preview, api, admin, .. } = running;
    match (facts, json) {
        (Some(facts), true) => say(&serde_json::to_string(facts)?),
        (Some(facts), false) => {
            let https = facts.https_url.as_ref().map_or_else(String::new, |url| {
                format!(
                    "  HTTPS     {url}\n            `portico dev --trust` makes browsers trust its certificate\n"
                )
            });
            say(&format!(
                "\n  Preview   {}\n{https}  API       {}/api/v1\n  API key   {}\n  Admin     {}/metrics\n\n  Ctrl-C stops. Tenant, key and sandboxes are kept for the next start.\n",
                facts.preview_url, facts.api_url, facts.api_key, facts.admin_url
            ))
        }
        (None, true) => say(&serde_json::to_string(&serde_json::json!({
            "preview": preview.to_string(),
            "api_url": format!("http://{api}"),
            "admin_url": format!("http://{admin}"),
        }))?),
        (None, false) => {
            tracing::info!(%preview, %api, %admin, "ready");
            Ok(())
        }
    }
}

/// Writes a line to standard output. A reader that has gone away (`portico … | head -1`) is no error.
fn say(line: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn say_error(line: &str) {
    // There is nowhere left to report a failure of standard error.
    drop(writeln!(std::io::stderr(), "portico: {line}"));
}
