//! TLS to clients.

use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::fault::TlsError;
use super::identity;
use super::pem::{Pem, PemFile};
use super::reloaded::{Made, Reloaded, Watched};
use crate::config::{Tls, TlsVersion};

/// What a listener's clients are shown, and asked for. Clones are the same.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<Reloaded<ServerConfig>>);

impl ServerTls {
    /// By the section `name` of the config. The files are read now, and whenever a [`Watcher`](super::Watcher) finds them
    /// changed.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file cannot be used.
    pub fn load(name: &str, tls: &Tls) -> Result<Self, TlsError> {
        let file = |key: &str, path: &std::path::Path| PemFile { key: format!("{name}.{key}"), path: path.to_owned() };
        let mut files = vec![file("certificate", &tls.certificate), file("key", &tls.key)];
        files.extend(tls.client_ca.as_ref().map(|path| file("client_ca", path)));
        let (section, version) = (name.to_owned(), tls.minimum_version);
        Reloaded::new(name, files, move |contents| make(&section, version, contents)).map(|made| Self(Arc::new(made)))
    }

    /// Shakes hands with a client, and says who it is, where it showed a certificate.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Option<Arc<str>>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.0.current()).accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let subject = certificates.and_then(<[_]>::first).map(|leaf| identity::of(leaf)).transpose()?;
        Ok((TlsStream::Server(stream), subject))
    }

    /// Whether the certificate has.
    pub fn has_expired(&self) -> bool {
        self.0.has_expired()
    }

    pub(super) fn watched(&self) -> Arc<dyn Watched> {
        Arc::clone(&self.0) as _
    }
}

fn make(name: &str, minimum: TlsVersion, contents: &[Pem]) -> Result<Made<ServerConfig>, TlsError> {
    let [certificate, key, client_ca @ ..] = contents else {
        return Err(unusable(name)(rustls::Error::General("two files are needed".into())));
    };
    let chain = certificate.certificates()?;
    let expiry = chain.first().map(|leaf| certificate.expiry(leaf)).transpose()?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(minimum))
        .map_err(unusable(name))?;
    let builder = match client_ca.first() {
        None => builder.with_no_client_auth(),
        Some(authorities) => builder.with_client_cert_verifier(verifier(name, authorities, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key.private_key()?).map_err(unusable(name))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(unusable(name))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Made { config: Arc::new(config), expiry })
}

fn verifier(
    name: &str,
    authorities: &Pem,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let roots = Arc::new(authorities.authorities()?);
    WebPkiClientVerifier::builder_with_provider(roots, provider)
        .build()
        .map_err(|error| TlsError::ClientAuthorities { name: name.to_owned(), error })
}

fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static SINCE_1_3: [&SupportedProtocolVersion; 1] = [&TLS13];
    static SINCE_1_2: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match minimum {
        TlsVersion::Tls13 => &SINCE_1_3,
        TlsVersion::Tls12 => &SINCE_1_2,
    }
}

pub(super) fn unusable(name: &str) -> impl Fn(rustls::Error) -> TlsError {
    move |error| TlsError::Unusable { name: name.to_owned(), error }
}
