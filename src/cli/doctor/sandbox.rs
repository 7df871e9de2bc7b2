//! One sandbox: whether its app can be reached from here, as a visitor's request would.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::finding::Finding;
use crate::config::Config;
use crate::control::store::{Store, StoreError};
use crate::edge::upstream::{DialError, Dialler, SandboxTls};
use crate::model::{Driver, Protocol, SandboxId, SandboxState, show_upstream};

/// How long the app may take to begin its response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects to the sandbox's default port and asks for `/`.
#[expect(clippy::too_many_lines, reason = "one way in, and what is found at each of its steps")]
pub(super) async fn reach(config: &Config, store: &Store, id: &str) -> Result<Finding, StoreError> {
    const CHECK: &str = "sandbox";
    let Ok(id) = id.parse::<SandboxId>() else {
        return Ok(Finding::error(CHECK, format!("{id} is no id"), "see `portico sandbox list`"));
    };
    let sandbox = match store.any_sandbox(id).await {
        Err(StoreError::NotFound) => {
            let found = format!("there is no sandbox {id}");
            return Ok(Finding::error(CHECK, found, "see `portico sandbox list`"));
        }
        found => found?,
    };
    if sandbox.state != SandboxState::Running {
        let found = format!("{id} does not run: its state is {:?}", sandbox.state);
        return Ok(Finding::warning(CHECK, found, "start it by the API, and look again"));
    }
    if sandbox.driver == Driver::Demo {
        return Ok(Finding::ok(CHECK, format!("{id} is the demo app, which is part of `dev`")));
    }
    let port = sandbox.default_port;
    let address = sandbox.upstream.as_ref().map(show_upstream).unwrap_or_default();
    let place = format!("{id}, port {port} of {address}");
    let tls = match SandboxTls::new(config.sandbox_authorities.as_deref()) {
        Ok(tls) => tls,
        Err(error) => {
            let advice = "see networks.sandbox_ca_file";
            return Ok(Finding::error(CHECK, error.to_string(), advice));
        }
    };
    let dialler = Dialler {
        rules: Arc::new(config.networks.clone()),
        connect_timeout: config.forward.connect_timeout,
        demo: None,
        tls,
    };
    let to = (port, Protocol::Http);
    let mut stream = match dialler.dial(sandbox.driver, sandbox.upstream.as_ref(), to).await {
        Ok(stream) => stream,
        Err(error) => {
            return Ok(Finding::error(CHECK, format!("{place}: {error}"), advice(&error)));
        }
    };
    let asking = async {
        let request =
            format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut line = Vec::new();
        while line.len() < 256 && !line.contains(&b'\n') {
            let mut piece = [0; 64];
            let read = stream.read(&mut piece).await?;
            if read == 0 {
                break;
            }
            line.extend(piece.iter().take(read));
        }
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&line).into_owned())
    };
    let outcome = tokio::time::timeout(PATIENCE, asking).await;
    Ok(match outcome {
        Ok(Ok(text)) if text.starts_with("HTTP/1.") => {
            let status = text.lines().next().unwrap_or_default();
            Finding::ok(CHECK, format!("{place}: {status}"))
        }
        Ok(Ok(_)) => Finding::error(
            CHECK,
            format!("{place}: what listens there is not an HTTP/1.1 server"),
            "publish the port with the right `protocol` (https, h2c), or name another port",
        ),
        Ok(Err(error)) => {
            Finding::error(CHECK, format!("{place}: {error}"), "look at the app's own log")
        }
        Err(_) => Finding::error(
            CHECK,
            format!("{place}: connected, and no response within {PATIENCE:?}"),
            "look at the app's own log",
        ),
    })
}

fn advice(error: &DialError) -> &'static str {
    match error {
        DialError::NoAddress => {
            "send its `upstream` by the API, or see why the provisioning hook has not"
        }
        DialError::Resolve(_) => "see whether this machine resolves the name",
        DialError::Forbidden => {
            "permit its network in networks.allow; loopback and link-local are not permitted by default"
        }
        DialError::Refused(_) => {
            "start the app, and let it listen on the machine's address, not only on its loopback"
        }
        DialError::Unreachable(_) | DialError::TimedOut => {
            "look at routes and firewalls between here and there"
        }
        DialError::Tls(_) => "see networks.sandbox_ca_file",
        DialError::Exhausted(_) => "raise the limit on open files",
    }
}
