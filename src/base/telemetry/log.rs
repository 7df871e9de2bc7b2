//! The log: one line an event, written by a thread of its own so that no request waits for a disk or a terminal.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::OnceLock;

use serde::Deserialize;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::access;

/// Batches of lines that may wait for the writer; beyond that they are dropped (and counted) rather than requests delayed.
const QUEUE: usize = 64 * 1024;

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}

/// Where the log goes and what it says.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, in the syntax of `tracing-subscriber` (`info`, `portico::access=off,debug` …).
    pub filter: String,
    /// A file to append to; standard error otherwise.
    pub file: Option<PathBuf>,
}

/// Keeps the writer alive; dropping it writes what still waits.
#[derive(Debug)]
pub struct LogGuard(#[expect(dead_code, reason = "held for its Drop")] WorkerGuard);

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] ParseError),
    /// The file cannot be opened for appending.
    #[error("the log file {0} cannot be opened: {1}")]
    File(PathBuf, #[source] io::Error),
    /// Something else logs already.
    #[error("logging is already set up in this process")]
    Twice,
}

/// Sets up the log of the process.
pub fn init(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    let terminal = settings.file.is_none() && io::stderr().is_terminal();
    let (writer, guard) = match &settings.file {
        None => non_blocking(io::stderr()),
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            non_blocking(file.map_err(|error| LogError::File(path.clone(), error))?)
        }
    };
    let json = match settings.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lost = writer.error_counter();
    let registry = tracing_subscriber::registry().with(filter);
    let set = if json {
        // Access lines have a writer of their own, and are no events then.
        let set =
            registry.with(fmt::layer().json().flatten_event(true).with_writer(writer.clone()));
        set.try_init().inspect(|()| access::write_json_to(writer))
    } else {
        registry.with(fmt::layer().compact().with_ansi(terminal).with_writer(writer)).try_init()
    };
    set.map_err(|_| LogError::Twice)?;
    drop(LOST.set(lost));
    Ok(LogGuard(guard))
}

/// Batches of lines that were dropped because the writer could not keep up.
pub(super) fn lost() -> u64 {
    LOST.get().map_or(0, |lost| u64::try_from(lost.dropped_lines()).unwrap_or(u64::MAX))
}

fn non_blocking(to: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).finish(to)
}
