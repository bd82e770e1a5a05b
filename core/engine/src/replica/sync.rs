//! The sync machine: frames in, frames out. One session at a time; everything durable outlives it.

use minicbor::bytes::ByteVec;

use super::{Change, Replica, ReplicaError, ReplicaResult};
use super::{ReplicaStore, held_scopes};
use crate::codec;
use crate::document::SCHEMA;
use crate::envelope::Envelope;
use crate::grant::SignedGrant;
use crate::ids::{Hash, Seq};
use crate::keys::Purpose;
use crate::seal::Entropy;
use crate::wire::{Down, Hello, PROTOCOL_VERSION, Up};

/// Own envelopes pushed and not yet answered: keeps memory bounded at both ends.
const PUSH_WINDOW: u64 = 128;

/// A frame that the relay had no business sending: the session ends, nothing is harmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A signature, city, epoch or hash that does not fit.
    #[error("the relay sent something that does not verify")]
    Unverified,
    /// Bytes that do not decode or are too large.
    #[error("the relay sent malformed data")]
    Malformed,
    /// Another version of the protocol.
    #[error("the relay speaks another version of the protocol")]
    Version,
}

/// Time and randomness, handed in by the runtime.
pub struct Surroundings<'a> {
    /// The device's clock, milliseconds UTC.
    pub now: i64,
    /// Randomness for a new incarnation.
    pub entropy: &'a mut dyn Entropy,
}

impl core::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Surroundings({})", self.now)
    }
}

impl<S: ReplicaStore> Replica<S> {
    /// Begins a session: what rides in the upgrade request, with the signature over nonce and hello.
    ///
    /// # Errors
    /// When the device is not enrolled.
    pub fn hello(&mut self, nonce: &[u8]) -> ReplicaResult<(Vec<u8>, [u8; 64]), S> {
        self.session = super::Session::default();
        let meta = self.meta()?;
        let spoken = meta.incarnation;
        let hello = codec::encode(&Hello {
            version: PROTOCOL_VERSION,
            schema: SCHEMA,
            incarnation: meta.incarnation,
            position: meta.position.clone(),
            answers_seen: meta.answers_seen,
        });
        let signed = [nonce, &hello].concat();
        let signature = meta.key().sign(Purpose::Session, &signed);
        self.session.spoken = spoken;
        Ok((hello, signature))
    }

    /// The session is over; nothing durable changes.
    pub fn hang_up(&mut self) {
        self.session = super::Session::default();
        self.changes.push(Change::Status);
    }

