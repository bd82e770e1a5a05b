//! stub until the fold's branch is merged
#![allow(missing_docs)]
use crate::ids::RecordId;
use minicbor::{Decode, Encode};
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EventKind { #[n(0)] Recorded, #[n(1)] Referred, #[n(2)] Accepted, #[n(3)] ReferralProposed, #[n(4)] Assigned, #[n(5)] Started, #[n(6)] NotYet, #[n(7)] Done, #[n(8)] NotApplicable, #[n(9)] FinalState, #[n(10)] Reopened, #[n(11)] CitizenConfirmed, #[n(12)] CitizenDisputed }
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome { #[n(0)] Done, #[n(1)] NotApplicable }
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Default)]
#[cbor(index_only)]
pub enum Status { #[default] #[n(0)] Pending, #[n(1)] Referred, #[n(2)] InProgress, #[n(3)] Done, #[n(4)] NotApplicable }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldEvent { pub id: RecordId, pub kind: EventKind, pub outcome: Option<Outcome>, pub agency: Option<u32> }
pub struct Ancestry;
impl Ancestry { pub fn from_graph(_n: usize, _p: &[Vec<usize>], _c: &[Vec<usize>]) -> Self { Self } }
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State { pub status: Status, pub unconfirmed: bool, pub disputed: bool, pub accepted: bool, pub is_final: bool, pub conflicts: Vec<(RecordId, RecordId)>, pub review: Vec<RecordId>, pub agencies: Vec<u32>, pub proposals: Vec<RecordId> }
impl State { pub fn in_conflict(&self) -> bool { !self.conflicts.is_empty() } pub fn reported(&self) -> Status { self.status } }
pub fn fold(_e: &[FoldEvent], _o: &Ancestry) -> State { State::default() }
impl EventKind { pub const ALL: [Self; 13] = [Self::Recorded, Self::Referred, Self::Accepted, Self::ReferralProposed, Self::Assigned, Self::Started, Self::NotYet, Self::Done, Self::NotApplicable, Self::FinalState, Self::Reopened, Self::CitizenConfirmed, Self::CitizenDisputed];
pub fn as_str(self) -> &'static str { "x" } }
