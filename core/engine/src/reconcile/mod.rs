//! Range-based reconciliation: two ends find where their sets of (document, version) differ, at the
//! price of the differences and not of the sets.
//!
//! A pure machine without memory: a message and one's own members in, an answer and what was learnt
//! out. Document ids are hashes, so they lie evenly, and a message speaks of the whole space of ids in
//! ascending ranges. A range is known to be the same, or told by a fingerprint of its members, or
//! listed. Who gets a fingerprint other than its own splits the range into [`FAN_OUT`] of about as many
//! members each, or lists it when there are at most [`LIST_AT_MOST`]; who gets a list tells in return
//! exactly what is different. So *both* ends learn every difference, in at most log₁₆(members) + 3
//! messages while a message has room for all.
//!
//! Neither end remembers the other between messages, and a set may change meanwhile: each message is
//! judged by the members of its moment. A fingerprint is a hash over the sorted members and not a sum
//! of theirs: whoever writes documents can choose members, and sums of many chosen ones can be made
//! to meet.

mod members;
mod range;

pub use members::{MEMBER_BYTES, Member, Members, Version};
pub use range::{Range, ReconcileError};

use minicbor::bytes::ByteVec;

use crate::ids::DocId;
use members::{decode_docs, decode_members, encode_members};
use range::{bound_between, check};

/// Into how many ranges one that differs is split.
pub const FAN_OUT: usize = 16;

/// Ranges with at most so many members are listed and not split.
pub const LIST_AT_MOST: usize = 16;

/// Bytes of ranges after which a message says the rest with one fingerprint: well below a frame.
pub const MESSAGE_BYTES: usize = 256 << 10;

/// Most ranges in a message that is read.
pub const MESSAGE_RANGES: usize = 32_768;

/// What a message taught.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Members of the other end whose documents are not here, or are here in another version.
    pub theirs: Vec<Member>,
    /// Documents here that the other end does not have.
    pub ours_only: Vec<DocId>,
}

/// An answer to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// What to send back; empty when there is nothing to say.
    pub ranges: Vec<Range>,
    /// What was learnt.
    pub learnt: Learnt,
}

/// The first message.
pub fn open(ours: &Members) -> Vec<Range> {
    let mut out = Vec::new();
    split(ours.all(), &[], &mut out);
    out
}

/// Whether a message asks for an answer: what only tells does not.
pub fn asks(ranges: &[Range]) -> bool {
    let asks = |range: &Range| matches!(range, Range::Sum { .. } | Range::List { .. });
    ranges.iter().any(asks)
}

/// Answers a message of the other end.
///
/// # Errors
/// When it is not one that an honest end could send: nothing is learnt from it.
pub fn answer(ours: &Members, message: &[Range]) -> Result<Reply, ReconcileError> {
    check(message)?;
    let mut reply = Reply::default();
    let mut spent = 0;
    let mut from: &[u8] = &[];
    for range in message {
        let upto = range.upto();
        if spent > MESSAGE_BYTES && !matches!(range, Range::Told { .. } | Range::Same { .. }) {
            rest(ours, from, &mut reply.ranges);
            break;
        }
        let before = reply.ranges.len();
        one(ours.between(from, upto), range, &mut reply)?;
        spent += reply.ranges[before..]
            .iter()
            .map(Range::bytes)
            .sum::<usize>();
        from = upto;
    }
    tidy(&mut reply.ranges);
    Ok(reply)
}

/// One range of a message, against our members in it.
fn one(ours: &[Member], range: &Range, reply: &mut Reply) -> Result<(), ReconcileError> {
    let same = |upto: &ByteVec| Range::Same { upto: upto.clone() };
    match range {
        Range::Same { upto } => reply.ranges.push(same(upto)),
        Range::Sum { upto, sum } if members::sum(ours) == *sum => reply.ranges.push(same(upto)),
        Range::Sum { upto, .. } => split(ours, upto, &mut reply.ranges),
        Range::List { upto, members } => {
            let theirs = decode_members(members)?;
            tell(ours, &theirs, upto, reply);
        }
        Range::Told {
            upto,
            members,
            lacks,
        } => {
            for theirs in decode_members(members)? {
                if find(ours, &theirs.doc) != Some(&theirs) {
                    reply.learnt.theirs.push(theirs);
                }
            }
            let lacks = decode_docs(lacks)?.into_iter();
            let held = lacks.filter(|doc| find(ours, doc).is_some());
            reply.learnt.ours_only.extend(held);
            reply.ranges.push(same(upto));
        }
    }
    Ok(())
}

