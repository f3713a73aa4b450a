//! Certificates generated for the test: a CA and the certificates it signs.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// The certificate of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// Valid for this address, signed by a trusted CA.
    Good,
    /// Expired in 2021.
    Expired,
    /// For another host.
    OtherHost,
    /// Signed by an unknown CA.
    UnknownCa,
}

static CA: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
});

/// The trusted CA as a PEM file.
pub(crate) fn ca_pem() -> String {
    CA.pem()
}

impl Certificate {
    /// The certificates that the client trusts in addition.
    pub(crate) fn roots(self) -> Vec<CertificateDer<'static>> {
        match self {
            Self::UnknownCa => Vec::new(),
            Self::Good | Self::Expired | Self::OtherHost => vec![CA.der().clone()],
        }
    }

    pub(crate) fn acceptor(self) -> TlsAcceptor {
        let host = if self == Self::OtherHost {
            "other.test"
        } else {
            "127.0.0.1"
        };
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        if self == Self::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &CA).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
