//! Identifiers: newtypes over bytes that nobody can claim for somebody else.
//!
//! A document's id is the hash of the change that created it, an actor and a record's key begin with
//! the tag of the device's key: the gate checks all three, so an id is a proof, not a promise.
//! In text, ids are Crockford base32 (record keys: base64url, because Automerge stores them as text).

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};
use minicbor::decode::Error as DecodeError;
use minicbor::{Decode, Decoder, Encode, Encoder};
use sha2::{Digest, Sha256};

/// A text that is not the id it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a valid identifier")]
pub struct IdError;

fn crockford() -> Encoding {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    spec.translate.from.push_str("abcdefghjkmnpqrstvwxyzoOiIlL");
    spec.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    // The specification is a constant: it either always builds or never.
    #[allow(clippy::expect_used)]
    spec.encoding().expect("the alphabet is valid")
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The id's bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// Reads an id from exactly as many bytes as it has.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let at = d.position();
                Self::from_slice(d.bytes()?)
                    .map_err(|_| DecodeError::message("wrong length of an id").at(at))
            }
        }
    };
}

macro_rules! crockford_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crockford().encode(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes = crockford().decode(text.as_bytes()).map_err(|_| IdError)?;
                Self::from_slice(&bytes)
            }
        }
    )*};
}

byte_id!(
    /// A document: the first 16 bytes of the hash of its creation change.
    DocId, 16
);
byte_id!(
    /// A device: the first 16 bytes of the hash of its public key.
    DeviceId, 16
);
byte_id!(
    /// A city: the first 16 bytes of the hash of its root key.
    CityId, 16
);
byte_id!(
    /// A grant: the first 16 bytes of the hash of its signed body.
    GrantId, 16
);
byte_id!(
    /// The SHA-256 of an Automerge change, an envelope, a detached part or a blob.
    Hash, 32
);
byte_id!(
    /// An Automerge actor: the device's tag (6 bytes), then a counter (2 bytes, big-endian).
    Actor, 8
);
byte_id!(
    /// The key of a record and the id of the intent it came from: the device's tag (6 bytes), then the
    /// intent's number (3 bytes, big-endian). It survives a replay of the intent.
    RecordId, 9
);
crockford_text!(DocId, DeviceId, CityId, GrantId, Hash, Actor);

/// Bytes of a device's tag inside actors and record keys.
pub const TAG_BYTES: usize = 6;

impl DeviceId {
    /// The id of the device that holds this Ed25519 public key.
    pub fn of_key(public_key: &[u8; 32]) -> Self {
        Self(first16(&hash_parts(b"manzana/device/1", &[public_key])))
    }

    /// The tag that every actor and record key of this device begins with.
    pub fn tag(&self) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&self.0[..TAG_BYTES]);
        tag
    }
}

impl CityId {
    /// The id of the city with this Ed25519 root key.
    pub fn of_root(public_key: &[u8; 32]) -> Self {
        Self(first16(&hash_parts(b"manzana/city/1", &[public_key])))
    }
}

impl DocId {
    /// The document that this change creates.
    pub fn of_creation(hash: &Hash) -> Self {
        Self(first16(hash))
    }
}

impl Actor {
    /// The actor with this counter of this device.
    pub fn new(device: &DeviceId, counter: u16) -> Self {
        let mut actor = [0; 8];
        actor[..TAG_BYTES].copy_from_slice(&device.tag());
        actor[TAG_BYTES..].copy_from_slice(&counter.to_be_bytes());
        Self(actor)
    }

    /// Whether this actor belongs to the device.
    pub fn belongs_to(&self, device: &DeviceId) -> bool {
        self.0[..TAG_BYTES] == device.tag()
    }

    /// The counter of the actor within its device.
    pub fn counter(&self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }
}

impl RecordId {
    /// The record id of a device's intent. Numbers run from 0 to 2^24 - 1.
    pub fn new(device: &DeviceId, number: u32) -> Self {
        let mut id = [0; 9];
        id[..TAG_BYTES].copy_from_slice(&device.tag());
        id[TAG_BYTES..].copy_from_slice(&number.to_be_bytes()[1..]);
        Self(id)
    }

    /// Whether this record was made by the device.
    pub fn belongs_to(&self, device: &DeviceId) -> bool {
        self.0[..TAG_BYTES] == device.tag()
    }

    /// The number of the intent within its device.
    pub fn number(&self) -> u32 {
        u32::from_be_bytes([0, self.0[6], self.0[7], self.0[8]])
    }

    /// The key under which the record stands in its map: 12 characters of base64url.
    pub fn key(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// Reads a map key back.
    pub fn from_key(key: &str) -> Result<Self, IdError> {
        let bytes = BASE64URL_NOPAD
            .decode(key.as_bytes())
            .map_err(|_| IdError)?;
        Self::from_slice(&bytes)
    }

    /// The *folio provisional* of the petition that this intent captured: eight characters, easy to
    /// dictate, derived from the intent so that it survives a replay.
    pub fn provisional_folio(&self) -> String {
        crockford().encode(&hash_parts(b"manzana/folio/1", &[&self.0]).0[..5])
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// Brings what a person typed (`o` for `0`, small letters) to the letters of a provisional folio.
pub fn normalize_provisional(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect()
}

impl Hash {
    /// SHA-256 over a domain prefix and the parts, one after the other.
    pub fn of_parts(domain: &[u8], parts: &[&[u8]]) -> Self {
        hash_parts(domain, parts)
    }
}

fn hash_parts(domain: &[u8], parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(domain);
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

fn first16(hash: &Hash) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash.0[..16]);
    out
}

/// A person (or a desk) of the city, as the relay numbers them.
pub type UserId = u64;
/// A catalog's entry: an agency, a service, a neighborhood, a block…
pub type CatalogId = u32;
/// A place in the city's log: 1 for the first accepted change, without gaps.
pub type Seq = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        let device = DeviceId::of_key(&[7; 32]);
        assert_eq!(device.to_string().parse::<DeviceId>(), Ok(device));
        let record = RecordId::new(&device, 0x00_01_02);
        assert_eq!(RecordId::from_key(&record.key()), Ok(record));
        assert_eq!(record.number(), 0x0102);
        assert_eq!(record.key().len(), 12);
    }

    #[test]
    fn a_record_and_an_actor_belong_to_one_device() {
        let (a, b) = (DeviceId::of_key(&[1; 32]), DeviceId::of_key(&[2; 32]));
        assert!(RecordId::new(&a, 9).belongs_to(&a) && !RecordId::new(&a, 9).belongs_to(&b));
        assert!(Actor::new(&a, 3).belongs_to(&a) && !Actor::new(&a, 3).belongs_to(&b));
    }

    #[test]
    fn a_provisional_folio_is_read_as_people_say_it() {
        let folio = RecordId::new(&DeviceId::of_key(&[1; 32]), 1).provisional_folio();
        assert_eq!(folio.len(), 8);
        assert_eq!(normalize_provisional("ab1O-l2 z9"), "AB1012Z9");
    }
}
