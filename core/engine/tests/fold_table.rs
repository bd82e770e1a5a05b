//! The truth table of the fold: what every pair of kinds of events gives, before, after and concurrent.
//! The table is written for people to check; this test holds the code to it.

use std::collections::BTreeSet;

use manzana_engine::fold::{Ancestry, EventKind, FoldEvent, Outcome, State, fold};
use manzana_engine::ids::RecordId;

const TABLE: &str = include_str!("data/truth_table.txt");
const A: usize = 1;
const B: usize = 2;

/// The names of the table's kinds: those of the events, a final state split by its outcome.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    for kind in EventKind::ALL {
        if kind == EventKind::FinalState {
            for outcome in [Outcome::Done, Outcome::NotApplicable] {
                names.push(format!("{}:{}", kind.as_str(), outcome.as_str()));
            }
        } else {
            names.push(kind.as_str().to_owned());
        }
    }
    names
}

fn event(name: &str, number: usize) -> FoldEvent {
    let (kind, outcome) = match name.split_once(':') {
        Some((kind, outcome)) => (kind, Some(outcome)),
        None => (name, None),
    };
    let outcomes = [Outcome::Done, Outcome::NotApplicable];
    FoldEvent {
        id: RecordId([number as u8; 9]),
        kind: EventKind::ALL
            .into_iter()
            .find(|k| k.as_str() == kind)
            .expect("it is there"),
        outcome: outcome.map(|o| {
            outcomes
                .into_iter()
                .find(|x| x.as_str() == o)
                .expect("it is there")
        }),
        agency: (kind == "referred").then_some(number as u32),
    }
}

fn cell(a: &str, b: &str, relation: &[(usize, usize)]) -> String {
    let events = [event("recorded", 0), event(a, A), event(b, B)];
    let mut order = Ancestry::new(3);
    for &(earlier, later) in [(0, A), (0, B)].iter().chain(relation) {
        order.set_precedes(earlier, later);
    }
    written(&fold(&events, &order))
}

/// A state in the words of the table, after a check of what the words leave out.
fn written(state: &State) -> String {
    let (a, b) = (RecordId([1; 9]), RecordId([2; 9]));
    assert!(state.conflicts.is_empty() || state.conflicts == [(a, b)]);
    assert!(state.review.len() <= 1);
    assert_eq!(state.reported(), state.status);
    let at = ["", "at:a", "at:b", "at:a+b"];
    let words = [
        (true, state.status.as_str()),
        (state.unconfirmed, "unconfirmed"),
        (state.disputed, "disputed"),
        (state.accepted, "accepted"),
        (state.is_final, "final"),
        (state.in_conflict(), "conflict"),
        (!state.review.is_empty(), "review"),
        (!state.proposals.is_empty(), "proposal"),
        (
            !state.agencies.is_empty(),
            at[state.agencies.iter().sum::<u32>() as usize],
        ),
    ];
    let set = words.iter().filter(|(set, _)| *set).map(|(_, word)| *word);
    set.collect::<Vec<_>>().join(" ")
}

fn lines() -> Vec<Vec<&'static str>> {
    let lines = TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = lines.map(|line| line.split('|').map(str::trim).collect());
    rows.skip(1).collect()
}

#[test]
fn every_pair_gives_what_the_table_says() {
    for line in lines() {
        let [a, b, a_first, b_first, concurrent] = line[..] else {
            panic!("five columns: {line:?}");
        };
        assert_eq!(cell(a, b, &[(A, B)]), a_first, "{a} before {b}");
        assert_eq!(cell(a, b, &[(B, A)]), b_first, "{b} before {a}");
        assert_eq!(cell(a, b, &[]), concurrent, "{a} beside {b}");
    }
}

#[test]
fn the_table_has_every_pair_once() {
    let names = names();
    let mut wanted = BTreeSet::new();
    for (i, a) in names.iter().enumerate() {
        wanted.extend(names[i..].iter().map(|b| (a.as_str(), b.as_str())));
    }
    let lines = lines();
    let found: BTreeSet<_> = lines.iter().map(|line| (line[0], line[1])).collect();
    assert_eq!((found.len(), lines.len()), (105, 105));
    assert_eq!(found, wanted);
}

#[test]
fn codes_and_names_of_kinds_are_those_of_the_wire() {
    for (code, kind) in EventKind::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(kind.code()), code);
        assert_eq!(EventKind::try_from(kind.code()), Ok(kind));
    }
    assert!(EventKind::try_from(13).is_err());
    let names: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), 13);
}
