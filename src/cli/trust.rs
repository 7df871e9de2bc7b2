//! `portico dev --trust`: makes this machine's browsers trust the development certificates where that takes no more than a file and a
//! command, and says what is left to do and how to undo it.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::base::clock::Clock;
use crate::config::{development, home_dir};

/// Makes the certificates if there are none, has them trusted, and returns what to print.
pub fn trust(data: &Path, zones: &[String]) -> Result<String> {
    let development = development(data);
    let name = development.prepare(zones, Clock::system().now())?;
    let authority = Authority { certificate: std::path::absolute(&development.ca)?, name };
    let steps = Machine::here().trust(&authority);
    Ok(report(&authority, &steps))
}

/// What is to be trusted.
struct Authority {
    certificate: PathBuf,
    name: String,
}

impl Authority {
    /// Its file in a store of the system's.
    fn file_name(&self) -> String {
        format!("{}.crt", self.name.to_ascii_lowercase().replace(' ', "-"))
    }
}

/// One place where it is, or is not, trusted now.
#[derive(Debug)]
struct Step {
    place: String,
    done: Result<(), String>,
}

/// Where certificates are trusted on a machine, and the commands for it.
struct Machine {
    system: PathBuf,
    update: PathBuf,
    certutil: PathBuf,
    home: Option<PathBuf>,
}

impl Machine {
    fn here() -> Self {
        Self {
            system: "/usr/local/share/ca-certificates".into(),
            update: "/usr/sbin/update-ca-certificates".into(),
            certutil: "certutil".into(),
            home: home_dir(),
        }
    }

    fn trust(&self, authority: &Authority) -> Vec<Step> {
        let mut steps = vec![Step {
            place: format!("system store {}", self.system.display()),
            done: self.trust_by_system(authority),
        }];
        for database in self.databases() {
            steps.push(Step {
                place: format!("browser's store {}", database.display()),
                done: self.trust_by_browser(authority, &database),
            });
        }
        steps
    }

    /// Debian's way. Without the right to write there, nothing is changed.
    fn trust_by_system(&self, authority: &Authority) -> Result<(), String> {
        if !self.system.is_dir() || !self.update.exists() {
            return Err("this system keeps it elsewhere".into());
        }
        let file = self.system.join(authority.file_name());
        std::fs::copy(&authority.certificate, file).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => "only root may write there".to_owned(),
            _ => error.to_string(),
        })?;
        run(Command::new(&self.update))
    }

    /// The NSS databases of Chromium, Chrome and Firefox. Chromium's is made if it has not run yet.
    fn databases(&self) -> Vec<PathBuf> {
        let Some(home) = &self.home else { return Vec::new() };
        let chromium = home.join(".pki/nssdb");
        let others = [".local/share/pki/nssdb", "snap/chromium/current/.pki/nssdb"];
        let mut found: Vec<PathBuf> = others.iter().map(|path| home.join(path)).collect();
        found.retain(|path| path.is_dir());
        if found.is_empty() || chromium.is_dir() {
            found.insert(0, chromium);
        }
        for profiles in [".mozilla/firefox", "snap/firefox/common/.mozilla/firefox"] {
            let entries = std::fs::read_dir(home.join(profiles)).into_iter().flatten().flatten();
            let mut profiles: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            profiles.retain(|path| path.join("cert9.db").is_file());
            profiles.sort_unstable();
            found.extend(profiles);
        }
        found
    }

    fn trust_by_browser(&self, authority: &Authority, database: &Path) -> Result<(), String> {
        let certutil = |arguments: &[&str]| {
            let mut command = Command::new(&self.certutil);
            command.arg("-d").arg(format!("sql:{}", database.display())).args(arguments);
            command
        };
        if !database.join("cert9.db").exists() {
            let is_new = !database.exists();
            let mut maker = DirBuilder::new();
            let made = maker.recursive(true).mode(0o700).create(database);
            made.map_err(|error| error.to_string())?;
            if let Err(why) = run(certutil(&["-N", "--empty-password"])) {
                if is_new {
                    // An empty directory would be taken for a database.
                    drop(std::fs::remove_dir(database));
                }
                return Err(why);
            }
        }
        let mut add = certutil(&["-A", "-t", "C,,", "-n", &authority.name, "-i"]);
        add.arg(&authority.certificate);
        run(add)
    }
}

/// Runs a command to its end. It is asked nothing, and what it says is told when it fails.
fn run(mut command: Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ended = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("there is no {program}"),
        _ => format!("{program}: {error}"),
    })?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(said.lines().next().unwrap_or("failed").to_owned())
}

