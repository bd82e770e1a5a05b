//! A city: its root, the relay's keys, certificates under the root, and grants.

use std::sync::Arc;

use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::keys::{Purpose, SecretKey};
use manzana_engine::wire::Enrolment;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// PKCS#8 of an Ed25519 key up to its seed.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

pub(crate) struct City {
    pub(crate) root: SecretKey,
    pub(crate) relay: SecretKey,
}

impl City {
    pub(crate) fn new(seed: u8) -> Self {
        Self {
            root: SecretKey::from_seed([seed; 32]),
            relay: SecretKey::from_seed([seed ^ 0x80; 32]),
        }
    }

    fn issuer(&self) -> Issuer<'static, KeyPair> {
        let der = PrivatePkcs8KeyDer::from([PKCS8.as_slice(), &self.root.seed()].concat());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Manzana city root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Issuer::new(params, key)
    }

    /// TLS of a relay at 127.0.0.1 under this city's root.
    pub(crate) fn tls(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        Arc::new(config)
    }

    pub(crate) fn enrolment(&self, device_key: [u8; 32], user: u64, nonce: &[u8]) -> Enrolment {
        let body = GrantBody {
            city: self.root.city(),
            device_key,
            user,
            role: Role::Supervisor,
            scopes: vec![Scope::City],
            valid_from: 0,
            valid_to: i64::MAX,
        };
        let (relay_key, seal_key) = (self.relay.public(), [9; 32]);
        Enrolment {
            grant: SignedGrant::sign(&body, &self.root),
            relay_key,
            relay_key_signature: self.root.sign(Purpose::RelayKey, &relay_key),
            seal_key,
            seal_key_signature: self.root.sign(Purpose::RelayKey, &seal_key),
            center: "Coatzatel".to_owned(),
            folio_prefix: "SIAC-".to_owned(),
            folio_width: 6,
            block: None,
            nonce: nonce.to_vec().into(),
            display: "Ana".to_owned(),
        }
    }
}
