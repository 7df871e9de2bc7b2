//! The same operations at another path.

use utoipa_axum::router::UtoipaMethodRouter;

use super::ApiState;

/// The same handlers at another path: what the document says of them has other words in the place of some.
pub(super) fn twin(
    words: &[(&str, &str)],
    (schemas, paths, router): UtoipaMethodRouter<ApiState>,
) -> UtoipaMethodRouter<ApiState> {
    let said = serde_json::to_string(&paths).unwrap_or_default();
    let said = words.iter().fold(said, |said, (word, other)| said.replace(word, other));
    (schemas, serde_json::from_str(&said).unwrap_or(paths), router)
}
