//! What a look at one thing has found, and what to do about it.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; may be meant.
    Warning,
    /// Something does not work.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, found: found.into(), advice: None }
    }

    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { level: Level::Warning, check, found: found.into(), advice }
    }

    pub(super) fn error(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { level: Level::Error, check, found: found.into(), advice }
    }
}

/// Everything that was found, for a terminal. Names come from others, so no control character of theirs is printed.
pub(super) fn as_text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { level, check, found, advice } in findings {
        let level = match level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        out += &format!("{level:<8} {check:<12} {}\n", found.replace(char::is_control, " "));
        if let Some(advice) = advice {
            out += &format!("{:<21} → {}\n", "", advice.replace(char::is_control, " "));
        }
    }
    out
}