fn report(authority: &Authority, steps: &[Step]) -> String {
    let path = authority.certificate.display();
    let mut text = format!(
        "{}\n{path}\n\nIt is valid for localhost and its subdomains only.\n\n",
        authority.name
    );
    for Step { place, done } in steps {
        text += &match done {
            Ok(()) => format!("  trusted      {place}\n"),
            Err(why) => format!("  not trusted  {place}: {why}\n"),
        };
    }
    text += "\nRestart a browser that runs. By hand, here or where the browser is (take ca.pem there, never ca.key):\n\n";
    let file = authority.file_name();
    let name = &authority.name;
    text += &format!(
        r#"  Debian, Ubuntu   sudo install -m 644 "{path}" /usr/local/share/ca-certificates/{file} && sudo update-ca-certificates
  Fedora, Arch     sudo trust anchor "{path}"
  Chromium, Linux  certutil -d "sql:$HOME/.pki/nssdb" -A -t C,, -n "{name}" -i "{path}"
                   (certutil: libnss3-tools on Debian, nss-tools on Fedora)
  Firefox          Settings, Privacy & Security, View Certificates, Authorities, Import
  macOS            sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain "{path}"
  Windows          certutil -user -addstore Root ca.pem
  curl, Node       curl --cacert "{path}"; NODE_EXTRA_CA_CERTS="{path}"

To undo it:

  Debian, Ubuntu   sudo rm /usr/local/share/ca-certificates/{file} && sudo update-ca-certificates --fresh
  Fedora, Arch     sudo trust anchor --remove "{path}"
  Chromium, Linux  certutil -d "sql:$HOME/.pki/nssdb" -D -n "{name}"
  Firefox          in the same place, Delete or Distrust
  macOS            sudo security delete-certificate -c "{name}" -t /Library/Keychains/System.keychain
  Windows          certutil -user -delstore Root "{name}"
"#
    );
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that writes down how it was called.
    fn program(directory: &Path, name: &str, then: &str) -> PathBuf {
        let path = directory.join(name);
        let log = directory.join("log");
        std::fs::write(
            &path,
            format!("#!/bin/sh\necho \"{name} $*\" >> {}\n{then}\n", log.display()),
        )
        .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn authority(directory: &Path) -> Authority {
        let certificate = directory.join("ca.pem");
        std::fs::write(&certificate, "certificate").unwrap();
        Authority { certificate, name: "Portico development CA 12ab".into() }
    }

    #[test]
    fn every_store_that_is_there_is_told_and_the_rest_is_said() {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        let authority = authority(files.path());
        for directory in ["store", "home/.mozilla/firefox/b.default", "home/.mozilla/firefox/empty"]
        {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        std::fs::write(at("home/.mozilla/firefox/b.default/cert9.db"), "").unwrap();
        let machine = Machine {
            system: at("store"),
            update: program(files.path(), "update", ""),
            certutil: program(files.path(), "certutil", ""),
            home: Some(at("home")),
        };
        let steps = machine.trust(&authority);
        assert!(steps.len() == 3 && steps.iter().all(|step| step.done.is_ok()), "{steps:?}");
        let installed = at("store/portico-development-ca-12ab.crt");
        assert_eq!(std::fs::read_to_string(installed).unwrap(), "certificate");
        let chromium = at("home/.pki/nssdb");
        assert!(chromium.is_dir());
        let log = std::fs::read_to_string(at("log")).unwrap();
        let add = |database: &Path| {
            format!(
                "certutil -d sql:{} -A -t C,, -n Portico development CA 12ab -i {}",
                database.display(),
                authority.certificate.display()
            )
        };
        let expected = [
            "update ".to_owned(),
            format!("certutil -d sql:{} -N --empty-password", chromium.display()),
            add(&chromium),
            add(&at("home/.mozilla/firefox/b.default")),
        ];
        assert_eq!(log.lines().collect::<Vec<_>>(), expected);
        let text = report(&authority, &steps);
        assert!(text.contains("  trusted      system store"), "{text}");
        assert!(!text.contains("not trusted"), "{text}");
        for system in ["Debian", "macOS", "Windows", "To undo it"] {
            assert!(text.contains(system), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_told_with_its_reason_and_leaves_nothing_behind() {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name);
        let authority = authority(files.path());
        std::fs::create_dir(at("store")).unwrap();
        let mut machine = Machine {
            system: at("nowhere"),
            update: program(files.path(), "update", "echo no room >&2; exit 1"),
            certutil: at("certutil-that-is-missing"),
            home: Some(at("home")),
        };
        let reasons = |machine: &Machine| {
            let steps = machine.trust(&authority);
            let text = report(&authority, &steps);
            assert_eq!(text.matches("  not trusted  ").count(), steps.len(), "{text}");
            steps.into_iter().map(|step| step.done.unwrap_err()).collect::<Vec<_>>()
        };
        let given = reasons(&machine);
        assert_eq!(given[0], "this system keeps it elsewhere");
        assert!(given[1].contains("certutil"), "{given:?}");
        assert!(!at("home/.pki/nssdb").exists(), "no database is left that nobody can fill");
        machine.system = at("store");
        machine.home = None;
        assert_eq!(reasons(&machine), ["no room"]);
    }
}
