//! Stories of three and more events: what a supervisor of the call centre expects of each.

use manzana_engine::fold::{Ancestry, EventKind, FoldEvent, Outcome, State, Status, fold};
use manzana_engine::ids::RecordId;

use EventKind::*;

fn id(number: usize) -> RecordId {
    RecordId([number as u8; 9])
}

/// Events numbered from 0, each with the numbers of those it knew of (and all that those knew).
#[derive(Default)]
struct Story {
    events: Vec<FoldEvent>,
    known: Vec<Vec<usize>>,
}

impl Story {
    /// A captured petition: its event has the number 0.
    fn new() -> Self {
        Self::default().then(Recorded, &[])
    }

    fn then(self, kind: EventKind, known: &[usize]) -> Self {
        self.with(kind, None, None, known)
    }

    fn decided(self, outcome: Outcome, known: &[usize]) -> Self {
        self.with(FinalState, Some(outcome), None, known)
    }

    fn referred(self, agency: u32, known: &[usize]) -> Self {
        self.with(Referred, None, Some(agency), known)
    }

    fn with(
        mut self,
        kind: EventKind,
        outcome: Option<Outcome>,
        agency: Option<u32>,
        known: &[usize],
    ) -> Self {
        let event = FoldEvent {
            id: id(self.events.len()),
            kind,
            outcome,
            agency,
        };
        self.events.push(event);
        self.known.push(known.to_vec());
        self
    }

    fn state(&self) -> State {
        let carried: Vec<_> = (0..self.events.len()).map(|i| vec![i]).collect();
        let order = Ancestry::from_graph(self.events.len(), &self.known, &carried);
        fold(&self.events, &order)
    }
}

/// Done (1) and not applicable (2), neither knowing of the other.
fn disagreement() -> Story {
    Story::new().then(Done, &[0]).then(NotApplicable, &[0])
}

#[test]
fn nothing_at_all_is_pending() {
    assert_eq!(fold(&[], &Ancestry::new(0)), State::default());
}

#[test]
fn a_conflict_is_decided_by_a_final_state_that_had_seen_both() {
    let state = disagreement().state();
    assert_eq!(state.conflicts, [(id(1), id(2))]);
    assert_eq!((state.status, state.is_final), (Status::InProgress, false));

    let state = disagreement()
        .decided(Outcome::NotApplicable, &[1, 2])
        .state();
    assert!(!state.in_conflict() && state.review.is_empty());
    assert_eq!(
        (state.status, state.is_final),
        (Status::NotApplicable, true)
    );
}

#[test]
fn no_other_later_event_ends_a_conflict() {
    for kind in EventKind::ALL
        .into_iter()
        .filter(|kind| *kind != FinalState)
    {
        let state = disagreement().then(kind, &[1, 2]).state();
        assert_eq!(state.conflicts, [(id(1), id(2))], "{}", kind.as_str());
        assert_eq!(state.reported(), Status::InProgress);
    }
}

#[test]
fn a_final_state_without_an_outcome_decides_nothing() {
    assert!(
        disagreement()
            .then(FinalState, &[1, 2])
            .state()
            .in_conflict()
    );
    assert_eq!(
        Story::new().then(FinalState, &[0]).state().status,
        Status::Pending
    );
}

#[test]
fn a_final_state_that_knew_neither_side_leaves_the_conflict_open() {
    let state = disagreement().decided(Outcome::Done, &[0]).state();
    assert_eq!(state.conflicts, [(id(1), id(2))]);
    assert!(!state.is_final);
}

#[test]
fn a_final_state_that_knew_one_side_leaves_the_other_for_review() {
    let state = disagreement().decided(Outcome::Done, &[1]).state();
    assert!(!state.in_conflict());
    assert_eq!(state.review, [id(2)]);
    assert_eq!((state.status, state.is_final), (Status::Done, true));

    let story = disagreement().decided(Outcome::Done, &[1]);
    assert!(
        story
            .decided(Outcome::Done, &[2, 3])
            .state()
            .review
            .is_empty()
    );
    let story = disagreement().decided(Outcome::Done, &[1]);
    let reopened = story.then(Reopened, &[2, 3]).state();
    assert_eq!(
        (reopened.status, reopened.review),
        (Status::Pending, vec![])
    );
}

#[test]
fn a_crew_that_corrects_itself_speaks_with_its_last_word() {
    let corrected = |last| Story::new().then(Done, &[0]).then(last, &[1]);
    let alone = corrected(NotApplicable).state();
    assert_eq!(
        (alone.status, alone.unconfirmed),
        (Status::NotApplicable, false)
    );

    let agreed = corrected(NotApplicable).then(NotApplicable, &[0]).state();
    assert!(!agreed.in_conflict());
    assert_eq!(agreed.status, Status::NotApplicable);

    let against = corrected(NotApplicable).then(Done, &[0]).state();
    assert_eq!(against.conflicts, [(id(2), id(3))]);
    let repeated = corrected(Done).then(NotApplicable, &[0]).state();
    assert_eq!(repeated.conflicts, [(id(2), id(3))]);
}

