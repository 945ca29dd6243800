//! What is made of files, and what of files that are no good.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::reloaded::{Look, Reloaded};
use super::*;
use crate::config::{Tls, UpstreamTls};

/// A folder with a pair that fits, and a key of another.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        folder.write("tls.crt", &certificate.pem());
        folder.write("tls.key", &key.serialize_pem());
        folder.write("other.key", &other.serialize_pem());
        folder.write("text", "nothing of the kind");
        folder.write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn server(&self, certificate: &str, key: &str, client_ca: Option<&str>) -> Result<ServerTls, TlsError> {
        let (certificate, key) = (self.path(certificate), self.path(key));
        let yaml =
            serde_json::json!({"certificate": certificate, "key": key, "client_ca": client_ca.map(|ca| self.path(ca))});
        ServerTls::load("listeners[0].tls", &serde_json::from_value::<Tls>(yaml).unwrap())
    }
}

#[test]
fn files_that_are_no_good_are_named_with_what_is_wrong() {
    let files = Files::new();
    assert!(files.server("tls.crt", "tls.key", Some("tls.crt")).is_ok());
    let folder = files.0.path().display().to_string();
    for ((certificate, key, client_ca), expected) in [
        (("none", "tls.key", None), "certificate: FOLDER/none: cannot be read: No such file or directory (os error 2)"),
        (("text", "tls.key", None), "certificate: FOLDER/text: has no certificate in it"),
        (("tls.key", "tls.key", None), "certificate: FOLDER/tls.key: has no certificate in it"),
        (("tls.crt", "tls.crt", None), "key: FOLDER/tls.crt: has no private key in it"),
        (("tls.crt", "tls.key", Some("text")), "client_ca: FOLDER/text: has no certificate in it"),
    ] {
        let error = files.server(certificate, key, client_ca).unwrap_err().to_string();
        assert_eq!(error.replace(&folder, "FOLDER"), format!("listeners[0].tls.{expected}"));
    }
    let error = files.server("broken", "tls.key", None).unwrap_err().to_string();
    assert!(error.contains("certificate: ") && error.contains("has a certificate that cannot be used"), "{error}");
    let error = files.server("tls.crt", "other.key", None).unwrap_err().to_string();
    assert!(error.starts_with("listeners[0].tls: ") && error.contains("keys may not be consistent"), "{error}");
}

#[test]
fn a_file_that_never_ends_is_not_read_to_its_end() {
    let files = Files::new();
    fs::File::create(files.path("large")).unwrap().set_len(5 << 20).unwrap();
    let error = files.server("large", "tls.key", None).unwrap_err().to_string();
    assert!(error.ends_with("large: is larger than 4194304 bytes"), "{error}");
}

#[test]
fn a_node_is_believed_by_no_authority_that_is_none() {
    let files = Files::new();
    let tls: UpstreamTls = serde_json::from_value(serde_json::json!({"ca": files.path("text")})).unwrap();
    let error = ClientTls::load("upstreams[0].tls", &tls, "localhost").unwrap_err().to_string();
    assert!(error.starts_with("upstreams[0].tls.ca: ") && error.ends_with("has no certificate in it"), "{error}");
}

/// Who the certificate with these names and this subject names.
fn identity_of(names: Vec<SanType>, subject: &[(DnType, &str)]) -> Option<String> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    identity::of(certificate.der()).ok().map(|name| name.to_string())
}

#[test]
fn a_certificate_names_its_uri_else_its_host_else_its_subject() {
    let uri = SanType::URI("spiffe://example.org/ada".try_into().unwrap());
    let dns = SanType::DnsName("ada.example.org".try_into().unwrap());
    let subject = [(DnType::CommonName, "ada"), (DnType::OrganizationName, "Example")];
    assert_eq!(identity_of(vec![dns.clone(), uri], &subject).as_deref(), Some("spiffe://example.org/ada"));
    assert_eq!(identity_of(vec![dns], &subject).as_deref(), Some("ada.example.org"));
    assert_eq!(identity_of(Vec::new(), &subject).as_deref(), Some("CN=ada, O=Example"));
}

#[test]
fn a_certificate_that_names_nobody_is_nobodys() {
    assert_eq!(identity_of(Vec::new(), &[]), None);
    let long = SanType::DnsName("a".repeat(513).try_into().unwrap());
    assert_eq!(identity_of(vec![long], &[]), None);
}

/// Made of one file: its text, which may be a number that says when it expires.
fn text(path: &Path) -> Reloaded<String> {
    let file = pem::PemFile { key: "key".into(), path: path.to_owned() };
    let make = |contents: &[pem::Pem]| {
        let text = String::from_utf8(contents[0].bytes.clone()).unwrap();
        let unusable = || server::unusable("name")(rustls::Error::General("bad".into()));
        if text == "bad" {
            Err(unusable())
        } else {
            Ok(reloaded::Made { expiry: text.parse().ok(), config: text.into() })
        }
    };
    Reloaded::new("name", vec![file], make).unwrap()
}

#[test]
fn what_is_new_is_used_and_what_is_bad_is_told_once() {
    let files = Files::new();
    let reloaded = text(&files.path("text"));
    assert!(matches!(reloaded.look(), Look::Same));
    files.write("text", "new");
    assert!(matches!(reloaded.look(), Look::Reloaded));
    let spoil: [fn(&Files); 2] =
        [|files| files.write("text", "bad"), |files| fs::remove_file(files.path("text")).unwrap()];
    for spoil in spoil {
        spoil(&files);
        assert!(matches!(reloaded.look(), Look::Kept(_)));
        assert!(matches!(reloaded.look(), Look::Same));
        assert_eq!(*reloaded.current(), "new");
    }
    files.write("text", "newer");
    assert!(matches!(reloaded.look(), Look::Reloaded));
    assert_eq!(*reloaded.current(), "newer");
}

#[test]
fn what_has_expired_takes_the_place_of_nothing_but_what_has_too() {
    let files = Files::new();
    let (past, future) = ("1000000000", "9999999999");
    files.write("text", past);
    let reloaded = text(&files.path("text"));
    files.write("text", future);
    assert!(matches!(reloaded.look(), Look::Reloaded));
    files.write("text", past);
    assert!(matches!(reloaded.look(), Look::Expired));
    assert_eq!(*reloaded.current(), future);
}
