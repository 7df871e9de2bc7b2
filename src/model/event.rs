//! What happens to a tenant's things, as its backend is told.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{EventId, Sandbox, SandboxId, SandboxState, TenantId};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum EventType {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl EventType {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

events! {
    /// A sandbox was made.
    SandboxCreated = "sandbox.created",
    /// A sandbox has started: it was being made, stopped or broken before.
    SandboxRunning = "sandbox.running",
    /// A sandbox that has started can be visited: it runs, and its address is known.
    SandboxReady = "sandbox.ready",
    /// Something else about a sandbox has changed.
    SandboxUpdated = "sandbox.updated",
    /// A sandbox was paused.
    SandboxPaused = "sandbox.paused",
    /// A paused sandbox runs again.
    SandboxResumed = "sandbox.resumed",
    /// A sandbox was stopped.
    SandboxStopped = "sandbox.stopped",
    /// A sandbox broke.
    SandboxError = "sandbox.error",
    /// A sandbox is gone for good.
    SandboxDestroyed = "sandbox.destroyed",
    /// A link that opens a preview was made.
    ShareCreated = "sandbox.share.created",
    /// Such a link was revoked.
    ShareRevoked = "sandbox.share.revoked",
    /// A preview domain was seen to lead here.
    PreviewDomainVerified = "preview_domain.verified",
    /// Something was refused because an end user has used up a quota.
    QuotaExceeded = "quota.exceeded",
    /// A webhook is being tried out.
    WebhookTest = "webhook.test",
}

// Not derived: the macro does not see through ours to the names.
impl PartialSchema for EventType {
    fn schema() -> RefOr<Schema> {
        let names = Self::ALL.iter().map(|kind| kind.name());
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        schema.description(Some("A kind of event.")).into()
    }
}

impl ToSchema for EventType {}

impl EventType {
    /// The part before the first dot.
    pub fn category(self) -> &'static str {
        self.name().split_once('.').map_or(self.name(), |(category, _)| category)
    }

    /// What has happened between two states of a sandbox; `None` before it was made. A start gives exactly one
    /// [`Self::SandboxRunning`] and one [`Self::SandboxReady`].
    pub fn between(before: Option<&Sandbox>, after: &Sandbox) -> Vec<Self> {
        let mut happened = Vec::new();
        if before.is_none() {
            happened.push(Self::SandboxCreated);
        }
        let was = before.map(|before| before.state);
        let resumes = matches!(was, Some(SandboxState::Paused | SandboxState::Resuming));
        if was != Some(after.state) {
            match after.state {
                SandboxState::Running if resumes => happened.push(Self::SandboxResumed),
                SandboxState::Running => happened.push(Self::SandboxRunning),
                SandboxState::Paused => happened.push(Self::SandboxPaused),
                SandboxState::Stopped => happened.push(Self::SandboxStopped),
                SandboxState::Error => happened.push(Self::SandboxError),
                SandboxState::Destroyed => happened.push(Self::SandboxDestroyed),
                // What is on its way is told once it is there.
                SandboxState::Creating | SandboxState::Pausing | SandboxState::Resuming => {}
            }
        }
        if after.is_ready() && !resumes && !before.is_some_and(Sandbox::is_ready) {
            happened.push(Self::SandboxReady);
        }
        if before.is_some_and(|before| differs(before, after)) {
            happened.push(Self::SandboxUpdated);
        }
        happened
    }
}

/// Whether anything differs that no other event tells of.
fn differs(before: &Sandbox, after: &Sandbox) -> bool {
    if after.state == SandboxState::Destroyed {
        return false;
    }
    let told = after.state != before.state && after.state != SandboxState::Creating;
    let mut aligned = before.clone();
    aligned.updated_at = after.updated_at;
    aligned.started_at = after.started_at;
    aligned.life.clone_from(&after.life);
    if told {
        aligned.state = after.state;
    }
    if after.is_ready() != before.is_ready() {
        // An address that comes with readiness is told by it.
        aligned.upstream.clone_from(&after.upstream);
        aligned.driver = after.driver;
        aligned.address_generation = after.address_generation;
    }
    aligned != *after
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A pattern that no event can ever match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no event {0}")]
pub struct UnknownEvent(pub String);

/// Which events somebody wants to be told of: names, `sandbox.*` and `*`. Empty: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventFilter(Vec<String>);

impl EventFilter {
    /// A filter whose every pattern matches something.
    pub fn known(patterns: Vec<String>) -> Result<Self, UnknownEvent> {
        let unknown =
            |pattern: &&String| !EventType::ALL.iter().any(|kind| matches(pattern, kind.name()));
        match patterns.iter().find(unknown) {
            Some(unknown) => Err(UnknownEvent(unknown.clone())),
            None => Ok(Self(patterns)),
        }
    }

    /// A filter from a list with commas. What matches nothing does no harm.
    pub fn list(text: &str) -> Self {
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        Self(patterns.map(str::to_owned).collect())
    }

    /// Whether a kind of event is wanted.
    pub fn wants(&self, kind: EventType) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| matches(pattern, kind.name()))
    }

    /// The patterns.
    pub fn patterns(&self) -> &[String] {
        &self.0
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => prefix.ends_with('.') && name.starts_with(prefix),
        None => pattern == name,
    }
}

impl FromStr for EventType {
    type Err = UnknownEvent;
    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let found = Self::ALL.iter().find(|kind| kind.name() == text);
        found.copied().ok_or_else(|| UnknownEvent(text.to_owned()))
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the order in which events were written.
    pub seq: i64,
    /// Its id.
    pub id: EventId,
    /// Whose.
    pub tenant: TenantId,
    /// What happened.
    pub kind: EventType,
    /// When.
    pub at: Timestamp,
    /// The sandbox it is about.
    pub sandbox: Option<SandboxId>,
    /// The workspace it belongs to.
    pub workspace: Option<String>,
    /// The tenant's own id of the workspace.
    pub external_workspace_id: Option<String>,
    /// The tenant's own id of the end user.
    pub external_user_id: Option<String>,
    /// What is told about it.
    pub data: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_names_families_and_everything() {
        let wants = |patterns: &[&str], kind| {
            let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
            EventFilter::known(patterns).unwrap().wants(kind)
        };
        assert!(wants(&[], EventType::QuotaExceeded) && wants(&["*"], EventType::QuotaExceeded));
        assert!(wants(&["sandbox.*"], EventType::ShareCreated));
        assert!(!wants(&["sandbox.share.*"], EventType::SandboxReady));
        assert!(!wants(&["sandbox.*"], EventType::PreviewDomainVerified));
        assert!(wants(&["sandbox.ready", "quota.exceeded"], EventType::QuotaExceeded));
        for unknown in ["sandbox.raedy", "sandbox", "sand*", "deployment.*", "", ".*", "**"] {
            let error = EventFilter::known(vec![unknown.into()]);
            assert_eq!(error, Err(UnknownEvent(unknown.into())), "{unknown}");
        }
        assert!(!EventFilter::list("webhook.delivered").wants(EventType::SandboxReady));
        assert!(EventFilter::list(" , sandbox.*").wants(EventType::SandboxReady));
    }

    #[test]
    fn every_name_is_read_as_what_it_names() {
        for kind in EventType::ALL {
            assert_eq!(kind.name().parse(), Ok(*kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
