//! The events that close or reopen a petition, and where they disagree.

use super::ancestry::Ancestry;
use super::event::{EventKind, FoldEvent, Outcome};
use crate::ids::RecordId;

/// What a decider says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// A report of an end.
    Ended(Outcome),
    /// A final state.
    Final(Outcome),
    /// A reopening.
    Reopened,
}

/// How two concurrent deciders clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clash {
    /// A final state has to choose between them.
    Conflict,
    /// A final state stands; the report is attached for review.
    Review,
}

/// What follows from the deciders when no conflict is open.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// A final state rules.
    Final(Outcome),
    /// These reports rule, by their positions in the list of events.
    Ended(Outcome, Vec<usize>),
    /// It is open, since these reopenings if it was closed before (positions, too).
    Open(Vec<usize>),
}

/// What the deciders disagree on.
#[derive(Debug, Default)]
pub(super) struct Disagreements {
    pub(super) conflicts: Vec<(RecordId, RecordId)>,
    pub(super) review: Vec<RecordId>,
}

/// The deciders of a petition, and an order of their own.
///
/// A report of an end made *after* a final state, with no reopening between them, counts as concurrent
/// with it: to define a final state is a permission of its own, so such a report cannot overrule it,
/// yet is not lost either. This depends on the report's own past alone, so nothing that arrives later
/// changes it. In everything else the order is the real one.
pub(super) struct Deciders {
    /// Position in the list of events, id, and what it says.
    list: Vec<(usize, RecordId, Says)>,
    real: Ancestry,
    real_future: Ancestry,
    past: Ancestry,
    future: Ancestry,
    finals: Vec<u64>,
    reopenings: Vec<u64>,
}

impl Deciders {
    pub(super) fn of(events: &[FoldEvent], order: &Ancestry) -> Self {
        let list: Vec<_> = events
            .iter()
            .enumerate()
            .filter_map(|(i, event)| Some((i, event.id, says(event)?)))
            .collect();
        let positions: Vec<usize> = list.iter().map(|(i, ..)| *i).collect();
        let real = order.among(&positions);
        let reopenings = real.set_of(|i| list[i].2 == Says::Reopened);
        let real_future = real.reversed();
        let past = without_overruling(&real, &real_future, &list, &reopenings);
        Self {
            finals: real.set_of(|i| matches!(list[i].2, Says::Final(_))),
            future: past.reversed(),
            list,
            real,
            real_future,
            past,
            reopenings,
        }
    }

    /// Every open conflict and every report to review, sorted.
    pub(super) fn disagreements(&self) -> Disagreements {
        let mut found = Disagreements::default();
        for a in 0..self.list.len() {
            for b in a + 1..self.list.len() {
                match self.open_clash(a, b) {
                    Some(Clash::Conflict) => found.conflicts.push(self.pair(a, b)),
                    Some(Clash::Review) => found.review.push(self.report_of(a, b)),
                    None => {}
                }
            }
        }
        found.conflicts.sort_unstable();
        found.conflicts.dedup();
        found.review.sort_unstable();
        found.review.dedup();
        found
    }

    /// What the last deciders say. It holds only when no conflict is open: then those that end it all
    /// say the same.
    pub(super) fn ruling(&self) -> Ruling {
        let last = |i: &usize| self.future.past(*i).iter().all(|word| *word == 0);
        let last: Vec<usize> = (0..self.list.len()).filter(last).collect();
        let of =
            |wanted: fn(Says) -> Option<Outcome>| last.iter().find_map(|&i| wanted(self.list[i].2));
        if let Some(outcome) = of(Says::final_outcome) {
            return Ruling::Final(outcome);
        }
        let positions = last.iter().map(|&i| self.list[i].0).collect();
        match of(Says::ended_outcome) {
            Some(outcome) => Ruling::Ended(outcome, positions),
            None => Ruling::Open(positions),
        }
    }

