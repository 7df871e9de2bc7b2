//! The token of the operator API. It is kept in the store, sealed, so that a command can print it and several servers know it; without it
//! the API refuses everything.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::control::store::{Store, StoreError};

const NAME: &str = "operator_token";

/// The token, if one has been made.
pub async fn operator_token(store: &Store) -> Result<Option<String>, StoreError> {
    store.local_secret(NAME).await
}

/// Makes a token in the place of the one before.
pub async fn put_operator_token(store: &Store) -> Result<String, StoreError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| StoreError::WrongSecretKey)?;
    let token = format!("pot_{}", URL_SAFE_NO_PAD.encode(bytes));
    store.put_local_secret(NAME, &token).await?;
    Ok(token)
}