#[test]
fn reopened_work_is_done_again_and_waits_to_be_confirmed_again() {
    let story = Story::new().then(Done, &[0]).then(CitizenDisputed, &[1]);
    let disputed = story.state();
    assert!(disputed.disputed && disputed.unconfirmed);
    let story = story.then(Reopened, &[2]);
    let open = story.state();
    assert_eq!((open.status, open.disputed), (Status::Pending, false));
    let story = story.then(Started, &[3]);
    assert_eq!(story.state().status, Status::InProgress);
    let story = story.then(Done, &[4]);
    assert!(story.state().unconfirmed);
    let confirmed = story.then(CitizenConfirmed, &[5]).state();
    assert_eq!(
        (confirmed.status, confirmed.unconfirmed),
        (Status::Done, false)
    );
}

#[test]
fn a_reopened_petition_stays_with_its_agency() {
    let story = Story::new()
        .referred(7, &[0])
        .then(Started, &[1])
        .then(Done, &[2]);
    let state = story.then(Reopened, &[3]).state();
    assert_eq!((state.status, state.agencies), (Status::Referred, vec![7]));
}

#[test]
fn only_steps_that_every_reopening_had_seen_are_over() {
    let story = Story::new().then(Started, &[0]).then(Done, &[1]);
    let both = story.then(Reopened, &[2]).then(Reopened, &[2]);
    assert_eq!(both.state().status, Status::Pending);
    assert_eq!(both.then(NotYet, &[2]).state().status, Status::InProgress);
}

#[test]
fn a_final_state_can_be_reopened_and_closed_by_a_report() {
    let story = Story::new()
        .decided(Outcome::NotApplicable, &[0])
        .then(Reopened, &[1]);
    assert_eq!(story.state().status, Status::Pending);
    let state = story.then(Done, &[2]).state();
    assert_eq!((state.status, state.is_final), (Status::Done, false));
    assert!(state.unconfirmed && state.review.is_empty());
}

#[test]
fn reports_after_a_final_state_do_not_overrule_it() {
    let decided = || Story::new().decided(Outcome::NotApplicable, &[0]);
    let state = decided().then(Started, &[1]).then(Done, &[2]).state();
    assert_eq!(
        (state.status, state.is_final),
        (Status::NotApplicable, true)
    );
    assert_eq!(state.review, [id(3)]);
    let withdrawn = decided().then(Done, &[1]).then(NotApplicable, &[2]).state();
    assert!(withdrawn.review.is_empty());
    assert_eq!(decided().then(NotApplicable, &[1]).state().review, []);
}

#[test]
fn a_report_after_a_final_state_still_meets_a_reopening_it_did_not_know() {
    let story = Story::new().decided(Outcome::NotApplicable, &[0]);
    let state = story.then(Done, &[1]).then(Reopened, &[1]).state();
    assert_eq!(state.conflicts, [(id(2), id(3))]);
}

#[test]
fn a_report_that_saw_a_final_state_and_a_reopening_apart_does_not_settle_them() {
    let story = Story::new()
        .decided(Outcome::NotApplicable, &[0])
        .then(Reopened, &[0]);
    for kind in [Done, NotApplicable] {
        let story = Story {
            events: story.events.clone(),
            known: story.known.clone(),
        };
        let state = story.then(kind, &[1, 2]).state();
        assert!(state.conflicts.contains(&(id(1), id(2))));
    }
}

#[test]
fn concurrent_final_states_agree_or_wait_for_a_third() {
    let story = |other| {
        Story::new()
            .decided(Outcome::Done, &[0])
            .decided(other, &[0])
    };
    assert!(story(Outcome::Done).state().is_final);
    let state = story(Outcome::NotApplicable).state();
    assert_eq!((state.conflicts.len(), state.is_final), (1, false));
    let state = story(Outcome::NotApplicable)
        .decided(Outcome::Done, &[1, 2])
        .state();
    assert_eq!((state.conflicts.len(), state.is_final), (0, true));
}

#[test]
fn concurrent_referrals_keep_both_agencies_until_one_is_chosen() {
    let story = Story::new()
        .referred(9, &[0])
        .referred(4, &[0])
        .then(Accepted, &[1]);
    let state = story.state();
    assert_eq!((state.agencies, state.accepted), (vec![4, 9], false));
    let story = story.then(Accepted, &[2]);
    assert!(story.state().accepted);
    let state = story.referred(4, &[3, 4]).state();
    assert_eq!((state.agencies, state.accepted), (vec![4], false));
}

#[test]
fn a_referral_sends_started_work_back_and_answers_proposals() {
    let story = Story::new()
        .referred(4, &[0])
        .then(Started, &[1])
        .then(ReferralProposed, &[2]);
    let state = story.state();
    assert_eq!(
        (state.status, state.proposals),
        (Status::InProgress, vec![id(3)])
    );
    let state = story.referred(9, &[3]).state();
    assert_eq!((state.status, state.agencies), (Status::Referred, vec![9]));
    assert!(state.proposals.is_empty());
}

#[test]
fn one_confirmation_is_enough_unless_a_dispute_takes_it_back() {
    let story = Story::new()
        .then(Done, &[0])
        .then(Done, &[0])
        .then(CitizenConfirmed, &[1]);
    assert!(!story.state().unconfirmed);
    let state = story.then(CitizenDisputed, &[3]).state();
    assert!(state.unconfirmed && state.disputed);
}

#[test]
fn events_of_one_change_had_not_seen_each_other() {
    let order = Ancestry::from_graph(3, &[vec![], vec![0]], &[vec![2, 0], vec![1]]);
    assert!(order.concurrent(0, 2) && order.precedes(0, 1) && order.precedes(2, 1));
}
