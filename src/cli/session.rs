//! What one of the commands that serve has started, from its first words to its end.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::app::{self, Running};
use crate::base::clock::Clock;
use crate::base::telemetry::LogSettings;
use crate::cli::args::{DevOptions, ShareOptions};
use crate::cli::banner::{self, Qr};
use crate::cli::share::{self, End, Order, Shared};
use crate::cli::{dev, open};
use crate::config::{Config, wants_colour};
use crate::edge::listen::Settings;
use crate::edge::upstream::{DialError, Dialler, SandboxTls};
use crate::model::network::AddressRules;
use crate::model::{Driver, Protocol};

/// How long the first look waits, so that what was started has been told by then.
const FIRST_LOOK: Duration = Duration::from_millis(200);
/// How often it looks whether an app is there that was not.
const LOOK: Duration = Duration::from_millis(400);
/// How long one look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// What is to be started.
#[derive(Debug)]
pub enum Plan {
    /// What a configuration file says; `json`: how it is announced.
    Serve { config: Box<Config>, json: bool },
    /// `portico dev`.
    Dev(Box<DevOptions>),
    /// `portico share`.
    Share(Box<ShareOptions>, Box<Order>),
}

/// What has been started.
#[derive(Debug)]
pub struct Session {
    started: Started,
    /// What is to be said on standard output.
    said: Option<String>,
}

#[derive(Debug)]
enum Started {
    /// A server, and beside it perhaps a port that is shown to others.
    Server(Box<Running>, Option<Box<Shared>>),
    /// A port that is shown to others, and nothing else.
    Shared(Box<Shared>),
}

impl Plan {
    /// The plan of `portico share`.
    pub fn share(options: ShareOptions) -> Result<Self> {
        let order = Order::of_share(&options)?;
        Ok(Self::Share(Box::new(options), Box::new(order)))
    }

    /// The log of the process.
    pub fn log(&self) -> Result<LogSettings> {
        Ok(match self {
            Self::Serve { config, .. } => config.log.clone(),
            Self::Dev(options) => dev::config(options)?.log,
            Self::Share(_, order) => order.log().clone(),
        })
    }

    /// What is to be warned of before anything starts.
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Serve { config, .. } => &config.warnings,
            Self::Dev(_) | Self::Share(..) => &[],
        }
    }

    /// The most visitors that are served at once.
    pub fn connections(&self) -> usize {
        match self {
            Self::Serve { config, .. } => config.listen.max_connections,
            Self::Dev(_) | Self::Share(..) => Settings::default().max_connections,
        }
    }

    /// Starts everything.
    pub async fn start(self) -> Result<Session> {
        match self {
            Self::Serve { config, json } => serve(*config, json).await,
            Self::Dev(options) => Box::pin(develop(*options)).await,
            Self::Share(options, order) => show(*options, *order).await,
        }
    }
}

async fn serve(config: Config, json: bool) -> Result<Session> {
    let running = app::start(config).await?;
    let Running { preview, api, admin, .. } = &running;
    let said = if json {
        let facts = json!({
            "preview": preview.to_string(),
            "api_url": format!("http://{api}"),
            "admin_url": format!("http://{admin}"),
        });
        Some(facts.to_string())
    } else {
        tracing::info!(%preview, %api, %admin, "ready");
        None
    };
    Ok(Session { started: Started::Server(Box::new(running), None), said })
}

async fn develop(options: DevOptions) -> Result<Session> {
    let started = dev::start(dev::config(&options)?, Clock::system()).await?;
    let shared = match Order::of_dev(&options, started.demo)? {
        Some(order) => Some(share::start(order, Clock::system()).await?),
        None => None,
    };
    let facts = &started.facts;
    let said = if options.json {
        let mut all = serde_json::to_value(facts)?;
        if let (Value::Object(all), Some(shared)) = (&mut all, &shared) {
            all.extend(fields(&serde_json::to_value(&shared.facts)?));
        }
        all.to_string()
    } else {
        let for_others = shared.as_ref().map(|shared| banner::share(&shared.facts, qr(false)));
        [Some(banner::dev(facts)), for_others].into_iter().flatten().collect::<Vec<_>>().join("\n")
    };
    if let Some(port) = facts.to {
        tokio::spawn(watch(port));
    }
    if options.open {
        let link = facts.preview_url.clone();
        tokio::spawn(async move {
            if let Err(error) = open::open(link).await {
                tell(&format!("the link could not be opened in a browser: {error:#}"));
            }
        });
    }
    let started = Started::Server(Box::new(started.running), shared.map(Box::new));
    Ok(Session { started, said: Some(said) })
}

