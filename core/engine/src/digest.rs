//! Scope digests: a homomorphic hash of the set of (document, heads) in a scope.
//!
//! LtHash with 1,024 lanes of 16 bits (Bellare–Micciancio; Lewi et al. 2019): adding and removing a
//! member costs one expansion each, whatever the size of the set, and chosen members cannot cancel
//! each other, as they could with XOR or with sums of 128 bits.

use minicbor::{Decode, Encode};

use crate::codec;
use crate::grant::Scope;
use crate::ids::{DocId, Hash, Seq};
use crate::keys::{self, Purpose, SecretKey};

const LANES: usize = 1024;

/// Bytes of a stored [`SetHash`].
pub const SET_HASH_BYTES: usize = LANES * 2;

/// The hash of a set of (document, heads). Order of additions and removals does not matter.
#[derive(Clone, PartialEq, Eq)]
pub struct SetHash(Box<[u16; LANES]>);

impl Default for SetHash {
    fn default() -> Self {
        Self(Box::new([0; LANES]))
    }
}

impl core::fmt::Debug for SetHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SetHash({})", self.digest())
    }
}

impl SetHash {
    /// Adds a member that is not in the set.
    pub fn add(&mut self, doc: &DocId, heads: &[Hash]) {
        self.combine(doc, heads, u16::wrapping_add);
    }

    /// Removes a member that is in the set.
    pub fn remove(&mut self, doc: &DocId, heads: &[Hash]) {
        self.combine(doc, heads, u16::wrapping_sub);
    }

    /// The set of this one member, to be merged into the hash of every set that it joins.
    pub fn of(doc: &DocId, heads: &[Hash]) -> Self {
        let mut one = Self::default();
        one.add(doc, heads);
        one
    }

    /// Applies all additions and removals of `other` here too: a document that changes in many scopes
    /// is expanded once and not once per scope.
    pub fn merge(&mut self, other: &Self) {
        for (lane, more) in self.0.iter_mut().zip(other.0.iter()) {
            *lane = lane.wrapping_add(*more);
        }
    }

    /// The 32 bytes that are compared and signed.
    pub fn digest(&self) -> Hash {
        Hash::of_parts(b"manzana/set/1", &[&self.to_bytes()])
    }

    /// The state to store: [`SET_HASH_BYTES`] bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// Reads a stored state; `None` when it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != SET_HASH_BYTES {
            return None;
        }
        let mut lanes = Self::default();
        for (lane, pair) in lanes.0.iter_mut().zip(bytes.chunks_exact(2)) {
            *lane = u16::from_le_bytes([pair[0], pair[1]]);
        }
        Some(lanes)
    }

    fn combine(&mut self, doc: &DocId, heads: &[Hash], op: fn(u16, u16) -> u16) {
        let mut sorted = heads.to_vec();
        sorted.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"manzana/member/1").update(doc.as_bytes());
        for head in &sorted {
            hasher.update(head.as_bytes());
        }
        let mut expanded = [0; SET_HASH_BYTES];
        hasher.finalize_xof().fill(&mut expanded);
        for (lane, pair) in self.0.iter_mut().zip(expanded.chunks_exact(2)) {
            *lane = op(*lane, u16::from_le_bytes([pair[0], pair[1]]));
        }
    }
}

/// What the relay says a scope holds at a place of the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DigestBody {
    /// The epoch.
    #[n(0)]
    pub epoch: u32,
    /// The scope.
    #[n(1)]
    pub scope: Scope,
    /// The place in the log up to which it holds.
    #[n(2)]
    pub seq: Seq,
    /// [`SetHash::digest`] of the scope's documents there.
    #[n(3)]
    pub digest: Hash,
}

/// A digest body with the relay's signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedDigest {
    /// The encoded [`DigestBody`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The relay's signature.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl SignedDigest {
    /// Signs a digest.
    pub fn sign(body: &DigestBody, relay: &SecretKey) -> Self {
        let body = codec::encode(body);
        let signature = relay.sign(Purpose::Digest, &body);
        Self { body, signature }
    }

    /// Checks the signature and reads the body; `None` when it proves nothing.
    pub fn open(&self, relay_key: &[u8; 32]) -> Option<DigestBody> {
        keys::verify(relay_key, Purpose::Digest, &self.body, &self.signature).ok()?;
        codec::decode(&self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_the_set_and_not_on_the_order() {
        let (a, b) = (
            (DocId([1; 16]), Hash([1; 32])),
            (DocId([2; 16]), Hash([2; 32])),
        );
        let mut one = SetHash::default();
        one.add(&a.0, &[a.1]);
        one.add(&b.0, &[b.1, a.1]);
        let mut two = SetHash::default();
        two.add(&b.0, &[a.1, b.1]);
        two.add(&a.0, &[b.1]);
        assert_ne!(one.digest(), two.digest());
        two.remove(&a.0, &[b.1]);
        two.add(&a.0, &[a.1]);
        assert_eq!(one.digest(), two.digest());
        let mut change = SetHash::default();
        change.remove(&b.0, &[a.1, b.1]);
        change.add(&b.0, &[a.1]);
        one.merge(&change);
        two.remove(&b.0, &[b.1, a.1]);
        two.add(&b.0, &[a.1]);
        assert_eq!(one.digest(), two.digest());
        assert_eq!(SetHash::from_bytes(&one.to_bytes()), Some(one));
    }
}
