//! The city's keys as the relay holds them: root, relay, sealing. Files of mode 0600, apart from the
//! database, so that a copy of the database opens nothing.

use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use manzana_engine::ids::CityId;
use manzana_engine::keys::{Purpose, SecretKey};
use manzana_engine::seal;

use crate::tls::{self, CityRoot, TlsError};

/// Keys in memory. `Debug` shows no secret.
pub struct CityKeys {
    root: SecretKey,
    relay: SecretKey,
    seal_secret: [u8; 32],
    seal_public: [u8; 32],
    nonce_key: [u8; 32],
}

impl std::fmt::Debug for CityKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CityKeys")
            .field("city", &self.city())
            .finish_non_exhaustive()
    }
}

impl CityKeys {
    /// Reads the keys in `keys_dir`, making those that are missing.
    ///
    /// # Errors
    /// When a file cannot be read, written, or is not a key.
    pub fn open(keys_dir: &Path, root: &CityRoot) -> Result<Self, TlsError> {
        let (seal_secret, seal_public) = seal::key_pair(&seed(&keys_dir.join("seal.key"))?);
        Ok(Self {
            root: SecretKey::from_seed(*root.signing_seed()),
            relay: SecretKey::from_seed(seed(&keys_dir.join("relay.key"))?),
            seal_secret,
            seal_public,
            nonce_key: seed(&keys_dir.join("nonce.key"))?,
        })
    }

    /// Keys out of four seeds (root, relay, sealing, nonces), with no file behind them: for tests.
    pub fn of_seeds([root, relay, seal, nonce_key]: [[u8; 32]; 4]) -> Self {
        let (seal_secret, seal_public) = seal::key_pair(&seal);
        Self {
            root: SecretKey::from_seed(root),
            relay: SecretKey::from_seed(relay),
            seal_secret,
            seal_public,
            nonce_key,
        }
    }

    /// The city.
    pub fn city(&self) -> CityId {
        self.root.city()
    }

    /// The root, which signs grants.
    pub fn root(&self) -> &SecretKey {
        &self.root
    }

    /// The relay's key, which signs receipts and digests.
    pub fn relay(&self) -> &SecretKey {
        &self.relay
    }

    /// The public key that personal data are sealed to.
    pub fn seal_public(&self) -> &[u8; 32] {
        &self.seal_public
    }

    /// The secret that opens personal data.
    pub fn seal_secret(&self) -> &[u8; 32] {
        &self.seal_secret
    }

    /// The root's word for one of the relay's public keys.
    pub fn vouch(&self, key: &[u8; 32]) -> [u8; 64] {
        self.root.sign(Purpose::RelayKey, key)
    }

    pub(super) fn nonce_key(&self) -> &[u8; 32] {
        &self.nonce_key
    }
}

fn seed(path: &Path) -> Result<[u8; 32], TlsError> {
    if let Some(text) = tls::read_private(path)? {
        let bytes = BASE64URL_NOPAD
            .decode(text.trim().as_bytes())
            .unwrap_or_default();
        return bytes.try_into().map_err(|_| TlsError::Content {
            path: path.to_owned(),
            what: "key",
        });
    }
    let seed = tls::fresh_seed()?;
    tls::write_private(path, &format!("{}\n", BASE64URL_NOPAD.encode(&seed)))?;
    Ok(seed)
}