async fn show(options: ShareOptions, order: Order) -> Result<Session> {
    let target = order.target();
    let shared = share::start(order, Clock::system()).await?;
    let said = if options.json {
        serde_json::to_string(&shared.facts)?
    } else {
        banner::share(&shared.facts, qr(options.no_qr))
    };
    if let Some(port) = target {
        tokio::spawn(watch(port));
    }
    Ok(Session { started: Started::Shared(Box::new(shared)), said: Some(said) })
}

fn fields(facts: &Value) -> serde_json::Map<String, Value> {
    facts.as_object().cloned().unwrap_or_default()
}

/// How a QR code is shown on standard output.
fn qr(refused: bool) -> Qr {
    match (refused || !std::io::stdout().is_terminal(), wants_colour()) {
        (true, _) => Qr::None,
        (false, true) => Qr::Colour,
        (false, false) => Qr::Plain,
    }
}

/// Says that nothing listens on a port, if nothing does, and when something appears.
async fn watch(port: u16) {
    let Ok(tls) = SandboxTls::new(None) else { return };
    let dialler = Dialler {
        rules: Arc::new(AddressRules::default()),
        connect_timeout: LOOK_TIMEOUT,
        demo: None::<SocketAddr>,
        tls,
    };
    let look = async || {
        let looked = dialler.dial(Driver::Loopback, None, (port, Protocol::Http)).await;
        !matches!(looked, Err(DialError::Refused(_)))
    };
    // The link comes first.
    tokio::time::sleep(FIRST_LOOK).await;
    if look().await {
        return;
    }
    tell(&format!("nothing listens on port {port} yet; waiting"));
    loop {
        tokio::time::sleep(LOOK).await;
        if look().await {
            return tell(&format!("something listens on port {port} now"));
        }
    }
}

/// Tells a person what happens, beside the log.
fn tell(line: &str) {
    // There is nowhere left to report a failure of standard error.
    drop(writeln!(std::io::stderr(), "portico: {line}"));
}

impl Session {
    /// The server that signals are about.
    pub fn server(&self) -> &Running {
        match &self.started {
            Started::Server(running, _) => running,
            Started::Shared(shared) => shared.server(),
        }
    }

    fn shared(&self) -> Option<&Shared> {
        match &self.started {
            Started::Server(_, shared) => shared.as_deref(),
            Started::Shared(shared) => Some(shared),
        }
    }

    /// What is to be said on standard output.
    pub fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// Waits until everything that was asked for has come to its end by itself. What is shown to others ends; a server does not.
    pub async fn over(&self) {
        let Some(shared) = self.shared() else { return std::future::pending().await };
        match shared.ended().await {
            End::Expired => tell("the link for others has expired"),
            End::Revoked => tell("the link for others was revoked"),
        }
        shared.linger().await;
        if matches!(self.started, Started::Server(..)) {
            shared.stop().await;
            std::future::pending::<()>().await;
        }
    }

    /// Ends in order.
    pub async fn stop(&self) {
        match &self.started {
            Started::Server(running, Some(shared)) => {
                tokio::join!(running.stop(), shared.stop());
            }
            Started::Server(running, None) => running.stop().await,
            Started::Shared(shared) => shared.stop().await,
        }
    }

    /// Ends at once.
    pub async fn cut(&self) {
        if let Some(shared) = self.shared() {
            shared.cut().await;
        }
        self.server().cut().await;
    }
}
