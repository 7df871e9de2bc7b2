//! Commands that run sandboxes, scripted: a shell script that notes every call and responds as a test says.

use std::path::PathBuf;
use std::time::Duration;

use portico::config::Config;
use portico::control::compute;
use serde_json::Value;
use tempfile::TempDir;

use super::http::eventually;

/// A folder with a script that is all five commands, and what it was asked.
#[derive(Debug)]
pub struct Commands {
    folder: TempDir,
}

impl Commands {
    /// `body` runs with the verb in `$verb`, the question in `$question`, the sandbox's id in `$id`; the working directory is the folder.
    pub fn new(body: &str) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("run.sh");
        let at = folder.path().display();
        let script = format!(
            r#"cd {at}
verb=$1
question=$(cat)
id=$(printf '%s' "$question" | sed 's/.*"id":"\([^"]*\)".*/\1/')
printf '%s\n' "$question" >> asked
{body}
"#
        );
        std::fs::write(path, script).expect("written");
        Self { folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets a Portico use them, on loopback.
    pub fn adjust(&self, config: &mut Config) {
        let script = self.file("run.sh").display().to_string();
        let command =
            |verb: &str| Some(vec!["/bin/sh".to_owned(), script.clone(), verb.to_owned()]);
        config.compute = Some(compute::Settings {
            commands: ["create", "start", "stop", "pause", "destroy"].map(command),
            deadlines: [Duration::from_secs(20); 5],
            concurrency: 8,
            environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        });
        config.networks.allow = vec!["127.0.0.0/8".parse().expect("a network")];
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file("asked")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The verbs that were asked for one sandbox, in order.
    pub fn verbs(&self, id: &str) -> Vec<String> {
        let of_it = |question: &Value| question["sandbox"]["id"] == id;
        let asked = self.asked();
        asked.iter().filter(|q| of_it(q)).map(|q| q["verb"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn has_verbs(&self, id: &str, verbs: &[&str]) {
        eventually("the commands", async || self.verbs(id) == verbs).await;
    }
}
