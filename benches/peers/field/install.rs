//! Finding the peers, and getting what is missing: Debian's packages, and the Pingora crate's build.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's packages of the programs.
const PACKAGES: [(&str, &str); 3] =
    [("nginx", "nginx-light"), ("haproxy", "haproxy"), ("caddy", "caddy")];
/// What Pingora's TLS is built with.
const LIBRARIES: [&str; 2] = ["libssl-dev", "pkg-config"];

/// Where a program is.
pub fn program(name: &str) -> Option<&'static str> {
    let paths: [&'static str; 2] = match name {
        "nginx" => ["/usr/sbin/nginx", "/usr/bin/nginx"],
        "haproxy" => ["/usr/sbin/haproxy", "/usr/bin/haproxy"],
        "caddy" => ["/usr/bin/caddy", "/usr/local/bin/caddy"],
        _ => return None,
    };
    paths.into_iter().find(|path| Path::new(path).exists())
}

/// Where the Pingora crate is built.
fn pingora_target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join("pingora")
}

/// The program that is built from it.
pub fn pingora() -> PathBuf {
    pingora_target().join("release/portico-bench-pingora")
}

/// Gets what is missing, and gives the peers that are there with their versions.
pub fn prepare() -> Vec<(&'static str, String)> {
    let missing = PACKAGES.iter().filter(|(name, _)| program(name).is_none());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !Path::new("/usr/include/openssl/ssl.h").exists() {
        packages.extend(LIBRARIES);
    }
    if !packages.is_empty() {
        install(&packages);
    }
    let mut found = Vec::new();
    for (name, argument) in [("nginx", "-v"), ("haproxy", "-v"), ("caddy", "version")] {
        match program(name) {
            Some(path) => found.push((name, version(path, argument))),
            None => eprintln!("{name} is missing, and so are its columns"),
        }
    }
    if build_pingora() {
        found.push(("pingora", locked("pingora")));
    } else {
        eprintln!("pingora cannot be built, and so its columns are missing");
    }
    build_portico();
    found.push(("portico", env!("CARGO_PKG_VERSION").to_owned()));
    found
}

/// The program that is measured: the one that `PORTICO_BIN` names, else the one that [`build_portico`] builds.
pub(super) fn portico_program() -> PathBuf {
    std::env::var_os("PORTICO_BIN").map_or_else(
        || {
            let built = Path::new(env!("CARGO_BIN_EXE_portico"));
            if cfg!(debug_assertions) {
                return built.to_owned();
            }
            let target = built.ancestors().nth(2).expect("the folder that cargo builds in");
            target.join("dist").join("portico")
        },
        PathBuf::from,
    )
}

/// What cargo builds for benches has the features that tests want of libraries, such as a clock that can be stopped behind every reading of
/// the time. So the program is built once more, as it is shipped.
fn build_portico() {
    if cfg!(debug_assertions) || std::env::var_os("PORTICO_BIN").is_some() {
        return;
    }
    eprintln!("building portico as it is shipped (minutes, after a change)");
    let built = cargo()
        .args(["build", "--profile", "dist", "--quiet", "--bin", "portico", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "portico cannot be built");
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Installs packages if this may be done. Their services are not started.
fn install(packages: &[&str]) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not installed: {} (only root may)", packages.join(", "));
        return;
    }
    eprintln!("installing {}", packages.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("-qq").args(arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command.stdout(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
    };
    // One that cannot be had must not keep the others out.
    apt(&["update"]);
    for package in packages {
        if !apt(&["install", "-y", "--no-install-recommends", package]) {
            eprintln!("{package} cannot be installed");
        }
    }
}

/// What a program says that it is: the first word with a digit and a dot in it.
fn version(path: &str, argument: &str) -> String {
    let said = Command::new(path).arg(argument).output().expect("a version");
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let word = text
        .split(|c: char| c.is_whitespace() || c == '/')
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    word.unwrap_or("of an unknown version").to_owned()
}

fn pingora_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/pingora")
}

fn build_pingora() -> bool {
    eprintln!("building benches/pingora (minutes, the first time)");
    let status = cargo()
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(pingora_crate().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(pingora_target())
        .status();
    status.is_ok_and(|status| status.success()) && pingora().exists()
}

/// The version of a dependency of the Pingora crate.
fn locked(name: &str) -> String {
    let lock = std::fs::read_to_string(pingora_crate().join("Cargo.lock")).expect("the lock file");
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{name}\""));
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1));
    version.expect("a version").to_owned()
}
