//! The steps of a decision, for whoever wants to know why it is what it is. The decision on a visitor's way is the same code with nobody
//! listening, and costs nothing for it.

/// A step of [`super::decide`], by the number it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Whether the tables are complete.
    Tables = 1,
    /// Whether the host is a gateway.
    Gateway,
    /// What the host leads to.
    Host,
    /// Whether the operator has closed it.
    Block,
    /// Whether the port may be previewed.
    Port,
    /// Whether it is an endpoint of ours.
    Own,
    /// What access rests on.
    Access,
    /// What the access allows.
    Allowed,
    /// Whether a link is opened.
    SignIn,
    /// Whether the sandbox serves.
    State,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 10] = [
        Self::Tables,
        Self::Gateway,
        Self::Host,
        Self::Block,
        Self::Port,
        Self::Own,
        Self::Access,
        Self::Allowed,
        Self::SignIn,
        Self::State,
    ];

    /// What it asks.
    pub fn title(self) -> &'static str {
        match self {
            Self::Tables => "routing tables",
            Self::Gateway => "gateway host",
            Self::Host => "host",
            Self::Block => "operator's block",
            Self::Port => "port",
            Self::Own => "own endpoint",
            Self::Access => "access",
            Self::Allowed => "what access allows",
            Self::SignIn => "sign-in",
            Self::State => "sandbox state",
        }
    }
}

/// Who listens to the steps of a decision.
pub trait Trace {
    /// Hears how a step has ended.
    fn note(&mut self, step: Step, outcome: impl FnOnce() -> String);
}

/// Nobody.
impl Trace for () {
    #[inline]
    fn note(&mut self, _: Step, _: impl FnOnce() -> String) {}
}

/// Keeps them in order.
impl Trace for Vec<(Step, String)> {
    fn note(&mut self, step: Step, outcome: impl FnOnce() -> String) {
        self.push((step, outcome()));
    }
}
