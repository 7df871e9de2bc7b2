//! One run of one command: a process group of its own, a clean environment, one question on its standard input, bounded output from its
//! standard output. It ends by itself or is ended with everything it has started.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// The longest response, bytes.
const MAX_OUTPUT: usize = 64 << 10;
/// What is kept of the end of its standard error for the log, bytes.
const MAX_TAIL: usize = 4 << 10;
/// How long output is still read once the command has ended: what it left running in the background may hold it open for ever.
const DRAIN: Duration = Duration::from_millis(250);

/// What came of a command, and the end of what it said on standard error.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) result: Result<Vec<u8>, CommandError>,
    pub(super) tail: String,
}

/// Why a command failed, in words that the sandbox's owner may read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("could not be started")]
    NotRun(#[source] io::Error),
    #[error("timed out")]
    TimedOut,
    #[error("wrote more than 64 KiB")]
    TooMuch,
    #[error("failed with exit code {0}")]
    Code(i32),
    #[error("was killed")]
    Killed,
    #[error("could not be waited for")]
    Lost(#[source] io::Error),
}

/// Kills the group of a command that has not ended well.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.and_then(Pid::from_raw))
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // There may be nobody left in it.
            let _met = kill_process_group(group, Signal::KILL);
        }
    }

    /// What a successful command leaves running in the background is its own affair: it may be the machine.
    fn spare(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command. When this future is dropped, the command and everything it has started are killed.
pub(super) async fn run(
    argv: &[String],
    environment: &[(OsString, OsString)],
    question: &[u8],
    deadline: Duration,
) -> Ran {
    let mut tail = Tail::default();
    let result =
        match tokio::time::timeout(deadline, attempt(argv, environment, question, &mut tail)).await
        {
            Ok(result) => result,
            Err(_) => Err(CommandError::TimedOut),
        };
    Ran { result, tail: String::from_utf8_lossy(&tail.0).trim().to_owned() }
}

async fn attempt(
    argv: &[String],
    environment: &[(OsString, OsString)],
    question: &[u8],
    tail: &mut Tail,
) -> Result<Vec<u8>, CommandError> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| CommandError::NotRun(io::ErrorKind::InvalidInput.into()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(CommandError::NotRun)?;
    let mut group = Group::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut output = Vec::new();
    let talking = async {
        let ask = async {
            if let Some(mut stdin) = stdin {
                // A command need not read what it is asked.
                drop(stdin.write_all(question).await);
            }
            Ok(())
        };
        tokio::try_join!(ask, read(stdout, &mut output), tail.read(stderr)).map(drop)
    };
    let status = watch(&mut child, talking).await?;
    match (status.success(), status.code()) {
        (true, _) => {
            group.spare();
            Ok(output)
        }
        (false, Some(code)) => Err(CommandError::Code(code)),
        (false, None) => Err(CommandError::Killed),
    }
}

/// Waits for the end of the command, and a little longer for its output.
async fn watch(
    child: &mut Child,
    talking: impl Future<Output = Result<(), CommandError>>,
) -> Result<ExitStatus, CommandError> {
    tokio::pin!(talking);
    let status = tokio::select! {
        said = &mut talking => {
            said?;
            return child.wait().await.map_err(CommandError::Lost);
        }
        status = child.wait() => status.map_err(CommandError::Lost)?,
    };
    if let Ok(said) = tokio::time::timeout(DRAIN, talking).await {
        said?;
    }
    Ok(status)
}

async fn read(
    from: Option<impl AsyncRead + Unpin>,
    into: &mut Vec<u8>,
) -> Result<(), CommandError> {
    let Some(mut from) = from else { return Ok(()) };
    loop {
        match from.read_buf(into).await.map_err(CommandError::Lost)? {
            0 => return Ok(()),
            _ if into.len() > MAX_OUTPUT => return Err(CommandError::TooMuch),
            _ => {}
        }
    }
}

/// The end of a text.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) -> Result<(), CommandError> {
        let Some(mut from) = from else { return Ok(()) };
        while from.read_buf(&mut self.0).await.map_err(CommandError::Lost)? > 0 {
            let excess = self.0.len().saturating_sub(MAX_TAIL);
            self.0.drain(..excess);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, deadline: Duration) -> (Result<String, String>, String) {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let environment = [("NAMED".into(), "yes".into()), ("PATH".into(), "/usr/bin:/bin".into())];
        let ran = run(&argv, &environment, b"{\"verb\":\"create\"}", deadline).await;
        let result = ran.result.map(|bytes| String::from_utf8(bytes).unwrap());
        (result.map_err(|error| error.to_string()), ran.tail)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_command_gets_its_question_and_no_environment_but_what_is_named() {
        let (output, tail) = sh("cat; echo; env; echo said >&2", LONG).await;
        let output = output.unwrap();
        assert!(output.starts_with("{\"verb\":\"create\"}\n"), "{output}");
        let mut names: Vec<_> = output.lines().filter_map(|line| line.split_once('=')).collect();
        names.retain(|(name, _)| !matches!(*name, "PWD" | "_" | "SHLVL" | "OLDPWD"));
        names.sort_unstable();
        assert_eq!(names, [("NAMED", "yes"), ("PATH", "/usr/bin:/bin")]);
        assert_eq!(tail, "said");
    }

    #[tokio::test]
    async fn every_failure_is_told_apart() {
        let told = async |script, deadline| sh(script, deadline).await.0.unwrap_err();
        assert_eq!(told("exit 3", LONG).await, "failed with exit code 3");
        assert_eq!(told("kill -9 $$", LONG).await, "was killed");
        assert_eq!(told("head -c 100000 /dev/zero", LONG).await, "wrote more than 64 KiB");
        assert_eq!(told("sleep 60", Duration::from_millis(100)).await, "timed out");
        let nothing = run(&["/nothing/there".to_owned()], &[], b"", LONG).await;
        assert_eq!(nothing.result.unwrap_err().to_string(), "could not be started");
        let (_, tail) = sh("yes x | head -c 20000 >&2; echo end >&2; exit 1", LONG).await;
        assert!(tail.ends_with("end") && tail.len() <= MAX_TAIL, "{}", tail.len());
    }

    #[tokio::test]
    async fn what_a_failing_command_started_dies_with_it_and_what_a_good_one_started_lives() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let in_background =
            |then: &str| format!("sleep 300 & echo $! > {}; {then}", file.display());
        let pid = || std::fs::read_to_string(&file).unwrap().trim().parse::<i32>().unwrap();
        let lives = |pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        let (output, _) = sh(&in_background("echo '{}'"), LONG).await;
        assert_eq!(output.as_deref(), Ok("{}\n"), "although its output is still held open");
        assert!(lives(pid()));
        rustix::process::kill_process(Pid::from_raw(pid()).unwrap(), Signal::KILL).unwrap();
        for (then, deadline) in [("exit 1", LONG), ("wait", Duration::from_millis(300))] {
            sh(&in_background(then), deadline).await.0.unwrap_err();
            let (id, mut patience) = (pid(), 100);
            while lives(id) && patience > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                patience -= 1;
            }
            assert!(!lives(id), "{then}");
        }
    }
}