    /// The next frame to send, if there is one now. Ask after every [`Replica::handle`] and after every
    /// capture; never more than a bounded number of unanswered envelopes are in flight.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn next_up(&mut self) -> ReplicaResult<Option<Up>, S> {
        if !self.session.live {
            return Ok(None);
        }
        if !self.session.queue.is_empty() {
            return Ok(Some(self.session.queue.remove(0)));
        }
        if let Some(frame) = self.next_back()? {
            return Ok(Some(frame));
        }
        if let Some(envelope) = self.session.carried.pop() {
            return Ok(Some(Up::Carry {
                envelope: codec::encode(&envelope).into(),
            }));
        }
        self.next_push()
    }

    fn next_push(&mut self) -> ReplicaResult<Option<Up>, S> {
        let meta = self.meta()?;
        let (device, incarnation) = (meta.device(), meta.incarnation);
        let grant = meta.grant.id();
        if self.session.sent >= meta.last_n || self.session.sent >= self.session.have + PUSH_WINDOW
        {
            return Ok(None);
        }
        let n = self.session.sent + 1;
        let row = self
            .store
            .envelope(&device, incarnation, n)
            .map_err(ReplicaError::Store)?;
        let row = row.ok_or(ReplicaError::Damaged)?;
        self.session.sent = n;
        if incarnation != self.session.spoken || row.envelope.context.grant != grant {
            // The session implies an earlier incarnation, or the grant of today: what was signed under
            // another one brings its own context.
            return Ok(Some(self.offer(&row)));
        }
        let Envelope {
            body,
            signature,
            parts,
            ..
        } = row.envelope;
        Ok(Some(Up::Push {
            body: body.into(),
            signature,
            parts,
        }))
    }

    /// Takes one frame from the relay. Everything it brings is committed before this returns.
    ///
    /// # Errors
    /// The storage's; `Ok(Err(…))` when the relay broke the protocol and the session should end.
    pub fn handle(
        &mut self,
        frame: Down,
        around: &mut Surroundings<'_>,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        match frame {
            Down::Welcome {
                version,
                epoch,
                time,
                seq,
                have,
                have_hash,
                grant,
                nonce,
                recovery,
                ..
            } => {
                if version != PROTOCOL_VERSION {
                    return Ok(Err(ProtocolError::Version));
                }
                if let Err(error) = self.begin_giving_back(recovery.as_ref())? {
                    return Ok(Err(error));
                }
                self.welcome((epoch, seq), time, (have, have_hash), grant, nonce, around)
            }
            Down::Gap { have, have_hash } => self.gap(have, have_hash, around).map(Ok),
            Down::Receipt { receipt } => self.receipt(&receipt, around.now),
            Down::Log { to, items } => self.log(to, items, around.now),
            Down::Pack {
                fill,
                done,
                segment,
            } => self.pack(fill, done, &segment),
            Down::Whole { id, doc } => self.whole(id, doc, around.now),
            Down::Digest { digest } => self.compare(&digest),
            Down::Reconcile { scope, ranges } => self.reconcile(&scope, &ranges),
            Down::Mend {
                scope,
                segment,
                gone,
                unknown,
            } => self.mend(&scope, &segment, (&gone, &unknown), around.now),
            Down::Lacks { docs } => self.lacks(&docs),
            Down::Carried { hash, groups } => self.carried(hash, groups, around.now),
            Down::Bye { .. } => {
                self.hang_up();
                Ok(Ok(()))
            }
        }
    }

    fn welcome(
        &mut self,
        (epoch, head): (u32, Seq),
        time: i64,
        have: (u64, Hash),
        grant: SignedGrant,
        nonce: ByteVec,
        around: &mut Surroundings<'_>,
    ) -> ReplicaResult<Result<(), ProtocolError>, S> {
        let mut staged = self.stage()?;
        let Ok(granted) = grant.open(&staged.meta.root) else {
            return Ok(Err(ProtocolError::Unverified));
        };
        if granted.device_key != staged.meta.granted.device_key {
            return Ok(Err(ProtocolError::Unverified));
        }
        staged.meta.nonce = nonce;
        staged.meta.recovering = self.session.giving_back.is_some();
        if let Some(back) = &self.session.giving_back {
            staged.meta.put_back = Some(back.record.clone());
        }
        staged.meta.city_time = staged.meta.city_time.max(time);
        let position = &mut staged.meta.position;
        if position.epoch != epoch || position.seq > head {
            // Another log: what is held stays, and every scope is compared and repaired. What was being
            // filled begins again, since its places mean nothing there.
            (position.epoch, position.seq) = (epoch, 0);
            position.fills.clear();
            staged.meta.ahead = 0;
        }
        staged.narrow_to(held_scopes(&granted))?;
        (staged.meta.grant, staged.meta.granted) = (grant, granted);
        let finished = staged.finish();
        self.commit(finished)?;
        self.align(have.0, have.1, around)?;
        self.session.live = true;
        self.load_carried()?;
        self.ask_for_missing()?;
        self.ask_for_broken()?;
        self.changes.push(Change::Status);
        Ok(Ok(()))
    }

    /// The relay speaks of the chain that the hello named. If another life began since, its end says
    /// nothing of the new chain.
    fn gap(
        &mut self,
        have: u64,
        have_hash: Hash,
        around: &mut Surroundings<'_>,
    ) -> ReplicaResult<(), S> {
        match self.meta()?.incarnation == self.session.spoken {
            true => self.align(have, have_hash, around),
            false => Ok(()),
        }
    }

    /// Compares the relay's end of our chain with ours. If it is not a part of ours, the store was
    /// rolled back or has a twin: a new incarnation begins, and what was never answered is offered
    /// with its own context.
    fn align(
        &mut self,
        have: u64,
        have_hash: Hash,
        around: &mut Surroundings<'_>,
    ) -> ReplicaResult<(), S> {
        let meta = self.meta()?;
        let ours = match have {
            0 => Some(Hash([0; 32])),
            n => self
                .store
                .envelope(&meta.device(), meta.incarnation, n)
                .map_err(ReplicaError::Store)?
                .map(|row| row.hash),
        };
        if ours == Some(have_hash) {
            self.session.sent = have;
            self.session.have = have;
            self.session.doubted = self.session.doubted.max(have);
        } else {
            self.begin_incarnation(around.entropy)?;
            (self.session.sent, self.session.have) = (0, 0);
            self.load_carried()?;
        }
        Ok(())
    }
}
