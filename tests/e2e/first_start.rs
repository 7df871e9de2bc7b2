//! The data directory: who creates it, who does not, and what happens when several processes open a new one at the same moment.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::support::{Process, command};

const ROUNDS: usize = 20;
const NOBODY: u32 = 65534;

fn configuration(folder: &Path) -> String {
    let file = folder.join("portico.toml");
    let listeners = ["preview", "api", "admin"].map(|section| {
        let zones = if section == "preview" { "zones = [\"sandbox.example.com\"]\n" } else { "" };
        format!("[{section}]\nlisten = \"127.0.0.1:0\"\n{zones}")
    });
    let text = format!(
        "{}[networks]\nallow = [\"127.0.0.0/8\"]\n[store]\ndata = \"{}\"\n[log]\nfilter = \"off\"\n",
        listeners.concat(),
        folder.join("data").display()
    );
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn succeeded(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a process leaves that ends right after it has made the files.
fn barely_begun(data: &Path) {
    std::fs::create_dir_all(data).unwrap();
    std::fs::write(data.join("portico.db"), "").unwrap();
    std::fs::write(data.join("secret.key"), "0123456789abcdef".repeat(4)).unwrap();
}

/// Two processes at the same moment, in a folder of their own, many times.
fn race(prepare: impl Fn(&Path), pair: impl Fn(&Path, usize) + Send + Sync + Copy) {
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        prepare(&folder.path().join("data"));
        configuration(folder.path());
        thread::scope(|scope| {
            for number in 0..2 {
                let folder = folder.path();
                scope.spawn(move || pair(folder, number));
            }
        });
        let data = folder.path().join("data");
        let listed = command(&["tenant", "list", "--data"], Some(&data));
        succeeded("afterwards", &listed);
        let left: Vec<String> = std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("portico."))
            .collect();
        assert_eq!(left, ["secret.key"]);
    }
}

fn run(folder: &Path, arguments: &[&str]) {
    let data = folder.join("data");
    succeeded(&format!("{arguments:?}"), &command(&[arguments, &["--data"]].concat(), Some(&data)));
}

fn serve(folder: &Path) {
    let file = folder.join("portico.toml");
    // Fails when the server does not come up.
    Process::run(&["serve", "--json", "--config", file.to_str().unwrap()]).kill();
}

#[test]
fn two_commands_set_a_new_directory_up_at_once() {
    race(|_| {}, |folder, _| run(folder, &["init"]));
    race(barely_begun, |folder, number| {
        run(folder, &["tenant", "create", if number == 0 { "one" } else { "other" }]);
    });
}

#[test]
fn a_server_and_a_command_set_a_new_directory_up_at_once() {
    race(
        |_| {},
        |folder, number| match number {
            0 => serve(folder),
            _ => run(folder, &["init"]),
        },
    );
    race(barely_begun, |folder, number| match number {
        0 => serve(folder),
        _ => run(folder, &["tenant", "create", "one"]),
    });
}

