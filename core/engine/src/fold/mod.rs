//! The state of a petition: a pure fold of its events, equal on every replica.
//!
//! It depends on the set of events and on who had seen what ([`Ancestry`]), never on the order of
//! arrival, on clocks or on repetition. The *deciders* are the reports of an end (`done`,
//! `not_applicable`), the `final_state` and the `reopened`:
//!
//! - A decider hides those that it had seen. The last ones rule: a final state before reports, reports
//!   before nothing.
//! - Two deciders made without knowledge of each other whose outcomes differ are a **conflict**, and so
//!   are an end and a reopening. It is between the last words of both sides: whoever corrects their own
//!   report, still not knowing the other, speaks again in its place. Only a final state that had seen
//!   both ends a conflict. Until then the petition counts as in progress.
//! - A report of an end that did not know of a final state with another outcome is no conflict: it waits
//!   for **review**, until a final state or a reopening that had seen both, and changes nothing. The same
//!   holds for a report made *after* a final state with no reopening between them: defining a final state
//!   is a permission of its own, and reports do not overrule it.
//! - An open petition stands where its last steps (`referred`, `started`, `not_yet`) have brought it; of
//!   concurrent ones the furthest counts. Reopening starts over: steps that every last reopening had
//!   seen no longer count, but the petition stays with the agencies it was referred to.
//!
//! Decisions where the rules were silent: `recorded` only begins a petition, so a second one takes
//! nothing back. A final state without an outcome decides nothing. `accepted` asks every current
//! referral to be accepted, so that a petition stays in the queue of the agency that has not answered.
//! A dispute takes back the confirmation it had seen; of several concurrent reports of done, one
//! confirmation is enough. What each pair of kinds gives is the table `tests/data/truth_table.txt`.

mod ancestry;
mod deciders;
mod event;

use std::collections::BTreeSet;

use crate::ids::{CatalogId, RecordId};

pub use ancestry::Ancestry;
pub use event::{EventKind, FoldEvent, Outcome, State, Status, UnknownEventKind};

use deciders::{Deciders, Ruling};

/// The state that these events give. `order` speaks of them by their positions in `events`.
///
/// An event given twice (same id, same place in the order) counts once. Quadratic in the number of
/// events, and deciders² · deciders / 64 where they are many.
///
/// # Panics
/// When `order` orders another number of events: a caller's mistake.
pub fn fold(events: &[FoldEvent], order: &Ancestry) -> State {
    assert_eq!(events.len(), order.len(), "an order of these events");
    let story = Story { events, order };
    let deciders = Deciders::of(events, order);
    let found = deciders.disagreements();
    let mut state = State {
        disputed: story.is_disputed(),
        accepted: story.is_accepted(),
        conflicts: found.conflicts,
        review: found.review,
        agencies: story.agencies(),
        proposals: story.open_proposals(),
        ..State::default()
    };
    if state.in_conflict() {
        state.status = Status::InProgress;
        return state;
    }
    match deciders.ruling() {
        Ruling::Final(outcome) => {
            state.status = Status::of(outcome);
            state.is_final = true;
        }
        Ruling::Ended(outcome, reports) => {
            state.status = Status::of(outcome);
            state.unconfirmed = outcome == Outcome::Done && !story.is_confirmed(&reports);
        }
        Ruling::Open(reopenings) => {
            state.status = story.open_status(&reopenings, !state.agencies.is_empty());
        }
    }
    state
}

/// The events with their order, and the questions about those that decide no end.
struct Story<'a> {
    events: &'a [FoldEvent],
    order: &'a Ancestry,
}

impl Story<'_> {
    /// Where an open petition stands, since these reopenings.
    fn open_status(&self, reopenings: &[usize], has_agencies: bool) -> Status {
        let is_over = |&step: &usize| {
            let mut over = reopenings.iter().map(|&r| self.order.precedes(step, r));
            !reopenings.is_empty() && over.all(|seen| seen)
        };
        let steps = self.positions(|kind| progress(kind).is_some());
        let steps: Vec<usize> = steps.into_iter().filter(|step| !is_over(step)).collect();
        let last = self.last_of(&steps).into_iter();
        let reached = last
            .filter_map(|step| progress(self.events[step].kind))
            .max();
        reached.unwrap_or(if has_agencies {
            Status::Referred
        } else {
            Status::Pending
        })
    }

    /// Whether a citizen confirmed one of these reports, and did not take it back.
    fn is_confirmed(&self, reports: &[usize]) -> bool {
        let disputes = self.positions(|kind| kind == EventKind::CitizenDisputed);
        let confirmations = self.positions(|kind| kind == EventKind::CitizenConfirmed);
        let stands = |&c: &usize| {
            !self.is_followed(c, &disputes) && reports.iter().any(|&r| self.order.precedes(r, c))
        };
        confirmations.iter().any(stands)
    }

    /// Whether a dispute has neither a decider nor a confirmation after it.
    fn is_disputed(&self) -> bool {
        let answers = self.positions(|kind| {
            matches!(
                kind,
                EventKind::Done
                    | EventKind::NotApplicable
                    | EventKind::FinalState
                    | EventKind::Reopened
                    | EventKind::CitizenConfirmed
            )
        });
        let disputes = self.positions(|kind| kind == EventKind::CitizenDisputed);
        disputes.iter().any(|&d| !self.is_followed(d, &answers))
    }

    /// Whether every agency that has it now accepted it: each last referral has an acceptance after it.
    /// A petition that was never referred is accepted by whoever it was captured for.
    fn is_accepted(&self) -> bool {
        let acceptances = self.positions(|kind| kind == EventKind::Accepted);
        let mut current = self.current_referrals().into_iter();
        !acceptances.is_empty() && current.all(|r| self.is_followed(r, &acceptances))
    }

    fn agencies(&self) -> Vec<CatalogId> {
        let referrals = self.current_referrals().into_iter();
        let agencies: BTreeSet<_> = referrals.filter_map(|r| self.events[r].agency).collect();
        agencies.into_iter().collect()
    }

    fn open_proposals(&self) -> Vec<RecordId> {
        let referrals = self.positions(|kind| kind == EventKind::Referred);
        let proposals = self.positions(|kind| kind == EventKind::ReferralProposed);
        let open = proposals
            .into_iter()
            .filter(|&p| !self.is_followed(p, &referrals));
        let ids: BTreeSet<_> = open.map(|p| self.events[p].id).collect();
        ids.into_iter().collect()
    }

    fn current_referrals(&self) -> Vec<usize> {
        self.last_of(&self.positions(|kind| kind == EventKind::Referred))
    }

    fn positions(&self, wanted: impl Fn(EventKind) -> bool) -> Vec<usize> {
        let all = self.events.iter().enumerate();
        all.filter(|(_, event)| wanted(event.kind))
            .map(|(i, _)| i)
            .collect()
    }

    fn is_followed(&self, event: usize, by: &[usize]) -> bool {
        by.iter().any(|&later| self.order.precedes(event, later))
    }

    /// Those of these events that none of them follows.
    fn last_of(&self, events: &[usize]) -> Vec<usize> {
        let last = events.iter().copied();
        last.filter(|&event| !self.is_followed(event, events))
            .collect()
    }
}

/// How far a step brings an open petition.
fn progress(kind: EventKind) -> Option<Status> {
    match kind {
        EventKind::Referred => Some(Status::Referred),
        EventKind::Started | EventKind::NotYet => Some(Status::InProgress),
        _ => None,
    }
}
