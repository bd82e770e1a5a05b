//! TLS under the city's own root, and nothing else: no path switches verification off.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{Der, TrustAnchor};

use crate::error::ClientError;

/// Common name of every city's root certificate.
const ROOT_NAME: &str = "Manzana city root";
/// SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes, without the outer sequence.
const SPKI_PREFIX: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The trust anchor of a city, from the public key of its root alone: the QR needs no certificate.
#[must_use]
pub fn city_anchor(root: &[u8; 32]) -> TrustAnchor<'static> {
    let mut attribute = vec![0x06, 0x03, 0x55, 0x04, 0x03];
    attribute.extend(der_value(0x0c, ROOT_NAME.as_bytes()));
    let subject = der_value(0x31, &der_value(0x30, &attribute));
    TrustAnchor {
        subject: Der::from(subject),
        subject_public_key_info: Der::from([SPKI_PREFIX.as_slice(), root].concat()),
        name_constraints: None,
    }
}

/// Tag, length and content; ours are all shorter than 128 bytes.
fn der_value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    debug_assert!(length < 0x80, "short form only");
    [&[tag, length], content].concat()
}

/// A configuration that trusts this city's root and nobody else.
pub(crate) fn config(root: &[u8; 32]) -> Result<Arc<ClientConfig>, ClientError> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let roots = RootCertStore {
        roots: vec![city_anchor(root)],
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ClientError::Internal("no version of TLS"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
