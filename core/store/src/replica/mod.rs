//! A device's replica in one SQLite file: the engine's [`ReplicaStore`].
//!
//! One commit is one transaction, so position, digests and outbox never disagree with the documents
//! they are about. The file is held exclusively: two processes that write one chain would fork it.

mod docs;
mod queue;
mod rescue;
mod token;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manzana_engine::answer::SignedReceipt;
use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DeviceId, DocId, Hash, RecordId, Seq};
use manzana_engine::replica::{
    Continuity, DocRow, EnvelopeRow, IntentRow, IntentState, ReplicaStore, Write,
};
use rusqlite::{Connection, Transaction};

use crate::documents::DocumentCounter;
use crate::sqlite::{self, OpenError, Schema, Sharing, StoreError};

pub use queue::RECEIPT_DAYS;
pub use rescue::Rescued;
pub use token::token_path;

/// What a replica's database is.
pub const REPLICA_SCHEMA: Schema = Schema {
    application_id: 0x4d5a_5231, // "MZR1"
    migrations: &[include_str!("v1.sql")],
};

/// How long an open waits for a process that is just ending.
const WAIT: Duration = Duration::from_millis(500);

const META: &str = "SELECT meta FROM own WHERE id = 0";
// Whoever commits the replica's state has acted upon `Restored`: see token.rs.
const PUT_META: &str = "UPDATE own SET meta = ?1, restored = 0 WHERE id = 0";

/// A device's replica.
#[derive(Debug)]
pub struct SqliteReplica {
    conn: Connection,
    path: PathBuf,
    documents: DocumentCounter,
}

impl SqliteReplica {
    /// Opens the replica at `path`, creating or migrating it, and says whether it is the one that was
    /// used last. `fresh_token` is random.
    pub fn open(path: &Path, fresh_token: [u8; 16]) -> Result<(Self, Continuity), OpenError> {
        rescue::finish(path)?;
        let mut conn = sqlite::open_with(path, &REPLICA_SCHEMA, Sharing::Exclusive, WAIT)?;
        let continuity = token::renew(&mut conn, path, &fresh_token)?;
        let replica = Self {
            conn,
            path: path.to_owned(),
            documents: DocumentCounter::default(),
        };
        Ok((replica, continuity))
    }

    /// Puts a new replica in the place of a damaged one, with all that is whole in that: afterwards
    /// [`SqliteReplica::open`] opens it, as a new life of the device. The damaged files are set aside.
    ///
    /// # Errors
    /// When they cannot be read or the new one cannot be written: then all is as it was.
    pub fn rescue(path: &Path) -> Result<Rescued, OpenError> {
        rescue::rescue(path)
    }

    /// Writes another random token, so that a backup taken until now is told apart from this store.
    /// For processes that live long: call it once a day.
    pub fn refresh_token(&mut self, fresh_token: [u8; 16]) -> Result<Continuity, StoreError> {
        token::renew(&mut self.conn, &self.path, &fresh_token)
    }

    /// Counts the documents whose bytes were read.
    pub fn documents(&self) -> &DocumentCounter {
        &self.documents
    }

    /// The latest receipts, newest first, at most `limit`: what the relay signed for.
    pub fn receipts(&self, limit: usize) -> Result<Vec<SignedReceipt>, StoreError> {
        let latest = queue::receipts(&self.conn, u64::MAX, limit)?;
        Ok(latest.into_iter().map(|(_, receipt)| receipt).collect())
    }
}

impl ReplicaStore for SqliteReplica {
    type Error = StoreError;

