//! Envelopes: a device's own log, one signed link per user action.
//!
//! The signature covers the *context* (city, device, incarnation, previous hash, grant) and then the
//! exact bytes of the body. A live session implies the context, so only body and signature travel;
//! by any other road ([`Envelope`] as CBOR) the context goes along. Detached parts are signed by
//! hash only, so they can be erased while every signature still verifies.

use minicbor::{Decode, Encode};

use crate::codec::{self, CodecError};
use crate::ids::{CityId, DeviceId, DocId, GrantId, Hash, Seq};
use crate::keys::{self, BadSignature, Purpose, SecretKey};

/// What a live session implies and the signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ChainContext {
    /// The city.
    #[n(0)]
    pub city: CityId,
    /// The author.
    #[n(1)]
    pub device: DeviceId,
    /// Which life of the author's store: a restored or cloned store begins another.
    #[n(2)]
    pub incarnation: u32,
    /// Hash of envelope n - 1 of this incarnation; zeros for the first.
    #[n(3)]
    pub prev: Hash,
    /// The grant it was written under.
    #[n(4)]
    pub grant: GrantId,
}

/// One change of one document inside an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The document.
    #[n(0)]
    pub doc: DocId,
    /// The Automerge change chunk, exactly as its author made it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub change: Vec<u8>,
}

/// The signed body.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnvelopeBody {
    /// Place in the device's chain, from 1.
    #[n(0)]
    pub n: u64,
    /// The device's clock, milliseconds UTC: a claim.
    #[n(1)]
    pub device_time: i64,
    /// The last signed city position the author had seen.
    #[n(2)]
    pub city_head: Seq,
    /// Atomic groups: the entries of one action are accepted together or not at all.
    #[n(3)]
    pub groups: Vec<Vec<Entry>>,
    /// Hashes of the detached parts.
    #[n(4)]
    pub detached: Vec<Hash>,
}

/// A part that travels beside the signed bytes: personal data, keys, thumbnails.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// What it is.
    #[n(0)]
    pub kind: PartKind,
    /// The document it belongs to.
    #[n(1)]
    pub doc: DocId,
    /// Its content: sealed bytes, or UTF-8 for a masked name.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub content: Vec<u8>,
}

/// Kinds of detached parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PartKind {
    /// The sealed petitioner ([`crate::seal`]).
    #[n(0)]
    Petitioner,
    /// The petitioner's masked name, for lists.
    #[n(1)]
    MaskedName,
}

impl Part {
    /// The hash that the envelope signs.
    pub fn hash(encoded: &[u8]) -> Hash {
        Hash::of_parts(b"manzana/part/1", &[encoded])
    }
}

/// An envelope with its context and parts, as it is kept and as it travels by other roads.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Envelope {
    /// Whose it is and after what.
    #[n(0)]
    pub context: ChainContext,
    /// The encoded [`EnvelopeBody`], exactly as signed.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The device's signature.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub signature: [u8; 64],
    /// Encoded [`Part`]s, in the order of `detached`; a part may be missing once erased.
    #[n(3)]
    pub parts: Vec<minicbor::bytes::ByteVec>,
}

/// Why an envelope is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The body is not an envelope's.
    #[error("the envelope is malformed")]
    Malformed,
    /// The device did not sign these bytes in this place of its chain.
    #[error("the envelope's signature does not verify")]
    BadSignature,
    /// A part is not among the signed hashes.
    #[error("a detached part does not match its signed hash")]
    ForeignPart,
    /// There are no groups, an empty group, or too many entries.
    #[error("the envelope's groups are empty or too many")]
    BadGroups,
}

/// Entries in one envelope, all groups together: twelve lamps in one act, with room.
pub const ENVELOPE_ENTRIES: usize = 64;

impl Envelope {
    /// Signs a body in its place of the chain.
    pub fn sign(
        context: ChainContext,
        body: &EnvelopeBody,
        parts: Vec<Vec<u8>>,
        key: &SecretKey,
    ) -> Self {
        let body = codec::encode(body);
        let signature = key.sign(Purpose::Envelope, &message(&context, &body));
        let parts = parts.into_iter().map(Into::into).collect();
        Self {
            context,
            body,
            signature,
            parts,
        }
    }

    /// The envelope's hash, which the next one of the chain names.
    pub fn hash(&self) -> Hash {
        Hash::of_parts(
            b"manzana/envelope-hash/1",
            &[&message(&self.context, &self.body)],
        )
    }

    /// Checks the signature and every part's hash, and reads the body.
    pub fn open(&self, device_key: &[u8; 32]) -> Result<EnvelopeBody, EnvelopeError> {
        keys::verify(
            device_key,
            Purpose::Envelope,
            &message(&self.context, &self.body),
            &self.signature,
        )
        .map_err(|BadSignature| EnvelopeError::BadSignature)?;
        let body = self.peek()?;
        let entries: usize = body.groups.iter().map(Vec::len).sum();
        let empty = body.groups.is_empty() || body.groups.iter().any(Vec::is_empty);
        if empty || entries > ENVELOPE_ENTRIES {
            return Err(EnvelopeError::BadGroups);
        }
        if !self
            .parts
            .iter()
            .all(|part| body.detached.contains(&Part::hash(part)))
        {
            return Err(EnvelopeError::ForeignPart);
        }
        Ok(body)
    }

    /// Reads the body without checking who signed it: for the author's own, kept envelopes.
    pub fn peek(&self) -> Result<EnvelopeBody, EnvelopeError> {
        codec::decode(&self.body).map_err(|CodecError| EnvelopeError::Malformed)
    }
}

fn message(context: &ChainContext, body: &[u8]) -> Vec<u8> {
    [
        context.city.as_bytes().as_slice(),
        context.device.as_bytes(),
        &context.incarnation.to_be_bytes(),
        context.prev.as_bytes(),
        context.grant.as_bytes(),
        body,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(key: &SecretKey) -> Envelope {
        let context = ChainContext {
            city: CityId([1; 16]),
            device: key.device(),
            incarnation: 1,
            prev: Hash([0; 32]),
            grant: GrantId([2; 16]),
        };
        let part = codec::encode(&Part {
            kind: PartKind::MaskedName,
            doc: DocId([3; 16]),
            content: b"ANA P.".to_vec(),
        });
        let body = EnvelopeBody {
            n: 1,
            device_time: 5,
            city_head: 0,
            groups: vec![vec![Entry {
                doc: DocId([3; 16]),
                change: vec![1, 2],
            }]],
            detached: vec![Part::hash(&part)],
        };
        Envelope::sign(context, &body, vec![part], key)
    }

    #[test]
    fn any_changed_byte_breaks_the_signature() {
        let key = SecretKey::from_seed([9; 32]);
        let good = sample(&key);
        assert!(good.open(&key.public()).is_ok());
        let mut bad = good.clone();
        bad.body[0] ^= 1;
        assert_eq!(bad.open(&key.public()), Err(EnvelopeError::BadSignature));
        let mut moved = good.clone();
        moved.context.prev = Hash([1; 32]);
        assert_eq!(moved.open(&key.public()), Err(EnvelopeError::BadSignature));
    }

    #[test]
    fn an_erased_part_leaves_the_signature_whole_and_a_foreign_one_is_refused() {
        let key = SecretKey::from_seed([9; 32]);
        let mut envelope = sample(&key);
        envelope.parts.clear();
        assert!(envelope.open(&key.public()).is_ok());
        envelope.parts.push(vec![0].into());
        assert_eq!(
            envelope.open(&key.public()),
            Err(EnvelopeError::ForeignPart)
        );
    }
}
