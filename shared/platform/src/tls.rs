//! One TLS configuration for Postgres and for vendors: Mozilla's roots, compiled in, so that nothing is
//! parsed from disk at start.

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use std::sync::Arc;

/// A client configuration that trusts Mozilla's roots and the certificates in `extra_ca_pem`.
pub(crate) fn client_config(extra_ca_pem: Option<&str>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in CertificateDer::pem_slice_iter(extra_ca_pem.unwrap_or_default().as_bytes()) {
        let certificate = certificate.map_err(|error| rustls::Error::General(error.to_string()))?;
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
