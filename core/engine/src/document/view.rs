//! Reading a petition: fields with all their concurrent values, records with their changes, the state.

use std::collections::BTreeMap;

use automerge::iter::MapRangeItem;
use automerge::{Automerge, ChangeHash, ObjId, ROOT, ReadDoc, ScalarValue, Value};

use super::{DocumentError, field};
use crate::codec;
use crate::fold::{Ancestry, EventKind, FoldEvent, State, fold};
use crate::gate::chunk::{ActorBytes, OpId};
use crate::ids::{CatalogId, Hash, RecordId};
use crate::record::{Attachment, CatalogRef, Comment, Event, Link, Position, RECORD_MAPS, Record};
use crate::summary::{DocKind, Priority, Summary};

/// The values of one field: one, or several concurrent ones, the shown one first.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldValues {
    /// Values with the operations that put them.
    pub values: Vec<(ScalarValue, OpId)>,
}

/// A record with its key and the change that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry<T> {
    /// The record's key.
    pub id: RecordId,
    /// The change that put it.
    pub change: Hash,
    /// The record.
    pub record: T,
}

/// A petition as of some heads.
#[derive(Debug, Clone, PartialEq)]
pub struct PetitionView {
    /// Scalar fields of the root map.
    pub fields: BTreeMap<String, FieldValues>,
    /// The object ids of the record maps.
    pub maps: BTreeMap<&'static str, OpId>,
    /// Events, by record id.
    pub events: Vec<RecordEntry<Event>>,
    /// Comments, by record id.
    pub comments: Vec<RecordEntry<Comment>>,
    /// Attachments, by record id.
    pub attachments: Vec<RecordEntry<Attachment>>,
    /// Links, by record id.
    pub links: Vec<RecordEntry<Link>>,
    /// The state that the events fold to.
    pub state: State,
    /// The heads it was read at, sorted.
    pub heads: Vec<Hash>,
    /// Highest operation counter.
    pub ops: u64,
    /// Number of changes.
    pub changes: u32,
}

