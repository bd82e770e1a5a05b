//! The writer's memory of digest states: read once, written once per batch.

use std::collections::BTreeMap;

use manzana_engine::digest::SetHash;
use manzana_engine::grant::Scope;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Result, StorageError};
use super::convert::scope_key;

/// States kept between batches, 2 KiB each: the scopes of a busy afternoon.
const STATES_KEPT: usize = 512;

#[derive(Default)]
struct State {
    hash: SetHash,
    dirty: bool,
}

/// States by scope, as in the database but for those of the batch under way.
#[derive(Default)]
pub(super) struct DigestCache {
    states: BTreeMap<Scope, State>,
}

impl DigestCache {
    /// Forgets everything: the transaction failed, or another process wrote.
    pub(super) fn clear(&mut self) {
        self.states.clear();
    }

    /// Keeps the memory bounded between batches.
    pub(super) fn trim(&mut self) {
        if self.states.len() > STATES_KEPT {
            self.states.clear();
        }
    }

    /// Applies what changed among a scope's members.
    pub(super) fn merge(
        &mut self,
        conn: &Connection,
        scope: &Scope,
        change: &SetHash,
    ) -> Result<()> {
        self.changing(conn, scope)?.merge(change);
        Ok(())
    }

    /// Writes what changed.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<()> {
        let mut write = conn.prepare_cached(
            "INSERT INTO digests (scope, state) VALUES (?1, ?2)
             ON CONFLICT (scope) DO UPDATE SET state = excluded.state",
        )?;
        for (scope, state) in self.states.iter_mut().filter(|(_, state)| state.dirty) {
            write.execute(params![scope_key(scope), state.hash.to_bytes()])?;
            state.dirty = false;
        }
        Ok(())
    }

    fn changing(&mut self, conn: &Connection, scope: &Scope) -> Result<&mut SetHash> {
        if !self.states.contains_key(scope) {
            let hash = load(conn, scope)?;
            self.states
                .insert(scope.clone(), State { hash, dirty: true });
        }
        let state = self.states.entry(scope.clone()).or_default();
        state.dirty = true;
        Ok(&mut state.hash)
    }
}

/// The stored state of a scope's digest; empty when none is.
pub(super) fn load(conn: &Connection, scope: &Scope) -> Result<SetHash> {
    let stored: Option<Vec<u8>> = conn
        .prepare_cached("SELECT state FROM digests WHERE scope = ?1")?
        .query_row([scope_key(scope)], |row| row.get(0))
        .optional()?;
    match stored {
        None => Ok(SetHash::default()),
        Some(bytes) => SetHash::from_bytes(&bytes).ok_or(StorageError::Damaged),
    }
}