/// Compares a listed range with ours, and tells the other end what it cannot see: our members that it
/// lacks or has otherwise, and which of its own we lack.
fn tell(ours: &[Member], theirs: &[Member], upto: &ByteVec, reply: &mut Reply) {
    let mut told: Vec<Member> = ours
        .iter()
        .filter(|member| find(theirs, &member.doc) != Some(member))
        .copied()
        .collect();
    // A short list may stand against very many of ours: the rest of them in the next message.
    let room = MESSAGE_BYTES / MEMBER_BYTES;
    let mut end = upto.clone();
    let mut next = None;
    if told.len() > room {
        end = bound_between(&told[room - 1].doc, &told[room].doc);
        next = ours.iter().position(|member| member.doc == told[room].doc);
        told.truncate(room);
    }
    let reached = |doc: &DocId| end.is_empty() || doc.as_bytes().as_slice() < end.as_slice();
    let mut lacks = Vec::new();
    for member in theirs.iter().filter(|member| reached(&member.doc)) {
        match find(ours, &member.doc) {
            Some(held) if held == member => {}
            Some(_) => reply.learnt.theirs.push(*member),
            None => {
                reply.learnt.theirs.push(*member);
                lacks.extend_from_slice(member.doc.as_bytes());
            }
        }
    }
    let ours_only = told.iter().filter(|m| find(theirs, &m.doc).is_none());
    reply.learnt.ours_only.extend(ours_only.map(|m| m.doc));
    reply.ranges.push(if told.is_empty() && lacks.is_empty() {
        Range::Same { upto: end }
    } else {
        Range::Told {
            upto: end,
            members: encode_members(&told),
            lacks: lacks.into(),
        }
    });
    if let Some(next) = next {
        reply.ranges.push(Range::Sum {
            upto: upto.clone(),
            sum: members::sum(&ours[next..]),
        });
    }
}

/// What did not fit: one fingerprint over all that is left.
fn rest(ours: &Members, from: &[u8], out: &mut Vec<Range>) {
    out.push(Range::Sum {
        upto: ByteVec::from(Vec::new()),
        sum: members::sum(ours.between(from, &[])),
    });
}

/// A range that differs: listed when small, split otherwise.
fn split(ours: &[Member], upto: &[u8], out: &mut Vec<Range>) {
    let upto = || ByteVec::from(upto.to_vec());
    if ours.len() <= LIST_AT_MOST {
        out.push(Range::List {
            upto: upto(),
            members: encode_members(ours),
        });
        return;
    }
    let mut start = 0;
    for part in 1..=FAN_OUT {
        let end = ours.len() * part / FAN_OUT;
        let upto = match (ours.get(end.wrapping_sub(1)), ours.get(end)) {
            (Some(last), Some(next)) if part < FAN_OUT => bound_between(&last.doc, &next.doc),
            _ => upto(),
        };
        out.push(Range::Sum {
            upto,
            sum: members::sum(&ours[start..end]),
        });
        start = end;
    }
}

/// Joins neighbours that are the same, and leaves out the last ones: silence says so too.
fn tidy(ranges: &mut Vec<Range>) {
    let same = |range: &Range| matches!(range, Range::Same { .. });
    while ranges.last().is_some_and(same) {
        ranges.pop();
    }
    let mut kept: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        if same(&range) && kept.last().is_some_and(same) {
            kept.pop();
        }
        kept.push(range);
    }
    *ranges = kept;
}

fn find<'m>(members: &'m [Member], doc: &DocId) -> Option<&'m Member> {
    let at = members.binary_search_by(|member| member.doc.cmp(doc));
    at.ok().map(|at| &members[at])
}

#[cfg(test)]
mod tests;
