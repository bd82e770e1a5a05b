//! Epochs of the city's log: a backup that is put back begins one.
//!
//! Places of one log mean nothing in another, so a position names its epoch. The record of an epoch is
//! signed by the city's root and verified on devices: nobody but the city rewrites its history. So is the
//! record that closes an epoch's recovery, which says what folios nobody has.

use minicbor::{Decode, Encode};

use crate::codec;
use crate::ids::{CityId, Seq};
use crate::keys::{self, Purpose, SecretKey};

/// The epoch of a city that was never put back from a backup.
pub const FIRST: u32 = 1;

/// What the record of an epoch says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EpochBody {
    /// The city.
    #[n(0)]
    pub city: CityId,
    /// The epoch that begins.
    #[n(1)]
    pub epoch: u32,
    /// The epoch that the backup was made in.
    #[n(2)]
    pub before: u32,
    /// Last place of the log in the backup: what came after it is what may be lost.
    #[n(3)]
    pub cut: Seq,
    /// When it began, milliseconds UTC.
    #[n(4)]
    pub at: i64,
    /// Why, in the administrator's words.
    #[n(5)]
    pub why: String,
}

/// The record with the root's signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedEpoch {
    /// The encoded [`EpochBody`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The root's signature.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl SignedEpoch {
    /// Signs a record.
    pub fn sign(body: &EpochBody, root: &SecretKey) -> Self {
        let body = codec::encode(body);
        let signature = root.sign(Purpose::Epoch, &body);
        Self { body, signature }
    }

    /// Checks the signature and reads the record; `None` when it proves nothing.
    pub fn open(&self, root: &[u8; 32]) -> Option<EpochBody> {
        keys::verify(root, Purpose::Epoch, &self.body, &self.signature).ok()?;
        codec::decode(&self.body).ok()
    }
}

/// What the record of a closed recovery says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClosingBody {
    /// The city.
    #[n(0)]
    pub city: CityId,
    /// The epoch whose recovery it was.
    #[n(1)]
    pub epoch: u32,
    /// When it was closed, milliseconds UTC.
    #[n(2)]
    pub at: i64,
    /// The folio that the counter goes on with: above all that anybody named.
    #[n(3)]
    pub next_folio: u64,
    /// Folios that no petition has or will have: first and last of each run, ascending.
    #[n(4)]
    pub void: Vec<(u64, u64)>,
}

/// The record of a closed recovery with the root's signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedClosing {
    /// The encoded [`ClosingBody`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The root's signature.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl SignedClosing {
    /// Signs a record.
    pub fn sign(body: &ClosingBody, root: &SecretKey) -> Self {
        let body = codec::encode(body);
        let signature = root.sign(Purpose::Closing, &body);
        Self { body, signature }
    }

    /// Checks the signature and reads the record; `None` when it proves nothing.
    pub fn open(&self, root: &[u8; 32]) -> Option<ClosingBody> {
        keys::verify(root, Purpose::Closing, &self.body, &self.signature).ok()?;
        codec::decode(&self.body).ok()
    }
}
