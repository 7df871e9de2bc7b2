//! Secrets at rest: encrypted with a key that lies in a file of its own, or beside the database in development.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::rand;

use super::StoreError;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Encrypts and decrypts small values. AES-256-GCM with a random nonce in front; the row's name is authenticated with it, so that a
/// value cannot be moved to another row.
pub(super) struct SecretBox(RandomizedNonceKey);

impl std::fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBox")
    }
}

impl SecretBox {
    /// Reads the key file; makes it, readable by its owner only, when there is none.
    pub(super) fn load(path: &Path) -> Result<Self, StoreError> {
        let fault = |error, what: &str| StoreError::Io(error, format!("{} {what}", path.display()));
        let mut key = [0_u8; KEY_BYTES];
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                rand::fill(&mut key).map_err(|_| StoreError::WrongSecretKey)?;
                file.write_all(hex(&key).as_bytes()).map_err(|e| fault(e, "cannot be written"))?;
                file.sync_all().map_err(|e| fault(e, "cannot be written"))?;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let mut text = String::new();
                let opened = OpenOptions::new().read(true).open(path);
                opened
                    .and_then(|mut file| file.read_to_string(&mut text))
                    .map_err(|e| fault(e, "cannot be read"))?;
                key = unhex(text.trim())
                    .ok_or(StoreError::Corrupt("secret.key must hold 64 hexadecimal digits"))?;
            }
            Err(error) => return Err(fault(error, "cannot be created")),
        }
        RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map(Self)
            .map_err(|_| StoreError::WrongSecretKey)
    }

    pub(super) fn seal(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut sealed = value.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| StoreError::WrongSecretKey)?;
        let nonce: &[u8; NONCE_BYTES] = nonce.as_ref();
        Ok([&nonce[..], &sealed].concat())
    }

    pub(super) fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (nonce, sealed) =
            sealed.split_first_chunk::<NONCE_BYTES>().ok_or(StoreError::WrongSecretKey)?;
        let mut sealed = sealed.to_vec();
        let opened = self.0.open_in_place(nonce.into(), Aad::from(name.as_bytes()), &mut sealed);
        opened.map(|value| value.to_vec()).map_err(|_| StoreError::WrongSecretKey)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    let digits = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_only_under_its_name_and_key() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = SecretBox::load(&dir.path().join("a.key")).unwrap();
        let sealed = secrets.seal("row", b"value").unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"value"));
        assert_eq!(secrets.open("row", &sealed).unwrap(), b"value");
        assert!(secrets.open("other", &sealed).is_err());
        let again = SecretBox::load(&dir.path().join("a.key")).unwrap();
        assert_eq!(again.open("row", &sealed).unwrap(), b"value");
        let other = SecretBox::load(&dir.path().join("b.key")).unwrap();
        assert!(matches!(other.open("row", &sealed), Err(StoreError::WrongSecretKey)));
    }

    #[test]
    fn the_key_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        SecretBox::load(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(SecretBox::load(&path), Err(StoreError::Corrupt(_))));
    }
}
