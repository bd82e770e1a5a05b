//! What a document may grow to, and what one device may take of it. The same function at both ends:
//! the author's device says it before anything is sent.

use super::chunk::DecodedChange;
use crate::document::Document;
use crate::limits::{
    AUTHOR_ACTORS, AUTHOR_BYTES, AUTHOR_CHANGES, AUTHOR_OPS, DOC_ACTORS, DOC_BYTES, DOC_CHANGES,
    DOC_OPS,
};
use crate::policy::Rule;
use crate::summary::DocKind;

/// What a change may add to a saved document beside its own bytes: a head, an actor.
const OVERHEAD: usize = 64;

/// What a change takes beside its content, and a document does not keep of it.
const CHANGE_ITSELF: usize = 512;

/// From here on a document is saved to know how long it is; below, its bytes are estimated.
const MEASURED_FROM: usize = DOC_BYTES / 4 * 3;

/// Counts of a document, and a device's part of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) changes: usize,
    pub(crate) actors: usize,
    pub(crate) ops: u64,
    pub(crate) own_changes: usize,
    pub(crate) own_actors: usize,
    pub(crate) own_ops: u64,
}

/// At least as many bytes as the document has when it is saved with one change more.
pub(super) fn grown(bytes: usize, raw: &[u8]) -> usize {
    bytes + raw.len() + OVERHEAD
}

/// Whether a change, which fits the document, may still be added to it. `bytes` are those of the
/// document as saved, or an estimate that is not below them; gives the same for afterwards.
///
/// # Errors
/// [`Rule::DocumentFull`] at a cap of the document or of one device's share of it.
pub fn check(
    document: &Document,
    change: &DecodedChange,
    raw: &[u8],
    bytes: usize,
) -> Result<usize, Rule> {
    let tag: [u8; 6] = *change.actor.as_bytes().first_chunk().unwrap_or(&[0; 6]);
    let size = document.size_for(&tag);
    let (ops, fresh) = (change.ops.len() as u64, usize::from(change.seq == 1));
    let full = size.ops + ops > DOC_OPS
        || size.changes + 1 > DOC_CHANGES
        || size.actors + fresh > DOC_ACTORS;
    let whole = document.kind() != Some(DocKind::Catalog);
    let greedy = size.own_ops + ops > AUTHOR_OPS
        || size.own_changes + 1 > AUTHOR_CHANGES
        || size.own_actors + fresh > AUTHOR_ACTORS;
    let estimate = grown(bytes, raw);
    // Catalogs have one author.
    let own = estimate + size.own_changes * CHANGE_ITSELF;
    let spends = |limit| own > limit && document.bytes_by(&tag) + raw.len() > limit;
    if full || (whole && (greedy || spends(AUTHOR_BYTES))) {
        return Err(Rule::DocumentFull);
    }
    if estimate <= MEASURED_FROM {
        return Ok(estimate);
    }
    let mut after = document.clone();
    after.apply(raw).map_err(|_| Rule::BadChange)?;
    match after.save().len() {
        saved if saved > DOC_BYTES => Err(Rule::DocumentFull),
        saved => Ok(saved),
    }
}
