//! Whether a decoded change fits the document it is meant for.
//!
//! The decoder sees one change alone; most of what still makes Automerge panic is a change that
//! is sound by itself but names what the document does not have. [`check_fit`] compares the two
//! before anything is applied. It has no opinion on meaning or permission.
//!
//! One thing known to do harm is left to whoever applies the change: the end of a mark which
//! stands before its beginning. Automerge applies it and then cannot load what it saved. Nothing
//! of ours is marked, so a policy that denies marks closes this where nothing is loaded again.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ActorId, Automerge, ChangeHash, ObjId, ObjType, ReadDoc};

use super::chunk::{Action, ActorBytes, DecodedChange, Key, Obj, Op, OpId, decode_change};

/// Why a change does not fit its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// The document has this change already.
    #[error("the document has this change")]
    AlreadyKnown,
    /// A dependency is not in the document. The change may wait for it.
    #[error("a dependency is missing")]
    MissingDep,
    /// Another change of this actor has the sequence number. Were both applied somewhere, that
    /// document would refuse the other for ever.
    #[error("sequence number is taken")]
    SeqTaken,
    /// The actor's change before this one is not among its ancestors.
    #[error("the actor's previous change is missing")]
    SeqGap,
    /// The first operation's counter is not the one after the greatest at its dependencies.
    #[error("first operation's counter should be {expected}")]
    WrongStartOp {
        /// The counter it should have.
        expected: u64,
    },
    /// An operation refers to one which is not at the change's dependencies.
    #[error("operation {row} refers to an unknown one")]
    UnknownOp {
        /// The operation, counted from 0.
        row: usize,
    },
    /// An operation works on something which is no object.
    #[error("operation {row} works on no object")]
    NotAnObject {
        /// The operation, counted from 0.
        row: usize,
    },
    /// An operation overwrites what is elsewhere or deleted, or stands by what is no element of
    /// its object. Automerge applies such a change, and panics or loses the document on saving.
    #[error("operation {row} refers to another place")]
    WrongPlace {
        /// The operation, counted from 0.
        row: usize,
    },
    /// An operation has a map's key in a sequence, or a sequence's in a map, or marks a list, or
    /// works on a table.
    #[error("operation {row} has a key its object cannot have")]
    WrongKey {
        /// The operation, counted from 0.
        row: usize,
    },
}

/// Checks that `change` can be applied to `doc`.
///
/// # Errors
/// The first reason found. Of all only [`Misfit::MissingDep`] can pass with time.
pub fn check_fit(doc: &Automerge, change: &DecodedChange) -> Result<(), Misfit> {
    if doc
        .get_change_meta_by_hash(&ChangeHash(change.hash))
        .is_some()
    {
        return Err(Misfit::AlreadyKnown);
    }
    let past = Past::of(doc, change)?;
    past.check_numbers(change)?;
    let named = past.named_ops(doc, change);
    let fit = Fit {
        doc,
        change,
        past,
        named,
    };
    (0..change.ops.len()).try_for_each(|row| fit.check_op(row))
}

/// The operations of one change.
struct Span {
    first: u64,
    last: u64,
    hash: ChangeHash,
}

/// What was there at a change's dependencies.
struct Past {
    /// Each actor's changes that have operations.
    spans: BTreeMap<ActorBytes, Vec<Span>>,
    /// The greatest counter.
    max_op: u64,
    /// How many changes of the change's own actor.
    own: u64,
    /// How many changes of the change's own actor the whole document has.
    own_anywhere: u64,
}

impl Past {
    fn of(doc: &Automerge, change: &DecodedChange) -> Result<Self, Misfit> {
        let all = doc.get_changes_meta(&[]);
        let by_hash: BTreeMap<_, _> = all.iter().map(|meta| (meta.hash, meta)).collect();
        let is_own = |actor: &ActorId| actor.to_bytes() == change.actor.as_bytes();
        let mut past = Self {
            spans: BTreeMap::new(),
            max_op: 0,
            own: 0,
            own_anywhere: all.iter().filter(|meta| is_own(&meta.actor)).count() as u64,
        };
        let mut seen = BTreeSet::new();
        let mut to_visit: Vec<_> = change.deps.iter().map(|dep| ChangeHash(*dep)).collect();
        while let Some(hash) = to_visit.pop() {
            let meta = by_hash.get(&hash).ok_or(Misfit::MissingDep)?;
            if !seen.insert(hash) {
                continue;
            }
            past.own += u64::from(is_own(&meta.actor));
            let span = Span {
                first: meta.start_op,
                last: meta.max_op,
                hash,
            };
            past.add(meta.actor.to_bytes(), span);
            to_visit.extend(&meta.deps);
        }
        Ok(past)
    }

    fn add(&mut self, actor: &[u8], span: Span) {
        self.max_op = self.max_op.max(span.last);
        // An actor of another length cannot be referred to.
        if let (Ok(actor), true) = (ActorBytes::try_from(actor), span.first <= span.last) {
            self.spans.entry(actor).or_default().push(span);
        }
    }

