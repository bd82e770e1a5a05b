//! What the relay says to each group of an envelope, and the receipts it signs.

use minicbor::{Decode, Encode};

use crate::codec;
use crate::ids::{CityId, DeviceId, Hash, Seq};
use crate::keys::{self, Purpose, SecretKey};
use crate::policy::Rule;

/// The answer to one atomic group. Refused and orphaned are final *for those bytes*.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Answer {
    /// In the city's log; the entries have consecutive places from `seq`.
    #[n(0)]
    Accepted {
        /// Place of the group's first entry.
        #[n(0)]
        seq: Seq,
        /// The folio, when the group created a petition.
        #[n(1)]
        folio: Option<u64>,
    },
    /// Against a rule: the author corrects and sends again.
    #[n(1)]
    Refused {
        /// The rule.
        #[n(0)]
        rule: Rule,
        /// The field it is about, by its name in the document.
        #[n(1)]
        field: Option<String>,
    },
    /// Built upon a change that was refused, held or quarantined: replay it without that one.
    #[n(2)]
    Orphaned {
        /// The change below.
        #[n(0)]
        by: Hash,
    },
    /// Kept for a person to review.
    #[n(3)]
    Held {
        /// Why.
        #[n(0)]
        reason: HeldReason,
    },
    /// Kept until the changes it depends on arrive.
    #[n(4)]
    Waiting {
        /// What is missing.
        #[n(0)]
        deps: Vec<Hash>,
    },
}

impl Answer {
    /// Whether nothing more will be said about these bytes.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. } | Self::Refused { .. } | Self::Orphaned { .. }
        )
    }
}

/// Why a group is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum HeldReason {
    /// The grant was revoked before it arrived.
    #[n(0)]
    GrantRevoked,
    /// The grant had expired when it arrived.
    #[n(1)]
    GrantExpired,
    /// It killed or failed the gate's worker and is in quarantine.
    #[n(2)]
    Quarantined,
}

/// The answers to one envelope.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnvelopeAnswer {
    /// Number in the relay's list of answers to this device: what `seen` acknowledges.
    #[n(0)]
    pub no: u64,
    /// The envelope's incarnation.
    #[n(1)]
    pub incarnation: u32,
    /// The envelope's place in its chain.
    #[n(2)]
    pub n: u64,
    /// The envelope's hash: a receipt is for these bytes and no others.
    #[n(3)]
    pub hash: Hash,
    /// One answer per group, in order.
    #[n(4)]
    pub groups: Vec<Answer>,
}

/// What a receipt's signature covers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptBody {
    /// The city.
    #[n(0)]
    pub city: CityId,
    /// The epoch of the city's log.
    #[n(1)]
    pub epoch: u32,
    /// The device that is answered.
    #[n(2)]
    pub device: DeviceId,
    /// City time, milliseconds UTC.
    #[n(3)]
    pub time: i64,
    /// The answers.
    #[n(4)]
    pub answers: Vec<EnvelopeAnswer>,
}

/// A receipt body and the relay's signature over its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedReceipt {
    /// The encoded [`ReceiptBody`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The relay's signature.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// A receipt that proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receipt does not verify")]
pub struct BadReceipt;

impl SignedReceipt {
    /// Signs the answers.
    pub fn sign(body: &ReceiptBody, relay: &SecretKey) -> Self {
        let body = codec::encode(body);
        let signature = relay.sign(Purpose::Receipt, &body);
        Self { body, signature }
    }

    /// Reads it without a check: for one that was checked when it came.
    pub fn peek(&self) -> Option<ReceiptBody> {
        codec::decode(&self.body).ok()
    }

    /// Checks the signature, that it is this city's and for this device, and reads it.
    pub fn open(
        &self,
        relay_key: &[u8; 32],
        city: &CityId,
        device: &DeviceId,
    ) -> Result<ReceiptBody, BadReceipt> {
        keys::verify(relay_key, Purpose::Receipt, &self.body, &self.signature)
            .map_err(|_| BadReceipt)?;
        let body: ReceiptBody = codec::decode(&self.body).map_err(|_| BadReceipt)?;
        if body.city == *city && body.device == *device {
            Ok(body)
        } else {
            Err(BadReceipt)
        }
    }
}
