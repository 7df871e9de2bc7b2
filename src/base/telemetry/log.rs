//! The log: one line an event, written by a thread of its own so that no request waits for a disk or a terminal.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use super::access::{self, Form};
use super::brief;
use crate::base::condition::{Condition, Standing};
use crate::base::owner;

/// Batches of lines that may wait for the writer; beyond that they are dropped (and counted) rather than requests delayed.
const QUEUE: usize = 64 * 1024;

/// Who may read a log file that we make: it holds addresses of visitors and paths. One that is there keeps the mode that it was given.
const MODE: u32 = 0o640;

static LOST: OnceLock<ErrorCounter> = OnceLock::new();
/// Bytes that could not be written since the log could last be.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);
/// Writes that have failed.
static FAILED: AtomicU64 = AtomicU64::new(0);
/// Whether the log can be written.
static WRITING: Condition = Condition::new("the log cannot be written; lines are lost");

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
    /// Whether requests are told in short lines for a person, where they are not JSON.
    pub brief: bool,
    /// Whether a terminal may be written to in colour.
    pub colour: bool,
}

impl LogSettings {
    /// Whether lines are JSON.
    pub fn is_json(&self) -> bool {
        match self.format {
            LogFormat::Auto => !self.is_terminal(),
            LogFormat::Json => true,
            LogFormat::Text => false,
        }
    }

    fn is_terminal(&self) -> bool {
        self.file.is_none() && io::stderr().is_terminal()
    }
}

/// Keeps the writer alive; dropping it writes what still waits.
#[derive(Debug)]
pub struct LogGuard {
    control: LogControl,
    _writer: WorkerGuard,
}

impl LogGuard {
    /// What changes the log while it is written.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }
}

/// Changes the log while it is written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
    next: Arc<Next>,
}

/// Where the writer is to go on, if that is new.
#[derive(Default)]
struct Next {
    /// Whether there is something in `target`; looked at before every write, so no lock.
    is_there: AtomicBool,
    target: Mutex<Option<Target>>,
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("is_there", &self.is_there).finish_non_exhaustive()
    }
}

impl LogControl {
    /// Says what is logged from now on.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let filter = filter.parse::<Targets>()?;
        self.filter.reload(filter).map_err(|_| LogError::Gone)
    }

    /// Opens the file anew, by its name: after a rotation that is another one. What is written until then is in the one before.
    pub fn reopen(&self, file: Option<&Path>) -> Result<(), LogError> {
        let target = target(file)?;
        *self.next.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
        self.next.is_there.store(true, Ordering::Release);
        Ok(())
    }
}

/// What is written to.
type Target = Box<dyn io::Write + Send>;

/// Writes to whatever is the target at the moment. Lives on the writing thread.
struct Output {
    target: Target,
    next: Arc<Next>,
}

impl Output {
    fn current(&mut self) -> &mut Target {
        if self.next.is_there.swap(false, Ordering::Acquire)
            && let Some(next) =
                self.next.target.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            self.target = next;
        }
        &mut self.target
    }
}

impl io::Write for Output {
    /// Takes everything: what cannot be written is lost and counted, and nobody waits for a disk to have room.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lost = UNWRITTEN.load(Ordering::Relaxed);
        let target = self.current();
        let written = match lost {
            0 => target.write_all(bytes),
            // A line that was cut off is ended first.
            _ => target.write_all(b"\n").and_then(|()| target.write_all(bytes)),
        };
        match written {
            Ok(()) if lost > 0 => {
                UNWRITTEN.store(0, Ordering::Relaxed);
                WRITING.clear();
            }
            Ok(()) => {}
            Err(error) => {
                UNWRITTEN.fetch_add(bytes.len().max(1).try_into().unwrap_or(1), Ordering::Relaxed);
                FAILED.fetch_add(1, Ordering::Relaxed);
                WRITING.note(error.to_string());
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.current().flush()
    }
}

fn target(file: Option<&Path>) -> Result<Target, LogError> {
    let Some(path) = file else { return Ok(Box::new(io::stderr())) };
    let opened = OpenOptions::new().create(true).append(true).mode(MODE).open(path);
    let refused = |error: io::Error| LogError::File(path.to_owned(), owner::refusal(path, &error));
    Ok(Box::new(opened.map_err(refused)?))
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] ParseError),
    /// The file cannot be opened for appending.
    #[error("the log file {} cannot be opened: {_1}", .0.display())]
    File(PathBuf, String),
    /// The log has ended.
    #[error("the log has ended")]
    Gone,
    /// Something else logs already.
    #[error("logging is already set up in this process")]
    Twice,
}

/// Sets up the log of the process.
pub fn init(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let (filter, handle) = reload::Layer::new(settings.filter.parse::<Targets>()?);
    let next = Arc::<Next>::default();
    let output = Output { target: target(settings.file.as_deref())?, next: Arc::clone(&next) };
    let builder = NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true);
    let (writer, guard) = builder.finish(output);
    let lost = writer.error_counter();
    let registry = tracing_subscriber::registry().with(filter);
    let (json, colour) = (settings.is_json(), settings.is_terminal() && settings.colour);
    let set = if json {
        let layer = layer().json().flatten_event(true).with_writer(writer.clone());
        registry.with(layer).try_init()
    } else {
        let layer = layer().compact().with_ansi(colour).with_writer(writer.clone());
        registry.with(layer).try_init()
    };
    set.map_err(|_| LogError::Twice)?;
    // Access lines have a writer of their own, and are no events then.
    match (json, settings.brief) {
        (true, _) => access::write_to(writer, Form::Json),
        (false, true) if colour => access::write_to(writer, Form::Other(brief::add_in_colour)),
        (false, true) => access::write_to(writer, Form::Other(brief::add)),
        (false, false) => {}
    }
    drop(LOST.set(lost));
    Ok(LogGuard { control: LogControl { filter: handle, next }, _writer: guard })
}

/// Batches of lines that were dropped because the writer could not keep up, or could not write.
pub(super) fn lost() -> u64 {
    let dropped = LOST.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX).saturating_add(FAILED.load(Ordering::Relaxed))
}

/// Why the log cannot be written, if it cannot.
pub fn trouble() -> Option<Standing> {
    WRITING.stands()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew_and_one_that_cannot_be_leaves_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let next = Arc::<Next>::default();
        let mut output = Output { target: target(Some(&path)).unwrap(), next: Arc::clone(&next) };
        let filter = reload::Layer::new(Targets::new()).1;
        let control = LogControl { filter, next };
        output.write_all(b"one ").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        output.write_all(b"two").unwrap();
        control.reopen(Some(&path)).unwrap();
        output.write_all(b"three").unwrap();
        assert!(control.reopen(Some(&path.join("below"))).is_err());
        output.write_all(b" four").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one two");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three four");
    }
}
