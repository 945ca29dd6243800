//! Certificates of an authority of the test's own, as files, and clients that believe it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion};

use crate::Wire;

/// An authority, and a folder for what it issues.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The files of a certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// A client's end of a connection over TLS.
pub type Secure = StreamOwned<ClientConnection, TcpStream>;

impl Default for Authority {
    /// A new one.
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("it is written");
        Self { issuer, folder }
    }
}

impl Authority {
    /// The authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A file beside it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files `NAME.pem` and `NAME.key`, with a certificate for `names`: URIs, DNS names or IP addresses; its subject
    /// is `CN=NAME`. Files that are there are replaced.
    pub fn issue(&self, name: &str, names: &[&str]) -> Pair {
        self.issue_as(name, names, |_| {})
    }

    /// The same, with a certificate that has expired.
    pub fn issue_expired(&self, name: &str, names: &[&str]) -> Pair {
        self.issue_as(name, names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    #[expect(clippy::disallowed_methods, reason = "certificates begin and end by the world's clock")]
    fn issue_as(&self, name: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        params.not_before = date_time_ymd(1970, 1, 1) + now - DAY;
        params.not_after = params.not_before + 60 * DAY;
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pair = Pair { certificate: self.file(&format!("{name}.pem")), key: self.file(&format!("{name}.key")) };
        fs::write(&pair.certificate, certificate.pem()).expect("it is written");
        fs::write(&pair.key, key.serialize_pem()).expect("it is written");
        pair
    }

    /// What a client believes that trusts this authority alone, and shows `identity`.
    pub fn client(&self, identity: Option<&Pair>) -> ClientConfig {
        self.client_of(identity, rustls::ALL_VERSIONS)
    }

    /// The same, with these versions of TLS.
    pub fn client_of(&self, identity: Option<&Pair>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&self.ca()));
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_auth_cert(certificates(&pair.certificate), key(pair)).expect("a pair"),
        }
    }

    /// What a server shows that has `pair`; with `asks` each client must show a certificate of this authority.
    pub fn server(&self, pair: &Pair, asks: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(&self.ca()));
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        builder.with_single_cert(certificates(&pair.certificate), key(pair)).expect("a pair")
    }
}

/// Connects to `address`, whose certificate is for `localhost`. Nothing is sent before the first write or read.
///
/// # Panics
///
/// If nobody listens.
pub fn secure(address: SocketAddr, config: &Arc<ClientConfig>) -> Secure {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(crate::process::PATIENCE)).expect("an open socket");
    StreamOwned::new(connection, stream)
}

impl Wire<Secure> {
    /// Connects over TLS.
    ///
    /// # Panics
    ///
    /// If nobody listens.
    pub fn secure(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::over(secure(address, config))
    }
}

fn alternative(name: &str) -> SanType {
    if let Ok(address) = name.parse() {
        return SanType::IpAddress(address);
    }
    let text = Ia5String::try_from(name).expect("ASCII");
    if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) }
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).expect("a file").map(|certificate| certificate.expect("PEM")).collect()
}

fn key(pair: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(&pair.key).expect("a key")
}