    fn meta(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut statement = self.conn.prepare_cached(META)?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn doc(&self, doc: &DocId) -> Result<Option<DocRow>, StoreError> {
        docs::doc(&self.conn, &self.documents, doc)
    }

    fn standing(&self, docs: &[DocId]) -> Result<BTreeSet<DocId>, StoreError> {
        docs::standing(&self.conn, docs)
    }

    fn list(&self) -> Result<Vec<DocRow>, StoreError> {
        docs::list(&self.conn)
    }

    fn envelope(
        &self,
        device: &DeviceId,
        incarnation: u32,
        n: u64,
    ) -> Result<Option<EnvelopeRow>, StoreError> {
        let key = (device.as_bytes(), incarnation, int(n)?);
        Ok(queue::envelopes(&self.conn, queue::ENVELOPE, key)?.pop())
    }

    fn envelopes_from(
        &self,
        device: &DeviceId,
        incarnation: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, StoreError> {
        let (from, limit) = (int(from)?, queue::limit_of(limit));
        let params = (device.as_bytes(), incarnation, from, limit);
        queue::envelopes(&self.conn, queue::CHAIN, params)
    }

    fn open_envelopes_of(&self, doc: &DocId) -> Result<Vec<EnvelopeRow>, StoreError> {
        queue::envelopes(&self.conn, queue::OPEN_ENVELOPES, [doc.as_bytes()])
    }

    fn own_chains(&self, device: &DeviceId) -> Result<Vec<(u32, u64)>, StoreError> {
        queue::own_chains(&self.conn, device)
    }

    fn receipts_before(
        &self,
        place: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SignedReceipt)>, StoreError> {
        queue::receipts(&self.conn, place, limit)
    }

    fn carried(
        &self,
        device: &DeviceId,
        incarnation: u32,
        limit: usize,
    ) -> Result<Vec<EnvelopeRow>, StoreError> {
        let params = (device.as_bytes(), incarnation, queue::limit_of(limit));
        queue::envelopes(&self.conn, queue::CARRIED, params)
    }

    fn unsent(&self, device: &DeviceId) -> Result<(u64, Option<i64>), StoreError> {
        queue::unsent(&self.conn, device)
    }

    fn intent(&self, id: &RecordId) -> Result<Option<IntentRow>, StoreError> {
        Ok(queue::intents(&self.conn, queue::INTENT, [id.as_bytes()])?.pop())
    }

    fn to_correct(&self) -> Result<Vec<IntentRow>, StoreError> {
        queue::intents(&self.conn, queue::TO_CORRECT, [])
    }

    fn held(&self) -> Result<Vec<IntentRow>, StoreError> {
        let mut open = queue::intents(&self.conn, queue::ALL_OPEN_INTENTS, [])?;
        open.retain(|row| matches!(row.state, IntentState::Held { .. }));
        Ok(open)
    }

    fn open_intents_of(&self, doc: &DocId) -> Result<Vec<IntentRow>, StoreError> {
        queue::intents(&self.conn, queue::OPEN_INTENTS, [doc.as_bytes()])
    }

    fn intents_accepted_at(&self, seq: Seq) -> Result<Vec<IntentRow>, StoreError> {
        let mut rows = queue::intents(&self.conn, queue::ALL_INTENTS, [])?;
        rows.retain(|row| row.state == IntentState::Accepted { seq });
        Ok(rows)
    }

    fn digest(&self, scope: &Scope) -> Result<SetHash, StoreError> {
        docs::digest(&self.conn, scope)
    }

    fn docs_in(&self, scope: &Scope) -> Result<Vec<DocId>, StoreError> {
        docs::docs_in(&self.conn, scope)
    }

    fn heads_in(&self, scope: &Scope) -> Result<Vec<(DocId, Vec<Hash>)>, StoreError> {
        docs::heads_in(&self.conn, scope)
    }

    fn commit(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        sqlite::write(&mut self.conn, |tx| {
            writes.iter().try_for_each(|write| apply(tx, write))
        })
    }
}

fn apply(tx: &Transaction<'_>, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::Meta(meta) => {
            tx.prepare_cached(PUT_META)?.execute([meta])?;
            Ok(())
        }
        Write::Doc(row) => docs::put(tx, row),
        Write::DropDoc(doc) => docs::drop_doc(tx, doc),
        Write::Envelope(row) => queue::put_envelope(tx, row),
        Write::DropEnvelope(device, incarnation, n) => {
            queue::drop_envelope(tx, device, *incarnation, *n)
        }
        Write::Intent(row) => queue::put_intent(tx, row),
        Write::Receipt(receipt) => queue::put_receipt(tx, receipt),
        Write::Digest(scope, digest) => docs::put_digest(tx, scope, digest),
        Write::DropDigest(scope) => docs::drop_digest(tx, scope),
    }
}

/// A number as SQLite keeps it. Ours stay far below 2^63; a stranger's beyond that is not stored.
fn int(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|error| StoreError::Backend(Box::new(error)))
}

/// A stored number; negative ones were not stored by us.
fn uint(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Damaged)
}

#[cfg(test)]
mod tests;
