//! A certificate that the operator gives: two PEM files, which a renewal by
//! another program replaces while we run.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{CertificateError, Certificates, provider};

pub(super) struct GivenFiles {
    certificate: PathBuf,
    key: PathBuf,
    seen: [Option<SystemTime>; 2],
}

impl GivenFiles {
    pub(super) fn open(
        certificate: &Path,
        key: &Path,
    ) -> Result<(Self, Certificates), CertificateError> {
        let mut files = Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            seen: [None; 2],
        };
        files.seen = files.modified();
        let certificates = files.load()?;
        Ok((files, certificates))
    }

    /// The new certificate, if a file changed since it was last read. Half a
    /// change, a new key with the old certificate, is an error until the other
    /// half is there.
    pub(super) fn reload_if_changed(&mut self) -> Result<Option<Certificates>, CertificateError> {
        let modified = self.modified();
        if modified == self.seen {
            return Ok(None);
        }
        let certificates = self.load()?;
        self.seen = modified;
        Ok(Some(certificates))
    }

    fn modified(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok())
    }

    fn load(&self) -> Result<Certificates, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(&self.certificate)?)
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        if chain.is_empty() {
            return Err(CertificateError::Pem {
                path: self.certificate.clone(),
                what: "certificate",
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_| {
            CertificateError::Pem {
                path: self.key.clone(),
                what: "private key",
            }
        })?;
        CertifiedKey::from_der(chain, key, &provider())
            .map(Certificates::new)
            .map_err(CertificateError::Unusable)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn write_pair(dir: &Path) {
        let pair = rcgen::generate_simple_self_signed(vec!["meet.example".to_owned()]).unwrap();
        std::fs::write(dir.join("cert.pem"), pair.cert.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn changed_files_are_read_again_and_unchanged_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        write_pair(dir.path());
        let (mut files, first) = GivenFiles::open(&certificate, &key).unwrap();
        assert!(first.pinned.is_empty());
        assert!(files.reload_if_changed().unwrap().is_none());

        write_pair(dir.path());
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::File::options()
            .append(true)
            .open(&key)
            .unwrap()
            .set_modified(later)
            .unwrap();
        let second = files.reload_if_changed().unwrap().unwrap();
        assert_ne!(first.fingerprint, second.fingerprint);
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write_pair(dir.path());
        let key = dir.path().join("key.pem");
        let error = GivenFiles::open(&key, &key).err().unwrap();
        assert!(
            error
                .to_string()
                .ends_with("key.pem holds no certificate in PEM form"),
            "{error}"
        );
        let error = GivenFiles::open(&dir.path().join("none.pem"), &key)
            .err()
            .unwrap();
        assert!(error.to_string().starts_with("can't read"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write_pair(dir.path());
        let certificate = std::fs::read(dir.path().join("cert.pem")).unwrap();
        write_pair(dir.path());
        std::fs::write(dir.path().join("cert.pem"), certificate).unwrap();
        let opened = GivenFiles::open(&dir.path().join("cert.pem"), &dir.path().join("key.pem"));
        assert!(matches!(opened.err(), Some(CertificateError::Unusable(_))));
    }
}
