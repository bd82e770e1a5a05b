//! Properties of the fold over random histories: any order of delivery and any repetition give the same
//! state, and nothing ends a conflict but what the rules name.

use std::collections::BTreeSet;

use manzana_engine::fold::{Ancestry, EventKind, FoldEvent, Outcome, State, Status, fold};
use manzana_engine::ids::RecordId;
use proptest::collection::vec;
use proptest::prelude::*;

/// A history: each change names earlier ones and carries one event.
#[derive(Debug, Clone)]
struct History {
    events: Vec<FoldEvent>,
    parents: Vec<Vec<usize>>,
}

impl History {
    fn order(&self) -> Ancestry {
        let carried: Vec<_> = (0..self.events.len()).map(|i| vec![i]).collect();
        Ancestry::from_graph(self.events.len(), &self.parents, &carried)
    }

    fn state(&self) -> State {
        fold(&self.events, &self.order())
    }

    /// The history before its last event.
    fn before(&self, len: usize) -> Self {
        Self {
            events: self.events[..len].to_vec(),
            parents: self.parents[..len].to_vec(),
        }
    }

    fn position(&self, id: RecordId) -> usize {
        self.events
            .iter()
            .position(|event| event.id == id)
            .expect("it is there")
    }
}

/// Deciders come three times as often as the rest: they are what the rules are about.
fn kind() -> impl Strategy<Value = EventKind> {
    use EventKind::{Done, FinalState, NotApplicable, Reopened};
    prop_oneof![
        3 => prop::sample::select(vec![Done, NotApplicable, FinalState, Reopened]),
        1 => prop::sample::select(EventKind::ALL.to_vec()),
    ]
}

/// Up to 12 events; each knows of up to two earlier ones, so that the graph is wide and deep.
/// Ids go up or down with the positions, so that neither order hides a mistake.
fn history() -> impl Strategy<Value = History> {
    let event = (kind(), any::<bool>(), 0..3_u32, vec(0..12_usize, 0..3));
    (vec(event, 1..12), any::<u8>()).prop_map(|(list, salt)| {
        let mut history = History {
            events: vec![],
            parents: vec![],
        };
        for (i, (kind, done, agency, known)) in list.into_iter().enumerate() {
            let outcome = if done {
                Outcome::Done
            } else {
                Outcome::NotApplicable
            };
            history.events.push(FoldEvent {
                id: RecordId([(i as u8).wrapping_mul(37) ^ salt; 9]),
                kind,
                outcome: (kind == EventKind::FinalState).then_some(outcome),
                agency: (kind == EventKind::Referred).then_some(agency),
            });
            history
                .parents
                .push(known.into_iter().filter(|k| *k < i).collect());
        }
        history
    })
}

/// Which outcome a decider stands for; `Some(None)` is a reopening.
fn says(event: &FoldEvent) -> Option<Option<Outcome>> {
    match event.kind {
        EventKind::Done => Some(Some(Outcome::Done)),
        EventKind::NotApplicable => Some(Some(Outcome::NotApplicable)),
        EventKind::FinalState => event.outcome.map(Some),
        EventKind::Reopened => Some(None),
        _ => None,
    }
}

/// The same events as they arrived elsewhere: in the order of `keys`, some of them twice.
fn delivered(history: &History, keys: &[(u16, bool)]) -> (Vec<FoldEvent>, Ancestry) {
    let mut arrivals = Vec::new();
    for (i, (key, twice)) in keys.iter().take(history.events.len()).enumerate() {
        arrivals.push((*key, i));
        if *twice {
            arrivals.push((key.rotate_left(5), i));
        }
    }
    arrivals.sort_unstable();
    let order = history.order();
    let mut again = Ancestry::new(arrivals.len());
    for (a, (_, from)) in arrivals.iter().enumerate() {
        for (b, (_, to)) in arrivals.iter().enumerate() {
            if order.precedes(*from, *to) && !again.precedes(a, b) {
                again.set_precedes(a, b);
            }
        }
    }
    let events = arrivals.iter().map(|(_, i)| history.events[*i]);
    (events.collect(), again)
}

/// Reachability by the book: walk the parents of each event's change.
fn naive_closure(parents: &[Vec<usize>], carried: &[Vec<usize>]) -> BTreeSet<(usize, usize)> {
    let mut pairs = BTreeSet::new();
    for change in 0..parents.len() {
        let mut seen = BTreeSet::new();
        let mut stack = parents[change].clone();
        while let Some(earlier) = stack.pop() {
            if seen.insert(earlier) {
                stack.extend(&parents[earlier]);
            }
        }
        for later in &carried[change] {
            let before = seen.iter().flat_map(|&earlier| &carried[earlier]);
            pairs.extend(before.map(|&event| (event, *later)));
        }
    }
    pairs
}

