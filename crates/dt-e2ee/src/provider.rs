//! What openmls needs of the world: cryptography, randomness, and a memory that
//! can be copied to come back to.

use std::collections::HashMap;

use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use openmls_traits::OpenMlsProvider;
use zeroize::Zeroize as _;

/// One group's cryptography and memory. Nothing is written anywhere else, and
/// the memory is wiped when dropped.
#[derive(Default)]
pub(crate) struct Provider {
    crypto: RustCrypto,
    storage: MemoryStorage,
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}

impl Provider {
    /// Copies the memory.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.values().clone())
    }

    /// Puts the memory back to what it was.
    pub(crate) fn restore(&self, mut snapshot: Snapshot) {
        let mut values = self.values();
        wipe(&mut values);
        *values = std::mem::take(&mut snapshot.0);
    }

    fn values(&self) -> std::sync::RwLockWriteGuard<'_, Values> {
        // A panic between lock and unlock leaves a map that is still a map.
        match self.storage.values.write() {
            Ok(values) => values,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        wipe(&mut self.values());
    }
}

type Values = HashMap<Vec<u8>, Vec<u8>>;

/// The memory of a group at one moment, secrets included. Wiped when dropped.
pub(crate) struct Snapshot(Values);

impl Drop for Snapshot {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(values: &mut Values) {
    for value in values.values_mut() {
        value.zeroize();
    }
    values.clear();
}