#[test]
fn only_init_creates_data_and_every_other_command_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = configuration(folder.path());
    let data = folder.path().join("data");
    let refused = |arguments: &[&str]| {
        let output = command(arguments, None);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let id = "00000000-0000-0000-0000-000000000000";
    let commands: [&[&str]; 15] = [
        &["tenant", "list"],
        &["tenant", "create", "one"],
        &["key", "list", "--tenant", "one"],
        &["key", "rotate-signing"],
        &["domain", "add", "own.example", "--tenant", "one"],
        &["domain", "remove", "own.example"],
        &["sandbox", "list", "--tenant", "one"],
        &["token", "list", "--tenant", "one", "--sandbox", id],
        &["share", "list", "--tenant", "one", "--sandbox", id],
        &["audit"],
        &["find", "a.example"],
        &["block", id, "--reason", "x"],
        &["unblock", id],
        &["explain", "https://a.example/"],
        &["operator", "token"],
    ];
    for arguments in commands {
        for is_there in [false, true] {
            if is_there {
                std::fs::create_dir(&data).unwrap();
            }
            for place in [["--data", data.to_str().unwrap()], ["--config", &file]] {
                let said = refused(&[arguments, &place].concat());
                let hint = format!("`portico init --data {}` creates it", data.display());
                assert!(said.contains(&hint) && said.lines().count() == 1, "{said}");
            }
            if is_there {
                assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "{arguments:?}");
                std::fs::remove_dir(&data).unwrap();
            }
            assert!(!data.exists(), "{arguments:?}");
        }
    }
    let first = command(&["init", "--config", &file], None);
    succeeded("init", &first);
    assert!(String::from_utf8_lossy(&first.stdout).starts_with("created "), "{first:?}");
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data.clone()), 0o700);
    assert_eq!((mode(data.join("portico.db")), mode(data.join("secret.key"))), (0o600, 0o600));
    let key = std::fs::read(data.join("secret.key")).unwrap();
    let again = command(&["init", "--config", &file], None);
    assert!(String::from_utf8_lossy(&again.stdout).contains("holds data already"), "{again:?}");
    assert_eq!(std::fs::read(data.join("secret.key")).unwrap(), key);
    succeeded("create", &command(&["tenant", "create", "one", "--config", &file], None));

    std::fs::remove_file(data.join("secret.key")).unwrap();
    let said = refused(&["tenant", "list", "--config", &file]);
    assert!(said.contains("secret.key is not"), "{said}");
    assert!(!data.join("secret.key").exists(), "no new key is made for old data");
    let both = command(&["tenant", "list", "--config", &file, "--data", &file], None);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn without_a_home_no_directory_is_guessed() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["tenant", "list"][..], &["init"], &["dev", "--port", "0"]] {
        let mut portico = Command::new(env!("CARGO_BIN_EXE_portico"));
        portico.args(arguments).env_remove("HOME").env_remove("XDG_DATA_HOME");
        let output = portico.current_dir(&folder).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("--data"), "{arguments:?}: {said}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}

/// Runs the program as somebody else, from a place that they can reach.
fn as_nobody(folder: &Path, arguments: &[&str]) -> Output {
    let program = folder.join("portico");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_portico"), &program).unwrap();
    }
    let mut portico = Command::new(program);
    portico.args(arguments).stdin(Stdio::null()).current_dir("/");
    portico.uid(NOBODY).gid(NOBODY).output().unwrap()
}

#[test]
fn a_refusal_by_the_system_names_the_owner_and_what_root_makes_is_the_owners() {
    let folder = tempfile::tempdir().unwrap();
    if folder.path().metadata().unwrap().uid() != 0 {
        println!("SKIPPED: only root can be somebody else");
        return;
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    succeeded("init", &command(&["init", "--data", &at("roots")], None));
    for open_up in [false, true] {
        if open_up {
            let wide = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(at("roots"), wide).unwrap();
        }
        let said = as_nobody(folder.path(), &["tenant", "list", "--data", &at("roots")]);
        let said = String::from_utf8(said.stderr).unwrap();
        assert!(said.contains("belongs to user root (uid 0)"), "{said}");
        assert!(said.contains(&format!("(uid {NOBODY})")), "{said}");
        assert_eq!(said.matches("os error").count(), 0, "{said}");
    }
    std::fs::create_dir(at("theirs")).unwrap();
    std::os::unix::fs::chown(at("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    succeeded("init", &command(&["init", "--data", &at("theirs")], None));
    succeeded("list", &command(&["tenant", "list", "--data", &at("theirs")], None));
    for entry in std::fs::read_dir(at("theirs")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), NOBODY, "{entry:?}");
    }
    let created = ["tenant", "create", "one", "--data", &at("theirs")];
    succeeded("their own", &as_nobody(folder.path(), &created));
}
