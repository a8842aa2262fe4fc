//! One TLS configuration for Postgres and for vendors: Mozilla's roots, compiled in, so that nothing is
//! parsed from disk at start.

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use std::sync::Arc;

/// A client configuration that trusts Mozilla's roots and the certificates in `extra_ca_pem`, which must hold one
/// at least: a text without any has lost its line breaks on the way.
pub(crate) fn client_config(extra_ca_pem: Option<&str>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(pem) = extra_ca_pem {
        add(&mut roots, pem)?;
    }
    // Named, so that the choice does not depend on what other crates enable.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add(roots: &mut RootCertStore, pem: &str) -> Result<(), rustls::Error> {
    let known = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| rustls::Error::General(error.to_string()))?;
        roots.add(certificate)?;
    }

    let has_any = roots.len() > known;
    has_any
        .then_some(())
        .ok_or_else(|| rustls::Error::General("there is no certificate in the PEM".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_without_a_certificate_is_an_error() {
        assert!(client_config(None).is_ok());
        let flattened = "-----BEGIN CERTIFICATE----- MIIB -----END CERTIFICATE-----";
        for mangled in ["", "no certificate", flattened] {
            assert!(client_config(Some(mangled)).is_err(), "{mangled}");
        }
    }
}
