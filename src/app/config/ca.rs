//! Certificates of a private CA.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::settings::file::ConfigError;

/// Reads the certificates of a PEM file.
pub(crate) fn ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let refuse = |message: String| ConfigError::CaFile {
        path: path.to_owned(),
        message,
    };
    let text = fs::read(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let roots =
        roots.map_err(|error| refuse(format!("invalid PEM ({error}): export the certificate again")))?;
    if roots.is_empty() {
        return Err(refuse(
            "no certificate found: expected PEM, which begins with -----BEGIN CERTIFICATE-----".into(),
        ));
    }
    // an unusable certificate would be ignored silently later, and every connection rejected
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        store
            .add(root.clone())
            .map_err(|error| refuse(format!("certificate {} is unusable: {error}", index + 1)))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_ca_file_must_hold_certificates() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let try_text = |text: &str| {
            fs::write(file.path(), text).unwrap();
            ca_file(file.path())
        };
        let key = rcgen::generate_simple_self_signed(["ca.test".into()]).unwrap();
        let (good, other) = (key.cert.pem(), key.signing_key.serialize_pem());
        assert_eq!(try_text(&format!("{good}{good}")).unwrap().len(), 2);
        for (text, expected) in [
            ("", "no certificate found"),
            (other.as_str(), "no certificate found"),
            (
                "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
                "invalid PEM",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "certificate 1 is unusable",
            ),
        ] {
            let said = message(try_text(text));
            assert!(
                said.starts_with("--ca-file ") && said.contains(expected),
                "{said}"
            );
        }
        assert!(message(ca_file(Path::new("/nowhere/ca.pem"))).starts_with("cannot read /nowhere/ca.pem"));
    }
}
