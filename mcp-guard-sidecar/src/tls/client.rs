//! TLS to a node.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, TlsStream};

use super::fault::TlsError;
use super::pem::{Pem, PemFile};
use super::reloaded::{Made, Reloaded, Watched};
use super::server::unusable;
use crate::config::UpstreamTls;

/// Which nodes are believed, and what they are shown. Clones are the same.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<Reloaded<ClientConfig>>,
    name: ServerName<'static>,
}

impl ClientTls {
    /// For a node at `host`, by the section `section` of the config. The files are read now, and whenever a
    /// [`Watcher`](super::Watcher) finds them changed.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if a file cannot be used, or the system has no authorities and the config names none.
    pub fn load(section: &str, tls: &UpstreamTls, host: &str) -> Result<Self, TlsError> {
        let file = |key: &str, path: &Path| PemFile { key: format!("{section}.{key}"), path: path.to_owned() };
        let mut files = Vec::new();
        let identity = tls.identity();
        if let Some((certificate, key)) = identity {
            files.extend([file("certificate", certificate), file("key", key)]);
        }
        files.extend(tls.ca().map(|path| file("ca", path)));
        let (has_identity, owned) = (identity.is_some(), section.to_owned());
        let config = Reloaded::new(section, files, move |contents| make(&owned, has_identity, contents))?;
        let name = tls.server_name().unwrap_or(host).trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(name).map_err(|error| unusable(section)(rustls::Error::General(error.to_string())))?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Shakes hands with a node.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let connector = TlsConnector::from(self.config.current());
        connector.connect(self.name.clone(), stream).await.map(TlsStream::Client)
    }

    /// Whether the certificate has that the node is shown.
    pub fn has_expired(&self) -> bool {
        self.config.has_expired()
    }

    pub(super) fn watched(&self) -> Arc<dyn Watched> {
        Arc::clone(&self.config) as _
    }
}

fn make(name: &str, has_identity: bool, contents: &[Pem]) -> Result<Made<ClientConfig>, TlsError> {
    let (identity, ca) = contents.split_at(if has_identity { 2 } else { 0 });
    let roots = match ca.first() {
        Some(ca) => ca.authorities()?,
        None => authorities_of_the_system(name)?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable(name))?
        .with_root_certificates(roots);
    let (mut config, expiry) = match identity {
        [certificate, key] => {
            let chain = certificate.certificates()?;
            let expiry = chain.first().map(|leaf| certificate.expiry(leaf)).transpose()?;
            (builder.with_client_auth_cert(chain, key.private_key()?).map_err(unusable(name))?, expiry)
        }
        _ => (builder.with_no_client_auth(), None),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Made { config: Arc::new(config), expiry })
}

fn authorities_of_the_system(name: &str) -> Result<RootCertStore, TlsError> {
    // What cannot be read is no authority.
    let found = rustls_native_certs::load_native_certs().unwrap_or_default();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    if roots.is_empty() { Err(TlsError::NoAuthorities { name: name.to_owned() }) } else { Ok(roots) }
}
