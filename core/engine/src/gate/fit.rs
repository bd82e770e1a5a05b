//! Whether a decoded change fits the document it is meant for.
//!
//! The decoder sees one change alone; most of what still makes Automerge panic is a change that
//! is sound by itself but names what the document does not have. [`check_fit`] compares the two
//! before anything is applied. It has no opinion on meaning or permission.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ActorId, Automerge, ChangeHash, ObjId, ObjType, ReadDoc};

use super::chunk::{Action, ActorBytes, DecodedChange, Key, Obj, Op, OpId};

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
    /// An operation has a map's key in a sequence, or a sequence's in a map.
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
    let fit = Fit { doc, change, past };
    (0..change.ops.len()).try_for_each(|row| fit.check_op(row))
}

/// What was there at a change's dependencies.
struct Past {
    /// Each actor's operations: first and last counter of each change, empty ones left out.
    spans: BTreeMap<ActorBytes, Vec<(u64, u64)>>,
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
            past.add(meta.actor.to_bytes(), meta.start_op, meta.max_op);
            to_visit.extend(&meta.deps);
        }
        Ok(past)
    }

    fn add(&mut self, actor: &[u8], start_op: u64, max_op: u64) {
        self.max_op = self.max_op.max(max_op);
        // An actor of another length cannot be referred to.
        if let (Ok(actor), true) = (ActorBytes::try_from(actor), start_op <= max_op) {
            self.spans
                .entry(actor)
                .or_default()
                .push((start_op, max_op));
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

    fn has(&self, id: &OpId) -> bool {
        let spans = self.spans.get(&id.actor);
        spans.is_some_and(|spans| {
            spans
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&id.counter))
        })
    }
}

struct Fit<'a> {
    doc: &'a Automerge,
    change: &'a DecodedChange,
    past: Past,
}

impl Fit<'_> {
    fn check_op(&self, row: usize) -> Result<(), Misfit> {
        let op = &self.change.ops[row];
        let kind = self.object(&op.obj, row)?;
        if !fits_kind(op, kind) {
            return Err(Misfit::WrongKey { row });
        }
        let element = match &op.key {
            Key::Elem(id) => Some(id),
            Key::Map(_) | Key::Head => None,
        };
        let mut named = element.into_iter().chain(&op.pred);
        if named.all(|id| self.is_in(id, &op.obj)) {
            Ok(())
        } else {
            Err(Misfit::UnknownOp { row })
        }
    }

    /// The kind of an object, of the document or made earlier in the change.
    fn object(&self, obj: &Obj, row: usize) -> Result<ObjType, Misfit> {
        let Obj::Id(id) = obj else {
            return Ok(ObjType::Map);
        };
        if let Some(maker) = self.own_op(id) {
            return made_by(&maker.action).ok_or(Misfit::NotAnObject { row });
        }
        if !self.past.has(id) {
            return Err(Misfit::UnknownOp { row });
        }
        let id = ObjId::Id(id.counter, ActorId::from(id.actor.as_ref()), 0);
        self.doc
            .object_type(id)
            .map_err(|_| Misfit::NotAnObject { row })
    }

    /// Whether an operation is there; one of this very change must be in the same object.
    fn is_in(&self, id: &OpId, obj: &Obj) -> bool {
        match self.own_op(id) {
            Some(own) => own.obj == *obj,
            None => self.past.has(id),
        }
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
    in_map != kind.is_sequence()
}
