//! The program: reads the command line, does one thing, and turns an error into one line and exit code 1.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use portico::base::{condition, service, telemetry};
use portico::cli::args::{Cli, Command, ShareArgs};
use portico::cli::print::Output;
use portico::cli::session::Plan;
use portico::cli::signals::Signals;
use portico::cli::{dev, doctor, operator, trust};
use portico::config::{self, Handover, Reloader};

/// Small blocks come and go with every request; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(Output::lines(condition::chain(error.as_ref()).lines()).as_str());
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the command line, or what was asked about it.
fn misread(error: &clap::Error) -> ExitCode {
    drop(error.print());
    if error.kind() == ErrorKind::InvalidSubcommand {
        // What others call by other names.
        say_error(
            "`portico dev 5173` previews what listens on a port, `portico share 5173` shows it to others on your network",
        );
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Dev(options) if options.trust => {
            let config = dev::config(&options)?;
            say(trust::trust(&config.data, &config.zones)?.trim_end())
        }
        Command::Dev(options) => serve(Plan::Dev(Box::new(options)), None),
        Command::Share(ShareArgs { command: None, options }) => serve(Plan::share(options)?, None),
        Command::Serve { config, json } => {
            let loaded = Reloader::load(&config);
            let (mut config, reloader) =
                loaded.map_err(|error| anyhow!(error.in_one_line(&config)))?;
            config.handover = Handover::from_env()?;
            serve(Plan::Serve { config: Box::new(config), json }, Some(reloader))
        }
        Command::Check { config, r#try } => {
            let (loaded, warnings) = config::check(&config)?;
            for warning in warnings {
                say(&format!("warning: {warning}"))?;
            }
            if r#try {
                let found = runtime()?.block_on(doctor::try_out(&loaded));
                let told = found.into_iter().map(|finding| finding.found).collect::<Vec<_>>();
                anyhow::ensure!(told.is_empty(), "{}", told.join("\n"));
            }
            let zones = loaded.zones.join(", ");
            say(&format!("{}: configuration OK; zones: {zones}", config.display()))
        }
        Command::Doctor { config, sandbox, json } => {
            let order = doctor::Order { config: &config, sandbox: sandbox.as_deref(), json };
            let (report, errors) = runtime()?.block_on(doctor::examine(order))?;
            say(report.trim_end())?;
            match errors {
                0 => Ok(()),
                1 => Err(anyhow!("1 error")),
                _ => Err(anyhow!("{errors} errors")),
            }
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
            say(report.as_str())
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

fn serve(plan: Plan, reloader: Option<Reloader>) -> Result<()> {
    let log = telemetry::init_log(&plan.log()?)?;
    for warning in plan.warnings() {
        tracing::warn!("{warning}");
    }
    raise_open_files(plan.connections());
    let runtime = runtime()?;
    runtime.block_on(async {
        // Before anything is said to be ready, so that no signal is missed.
        let mut signals = Signals::install(reloader, log.control())?;
        let session = plan.start().await?;
        if let Some(said) = session.said() {
            say(said)?;
        }
        service::ready(&format!("serving previews on {}", session.server().preview));
        tokio::spawn(service::keep_alive());
        tokio::select! {
            () = signals.end(session.server()) => {}
            () = session.over() => {}
        }
        service::stopping();
        tokio::select! {
            () = session.stop() => {}
            () = signals.end(session.server()) => session.cut().await,
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
