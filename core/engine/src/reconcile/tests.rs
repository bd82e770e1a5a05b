//! Two ends, any two sets: both learn exactly the differences, in few messages, for few bytes; and
//! what no honest end sends is an error.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::bytes::ByteVec;
use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::ids::Hash;

fn member(doc: u64, version: u8) -> Member {
    let hash = Hash::of_parts(b"test", &[&doc.to_be_bytes()]);
    Member {
        doc: DocId::of_creation(&hash),
        version: Version([version; 16]),
    }
}

fn set(versions: &BTreeMap<u64, u8>) -> Members {
    let members = versions.iter().map(|(doc, version)| member(*doc, *version));
    members.collect::<Vec<_>>().into()
}

#[derive(Debug, Default)]
struct Talk {
    messages: usize,
    bytes: usize,
    largest: usize,
    first: Learnt,
    second: Learnt,
}

/// The first end opens; both answer until neither asks.
fn talk(first: &Members, second: &Members) -> Talk {
    let mut talk = Talk::default();
    let mut message = open(first);
    let mut to_second = true;
    while !message.is_empty() {
        let size = codec::encode(&message).len();
        talk.messages += 1;
        talk.bytes += size;
        talk.largest = talk.largest.max(size);
        assert!(talk.messages < 200, "they talk for ever");
        let ours = if to_second { second } else { first };
        let reply = answer(ours, &message).unwrap();
        let learnt = if to_second {
            &mut talk.second
        } else {
            &mut talk.first
        };
        learnt.theirs.extend(reply.learnt.theirs);
        learnt.ours_only.extend(reply.learnt.ours_only);
        assert!(
            reply.ranges.is_empty() || asks(&message),
            "an answer nobody asked for"
        );
        message = reply.ranges;
        to_second = !to_second;
    }
    talk
}

fn truth(ours: &Members, theirs: &Members) -> Learnt {
    let held = |set: &Members, member: &Member| find(set.all(), &member.doc).copied();
    let differs = |m: &&Member| held(ours, m) != Some(**m);
    let missing = |m: &&Member| held(theirs, m).is_none();
    Learnt {
        theirs: theirs.all().iter().filter(differs).copied().collect(),
        ours_only: ours.all().iter().filter(missing).map(|m| m.doc).collect(),
    }
}

fn sorted(mut learnt: Learnt) -> Learnt {
    learnt.theirs.sort_unstable();
    learnt.ours_only.sort_unstable();
    learnt
}

fn agree(first: &Members, second: &Members) -> Talk {
    let mut talk = talk(first, second);
    talk.first = sorted(talk.first);
    talk.second = sorted(talk.second);
    assert_eq!(talk.first, truth(first, second));
    assert_eq!(talk.second, truth(second, first));
    talk
}

/// Messages while each has room: one for each level of splitting, and list, answer and thanks.
fn most_messages(members: usize) -> usize {
    let mut levels = 0;
    let mut left = members;
    while left > LIST_AT_MOST {
        left = left.div_ceil(FAN_OUT);
        levels += 1;
    }
    levels + 3
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn both_ends_learn_exactly_what_differs(
        common in 0_u64..3_000,
        changed in prop::collection::btree_set(0_u64..3_000, 0..40),
        lost in prop::collection::btree_set(0_u64..3_000, 0..40),
        gained in prop::collection::btree_set(10_000_u64..20_000, 0..40),
    ) {
        let first: BTreeMap<u64, u8> = (0..common).map(|doc| (doc, 0)).collect();
        let mut second = first.clone();
        for doc in &changed {
            second.entry(*doc).and_modify(|version| *version = 1);
        }
        second.retain(|doc, _| !lost.contains(doc));
        second.extend(gained.iter().map(|doc| (*doc, 0)));
        let (first, second) = (set(&first), set(&second));
        let talk = agree(&first, &second);
        let most = first.len().max(second.len());
        prop_assert!(talk.messages <= most_messages(most), "{} messages", talk.messages);
        let differences = (talk.first.theirs.len() + talk.first.ours_only.len()).max(1);
        let levels = most_messages(most);
        prop_assert!(talk.bytes <= 512 + differences * levels * 700, "{} bytes", talk.bytes);
        agree(&second, &first);
    }

    #[test]
    fn small_sets_of_any_shape_agree(
        first in prop::collection::btree_map(0_u64..60, 0_u8..2, 0..60),
        second in prop::collection::btree_map(0_u64..60, 0_u8..2, 0..60),
    ) {
        agree(&set(&first), &set(&second));
    }

    #[test]
    fn no_bytes_make_a_message_that_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = codec::decode::<Vec<Range>>(&bytes) {
            let ours: BTreeMap<u64, u8> = (0..100).map(|doc| (doc, 0)).collect();
            let _ = answer(&set(&ours), &message);
        }
    }

    #[test]
    fn any_ranges_end_in_an_answer_or_an_error(
        shapes in prop::collection::vec((0_u8..4, prop::collection::vec(any::<u8>(), 0..18), 0_usize..70), 0..40)
    ) {
        let ours: BTreeMap<u64, u8> = (0..500).map(|doc| (doc, 0)).collect();
        let message: Vec<Range> = shapes
            .into_iter()
            .map(|(kind, upto, filler)| {
                let upto = ByteVec::from(upto);
                let filler = ByteVec::from(vec![7; filler]);
                match kind {
                    0 => Range::Same { upto },
                    1 => Range::Sum { upto, sum: [7; 16] },
                    2 => Range::List { upto, members: filler },
                    _ => Range::Told { upto, members: ByteVec::from(Vec::new()), lacks: filler },
                }
            })
            .collect();
        let _ = answer(&set(&ours), &message);
    }
}

