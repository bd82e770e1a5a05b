//! Keys and signatures: Ed25519, always under a domain prefix.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::ids::{CityId, DeviceId};

/// What a signature is for. Each use has its own prefix, so that none can stand for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An envelope of a device.
    Envelope,
    /// A grant of the city's root.
    Grant,
    /// A relay's key, vouched for by the city's root.
    RelayKey,
    /// Receipts of the relay.
    Receipt,
    /// A scope's digest.
    Digest,
    /// A session's nonce, signed by a device.
    Session,
    /// An epoch of the city's log, declared by the city's root.
    Epoch,
    /// A recovery that was closed, with the folios that are void: of the city's root.
    Closing,
}

impl Purpose {
    /// The bytes that go before the message.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Envelope => b"manzana/envelope/1\0",
            Self::Grant => b"manzana/grant/1\0",
            Self::RelayKey => b"manzana/relay-key/1\0",
            Self::Receipt => b"manzana/receipt/1\0",
            Self::Digest => b"manzana/digest/1\0",
            Self::Session => b"manzana/session/1\0",
            Self::Epoch => b"manzana/epoch/1\0",
            Self::Closing => b"manzana/closing/1\0",
        }
    }
}

/// A signature that does not belong to the message and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// A secret Ed25519 key. `Debug` never shows it.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl core::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecretKey({})", self.device())
    }
}

impl SecretKey {
    /// The key with this 32-byte seed; the caller brings the randomness.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, to be kept where keys are kept.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The device that this key makes.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.public())
    }

    /// The city whose root this key would be.
    pub fn city(&self) -> CityId {
        CityId::of_root(&self.public())
    }

    /// Signs the message for a purpose.
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; 64] {
        self.0.sign(&joined(purpose, message)).to_bytes()
    }
}

/// Checks a signature strictly (no malleable or small-order keys).
pub fn verify(
    public: &[u8; 32],
    purpose: Purpose,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(public).map_err(|_| BadSignature)?;
    key.verify_strict(&joined(purpose, message), &Signature::from_bytes(signature))
        .map_err(|_| BadSignature)
}

fn joined(purpose: Purpose, message: &[u8]) -> Vec<u8> {
    [purpose.prefix(), message].concat()
}
