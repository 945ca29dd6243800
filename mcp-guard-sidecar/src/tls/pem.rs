//! Files of keys and certificates, PEM (RFC 7468).

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::fault::{FileFault, TlsError};

/// A file, and the key of the config that names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PemFile {
    pub(super) key: String,
    pub(super) path: PathBuf,
}

/// What a file held when it was read.
pub(super) struct Pem {
    file: PemFile,
    pub(super) bytes: Vec<u8>,
}

/// No bundle of authorities comes near.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl PemFile {
    pub(super) fn read(&self) -> Result<Pem, TlsError> {
        if self.path.to_string_lossy().contains("-----BEGIN ") {
            // It is a secret, not a path, so it is not shown.
            return Err(Self { key: self.key.clone(), path: "<redacted>".into() }.fault(FileFault::NotAPath));
        }
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|error| self.fault(error.into()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(self.fault(FileFault::TooLarge(FILE_BYTES_MAX)));
        }
        Ok(Pem { file: self.clone(), bytes })
    }

    fn fault(&self, fault: FileFault) -> TlsError {
        TlsError::File { key: self.key.clone(), path: self.path.clone(), fault }
    }
}

impl Pem {
    /// The certificates in it: at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let certificates = certificates.map_err(|error| self.fault(FileFault::NotPem(error)))?;
        if certificates.is_empty() { Err(self.fault(FileFault::Without("certificate"))) } else { Ok(certificates) }
    }

    /// The first private key in it.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|error| {
            let is_none = matches!(error, Error::NoItemsFound);
            self.fault(if is_none { FileFault::Without("private key") } else { FileFault::NotPem(error) })
        })
    }

    /// The certificates in it, as authorities.
    pub(super) fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.fault(FileFault::BadCertificate(error.to_string())))?;
        }
        Ok(roots)
    }

    /// When `certificate`, of this file, ends: seconds since 1970.
    pub(super) fn expiry(&self, certificate: &CertificateDer<'_>) -> Result<i64, TlsError> {
        let (_, parsed) = parse_x509_certificate(certificate)
            .map_err(|error| self.fault(FileFault::BadCertificate(error.to_string())))?;
        Ok(parsed.validity().not_after.timestamp())
    }

    fn fault(&self, fault: FileFault) -> TlsError {
        self.file.fault(fault)
    }
}
