//! Values that only the store's key opens.

use serde::{Deserialize, Serialize};

/// A sandbox's environment variables, encrypted: they hold other people's keys. The store seals and opens them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedEnv(pub Option<String>);

impl std::fmt::Debug for SealedEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "SealedEnv(…)" } else { "SealedEnv" })
    }
}
