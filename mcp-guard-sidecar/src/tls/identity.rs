//! Who a certificate names.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// No name that is used as one is longer.
const BYTES_MAX: usize = 512;

/// Whom `leaf`, which was verified, names: its first URI (as SPIFFE has it), else its first DNS name, else its subject, as
/// in `CN=ada,O=Example`.
///
/// A name longer than 512 bytes, or none at all, is an error: whoever cannot be told apart is not let in.
pub(super) fn of(leaf: &CertificateDer<'_>) -> io::Result<Arc<str>> {
    let (_, certificate) =
        parse_x509_certificate(leaf).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uri = names.iter().find_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let dns = names.iter().find_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None });
    let subject = certificate.subject().to_string();
    let name = uri.or(dns).unwrap_or(&subject);
    if name.is_empty() || name.len() > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client's certificate names nobody"));
    }
    Ok(name.into())
}
