//! Signing keys as they stand in the database: sealed under the master key, so
//! that who has the database alone has no key.

use dt_service::master_key::{MasterKey, SealError};
use dt_store::SealedKey;
use dt_token::{Kid, SigningKey};

/// Encrypts a signing key. Its name is authenticated with it, so that a sealed
/// key can't be moved to another row.
pub(crate) fn seal(master: &MasterKey, key: &SigningKey) -> SealedKey {
    let kid = key.public().kid();
    SealedKey(master.seal(&key.to_seed()[..], kid.as_str()))
}

/// Opens what [`seal`] made for the key of this name.
pub(crate) fn open(
    master: &MasterKey,
    sealed: &SealedKey,
    kid: &Kid,
) -> Result<SigningKey, SealError> {
    let seed = master.open(&sealed.0, kid.as_str())?;
    let seed = <&[u8; 32]>::try_from(seed.as_slice()).map_err(|_| SealError)?;
    let key = SigningKey::from_seed(seed);
    if key.public().kid() == *kid {
        Ok(key)
    } else {
        Err(SealError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_only_under_its_master_key_and_name() {
        let (master, key) = (MasterKey::random(), SigningKey::random());
        let kid = key.public().kid();
        let sealed = seal(&master, &key);
        assert_eq!(open(&master, &sealed, &kid).unwrap().public(), key.public());
        assert_eq!(
            open(&MasterKey::random(), &sealed, &kid).unwrap_err(),
            SealError
        );
        let other = SigningKey::random().public().kid();
        assert_eq!(open(&master, &sealed, &other).unwrap_err(), SealError);
        assert!(
            !sealed
                .0
                .windows(8)
                .any(|part| key.to_seed().windows(8).any(|s| s == part))
        );
    }
}
