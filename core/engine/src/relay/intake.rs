//! Planning a batch: which groups must be judged together, and what their verdicts become.

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::Answer;
use crate::envelope::Entry;
use crate::gate::chunk::{self, DecodedChange};
use crate::gate::judge::Verdict;
use crate::ids::{Actor, DocId, Hash};
use crate::policy::Rule;

/// What the parent process itself reads of an entry, with the bounded decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// The change's hash.
    pub hash: Hash,
    /// Its actor.
    pub actor: Actor,
    /// What it depends on.
    pub deps: Vec<Hash>,
}

/// Reads the entries of a group.
///
/// # Errors
/// [`Rule::BadChange`] when one is not an acceptable change chunk.
pub fn peek(entries: &[Entry]) -> Result<Vec<Peek>, Rule> {
    entries
        .iter()
        .map(|entry| {
            let DecodedChange {
                hash, actor, deps, ..
            } = chunk::decode_change(&entry.change).map_err(|_| Rule::BadChange)?;
            Ok(Peek {
                hash: Hash(hash),
                actor: Actor(*actor.as_bytes()),
                deps: deps.into_iter().map(Hash).collect(),
            })
        })
        .collect()
}

/// Splits groups into sets that share no document: each set is one job, and jobs run side by side.
/// `docs[i]` are the documents of group `i`; the order of groups is kept inside each set.
pub fn split_by_documents(docs: &[Vec<DocId>]) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..docs.len()).collect();
    let mut owner: BTreeMap<DocId, usize> = BTreeMap::new();
    for (group, ids) in docs.iter().enumerate() {
        for id in ids {
            let first = *owner.entry(*id).or_insert(group);
            let (a, b) = (root(&parent, first), root(&parent, group));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for group in 0..docs.len() {
        sets.entry(root(&parent, group)).or_default().push(group);
    }
    sets.into_values().collect()
}

fn root(parent: &[usize], mut i: usize) -> usize {
    while parent[i] != i {
        i = parent[i];
    }
    i
}

/// The answer that a verdict becomes, given the changes known to be dead (refused, orphaned, held).
/// `None` for an accepted group: its answer needs a place in the log.
pub fn answer(verdict: &Verdict, dead: &BTreeSet<Hash>) -> Option<Answer> {
    match verdict {
        Verdict::Accepted(_) => None,
        Verdict::Refused { rule, field } => Some(Answer::Refused {
            rule: *rule,
            field: field.clone(),
        }),
        Verdict::Waiting { deps } => Some(match deps.iter().find(|dep| dead.contains(dep)) {
            Some(by) => Answer::Orphaned { by: *by },
            None => Answer::Waiting { deps: deps.clone() },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_share_a_document_are_judged_together_and_in_order() {
        let doc = |n: u8| DocId([n; 16]);
        let groups = [
            vec![doc(1)],
            vec![doc(2)],
            vec![doc(1), doc(3)],
            vec![doc(4)],
            vec![doc(3)],
        ];
        assert_eq!(
            split_by_documents(&groups),
            [vec![0, 2, 4], vec![1], vec![3]]
        );
    }
}
