//! Passwords: which ones are taken, and hashing on a few threads.
//!
//! bcrypt of cost 12 takes a core for some 200 ms. The pool bounds how many
//! hashes run and how many wait, so that a flood of sign-ins takes neither the
//! cores from meetings nor memory without end.

use std::sync::Arc;

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use dt_store::PasswordHash;
use rand::RngExt as _;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Fewest characters (NIST SP 800-63B asks for 8 at least).
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Most bytes: bcrypt looks at no more, and a silent cut would be worse.
pub const PASSWORD_BYTES_MAX: usize = 72;

/// bcrypt writes base64 with letters in an order of its own.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::BCRYPT, NO_PAD);
/// Sign-ins that wait for a thread; more are told to come back.
const WAITING_MAX: usize = 64;

/// Why a password is not taken for a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPassword {
    /// Fewer than [`PASSWORD_CHARS_MIN`] characters.
    #[error("a password needs {PASSWORD_CHARS_MIN} characters at least")]
    TooShort,
    /// More than [`PASSWORD_BYTES_MAX`] bytes.
    #[error("a password may have {PASSWORD_BYTES_MAX} bytes at most")]
    TooLong,
    /// bcrypt stops at a zero byte.
    #[error("a password can't have a zero byte")]
    ZeroByte,
}

/// Whether a new account may have this password.
pub(crate) fn check_new(password: &str) -> Result<(), UnfitPassword> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        Err(UnfitPassword::TooShort)
    } else if password.len() > PASSWORD_BYTES_MAX {
        Err(UnfitPassword::TooLong)
    } else if password.contains('\0') {
        Err(UnfitPassword::ZeroByte)
    } else {
        Ok(())
    }
}

/// Hashes a checked password. Blocks for some 200 ms at cost 12.
pub(crate) fn hash(password: &str, cost: u32) -> PasswordHash {
    PasswordHash(
        bcrypt::hash(password, cost).expect("the cost is bounded and the system has randomness"),
    )
}

/// There is no room to check a password now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub(crate) struct Busy;

/// Checks passwords, a few at a time.
pub(crate) struct HashPool {
    threads: Arc<Semaphore>,
    /// Those that run and those that wait.
    places: Arc<Semaphore>,
    /// Stands in for the hash of an account that isn't there, so that a sign-in
    /// takes as long as for one that is.
    decoy: PasswordHash,
}

impl HashPool {
    pub(crate) fn new(cost: u32, threads: usize) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(threads + WAITING_MAX)),
            decoy: decoy(cost),
        }
    }

    /// Whether `password` is the one of `hash`. Without a hash, or with a
    /// password that no account can have, it is not, after the same time.
    pub(crate) async fn verify(
        &self,
        password: Zeroizing<String>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Busy> {
        // Held until the hash is made, by the thread itself: a caller who goes
        // away must not free the place while the thread still works.
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Busy)?;
        let thread = Arc::clone(&self.threads)
            .acquire_owned()
            .await
            .map_err(|_| Busy)?;
        let fits = check_fits(&password);
        let (hash, real) = match hash {
            Some(hash) if fits => (hash, true),
            _ => (self.decoy.clone(), false),
        };
        tokio::task::spawn_blocking(move || {
            let _held = (place, thread);
            // A hash that can't be read is nobody's.
            let same = bcrypt::verify(password.as_bytes(), &hash.0).unwrap_or(false);
            same && real
        })
        .await
        .map_err(|_| Busy)
    }
}

fn check_fits(password: &str) -> bool {
    password.len() <= PASSWORD_BYTES_MAX && !password.contains('\0')
}

/// A hash of nothing: well formed, of the same cost, that no password has.
fn decoy(cost: u32) -> PasswordHash {
    let (salt, hash): ([u8; 16], [u8; 23]) = (rand::rng().random(), rand::rng().random());
    let (salt, hash) = (BCRYPT_BASE64.encode(salt), BCRYPT_BASE64.encode(hash));
    PasswordHash(format!("$2b${cost:02}${salt}{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let pool = HashPool::new(4, 2);
        let stored = hash("correct horse", 4);
        assert_eq!(
            pool.verify(secret("correct horse"), Some(stored.clone()))
                .await,
            Ok(true)
        );
        assert_eq!(
            pool.verify(secret("correct hors"), Some(stored.clone()))
                .await,
            Ok(false)
        );
        assert_eq!(pool.verify(secret("correct horse"), None).await, Ok(false));
        // bcrypt alone would see only the part before the zero byte, or 72 bytes.
        let cut = format!("correct horse\0{}", "x");
        assert_eq!(pool.verify(secret(&cut), Some(stored)).await, Ok(false));
        let long = "x".repeat(PASSWORD_BYTES_MAX);
        let stored = hash(&long, 4);
        assert_eq!(
            pool.verify(secret(&long), Some(stored.clone())).await,
            Ok(true)
        );
        assert_eq!(
            pool.verify(secret(&(long + "y")), Some(stored)).await,
            Ok(false)
        );
    }

    #[tokio::test]
    async fn the_decoy_costs_as_much_as_a_real_hash() {
        let decoy = decoy(5);
        assert!(decoy.0.starts_with("$2b$05$"), "{}", decoy.0);
        assert_eq!(decoy.0.len(), hash("correct horse", 5).0.len());
        assert!(matches!(
            bcrypt::verify("correct horse", &decoy.0),
            Ok(false)
        ));
    }

    #[tokio::test]
    async fn a_flood_is_refused_not_queued() {
        let pool = Arc::new(HashPool::new(4, 1));
        let _busy = pool
            .places
            .acquire_many(1 + WAITING_MAX as u32)
            .await
            .unwrap();
        assert_eq!(pool.verify(secret("correct horse"), None).await, Err(Busy));
    }

    #[test]
    fn unfit_passwords_are_named() {
        assert_eq!(check_new("short"), Err(UnfitPassword::TooShort));
        assert_eq!(check_new(&"x".repeat(73)), Err(UnfitPassword::TooLong));
        assert_eq!(check_new("12345678\0"), Err(UnfitPassword::ZeroByte));
        assert_eq!(check_new("корректный конь"), Ok(()));
    }
}
