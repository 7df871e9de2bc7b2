//! `portico doctor`: looks at everything that has to be right around the server, and says what to do about what is not.

mod data;
mod finding;
mod machine;
mod names;
mod ports;
mod sandbox;

use std::path::Path;

use anyhow::{Result, anyhow};

use crate::base::clock::Clock;
use crate::config::{self, Config};
use crate::control::store::Store;
use finding::as_text;
pub use finding::{Finding, Level};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The configuration.
    pub config: &'a Path,
    /// A sandbox to reach.
    pub sandbox: Option<&'a str>,
    /// Whether the report is JSON.
    pub json: bool,
}

/// Looks at everything; gives what to print, and how many errors there are.
pub async fn examine(order: Order<'_>) -> Result<(String, usize)> {
    let findings = look(&order).await?;
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    let report = if order.json { serde_json::to_string(&findings)? } else { as_text(&findings) };
    Ok((report, errors))
}

/// What `portico check` tries besides the file: the ports, and the data directory.
pub async fn try_out(config: &Config) -> Vec<Finding> {
    let mut findings = ports::ports(config).await;
    if config.data.exists() {
        findings.extend(data::permissions(&config.data));
    }
    findings.retain(|finding| finding.level != Level::Ok);
    findings
}

async fn look(order: &Order<'_>) -> Result<Vec<Finding>> {
    const CHECK: &str = "config";
    let file = order.config.display();
    let mut findings = Vec::new();
    // Errors of certificates are told where those are looked at.
    let config =
        config::load(order.config).map_err(|error| anyhow!(error.in_one_line(order.config)))?;
    match config::check(order.config) {
        Ok((_, warnings)) if warnings.is_empty() => {
            findings.push(Finding::ok(CHECK, format!("{file} is valid")));
        }
        Ok((_, warnings)) => {
            let advice = format!("see `portico check --config {file}`");
            let told = warnings.iter().map(|told| Finding::warning(CHECK, told, &advice));
            findings.extend(told);
        }
        Err(errors) => {
            let advice = format!("see `portico check --config {file}`");
            findings.extend(errors.0.iter().map(|told| Finding::error(CHECK, told, &advice)));
        }
    }
    findings.push(machine::clock(&config.data));
    findings.push(machine::open_files(config.listen.max_connections));
    findings.push(machine::disk(&config.data));
    findings.extend(data::permissions(&config.data));
    findings.extend(config.tls.iter().flat_map(|tls| data::keys(&tls.certificates)));
    let (database, is_usable) = data::database(&config.data).await;
    findings.push(database);
    let store = if is_usable {
        Some(Store::open_existing(&config.data, Clock::system()).await?)
    } else {
        None
    };
    findings.extend(ports::ports(&config).await);
    findings.extend(names::dns(&config).await);
    findings.extend(names::certificates(&config, store.as_ref()).await?);
    if let Some(id) = order.sandbox {
        findings.push(match &store {
            Some(store) => sandbox::reach(&config, store, id).await?,
            None => Finding::error(
                "sandbox",
                format!("{id} cannot be looked up"),
                "see what is said of the database",
            ),
        });
    }
    Ok(findings)
}