#[test]
fn one_changed_of_many_costs_little_and_few_messages() {
    for (count, bytes) in [(1_000, 1_200), (10_000, 1_600), (30_000, 2_000)] {
        let first: BTreeMap<u64, u8> = (0..count).map(|doc| (doc, 0)).collect();
        let mut second = first.clone();
        second.insert(count / 2, 1);
        let talk = agree(&set(&first), &set(&second));
        println!("{count}: {} messages, {} bytes", talk.messages, talk.bytes);
        assert!(talk.bytes < bytes, "{count}: {} bytes", talk.bytes);
        assert!(talk.messages <= 6, "{count}: {} messages", talk.messages);
        second.remove(&(count / 2));
        let talk = agree(&set(&first), &set(&second));
        assert!(
            talk.bytes < bytes,
            "{count}, one gone: {} bytes",
            talk.bytes
        );
    }
}

#[test]
fn a_hundred_changed_of_thirty_thousand_cost_what_they_are() {
    let first: BTreeMap<u64, u8> = (0..30_000).map(|doc| (doc, 0)).collect();
    let mut second = first.clone();
    second.extend((0..100).map(|n| (n * 300, 1)));
    let talk = agree(&set(&first), &set(&second));
    println!("{} messages, {} bytes", talk.messages, talk.bytes);
    assert!(talk.bytes < 65_000, "{} bytes", talk.bytes);
}

#[test]
fn sets_with_nothing_in_common_agree_in_messages_that_stay_in_their_frames() {
    let first: BTreeMap<u64, u8> = (0..30_000).map(|doc| (doc, 0)).collect();
    let second: BTreeMap<u64, u8> = (30_000..60_000).map(|doc| (doc, 0)).collect();
    for (first, second) in [
        (&first, &second),
        (&first, &BTreeMap::new()),
        (&BTreeMap::new(), &second),
    ] {
        let talk = agree(&set(first), &set(second));
        assert!(talk.largest <= 3 * MESSAGE_BYTES, "{} bytes", talk.largest);
        assert!(talk.messages < 40, "{} messages", talk.messages);
    }
}

#[test]
fn equal_sets_say_it_in_one_message() {
    for count in [0, 1, 16, 17, 5_000] {
        let members = set(&(0..count).map(|doc| (doc, 0)).collect());
        let talk = agree(&members, &members.clone());
        assert_eq!(talk.messages, 1, "{count}");
    }
}

#[test]
fn versions_tell_heads_apart_and_not_their_order() {
    let (a, b) = (Hash([1; 32]), Hash([2; 32]));
    assert_eq!(Version::of(&[a, b]), Version::of(&[b, a]));
    let distinct: BTreeSet<_> = [&[a][..], &[b], &[a, b], &[]].map(Version::of).into();
    assert_eq!(distinct.len(), 4);
}

fn sum_upto(upto: &[u8]) -> Range {
    Range::Sum {
        upto: upto.to_vec().into(),
        sum: [0; 16],
    }
}

#[test]
fn messages_that_no_honest_end_sends_are_errors() {
    let ours = set(&(0..100).map(|doc| (doc, 0)).collect());
    let list = |upto: &[u8], members: Vec<u8>| Range::List {
        upto: upto.to_vec().into(),
        members: members.into(),
    };
    let bytes = |doc: u8| [[doc; 16], [0; 16]].concat();
    let cases = [
        (
            "unsorted",
            vec![sum_upto(&[9]), sum_upto(&[8]), sum_upto(&[])],
        ),
        (
            "overlapping",
            vec![sum_upto(&[9]), sum_upto(&[9]), sum_upto(&[])],
        ),
        ("after the end", vec![sum_upto(&[]), sum_upto(&[9])]),
        ("two ends", vec![sum_upto(&[]), sum_upto(&[])]),
        (
            "a bound past an id",
            vec![sum_upto(&[9; 17]), sum_upto(&[])],
        ),
    ];
    for (name, message) in cases {
        assert_eq!(
            answer(&ours, &message),
            Err(ReconcileError::BadBound),
            "{name}"
        );
    }
    let cases = [
        ("half a member", vec![list(&[], vec![1; 33])]),
        ("unsorted", vec![list(&[], [bytes(2), bytes(1)].concat())]),
        ("twice", vec![list(&[], [bytes(2), bytes(2)].concat())]),
        ("above its range", vec![list(&[5], bytes(6))]),
        ("below its range", vec![sum_upto(&[5]), list(&[], bytes(4))]),
    ];
    for (name, message) in cases {
        assert_eq!(
            answer(&ours, &message),
            Err(ReconcileError::BadList),
            "{name}"
        );
    }
}

#[test]
fn a_message_is_read_at_its_limits_and_refused_one_past_them() {
    let ours = Members::default();
    let ranges = |count: usize| -> Vec<Range> {
        (1..=count)
            .map(|n| sum_upto(&u32::try_from(n).unwrap().to_be_bytes()))
            .collect()
    };
    assert!(answer(&ours, &ranges(MESSAGE_RANGES)).is_ok());
    assert_eq!(
        answer(&ours, &ranges(MESSAGE_RANGES + 1)),
        Err(ReconcileError::TooLarge)
    );
    let list = |count: u32| {
        let members = (0..count).flat_map(|n| {
            let mut doc = [0; MEMBER_BYTES];
            doc[..4].copy_from_slice(&n.to_be_bytes());
            doc
        });
        vec![Range::List {
            upto: ByteVec::from(Vec::new()),
            members: members.collect::<Vec<_>>().into(),
        }]
    };
    let most = u32::try_from(2 * MESSAGE_BYTES / MEMBER_BYTES).unwrap();
    assert!(answer(&ours, &list(most)).is_ok());
    assert_eq!(
        answer(&ours, &list(most + 1)),
        Err(ReconcileError::TooLarge)
    );
}
