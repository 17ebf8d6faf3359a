//! The master key of a deployment, and sealing of other keys under it.
//!
//! It comes from the environment, or from a file that only its owner may read.
//! It is never in a store: who has the store alone has no key.

use std::{fmt, io, path::Path};

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::RngExt as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

/// The environment variable with the master key: 32 bytes in base64.
pub const MASTER_KEY_ENV: &str = "DARKTOWER_MASTER_KEY";
/// The file in the data directory with the same.
pub const MASTER_KEY_FILE: &str = "master.key";

const NONCE_BYTES: usize = 12;
/// What is sealed, first: a format that may change.
const SEAL_VERSION: u8 = 1;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The text is not 32 bytes in base64.
    #[error("{0} does not hold 32 bytes in base64 (make one with: openssl rand -base64 32)")]
    Malformed(String),
    /// Others may read the file.
    #[error("{0} can be read by others; make it private with: chmod 600 {0}")]
    NotPrivate(String),
    /// Neither the environment nor a file has one.
    #[error("there is no master key: set {MASTER_KEY_ENV}, or put one into {0}")]
    Missing(String),
    /// The file can't be read or made.
    #[error("{path} can't be read or written")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Why what is sealed could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a stored key can't be opened: this is not the master key it was sealed under, or it was changed"
)]
pub struct SealError;

/// 256 bits that seal keys.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// A new key from the system's random source.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::rng().random())
    }

    /// The key of a deployment: from [`MASTER_KEY_ENV`], or else from
    /// [`MASTER_KEY_FILE`] in `dir`.
    ///
    /// # Errors
    /// See [`MasterKeyError`].
    pub fn load(dir: &Path) -> Result<Self, MasterKeyError> {
        match std::env::var(MASTER_KEY_ENV) {
            Ok(text) => Self::parse(&text, MASTER_KEY_ENV),
            Err(_) => Self::read(&dir.join(MASTER_KEY_FILE)),
        }
    }

    /// As [`load`](Self::load), but makes the file if there is neither.
    ///
    /// # Errors
    /// See [`MasterKeyError`].
    pub fn load_or_make(dir: &Path) -> Result<Self, MasterKeyError> {
        match Self::load(dir) {
            Err(MasterKeyError::Missing(_)) => {
                let path = dir.join(MASTER_KEY_FILE);
                Self::random().write(&path)?;
                // Another process may have been quicker; its key counts.
                Self::read(&path)
            }
            loaded => loaded,
        }
    }

    fn parse(text: &str, from: &str) -> Result<Self, MasterKeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).unwrap_or_default());
        match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(key) => Ok(Self(key)),
            Err(_) => Err(MasterKeyError::Malformed(from.to_owned())),
        }
    }

    fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let shown = path.display().to_string();
        let failed = |source| MasterKeyError::File {
            path: shown.clone(),
            source,
        };
        let metadata = match std::fs::metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(MasterKeyError::Missing(shown));
            }
            metadata => metadata.map_err(failed)?,
        };
        if !is_private(&metadata) {
            return Err(MasterKeyError::NotPrivate(shown));
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        Self::parse(&text, &shown)
    }

    /// Puts the key into a new file; does nothing if there is one.
    fn write(&self, path: &Path) -> Result<(), MasterKeyError> {
        let failed = |source| MasterKeyError::File {
            path: path.display().to_string(),
            source,
        };
        // Written aside and linked, so that no one ever reads half a key.
        let aside = path.with_extension(format!("{:016x}", rand::rng().random::<u64>()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(self.0)));
        let written = options.open(&aside).and_then(|mut file| {
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.sync_all()
        });
        let linked = written.and_then(|()| std::fs::hard_link(&aside, path));
        std::fs::remove_file(&aside).map_err(failed)?;
        match linked {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(failed),
        }
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.0.into())
    }

    /// Encrypts a secret with AES-256-GCM. Its label is authenticated with it, so
    /// that what is sealed can't be moved to another place; no two secrets of a
    /// deployment have the same label.
    ///
    /// # Panics
    /// Never: AES-GCM takes 64 GiB.
    #[must_use]
    pub fn seal(&self, secret: &[u8], label: &str) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::rng().random();
        let payload = Payload {
            msg: secret,
            aad: label.as_bytes(),
        };
        let sealed = self
            .cipher()
            .encrypt(&Nonce::from(nonce), payload)
            .expect("a secret is within what AES-GCM takes");
        [&[SEAL_VERSION][..], &nonce, &sealed].concat()
    }

    /// Opens what [`seal`](Self::seal) made under this label.
    ///
    /// # Errors
    /// When it is something else.
    pub fn open(&self, sealed: &[u8], label: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&SEAL_VERSION, rest) = sealed.split_first().ok_or(SealError)? else {
            return Err(SealError);
        };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let payload = Payload {
            msg: sealed,
            aad: label.as_bytes(),
        };
        self.cipher()
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealError)
    }
}

#[cfg(unix)]
fn is_private(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o077 == 0
}

/// Other systems guard files by other means than a mode.
#[cfg(not(unix))]
fn is_private(_: &std::fs::Metadata) -> bool {
    true
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_only_under_its_master_key_and_label() {
        let (master, secret) = (MasterKey::random(), [7; 32]);
        let sealed = master.seal(&secret, "a");
        assert_eq!(master.open(&sealed, "a").unwrap()[..], secret);
        let other = MasterKey::random();
        assert_eq!(other.open(&sealed, "a").unwrap_err(), SealError);
        assert_eq!(master.open(&sealed, "b").unwrap_err(), SealError);
        assert!(!sealed.windows(8).any(|part| part == [7; 8]));
    }

    #[test]
    fn a_changed_or_cut_sealed_secret_is_refused() {
        let master = MasterKey::random();
        let sealed = master.seal(&[7; 32], "a");
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(master.open(&changed, "a").is_err());
            assert!(master.open(&sealed[..place], "a").is_err());
        }
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MASTER_KEY_FILE);
        assert!(matches!(
            MasterKey::read(&path),
            Err(MasterKeyError::Missing(_))
        ));
        let first = MasterKey::random();
        first.write(&path).unwrap();
        MasterKey::random().write(&path).unwrap();
        assert_eq!(MasterKey::read(&path).unwrap().0, first.0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MASTER_KEY_FILE);
        MasterKey::random().write(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = MasterKey::read(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        for text in ["", "hunter2hunter2", "c2hvcnQ="] {
            let error = MasterKey::parse(text, "X").unwrap_err();
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
        assert_eq!(format!("{:?}", MasterKey::random()), "MasterKey(…)");
    }
}
