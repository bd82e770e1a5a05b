//! The sealed petitioner: personal data that only the city can open.
//!
//! The document holds a salted commitment. The data themselves are encrypted (ChaCha20-Poly1305) under
//! a fresh key that only the city can derive again (HPKE, RFC 9180, X25519 + HKDF-SHA256, its exported
//! secret) and travel as a detached part, so that they can be erased while the history stays valid. Both
//! are bound to the capture's record id, which survives a replay. The key opens this one part and
//! nothing else, so the city may hand it to a reader.

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit, Payload};
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::codec;
use crate::ids::{Hash, RecordId};

/// The source of randomness that a caller brings: never read from here, always handed in.
pub trait Entropy {
    /// Fills the bytes with randomness fit for keys.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Who asks (domain §2, step 2 of the form).
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Petitioner {
    /// Name.
    #[n(0)]
    pub name: String,
    /// Gender, as the catalog names it.
    #[n(1)]
    pub gender: Option<String>,
    /// Telephone.
    #[n(2)]
    pub phone: Option<String>,
    /// E-mail.
    #[n(3)]
    pub email: Option<String>,
    /// Address.
    #[n(4)]
    pub address: Option<String>,
    /// The privacy notice was accepted.
    #[n(5)]
    pub notice_accepted: bool,
}

impl core::fmt::Debug for Petitioner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Petitioner(…)")
    }
}

impl Petitioner {
    /// The name as lists show it: given names, then initials ("FERNANDO DEL ROSARIO A. T.").
    ///
    /// Two surnames are the rule in Mexico, so the last two words of three or more are cut, and the
    /// last one of two.
    pub fn masked_name(&self) -> String {
        let words: Vec<&str> = self.name.split_whitespace().collect();
        let surnames = match words.len() {
            0 | 1 => 0,
            2 => 1,
            _ => 2,
        };
        let (given, cut) = words.split_at(words.len() - surnames);
        let initials = cut
            .iter()
            .filter_map(|word| word.chars().next())
            .map(|c| format!("{c}."));
        given
            .iter()
            .map(|w| (*w).to_owned())
            .chain(initials)
            .collect::<Vec<_>>()
            .join(" ")
            .to_uppercase()
    }
}

/// What travels as the detached part's content.
#[derive(Encode, Decode)]
struct Sealed {
    #[cbor(n(0), with = "minicbor::bytes")]
    encapped: [u8; 32],
    #[cbor(n(1), with = "minicbor::bytes")]
    ciphertext: Vec<u8>,
}

#[derive(Encode, Decode)]
struct Opening {
    #[cbor(n(0), with = "minicbor::bytes")]
    salt: [u8; 16],
    #[n(1)]
    petitioner: Petitioner,
}

/// Why sealed data cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The city's key is not one.
    #[error("the city's sealing key is not valid")]
    BadKey,
    /// The bytes are not sealed data, or not for this key and record.
    #[error("the sealed data cannot be opened")]
    Unreadable,
    /// They open, but are not what the document commits to.
    #[error("the sealed data are not what the document commits to")]
    ForeignData,
}

const INFO: &[u8] = b"manzana/petitioner/1";
const DATA_KEY: &[u8] = b"data key";
/// Every data key is derived for one encryption, so its nonce need not differ from any other.
const ONE_USE: [u8; 12] = [0; 12];

/// Seals a petitioner; gives the document's commitment and the part's content.
pub fn seal(
    petitioner: &Petitioner,
    capture: &RecordId,
    city_key: &[u8; 32],
    entropy: &mut dyn Entropy,
) -> Result<(Hash, Vec<u8>), SealError> {
    let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(city_key)
        .map_err(|_| SealError::BadKey)?;
    let mut salt = [0; 16];
    entropy.fill(&mut salt);
    let plain = Zeroizing::new(codec::encode(&Opening {
        salt,
        petitioner: petitioner.clone(),
    }));
    let (encapped, context) = hpke::setup_sender_with_rng::<
        ExportOnlyAead,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &key, INFO, &mut HpkeRng(entropy))
    .map_err(|_| SealError::BadKey)?;
    let ciphertext = data_cipher(|key| context.export(DATA_KEY, key))
        .ok()
        .and_then(|cipher| {
            let payload = Payload {
                msg: &plain,
                aad: capture.as_bytes(),
            };
            cipher.encrypt(&ONE_USE.into(), payload).ok()
        })
        .ok_or(SealError::BadKey)?;
    let sealed = Sealed {
        encapped: encapped.to_bytes().into(),
        ciphertext,
    };
    Ok((commitment(&plain), codec::encode(&sealed)))
}

