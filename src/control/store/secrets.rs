//! Secrets at rest: encrypted with a key that lies in a file of its own, or beside the database in development.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::rand;

use super::StoreError;
use super::directory::{DirectoryError, sync};
use crate::base::owner;

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
    /// Makes a key, readable by its owner only. The file appears whole or not at all: another process that sees it can use it.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let mut key = [0_u8; KEY_BYTES];
        rand::fill(&mut key).map_err(|_| StoreError::WrongSecretKey)?;
        Self::put(path, &hex(&key))?;
        Self::load(path)
    }

    /// Writes a key's text where there is none yet.
    pub(super) fn put(path: &Path, text: &str) -> Result<(), StoreError> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let unfinished = path.with_extension("key.new");
        let error = |error| DirectoryError::io(path, "cannot be created")(error);
        let written = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            owner::hand_over(&unfinished, directory)?;
            match std::fs::hard_link(&unfinished, path) {
                // Somebody else's is as good as ours.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                linked => linked?,
            }
            std::fs::remove_file(&unfinished)
        };
        written().map_err(error)?;
        Ok(sync(directory)?)
    }

    /// Reads the key file.
    pub(super) fn load(path: &Path) -> Result<Self, StoreError> {
        let text = std::fs::read_to_string(path);
        Self::of(&text.map_err(DirectoryError::io(path, "cannot be read"))?)
    }

    /// A key as its file has it.
    pub(super) fn of(text: &str) -> Result<Self, StoreError> {
        let key = unhex(text.trim())
            .ok_or(StoreError::Corrupt("secret.key must hold 64 hexadecimal digits"))?;
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

pub(super) fn hex(bytes: &[u8]) -> String {
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
        let secrets = SecretBox::create(&dir.path().join("a.key")).unwrap();
        let sealed = secrets.seal("row", b"value").unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"value"));
        assert_eq!(secrets.open("row", &sealed).unwrap(), b"value");
        assert!(secrets.open("other", &sealed).is_err());
        let again = SecretBox::load(&dir.path().join("a.key")).unwrap();
        assert_eq!(again.open("row", &sealed).unwrap(), b"value");
        let other = SecretBox::create(&dir.path().join("b.key")).unwrap();
        assert!(matches!(other.open("row", &sealed), Err(StoreError::WrongSecretKey)));
    }

    #[test]
    fn the_key_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        SecretBox::create(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        SecretBox::create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first, "a key is never replaced");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(SecretBox::load(&path), Err(StoreError::Corrupt(_))));
    }
}
