//! Settings of commands that run sandboxes, and of visitors that wake them.

use std::path::Path;
use std::time::Duration;

use super::reader::Reader;
use crate::control::compute;
use crate::control::lifecycle::WakeSettings;
use crate::model::Verb;

/// Variables that commands get when nobody says.
const ENVIRONMENT: [&str; 3] = ["PATH", "HOME", "LANG"];

/// The commands, if there are any.
pub(super) fn commands(r: &mut Reader) -> Option<compute::Settings> {
    let word = |item: &toml::Value| item.as_str().map(str::to_owned);
    let commands = Verb::ALL.map(|verb| {
        let key = format!("compute.{}", verb.name());
        let argv = r.list(&key, "a text: the program, then its arguments", word)?;
        let is_program = argv.first().is_some_and(|program| Path::new(program).is_absolute());
        if !is_program {
            r.error(&key, "must start with the absolute path of a program");
        }
        Some(argv)
    });
    let default = compute::Settings::DEADLINES;
    let mut deadline = |verb: Verb| {
        let read = r.duration(&format!("timeouts.command_{}", verb.name()));
        read.filter(|read| !read.is_zero())
            .or_else(|| default.get(verb.place()).copied())
            .unwrap_or(Duration::from_mins(1))
    };
    let deadlines = Verb::ALL.map(&mut deadline);
    let concurrency = r.size("limits.commands", (1, 1024)).unwrap_or(16);
    let names = r
        .list("compute.environment", "the name of a variable", word)
        .unwrap_or_else(|| ENVIRONMENT.map(str::to_owned).into());
    let environment = names.iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        Some((name.into(), value))
    });
    let environment = environment.collect();
    if commands.iter().all(Option::is_none) {
        return None;
    }
    for verb in [Verb::Create, Verb::Start, Verb::Stop, Verb::Destroy] {
        if commands.get(verb.place()).is_none_or(Option::is_none) {
            r.error(
                &format!("compute.{}", verb.name()),
                "is missing: with one command, create, start, stop and destroy are all needed",
            );
        }
    }
    Some(compute::Settings { commands, deadlines, concurrency, environment })
}

/// How visitors wake sandboxes.
pub(super) fn wake(r: &mut Reader) -> WakeSettings {
    let default = WakeSettings::default();
    WakeSettings {
        hold: r.duration("timeouts.wake_hold").unwrap_or(default.hold),
        waiting: r.size("limits.wake_waiting", (0, 1_000_000)).unwrap_or(default.waiting),
        waiting_per_sandbox: r
            .size("limits.wake_waiting_per_sandbox", (0, 1_000_000))
            .unwrap_or(default.waiting_per_sandbox),
        per_minute: r
            .number("limits.wakes_per_minute", (0, 1_000_000))
            .unwrap_or(default.per_minute),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::parse;
    use crate::model::Verb;

    const ZONES: &str = "[preview]\nzones = [\"sandbox.example.com\"]\n";

    #[test]
    fn commands_are_read_with_their_deadlines_and_come_together_or_not_at_all() {
        assert!(parse(ZONES).unwrap().compute.is_none());
        let all = "[compute]\ncreate = [\"/bin/c\", \"x\"]\nstart = [\"/bin/s\"]\nstop = [\"/bin/t\"]\n\
                   destroy = [\"/bin/d\"]\nenvironment = []\n";
        let text =
            format!("{ZONES}{all}[timeouts]\ncommand_start = \"9s\"\n[limits]\ncommands = 3");
        let read = parse(&text).unwrap().compute.unwrap();
        assert_eq!(read.commands[Verb::Create.place()].as_ref().unwrap(), &["/bin/c", "x"]);
        assert_eq!(read.commands[Verb::Pause.place()], None);
        assert_eq!(read.deadlines[Verb::Start.place()], Duration::from_secs(9));
        assert_eq!(read.deadlines[Verb::Create.place()], Duration::from_mins(5));
        assert_eq!((read.concurrency, read.environment), (3, vec![]));
        let errors = |text: &str| parse(&format!("{ZONES}{text}")).unwrap_err().to_string();
        let some = errors("[compute]\ncreate = [\"create\"]");
        assert!(some.contains("compute.create: must start with the absolute path"), "{some}");
        assert!(some.contains("compute.destroy: is missing"), "{some}");
        assert!(!some.contains("compute.pause"), "{some}");
    }

    #[test]
    fn what_visitors_may_wake_is_read() {
        let text = format!(
            "{ZONES}[limits]\nwake_waiting = 7\nwake_waiting_per_sandbox = 2\nwakes_per_minute = 0\n[timeouts]\nwake_hold = \"1s\""
        );
        let wake = parse(&text).unwrap().wake;
        assert_eq!((wake.waiting, wake.waiting_per_sandbox, wake.per_minute), (7, 2, 0));
        assert_eq!(wake.hold, Duration::from_secs(1));
    }
}