/// Opens a sealed petitioner with the city's secret and checks it against the document's commitment.
pub fn open(
    content: &[u8],
    capture: &RecordId,
    expected: &Hash,
    city_secret: &[u8; 32],
) -> Result<Petitioner, SealError> {
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(city_secret)
        .map_err(|_| SealError::BadKey)?;
    let sealed: Sealed = codec::decode(content).map_err(|_| SealError::Unreadable)?;
    let encapped = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&sealed.encapped)
        .map_err(|_| SealError::Unreadable)?;
    let context = hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &encapped,
        INFO,
    )
    .map_err(|_| SealError::Unreadable)?;
    let cipher =
        data_cipher(|key| context.export(DATA_KEY, key)).map_err(|_| SealError::Unreadable)?;
    let plain = Zeroizing::new(
        cipher
            .decrypt(
                &ONE_USE.into(),
                Payload {
                    msg: &sealed.ciphertext,
                    aad: capture.as_bytes(),
                },
            )
            .map_err(|_| SealError::Unreadable)?,
    );
    if commitment(&plain) != *expected {
        return Err(SealError::ForeignData);
    }
    let opening: Opening = codec::decode(&plain).map_err(|_| SealError::Unreadable)?;
    Ok(opening.petitioner)
}

/// Makes the city's sealing key pair from 32 random bytes: (secret, public).
pub fn key_pair(seed: &[u8; 32]) -> ([u8; 32], [u8; 32]) {
    let (secret, public) = X25519HkdfSha256::derive_keypair(seed);
    (secret.to_bytes().into(), public.to_bytes().into())
}

/// The cipher under the data key that the exchange of keys came to.
fn data_cipher(
    export: impl FnOnce(&mut [u8]) -> Result<(), hpke::HpkeError>,
) -> Result<ChaCha20Poly1305, hpke::HpkeError> {
    let mut key = Zeroizing::new([0; 32]);
    export(key.as_mut())?;
    Ok(ChaCha20Poly1305::new(&(*key).into()))
}

fn commitment(plain: &[u8]) -> Hash {
    Hash::of_parts(b"manzana/commitment/1", &[plain])
}

/// Hands the caller's entropy to HPKE.
struct HpkeRng<'a>(&'a mut dyn Entropy);

impl rand_core::TryRng for HpkeRng<'_> {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for HpkeRng<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DeviceId;

    struct Counting(u8);
    impl Entropy for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_mul(31).wrapping_add(7);
                *byte = self.0;
            }
        }
    }

    #[test]
    fn only_the_city_opens_it_and_only_for_its_capture() {
        let (secret, public) = key_pair(&[5; 32]);
        let capture = RecordId::new(&DeviceId::of_key(&[1; 32]), 1);
        let other = RecordId::new(&DeviceId::of_key(&[1; 32]), 2);
        let ana = Petitioner {
            name: "Ana Pérez Gómez".into(),
            ..Petitioner::default()
        };
        let (hash, content) = seal(&ana, &capture, &public, &mut Counting(1)).unwrap();
        assert_eq!(open(&content, &capture, &hash, &secret), Ok(ana));
        assert_eq!(
            open(&content, &other, &hash, &secret),
            Err(SealError::Unreadable)
        );
        assert_eq!(
            open(&content, &capture, &hash, &[9; 32]),
            Err(SealError::Unreadable)
        );
        let foreign = open(&content, &capture, &Hash([0; 32]), &secret);
        assert_eq!(foreign, Err(SealError::ForeignData));
    }

    #[test]
    fn names_are_masked_as_the_city_shows_them() {
        let masked = |name: &str| {
            Petitioner {
                name: name.into(),
                ..Petitioner::default()
            }
            .masked_name()
        };
        assert_eq!(
            masked("Fernando del Rosario Álvarez Torres"),
            "FERNANDO DEL ROSARIO Á. T."
        );
        assert_eq!(masked("Osvaldo Fuentes"), "OSVALDO F.");
        assert_eq!(masked("Ana"), "ANA");
        assert_eq!(masked(""), "");
    }
}
