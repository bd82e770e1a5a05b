//! Everything on the relay's disk, in memory, and what is read of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::envelope::PartKind;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{Actor, DeviceId, DocId, Hash, RecordId, Seq, UserId};
use manzana_engine::wire::PackedDoc;
use manzana_server::storage::{
    ChainHead, CityFormat, DeviceRecord, DocState, Head, HeldGroup, Invite, LogRow, SessionRow,
    Stretch, UserRow, WaitingGroup,
};

use super::recovery::Recovery;

/// Where an envelope stands: device, incarnation, place.
pub type Place = (DeviceId, u32, u64);

/// A stored envelope.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its hash.
    pub hash: Hash,
    /// Encoded, without parts.
    pub bytes: Bytes,
    /// The latest answers of its groups.
    pub answers: Vec<Answer>,
    /// When it came, among all others.
    pub order: usize,
}

/// A row of the log with what only the storage knows of it.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The row.
    pub row: Arc<LogRow>,
    /// The envelope that brought it.
    pub place: Place,
    /// City time of its commit.
    pub time: i64,
}

/// A detached part.
#[derive(Debug, Clone)]
pub(super) struct StoredPart {
    pub place: Place,
    pub hash: Hash,
    pub doc: DocId,
    pub kind: PartKind,
    pub bytes: Bytes,
    pub masked_name: Option<String>,
    pub live: bool,
}

/// Everything on the relay's disk.
#[derive(Debug, Clone)]
pub struct City {
    /// Where the log stands.
    pub head: Head,
    /// The next folio.
    pub next_folio: u64,
    /// The log; place 1 first.
    pub log: Vec<Logged>,
    /// The documents.
    pub docs: BTreeMap<DocId, Arc<DocState>>,
    /// The envelopes.
    pub envelopes: BTreeMap<Place, Arc<Stored>>,
    /// The devices.
    pub devices: BTreeMap<DeviceId, DeviceRecord>,
    /// The digests of the scopes.
    pub digests: BTreeMap<Scope, SetHash>,
    pub(super) fates: BTreeMap<Hash, Option<Seq>>,
    pub(super) actors: BTreeMap<Actor, (DeviceId, u32)>,
    pub(super) chains: BTreeMap<(DeviceId, u32), ChainHead>,
    pub(super) answers: BTreeMap<DeviceId, BTreeMap<u64, EnvelopeAnswer>>,
    pub(super) numbers: BTreeMap<DeviceId, u64>,
    pub(super) waiting: BTreeMap<Hash, BTreeSet<(Place, usize)>>,
    /// What is held, by number; the envelopes are left out.
    pub held: BTreeMap<u64, HeldGroup>,
    pub(super) last_held: u64,
    pub(super) parts: Vec<StoredPart>,
    /// Where each device said that it stood, and when.
    pub(super) places: BTreeMap<DeviceId, (Seq, i64)>,
    /// Places up to here may be forgotten for scopes, and those that are.
    pub(super) floor: Seq,
    pub(super) forgotten: BTreeSet<(Seq, Scope)>,
    pub(super) invites: BTreeMap<Hash, Invite>,
    pub(super) users: BTreeMap<UserId, UserRow>,
    pub(super) sessions: BTreeMap<Hash, SessionRow>,
    pub(super) act_keys: BTreeMap<(UserId, String), RecordId>,
    pub(super) settings: BTreeMap<String, Vec<u8>>,
    /// What is known of a backup that was put back.
    pub(super) recovery: Recovery,
}

impl City {
    /// A city without people.
    pub fn new(format: &CityFormat) -> Self {
        let settings = [
            (CityFormat::FIRST_FOLIO, format.first_folio.to_string()),
            (CityFormat::FOLIO_PREFIX, format.folio_prefix.clone()),
            (CityFormat::FOLIO_WIDTH, format.folio_width.to_string()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.into_bytes()));
        Self {
            head: Head {
                epoch: 1,
                seq: 0,
                recovering: false,
            },
            next_folio: format.first_folio,
            log: Vec::new(),
            docs: BTreeMap::new(),
            envelopes: BTreeMap::new(),
            devices: BTreeMap::new(),
            digests: BTreeMap::new(),
            fates: BTreeMap::new(),
            actors: BTreeMap::new(),
            chains: BTreeMap::new(),
            answers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            held: BTreeMap::new(),
            last_held: 0,
            parts: Vec::new(),
            places: BTreeMap::new(),
            floor: 0,
            forgotten: BTreeSet::new(),
            invites: BTreeMap::new(),
            users: BTreeMap::new(),
            sessions: BTreeMap::new(),
            act_keys: BTreeMap::new(),
            settings: settings.into(),
            recovery: Recovery::default(),
        }
    }

    /// The number of a user.
    pub fn user_named(&self, name: &str) -> Option<UserId> {
        let mut users = self.users.values();
        users.find(|user| user.name == name).map(|user| user.id)
    }

    pub(super) fn answered(&self, place: &Place) -> Option<(Hash, Vec<Answer>)> {
        let stored = self.envelopes.get(place)?;
        Some((stored.hash, stored.answers.clone()))
    }

    pub(super) fn waiting_for(&self, hashes: &[Hash]) -> Vec<WaitingGroup> {
        let groups = hashes.iter().filter_map(|hash| self.waiting.get(hash));
        self.waiting_groups(groups.flatten())
    }