impl PetitionView {
    /// The shown value of a text field.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.scalar(name)? {
            ScalarValue::Str(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The shown value of a catalog reference.
    pub fn reference(&self, name: &str) -> Option<CatalogRef> {
        codec::decode(self.bytes(name)?).ok()
    }

    /// The shown value of a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.scalar(name)? {
            ScalarValue::Uint(n) => Some(*n),
            _ => None,
        }
    }

    /// The shown bytes of a field.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self.scalar(name)? {
            ScalarValue::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Where it is.
    pub fn position(&self) -> Option<Position> {
        codec::decode(self.bytes(field::POSITION)?).ok()
    }

    /// The priority; an unknown one counts as normal.
    pub fn priority(&self) -> Priority {
        match self.number(field::PRIORITY) {
            Some(1) => Priority::Urgent,
            Some(2) => Priority::Risk,
            _ => Priority::Normal,
        }
    }

    /// The event by which it was captured.
    pub fn recorded(&self) -> Option<&RecordEntry<Event>> {
        self.events
            .iter()
            .find(|entry| entry.record.kind == EventKind::Recorded)
    }

    /// Whether a record with this key stands in the map.
    pub fn has_record(&self, map: &str, key: &str) -> bool {
        let Ok(id) = RecordId::from_key(key) else {
            return false;
        };
        match map {
            "events" => self.events.iter().any(|e| e.id == id),
            "comments" => self.comments.iter().any(|e| e.id == id),
            "attachments" => self.attachments.iter().any(|e| e.id == id),
            "links" => self.links.iter().any(|e| e.id == id),
            _ => false,
        }
    }

    /// An event by its record id.
    pub fn event(&self, id: &RecordId) -> Option<&RecordEntry<Event>> {
        self.events.iter().find(|entry| entry.id == *id)
    }

    /// Street and cross streets in one line, as the city writes them.
    pub fn location(&self) -> String {
        let part = |name| {
            self.text(name)
                .map(str::trim)
                .filter(|text| !text.is_empty())
        };
        let street = part(field::STREET).unwrap_or_default();
        let between = match (part(field::CROSS1), part(field::CROSS2)) {
            (Some(a), Some(b)) => format!("ENTRE {a} Y {b}"),
            (Some(one), None) | (None, Some(one)) => format!("ESQUINA {one}"),
            (None, None) => String::new(),
        };
        [street, between.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The agencies it is with now: those of the last referrals, else the one of the capture.
    pub fn agencies(&self) -> Vec<CatalogRef> {
        if self.state.agencies.is_empty() {
            return self.reference(field::AGENCY).into_iter().collect();
        }
        let named = |id: &CatalogId| {
            self.events
                .iter()
                .filter(|entry| entry.record.kind == EventKind::Referred)
                .filter_map(|entry| entry.record.agency.clone())
                .find(|agency| agency.id == *id)
        };
        self.state.agencies.iter().filter_map(named).collect()
    }

    /// The row that lists, filters and scopes need.
    pub fn summary(&self) -> Result<Summary, DocumentError> {
        let recorded = self.recorded().ok_or(DocumentError::NotAPetition)?;
        let id = |name| self.number(name).and_then(|n| CatalogId::try_from(n).ok());
        Ok(Summary {
            doc_kind: DocKind::Petition,
            capture: recorded.id,
            author: recorded.record.by.user,
            title: self.text(field::TITLE).unwrap_or_default().to_owned(),
            captured_agency: self.reference(field::AGENCY),
            agencies: self.agencies(),
            service: self.reference(field::SERVICE),
            neighborhood: self.reference(field::NEIGHBORHOOD),
            location: self.location(),
            channel: self.reference(field::CHANNEL),
            block: id(field::BLOCK),
            sector: id(field::SECTOR),
            crews: self.crews(),
            priority: self.priority(),
            status: self.state.reported(),
            unconfirmed: self.state.unconfirmed,
            conflict: self.state.in_conflict(),
            review: !self.state.review.is_empty(),
            is_final: self.state.is_final,
            accepted: self.state.accepted,
            captured_at: recorded.record.by.at,
            comments: u32::try_from(self.comments.len()).unwrap_or(u32::MAX),
            heads: self.heads.clone(),
            ops: self.ops,
            changes: self.changes,
        })
    }

    fn crews(&self) -> Vec<CatalogId> {
        let mut crews: Vec<CatalogId> = self
            .events
            .iter()
            .filter(|entry| entry.record.kind == EventKind::Assigned)
            .filter_map(|entry| entry.record.crew.as_ref().map(|crew| crew.id))
            .collect();
        crews.sort_unstable();
        crews.dedup();
        crews
    }

    fn scalar(&self, name: &str) -> Option<&ScalarValue> {
        self.fields
            .get(name)?
            .values
            .first()
            .map(|(value, _)| value)
    }
}

/// Reads a petition as of `at`, or of its heads.
pub(super) fn read(
    doc: &Automerge,
    at: Option<&[ChangeHash]>,
) -> Result<PetitionView, DocumentError> {
    let history = History::of(doc, at);
    let mut view = PetitionView {
        fields: BTreeMap::new(),
        maps: BTreeMap::new(),
        events: Vec::new(),
        comments: Vec::new(),
        attachments: Vec::new(),
        links: Vec::new(),
        state: State::default(),
        heads: super::sorted(at.map_or_else(|| doc.get_heads(), <[ChangeHash]>::to_vec)),
        ops: history.max_op,
        changes: history.included,
    };
    for (key, values) in entries(doc, at, &ROOT) {
        read_root_key(doc, at, &history, &mut view, key, values);
    }
    if view.maps.len() != RECORD_MAPS.len() {
        return Err(DocumentError::NotAPetition);
    }
    view.state = history.fold(&view.events);
    Ok(view)
}

fn read_root_key(
    doc: &Automerge,
    at: Option<&[ChangeHash]>,
    history: &History,
    view: &mut PetitionView,
    key: String,
    values: Values,
) {
    let mut scalars = Vec::new();
    for (value, id) in values {
        match value {
            Value::Scalar(scalar) => {
                scalars.extend(op_id(&id).map(|op| (scalar.into_owned(), op)));
            }
            Value::Object(_) => {
                let name = RECORD_MAPS.iter().find(|name| **name == key);
                if let (Some(name), Some(op)) = (name, op_id(&id)) {
                    view.maps.insert(name, op);
                    read_records(doc, at, history, view, name, &id);
                }
            }
        }
    }
    // Automerge lists the winner last; people read it first.
    scalars.reverse();
    if !scalars.is_empty() {
        view.fields.insert(key, FieldValues { values: scalars });
    }
}

fn read_records(
    doc: &Automerge,
    at: Option<&[ChangeHash]>,
    history: &History,
    view: &mut PetitionView,
    map: &str,
    object: &ObjId,
) {
    for (key, values) in entries(doc, at, object) {
        let Ok(id) = RecordId::from_key(&key) else {
            continue;
        };
        for (value, op) in values {
            let Some(bytes) = value.as_bytes() else {
                continue;
            };
            let Some(change) = op_id(&op).and_then(|op| history.change_of(&op)) else {
                continue;
            };
            match Record::decode(map, bytes) {
                Some(Record::Event(record)) => view.events.push(RecordEntry { id, change, record }),
                Some(Record::Comment(record)) => {
                    view.comments.push(RecordEntry { id, change, record });
                }
                Some(Record::Attachment(record)) => {
                    view.attachments.push(RecordEntry { id, change, record });
                }
                Some(Record::Link(record)) => view.links.push(RecordEntry { id, change, record }),
                None => {}
            }
        }
    }
}

/// The values under one key with the operations that put them, the shown one last.
type Values = Vec<(Value<'static>, ObjId)>;

/// All keys of a map with their values, in one pass: asking for each key by itself costs three times
/// as much. Only a key with concurrent values is asked for.
pub(super) fn entries(
    doc: &Automerge,
    at: Option<&[ChangeHash]>,
    object: &ObjId,
) -> Vec<(String, Values)> {
    let items = match at {
        Some(heads) => doc.map_range_at(object, .., heads),
        None => doc.map_range(object, ..),
    };
    let entry = |item: MapRangeItem<'_>| {
        if item.conflict {
            let values = all(doc, at, object, &item.key);
            return (item.key.into_owned(), values);
        }
        let id = item.id();
        (item.key.into_owned(), vec![(item.value.into_value(), id)])
    };
    items.map(entry).collect()
}

fn all(doc: &Automerge, at: Option<&[ChangeHash]>, object: &ObjId, key: &str) -> Values {
    let values = match at {
        Some(heads) => doc.get_all_at(object, key, heads),
        None => doc.get_all(object, key),
    };
    let owned = |(value, id): (Value<'_>, ObjId)| (value.into_owned(), id);
    values.unwrap_or_default().into_iter().map(owned).collect()
}

/// The operation behind an object's or a value's id; `None` for the root and for actors that are not
/// ours (the gate lets none in).
pub(super) fn op_id(id: &ObjId) -> Option<OpId> {
    match id {
        ObjId::Root => None,
        ObjId::Id(counter, actor, _) => Some(OpId {
            counter: *counter,
            actor: ActorBytes::try_from(actor.to_bytes()).ok()?,
        }),
    }
}

/// The change graph of a document, as far as reading needs it.
pub(super) struct History {
    hashes: Vec<Hash>,
    parents: Vec<Vec<usize>>,
    /// (actor, last operation) → (first operation, index): finds an operation's change.
    spans: BTreeMap<(ActorBytes, u64), (u64, usize)>,
    pub(super) max_op: u64,
    pub(super) included: u32,
}

impl History {
    pub(super) fn of(doc: &Automerge, at: Option<&[ChangeHash]>) -> Self {
        let mut history = Self {
            hashes: Vec::new(),
            parents: Vec::new(),
            spans: BTreeMap::new(),
            max_op: 0,
            included: 0,
        };
        let mut index = BTreeMap::new();
        for meta in doc.get_changes_meta(&[]) {
            let i = history.hashes.len();
            index.insert(meta.hash.0, i);
            history.hashes.push(Hash(meta.hash.0));
            history.parents.push(
                meta.deps
                    .iter()
                    .filter_map(|d| index.get(&d.0).copied())
                    .collect(),
            );
            // A join has no operations: its span would stand in the place of the change before it.
            if let Ok(actor) = ActorBytes::try_from(meta.actor.to_bytes())
                && meta.start_op <= meta.max_op
            {
                history
                    .spans
                    .insert((actor, meta.max_op), (meta.start_op, i));
            }
            history.max_op = history.max_op.max(meta.max_op);
        }
        history.included = u32::try_from(history.hashes.len()).unwrap_or(u32::MAX);
        if let Some(heads) = at {
            history.restrict(
                heads
                    .iter()
                    .filter_map(|h| index.get(&h.0).copied())
                    .collect(),
            );
        }
        history
    }

    /// Counts only what the heads can see; the graph itself may stay whole.
    fn restrict(&mut self, mut stack: Vec<usize>) {
        let mut seen = vec![false; self.hashes.len()];
        while let Some(i) = stack.pop() {
            if !std::mem::replace(&mut seen[i], true) {
                stack.extend(&self.parents[i]);
            }
        }
        self.included = u32::try_from(seen.iter().filter(|s| **s).count()).unwrap_or(u32::MAX);
        let ops = self
            .spans
            .iter()
            .filter(|(_, (_, i))| seen[*i])
            .map(|((_, op), _)| *op);
        self.max_op = ops.max().unwrap_or(0);
    }

    fn change_of(&self, op: &OpId) -> Option<Hash> {
        self.index_of(op).map(|i| self.hashes[i])
    }

    fn index_of(&self, op: &OpId) -> Option<usize> {
        let ((found, _), (start, i)) = self.spans.range((op.actor, op.counter)..).next()?;
        (*found == op.actor && *start <= op.counter).then_some(*i)
    }

    fn fold(&self, entries: &[RecordEntry<Event>]) -> State {
        let position: BTreeMap<Hash, usize> = self
            .hashes
            .iter()
            .enumerate()
            .map(|(i, hash)| (*hash, i))
            .collect();
        let mut carried = vec![Vec::new(); self.hashes.len()];
        for (event, entry) in entries.iter().enumerate() {
            if let Some(change) = position.get(&entry.change) {
                carried[*change].push(event);
            }
        }
        let events: Vec<FoldEvent> = entries
            .iter()
            .map(|entry| FoldEvent {
                id: entry.id,
                kind: entry.record.kind,
                outcome: entry.record.outcome,
                agency: entry.record.agency.as_ref().map(|agency| agency.id),
            })
            .collect();
        let order = Ancestry::from_graph(events.len(), &self.parents, &carried);
        fold(&events, &order)
    }
}