/// A graph of changes with 0 to 3 events each, more than one word of bits in all.
fn graph() -> impl Strategy<Value = (usize, Vec<Vec<usize>>, Vec<Vec<usize>>)> {
    vec((vec(0..70_usize, 0..4), 0..4_usize), 0..70).prop_map(|changes| {
        let total = changes.iter().map(|(_, count)| count).sum();
        let (mut parents, mut carried, mut next) = (vec![], vec![], 0);
        for (i, (known, count)) in changes.into_iter().enumerate() {
            parents.push(known.into_iter().filter(|k| *k < i).collect());
            // Events are numbered from the last to the first: positions say nothing about time.
            carried.push((next..next + count).map(|e| total - 1 - e).collect());
            next += count;
        }
        (total, parents, carried)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_repetition_give_the_same_state(
        history in history(),
        keys in vec(any::<(u16, bool)>(), 12),
    ) {
        let (events, order) = delivered(&history, &keys);
        prop_assert_eq!(fold(&events, &order), history.state());
    }

    #[test]
    fn a_conflict_is_between_concurrent_deciders_that_differ(history in history()) {
        let (state, order) = (history.state(), history.order());
        for &(a, b) in &state.conflicts {
            prop_assert!(a < b);
            let (a, b) = (history.position(a), history.position(b));
            prop_assert!(order.concurrent(a, b));
            let (a, b) = (says(&history.events[a]), says(&history.events[b]));
            prop_assert!(a.is_some() && b.is_some() && a != b);
        }
        prop_assert!(state.conflicts.is_sorted() && state.review.is_sorted());
        prop_assert!(!state.in_conflict() || state.status == Status::InProgress);
        prop_assert!(!state.in_conflict() || !state.is_final);
    }

    /// A new event ends a conflict only as a final state that had seen both sides, or by speaking again
    /// for one side without knowing the other: then that side's last word is what counts.
    #[test]
    fn only_a_final_state_above_both_or_a_sides_own_new_word_ends_a_conflict(history in history()) {
        for last in 1..history.events.len() {
            let after = history.before(last + 1);
            let (order, open) = (after.order(), after.state().conflicts);
            for &(a, b) in &history.before(last).state().conflicts {
                let knows = [a, b].map(|id| order.precedes(after.position(id), last));
                let event = &after.events[last];
                let may_end = match knows {
                    [true, true] => event.kind == EventKind::FinalState,
                    [false, false] => false,
                    _ => says(event).is_some(),
                };
                prop_assert!(may_end || open.contains(&(a, b)));
                prop_assert!(knows != [true, true] || !may_end || !open.contains(&(a, b)));
            }
        }
    }

    #[test]
    fn a_final_state_that_knows_everything_always_rules(history in history(), done in any::<bool>()) {
        let mut history = history;
        let outcome = if done { Outcome::Done } else { Outcome::NotApplicable };
        let all = (0..history.events.len()).collect();
        history.events.push(FoldEvent {
            id: RecordId([255; 9]),
            kind: EventKind::FinalState,
            outcome: Some(outcome),
            agency: None,
        });
        history.parents.push(all);
        let state = history.state();
        prop_assert_eq!(state.status.as_str(), outcome.as_str());
        prop_assert!(state.is_final && state.conflicts.is_empty() && state.review.is_empty());
        prop_assert!(!state.unconfirmed && !state.disputed);
    }

    /// Without an open conflict the last ends that nobody has reopened agree with the status.
    #[test]
    fn no_two_last_words_differ_without_a_conflict_or_a_final_state(history in history()) {
        let (state, order) = (history.state(), history.order());
        let all = || history.events.iter().enumerate().filter_map(|(i, e)| Some((i, says(e)?)));
        let last = all().filter(|(i, _)| !all().any(|(later, _)| order.precedes(*i, later)));
        let said: BTreeSet<_> = last.map(|(_, says)| says).collect();
        if said.len() > 1 {
            prop_assert!(state.in_conflict() || state.is_final);
        }
    }

    #[test]
    fn the_order_of_a_graph_is_its_transitive_closure((n, parents, carried) in graph()) {
        let order = Ancestry::from_graph(n, &parents, &carried);
        let naive = naive_closure(&parents, &carried);
        for a in 0..n {
            for b in 0..n {
                prop_assert_eq!(order.precedes(a, b), naive.contains(&(a, b)));
            }
        }
    }

    #[test]
    fn an_order_built_pair_by_pair_is_closed((n, parents, carried) in graph()) {
        let (n, parents, carried) = (n.min(20), parents, carried);
        let pairs = naive_closure(&parents, &carried);
        let mut built = Ancestry::new(n);
        // Only the pairs next to each other in time; the rest has to follow.
        let near = |a: usize, b: usize| !pairs.iter().any(|&(x, y)| x == a && y < n && pairs.contains(&(y, b)));
        for &(a, b) in pairs.iter().filter(|(a, b)| *a < n && *b < n && near(*a, *b)) {
            built.set_precedes(a, b);
        }
        for a in 0..n {
            for b in 0..n {
                prop_assert_eq!(built.precedes(a, b), pairs.contains(&(a, b)));
            }
        }
    }
}