    fn open_clash(&self, a: usize, b: usize) -> Option<Clash> {
        if !self.past.concurrent(a, b) {
            return None;
        }
        let clash = clash(self.list[a].2, self.list[b].2)?;
        let replaced = self.replaced(a, b, clash) || self.replaced(b, a, clash);
        (!replaced && !self.settled(a, b, clash)).then_some(clash)
    }

    /// Whether a later decider made without knowledge of `b` stands for `a`. Beside a conflict that is
    /// real knowledge: a report that had seen both sides ends nothing, even where it cannot overrule.
    fn replaced(&self, a: usize, b: usize, clash: Clash) -> bool {
        let (past, future) = match clash {
            Clash::Conflict => (&self.real, &self.real_future),
            Clash::Review => (&self.past, &self.future),
        };
        let known = past.past(b).iter().zip(future.past(b));
        let mut later = self.future.past(a).iter().zip(known);
        later.any(|(later, (before, after))| later & !before & !after != 0)
    }

    /// Whether someone who had seen both decided: a final state ends either; a reopening ends a review.
    fn settled(&self, a: usize, b: usize, clash: Clash) -> bool {
        let both = self.future.past(a).iter().zip(self.future.past(b));
        let deciding = self.finals.iter().zip(&self.reopenings);
        both.zip(deciding)
            .any(|((a, b), (finals, reopenings))| match clash {
                Clash::Conflict => a & b & finals != 0,
                Clash::Review => a & b & (finals | reopenings) != 0,
            })
    }

    fn pair(&self, a: usize, b: usize) -> (RecordId, RecordId) {
        let (a, b) = (self.list[a].1, self.list[b].1);
        (a.min(b), a.max(b))
    }

    /// Which of a final state and a report is the report.
    fn report_of(&self, a: usize, b: usize) -> RecordId {
        match self.list[a].2 {
            Says::Ended(_) => self.list[a].1,
            _ => self.list[b].1,
        }
    }
}

impl Says {
    fn final_outcome(self) -> Option<Outcome> {
        match self {
            Self::Final(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn ended_outcome(self) -> Option<Outcome> {
        match self {
            Self::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }
}

fn says(event: &FoldEvent) -> Option<Says> {
    match event.kind {
        EventKind::Done => Some(Says::Ended(Outcome::Done)),
        EventKind::NotApplicable => Some(Says::Ended(Outcome::NotApplicable)),
        EventKind::FinalState => event.outcome.map(Says::Final),
        EventKind::Reopened => Some(Says::Reopened),
        _ => None,
    }
}

fn clash(a: Says, b: Says) -> Option<Clash> {
    match (a, b) {
        (Says::Reopened, Says::Reopened) => None,
        (Says::Reopened, _) | (_, Says::Reopened) => Some(Clash::Conflict),
        (Says::Ended(a), Says::Final(b)) | (Says::Final(a), Says::Ended(b)) => {
            (a != b).then_some(Clash::Review)
        }
        (Says::Ended(a), Says::Ended(b)) | (Says::Final(a), Says::Final(b)) => {
            (a != b).then_some(Clash::Conflict)
        }
    }
}

/// The real order, but for reports of an end that had seen a final state and no reopening of it.
/// It stays transitive: a report between the two is parted from the final state as well, a later final
/// state between them from the report, and a reopening between them keeps them together.
fn without_overruling(
    real: &Ancestry,
    real_future: &Ancestry,
    list: &[(usize, RecordId, Says)],
    reopenings: &[u64],
) -> Ancestry {
    let reopened_between = |f: usize, d: usize| {
        let between = real_future.past(f).iter().zip(real.past(d));
        let mut between = between.zip(reopenings);
        between.any(|((after, before), r)| after & before & r != 0)
    };
    let which = |wanted: fn(&Says) -> bool| (0..list.len()).filter(move |&i| wanted(&list[i].2));
    let mut order = real.clone();
    for f in which(|says| matches!(says, Says::Final(_))) {
        for d in which(|says| matches!(says, Says::Ended(_))) {
            if real.precedes(f, d) && !reopened_between(f, d) {
                order.part(f, d);
            }
        }
    }
    order
}
