//! A certificate made here, which clients accept by its hash.
//!
//! Browsers take `serverCertificateHashes` for ECDSA certificates of at most
//! two weeks. One lives for 13 days. Four days before its end the next one is
//! made and its hash given out beside the current one's; a day before its end
//! the next one is put to use, when every page that is still open knows it.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{CertificateError, Certificates, hash, provider};

/// From first to last second, one below what browsers accept.
const LIFETIME: Duration = Duration::days(13);
/// Clients' clocks may be this much behind.
const BACKDATED: Duration = Duration::hours(1);
/// With this much left the next one is made.
const ANNOUNCE_BEFORE_END: Duration = Duration::days(4);
/// With this much left the next one takes over.
const SWITCH_BEFORE_END: Duration = Duration::days(1);

const FILE: &str = "self-signed-certificate.json";
/// Names under which every deployment is reached from its own machine.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    names: BTreeSet<String>,
    #[serde(with = "time::serde::timestamp")]
    not_after: OffsetDateTime,
    certificate_pem: String,
    key_pem: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    current: Entry,
    next: Option<Entry>,
}

pub(super) struct SelfSigned {
    path: PathBuf,
    names: BTreeSet<String>,
    kept: Kept,
}

impl SelfSigned {
    /// What is kept in `data`, or a new one if that is over, for other names or
    /// not readable.
    pub(super) fn open(
        data: &Path,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<(Self, Certificates), CertificateError> {
        let path = data.join(FILE);
        let names: BTreeSet<_> = names
            .iter()
            .cloned()
            .chain(LOCAL_NAMES.map(str::to_owned))
            .collect();
        let kept = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok())
            .filter(|kept| kept.current.is_usable(&names, now));
        let is_new = kept.is_none();
        let kept = match kept {
            Some(kept) => kept,
            None => Kept {
                current: Entry::make(&names, now)?,
                next: None,
            },
        };
        let mut source = Self { path, names, kept };
        if is_new {
            source.keep(source.kept.clone())?;
        }
        let certificates = match source.renew_if_due(now)? {
            Some(renewed) => renewed,
            None => source.kept.certificates()?,
        };
        Ok((source, certificates))
    }

    /// Announces the next certificate or switches to it, if it is time.
    pub(super) fn renew_if_due(
        &mut self,
        now: OffsetDateTime,
    ) -> Result<Option<Certificates>, CertificateError> {
        let left = self.kept.current.not_after - now;
        let next = self.kept.next.clone();
        let kept = match next {
            Some(next) if left <= SWITCH_BEFORE_END => Kept {
                current: next,
                next: None,
            },
            None if left <= ANNOUNCE_BEFORE_END => {
                let next = Entry::make(&self.names, now)?;
                // A machine that slept has no time left to announce.
                if left <= Duration::ZERO {
                    Kept {
                        current: next,
                        next: None,
                    }
                } else {
                    Kept {
                        current: self.kept.current.clone(),
                        next: Some(next),
                    }
                }
            }
            _ => return Ok(None),
        };
        let certificates = kept.certificates()?;
        self.keep(kept)?;
        Ok(Some(certificates))
    }

    /// Writes beside the old file and renames, so that a crash leaves one of
    /// the two whole. Only the owner may read the keys.
    fn keep(&mut self, kept: Kept) -> Result<(), CertificateError> {
        let bytes = serde_json::to_vec_pretty(&kept).expect("texts and times are always JSON");
        let beside = self.path.with_extension("json.new");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(&beside)
            .and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&beside, &self.path))
            .map_err(|source| CertificateError::Write {
                path: self.path.clone(),
                source,
            })?;
        self.kept = kept;
        Ok(())
    }
}

impl Kept {
    fn certificates(&self) -> Result<Certificates, CertificateError> {
        let mut certificates = Certificates::new(self.current.key()?);
        certificates.pinned.push(certificates.fingerprint);
        if let Some(next) = &self.next {
            certificates.pinned.push(hash(&next.key()?));
        }
        Ok(certificates)
    }
}

impl Entry {
    fn make(names: &BTreeSet<String>, now: OffsetDateTime) -> Result<Self, CertificateError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(CertificateError::Make)?;
        let names_list: Vec<_> = names.iter().cloned().collect();
        let mut params = CertificateParams::new(names_list).map_err(CertificateError::Make)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Dark Tower");
        params.not_before = now - BACKDATED;
        params.not_after = params.not_before + LIFETIME;
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
        let certificate = params.self_signed(&key).map_err(CertificateError::Make)?;
        Ok(Self {
            names: names.clone(),
            not_after: params.not_after,
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    fn is_usable(&self, names: &BTreeSet<String>, now: OffsetDateTime) -> bool {
        // A clock that was put back leaves one that is not valid yet.
        let begins_at = self.not_after - LIFETIME;
        self.names == *names && now < self.not_after && begins_at <= now && self.key().is_ok()
    }

    fn key(&self) -> Result<CertifiedKey, CertificateError> {
        let unusable = || CertificateError::Unusable(rustls::Error::NoCertificatesPresented);
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| unusable())?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|_| unusable())?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(CertificateError::Unusable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, now: OffsetDateTime) -> (SelfSigned, Certificates) {
        SelfSigned::open(dir, &["192.0.2.7".to_owned()], now).unwrap()
    }

    #[test]
    fn a_restart_keeps_the_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let (_, first) = open(dir.path(), now);
        let (_, second) = open(dir.path(), now + Duration::days(8));
        assert_eq!(first.fingerprint, second.fingerprint);
        assert_eq!(second.pinned, [first.fingerprint]);
    }

    #[test]
    fn other_names_an_end_in_the_past_or_a_broken_file_make_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let (_, first) = open(dir.path(), now);
        let (_, renamed) = SelfSigned::open(dir.path(), &[], now).unwrap();
        assert_ne!(first.fingerprint, renamed.fingerprint);
        let (_, late) = SelfSigned::open(dir.path(), &[], now + Duration::days(14)).unwrap();
        assert_ne!(late.fingerprint, renamed.fingerprint);
        std::fs::write(dir.path().join(FILE), b"{").unwrap();
        let (_, repaired) = open(dir.path(), now);
        assert_ne!(repaired.fingerprint, late.fingerprint);
    }

    #[test]
    fn the_next_certificate_is_announced_days_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let (mut source, first) = open(dir.path(), now);
        assert!(
            source
                .renew_if_due(now + Duration::days(8))
                .unwrap()
                .is_none()
        );

        let announced = source
            .renew_if_due(now + Duration::days(9))
            .unwrap()
            .unwrap();
        assert_eq!(announced.fingerprint, first.fingerprint);
        assert_eq!(announced.pinned.len(), 2);
        assert!(
            source
                .renew_if_due(now + Duration::days(10))
                .unwrap()
                .is_none()
        );

        // A restart in between forgets neither.
        let (mut source, reopened) = open(dir.path(), now + Duration::days(10));
        assert_eq!(reopened.pinned, announced.pinned);

        let switched = source
            .renew_if_due(now + Duration::days(12))
            .unwrap()
            .unwrap();
        assert_eq!(switched.fingerprint, announced.pinned[1]);
        assert_eq!(switched.pinned, [switched.fingerprint]);
    }

    #[test]
    fn a_machine_that_slept_past_the_end_gets_a_new_one_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let (mut source, first) = open(dir.path(), now);
        let woken = source
            .renew_if_due(now + Duration::days(20))
            .unwrap()
            .unwrap();
        assert_ne!(woken.fingerprint, first.fingerprint);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), OffsetDateTime::now_utc());
        let mode = std::fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
