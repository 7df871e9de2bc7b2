//! What the server serves: noted when it starts, for commands that are given nothing but the data directory.

use serde::{Deserialize, Serialize};

use super::rows::{from_json, json};
use super::{Store, StoreError};

/// How previews are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The platform's zones; links are minted in the first.
    pub zones: Vec<String>,
    /// The scheme of links.
    pub scheme: String,
    /// Their port.
    pub port: u16,
    /// Ports that are never previewed.
    pub forbidden_ports: Vec<u16>,
    /// Whether strangers are told the same of a private preview and of one that is not there.
    #[serde(default)]
    pub hide_names: bool,
}

impl Store {
    /// Notes how previews are reached. Several servers of one directory are configured alike; the last to start is heard.
    pub async fn note_serving(&self, serving: &Serving) -> Result<(), StoreError> {
        if self.serving().await?.as_ref() == Some(serving) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO serving (id, facts) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET facts = ?1",
        )
        .bind(json(serving))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::Database)?;
        self.end(tx).await
    }

    /// How previews were reached when a server started last; `None` when none has.
    pub async fn serving(&self) -> Result<Option<Serving>, StoreError> {
        let facts: Option<String> = sqlx::query_scalar("SELECT facts FROM serving WHERE id = 1")
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::Database)?;
        facts.as_deref().map(from_json).transpose()
    }
}
