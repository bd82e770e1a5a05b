//! Letting a device in: it proves its key over a nonce of ours, whatever road its words came by.

use std::net::IpAddr;

use manzana_engine::grant::SignedGrant;
use manzana_engine::ids::DeviceId;
use manzana_engine::keys::{self, Purpose};
use manzana_engine::wire::{Hello, decode_frame};

use super::Relay;
use crate::storage::{DeviceRecord, StorageError};

/// What a device says of itself before it is believed.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who it says it is.
    pub device: DeviceId,
    /// The nonce that it signed.
    pub nonce: Vec<u8>,
    /// Its signature over nonce and hello.
    pub signature: [u8; 64],
    /// Its grant, shown once it was asked again: a city that was put back may have lost it.
    pub grant: Option<SignedGrant>,
}

/// Why a device is not let in.
#[derive(Debug)]
pub enum Refusal {
    /// It is not known, is a desk, or was revoked.
    NotLetIn,
    /// Too many failed proofs lately.
    TooMany,
    /// The hello is not one.
    Malformed,
    /// The nonce is used, old or not ours, or the signature does not verify: sign this one.
    Again {
        /// A fresh nonce.
        nonce: Vec<u8>,
    },
    /// It could not be looked up.
    Storage(StorageError),
}

impl Relay {
    /// Has a device prove itself: who it is, and the first words of its session.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn admit(
        &self,
        claim: &Claim,
        hello: &[u8],
        peer: IpAddr,
    ) -> Result<(DeviceRecord, Hello), Refusal> {
        let record = self.device(&claim.device).await.map_err(Refusal::Storage)?;
        let now = self.now();
        let begin = || {
            let attempt = self.doors.begin(&claim.device.to_string(), peer, now);
            attempt.map_err(|_| Refusal::TooMany)
        };
        let lost = record.is_none() && self.head.borrow().recovering;
        let returning = claim.grant.as_ref().filter(|_| lost);
        let returning = returning.and_then(|grant| self.returning(&claim.device, grant));
        if lost && returning.is_none() {
            // It may have been enrolled after the backup that was put back: its grant will tell.
            begin()?;
            let nonce = self.nonce(&claim.device);
            return Err(match claim.grant {
                Some(_) => Refusal::NotLetIn,
                None => Refusal::Again { nonce },
            });
        }
        let record = record.filter(|record| record.desk_seed.is_none());
        let record = record.filter(|record| record.revoked_at.is_none());
        let mut record = record.or(returning).ok_or(Refusal::NotLetIn)?;
        let attempt = begin()?;
        let signed = [claim.nonce.as_slice(), hello].concat();
        let proven = keys::verify(&record.key, Purpose::Session, &signed, &claim.signature).is_ok();
        if proven {
            // An old nonce is no guess: the device is told a fresh one.
            self.doors.succeeded(&attempt);
        }
        if !proven || !self.nonces.take(&record.id, &claim.nonce, now) {
            let nonce = self.nonce(&record.id);
            return Err(Refusal::Again { nonce });
        }
        let hello: Hello = decode_frame(hello).map_err(|_| Refusal::Malformed)?;
        if lost {
            let kept = self.keep_returned(&record).await;
            kept.map_err(Refusal::Storage)?;
        } else if self.stood_before(&hello) {
            // It may have been given another grant after the backup.
            let Some(grant) = &claim.grant else {
                let nonce = self.nonce(&record.id);
                return Err(Refusal::Again { nonce });
            };
            if let Some(later) = self.later(&record, grant) {
                let kept = self.store.put_device(&later).await;
                kept.map_err(Refusal::Storage)?;
                record = later;
            }
        }
        Ok((record, hello))
    }
}