    fn check_numbers(&self, change: &DecodedChange) -> Result<(), Misfit> {
        if change.seq <= self.own_anywhere {
            return Err(Misfit::SeqTaken);
        }
        if change.seq != self.own + 1 {
            return Err(Misfit::SeqGap);
        }
        let expected = self.max_op + 1;
        if change.start_op != expected {
            return Err(Misfit::WrongStartOp { expected });
        }
        Ok(())
    }

    /// The change that made an operation.
    fn change_of(&self, id: &OpId) -> Option<ChangeHash> {
        let spans = self.spans.get(&id.actor)?;
        let span = spans
            .iter()
            .find(|span| (span.first..=span.last).contains(&id.counter))?;
        Some(span.hash)
    }

    /// The operations of every change in which an element or predecessor was made.
    ///
    /// Most changes only add records to maps and name none; for those nothing is read.
    fn named_ops(&self, doc: &Automerge, change: &DecodedChange) -> BTreeMap<OpId, Op> {
        let named: BTreeSet<_> = change
            .ops
            .iter()
            .flat_map(|op| element(op).into_iter().chain(&op.pred))
            .filter_map(|id| self.change_of(id))
            .collect();
        if named.is_empty() {
            return BTreeMap::new();
        }
        doc.get_changes(&[])
            .iter()
            .filter(|change| named.contains(&change.hash()))
            .filter_map(|change| decode_change(change.raw_bytes()).ok())
            .flat_map(|change| change.ops)
            .map(|op| (op.id, op))
            .collect()
    }
}

struct Fit<'a> {
    doc: &'a Automerge,
    change: &'a DecodedChange,
    past: Past,
    named: BTreeMap<OpId, Op>,
}

impl Fit<'_> {
    fn check_op(&self, row: usize) -> Result<(), Misfit> {
        let op = &self.change.ops[row];
        let kind = self.object(&op.obj, row)?;
        if !fits_kind(op, kind) {
            return Err(Misfit::WrongKey { row });
        }
        if let Some(id) = element(op) {
            let by = self.op(id).ok_or(Misfit::UnknownOp { row })?;
            if !by.insert || by.obj != op.obj {
                return Err(Misfit::WrongPlace { row });
            }
        }
        op.pred.iter().try_for_each(|id| {
            let overwritten = self.op(id).ok_or(Misfit::UnknownOp { row })?;
            let there = place(overwritten) == place(op) && overwritten.action != Action::Delete;
            if there {
                Ok(())
            } else {
                Err(Misfit::WrongPlace { row })
            }
        })
    }

    /// An element or predecessor, of the document or made earlier in the change.
    fn op(&self, id: &OpId) -> Option<&Op> {
        self.own_op(id).or_else(|| self.named.get(id))
    }

    /// The kind of an object, of the document or made earlier in the change.
    fn object(&self, obj: &Obj, row: usize) -> Result<ObjType, Misfit> {
        let Obj::Id(id) = obj else {
            return Ok(ObjType::Map);
        };
        if let Some(maker) = self.own_op(id) {
            return made_by(&maker.action).ok_or(Misfit::NotAnObject { row });
        }
        self.past.change_of(id).ok_or(Misfit::UnknownOp { row })?;
        let id = ObjId::Id(id.counter, ActorId::from(id.actor.as_ref()), 0);
        self.doc
            .object_type(id)
            .map_err(|_| Misfit::NotAnObject { row })
    }

    /// The operation of this change with that id. The decoder has seen to it that it comes before
    /// the one that refers to it.
    fn own_op(&self, id: &OpId) -> Option<&Op> {
        let index = id.counter.checked_sub(self.change.start_op)?;
        let index = usize::try_from(index).ok()?;
        (id.actor == self.change.actor)
            .then(|| self.change.ops.get(index))
            .flatten()
    }
}

/// The element an operation works on or inserts after.
fn element(op: &Op) -> Option<&OpId> {
    match &op.key {
        Key::Elem(id) => Some(id),
        Key::Map(_) | Key::Head => None,
    }
}

/// What an operation gives a value to: a key of a map or an element, an inserted one included.
fn place(op: &Op) -> (&Obj, Option<&str>, Option<&OpId>) {
    match &op.key {
        Key::Map(key) => (&op.obj, Some(key), None),
        Key::Head | Key::Elem(_) if op.insert => (&op.obj, None, Some(&op.id)),
        Key::Elem(id) => (&op.obj, None, Some(id)),
        Key::Head => (&op.obj, None, None),
    }
}

fn made_by(action: &Action) -> Option<ObjType> {
    match action {
        Action::MakeMap => Some(ObjType::Map),
        Action::MakeList => Some(ObjType::List),
        Action::MakeText => Some(ObjType::Text),
        Action::MakeTable => Some(ObjType::Table),
        Action::Put(_) | Action::Delete | Action::Increment(_) | Action::Mark => None,
    }
}

fn fits_kind(op: &Op, kind: ObjType) -> bool {
    let in_map = matches!(op.key, Key::Map(_));
    match kind {
        ObjType::Map => in_map,
        // Automerge panics on whatever is put into a table,
        ObjType::Table => false,
        // and on a mark in a list of values.
        ObjType::List => !in_map && op.action != Action::Mark,
        ObjType::Text => !in_map,
    }
}
