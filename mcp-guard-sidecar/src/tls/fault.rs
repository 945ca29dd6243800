//! What can be wrong with files of TLS.

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;
use thiserror::Error;

/// Why there is no TLS with these files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Something about one file.
    #[error("{key}: {}: {fault}", path.display())]
    File {
        /// The key that names it, as `listeners[0].tls.certificate`.
        key: String,
        /// Where it is.
        path: PathBuf,
        /// What.
        fault: FileFault,
    },
    /// What the files say does not go together, or cannot be used.
    #[error("{name}: {error}")]
    Unusable {
        /// The section that names them, as `listeners[0].tls`.
        name: String,
        /// Why not.
        error: rustls::Error,
    },
    /// The authorities of client certificates cannot be used.
    #[error("{name}.client_ca: {error}")]
    ClientAuthorities {
        /// The section.
        name: String,
        /// Why not.
        error: rustls::server::VerifierBuilderError,
    },
    /// The system has no authorities, and the config names none.
    #[error("{name}.ca: is missing, and this system has no authorities of its own: write the file of one, PEM")]
    NoAuthorities {
        /// The section.
        name: String,
    },
}

/// What is wrong with a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileFault {
    /// The system does not let it be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// No file of keys or certificates is that large.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// Something in it is not PEM.
    #[error("is not PEM: {}", told(.0))]
    NotPem(pem::Error),
    /// The text itself, where its file should be named.
    #[error("is the text of a key or certificate: write the path of its file")]
    NotAPath,
    /// PEM, but not of this.
    #[error("has no {0} in it")]
    Without(&'static str),
    /// Not a certificate that can be read.
    #[error("has a certificate that cannot be used: {0}")]
    BadCertificate(String),
}

/// What is wrong, without what is written there: the library shows the line, and a key that has lost its line ends is one.
fn told(fault: &pem::Error) -> &'static str {
    match fault {
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is not as it should be, or goes on after its dashes",
        pem::Error::MissingSectionEnd { .. } => "there is no END line for a BEGIN line",
        pem::Error::Base64Decode(_) => "what is between BEGIN and END is no base64",
        pem::Error::Io(_) => "it cannot be read to its end",
        pem::Error::SectionTooLarge => "what is between BEGIN and END is too large",
        pem::Error::NoItemsFound | _ => "it cannot be read",
    }
}