    pub(super) fn waiting_of(&self, device: &DeviceId) -> Vec<WaitingGroup> {
        let groups = self.waiting.values().flatten();
        self.waiting_groups(groups.filter(|(place, _)| place.0 == *device))
    }

    /// Each once, in the order in which they came.
    fn waiting_groups<'c>(
        &'c self,
        groups: impl Iterator<Item = &'c (Place, usize)>,
    ) -> Vec<WaitingGroup> {
        let mut found = BTreeMap::new();
        for (place, group) in groups {
            let stored = &self.envelopes[place];
            let waits = WaitingGroup {
                envelope: stored.bytes.clone(),
                group: *group,
            };
            found.insert((stored.order, *group), waits);
        }
        found.into_values().collect()
    }

    /// What is held, with the envelopes.
    pub(super) fn held_after(&self, after: u64) -> impl Iterator<Item = HeldGroup> {
        let groups = self.held.range(after + 1..);
        groups.map(|(_, held)| {
            let place = (held.device, held.incarnation, held.n);
            HeldGroup {
                envelope: self.envelopes[&place].bytes.clone(),
                ..held.clone()
            }
        })
    }

    pub(super) fn log_after(
        &self,
        scopes: &[Scope],
        after: Seq,
        limit: usize,
    ) -> (Vec<LogRow>, Seq) {
        if limit == 0 {
            return (Vec::new(), after);
        }
        let mut rows: Vec<LogRow> = Vec::new();
        for logged in &self.log {
            let row = &logged.row;
            let mine = row.moves.iter().filter(|(scope, _)| {
                let kept =
                    row.seq > self.floor || !self.forgotten.contains(&(row.seq, scope.clone()));
                kept && scopes.contains(scope)
            });
            let moves: Vec<_> = mine.cloned().collect();
            if row.seq > after && !moves.is_empty() {
                if rows.len() == limit {
                    let last = rows.last().map_or(after, |row| row.seq);
                    return (rows, last);
                }
                rows.push(LogRow {
                    moves,
                    ..LogRow::clone(row)
                });
            }
        }
        (rows, self.head.seq)
    }

    /// Up to the lowest place of a device that lives; to the head without any.
    pub(super) fn raise_floor(&mut self, live_since: i64) {
        let lives = |id: &DeviceId| {
            let device = self.devices.get(id);
            device.is_some_and(|device| device.revoked_at.is_none())
        };
        let places = self.places.iter();
        let lowest = places
            .filter(|(id, (_, at))| *at >= live_since && lives(id))
            .map(|(_, (seq, _))| *seq)
            .min();
        let lowest = lowest.unwrap_or(self.head.seq).min(self.head.seq);
        self.floor = self.floor.max(lowest);
    }

    /// Places of scopes that are due to be forgotten, at most `limit`.
    pub(super) fn to_forget(&self, limit: usize) -> Vec<(Seq, Scope)> {
        let rows = self.log.iter().map(|logged| &logged.row);
        let due = rows.take_while(|row| row.seq <= self.floor);
        let places = due.flat_map(|row| {
            row.moves
                .iter()
                .map(move |(scope, _)| (row.seq, scope.clone()))
        });
        let kept = places.filter(|place| !self.forgotten.contains(place));
        kept.take(limit).collect()
    }

    /// Members of a scope, by their creation.
    pub(super) fn members(&self, scope: &Scope) -> BTreeMap<Seq, &DocState> {
        let docs = self.docs.values();
        docs.filter(|state| state.summary.scopes().contains(scope))
            .map(|state| (state.creation_seq, state.as_ref()))
            .collect()
    }

    pub(super) fn stretch(&self, scope: &Scope, before: Seq, most: usize) -> Option<Stretch> {
        let members = self.members(scope);
        let at = *members.range(..before).next_back()?.0;
        let below: Vec<Seq> = members.range(..at).rev().map(|(seq, _)| *seq).collect();
        let above: Vec<Seq> = members.range(at + 1..).map(|(seq, _)| *seq).collect();
        let (from, until) = Stretch::bounds(at, &below, &above, most);
        let inside: Vec<_> = members.range(from..until).collect();
        Some(Stretch {
            from,
            until,
            count: inside.len(),
            last_seq: inside.iter().map(|(_, state)| state.last_seq).max()?,
            done: members.range(..from).next().is_none(),
        })
    }

    pub(super) fn fill(&self, scope: &Scope, from: Seq, until: Seq) -> (Vec<PackedDoc>, Seq) {
        let members = self.members(scope);
        let packed = members
            .range(from..until)
            .rev()
            .map(|(_, state)| PackedDoc {
                doc: state.doc,
                creation_seq: state.creation_seq,
                folio: state.folio,
                saved: state.saved.to_vec().into(),
                summary: codec::encode(&state.summary).into(),
            });
        (packed.collect(), self.head.seq)
    }

    pub(super) fn parts_of(&self, doc: &DocId, kind: PartKind) -> Vec<Bytes> {
        let mut seen = BTreeSet::new();
        let parts = self.parts.iter();
        parts
            .filter(|part| part.live && part.doc == *doc && part.kind == kind)
            .filter(|part| seen.insert(part.hash))
            .map(|part| part.bytes.clone())
            .collect()
    }
}

pub(super) fn without_bytes(state: &DocState) -> DocState {
    DocState {
        saved: Bytes::new(),
        ..state.clone()
    }
}
