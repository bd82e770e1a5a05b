//! Every attack known against Automerge 0.12, and every limit, is answered by its name.
#![allow(clippy::disallowed_methods)] // Makes documents as a stranger would, with actors of its own.
#![allow(clippy::unwrap_used)]

mod support {
    pub mod attacks;
}

use manzana_engine::gate::chunk::{
    Action, ChunkError, Column, DecodedChange, Key, Value, decode_change,
};
use manzana_engine::limits::{
    CHANGE_BYTES, CHANGE_DEPS, CHANGE_OPS, KEY_BYTES, MAX_SEQ, MAX_START_OP, MAX_TIME, OTHER_ACTORS,
};
use support::attacks::{self, Body, uleb, wrap};

fn refusal(raw: &[u8]) -> ChunkError {
    decode_change(raw).expect_err("the gate refuses this")
}

fn let_in(body: &Body) -> DecodedChange {
    decode_change(&body.chunk()).expect("the gate lets this in")
}

fn bad(column: Column) -> ChunkError {
    ChunkError::BadColumn { column }
}

// ---------------------------------------------------------------- the rows of the table

#[test]
fn row_1_a_sync_message_is_no_chunk() {
    assert_eq!(refusal(&attacks::sync_message()), ChunkError::BadMagic);
}

#[test]
fn row_2_ten_million_inserts_in_a_hundred_bytes_are_counted_not_expanded() {
    for inserts in [1_000_000, 10_000_000, i64::MAX as u64 - 1] {
        let bomb = attacks::run_length_bomb(inserts);
        assert!(bomb.len() < 200, "{} bytes", bomb.len());
        assert_eq!(refusal(&bomb), ChunkError::TooManyOps);
    }
}

#[test]
fn row_2_the_same_change_within_the_limit_is_let_in() {
    let most = CHANGE_OPS as u64 - 1;
    let change = decode_change(&attacks::run_length_bomb(most)).unwrap();
    assert_eq!(change.ops.len(), CHANGE_OPS);
    let last = change.ops.last().unwrap();
    assert_eq!(last.action, Action::Put(Value::Null));
    assert!(matches!(last.key, Key::Elem(before) if before.counter == most));
    let one_more = attacks::run_length_bomb(most + 1);
    assert_eq!(refusal(&one_more), ChunkError::TooManyOps);
}

#[test]
fn row_2_as_a_document_has_the_wrong_type() {
    let document = attacks::run_length_document();
    assert_eq!(refusal(&document), ChunkError::WrongType { found: 0 });
}

#[test]
fn row_3_a_compressed_change_is_not_inflated_whatever_its_size() {
    for mib in [1, 2_048] {
        let bomb = attacks::deflate_bomb(mib);
        assert_eq!(refusal(&bomb), ChunkError::WrongType { found: 2 });
    }
}

#[test]
fn row_3_an_honest_compressed_change_is_refused_as_well() {
    let mut doc = attacks::document();
    let text = "x".repeat(300);
    automerge::transaction::Transactable::put(&mut doc, automerge::ROOT, "a", text).unwrap();
    let mut change = doc.get_changes(&[]).pop().unwrap();
    assert_eq!(refusal(&change.bytes()), ChunkError::WrongType { found: 2 });
    assert!(decode_change(change.raw_bytes()).is_ok());
}

#[test]
fn row_4_a_counter_near_the_end_of_its_range_is_refused() {
    let raw = attacks::last_counter();
    assert_eq!(refusal(&raw), ChunkError::StartOpOutOfRange);
}

#[test]
fn row_5_a_forged_sequence_number_is_read_for_the_judge_to_compare() {
    let forgery = attacks::forged_sequence();
    let honest = decode_change(&forgery.honest).unwrap();
    let forged = decode_change(&forgery.forged).unwrap();
    assert_eq!((honest.actor, honest.seq), (forged.actor, forged.seq));
    assert_eq!(honest.deps, forged.deps);
    assert_ne!(honest.hash, forged.hash);
}

#[test]
fn row_6_mutations_with_a_right_checksum_are_answered() {
    for raw in attacks::raw_changes(&mut attacks::rich_document()) {
        for seed in 0..20_000 {
            if let Ok(change) = decode_change(&attacks::mutated(&raw, seed)) {
                assert!(change.ops.len() <= CHANGE_OPS);
            }
        }
    }
}

#[test]
fn row_7_bundles_have_the_wrong_type() {
    for bundle in attacks::bundles() {
        assert_eq!(refusal(&bundle), ChunkError::WrongType { found: 3 });
    }
}

#[test]
fn row_8_a_truncated_change_is_refused() {
    let raw = Body::one_put().chunk();
    for end in 0..raw.len() {
        assert_eq!(refusal(&raw[..end]), ChunkError::Truncated);
    }
}

// ---------------------------------------------------------------- around the body

#[test]
fn a_change_that_is_sound_in_every_part_is_let_in() {
    let change = let_in(&Body::one_put());
    assert_eq!(change.ops.len(), 1);
    assert_eq!(change.ops[0].action, Action::Put(Value::Null));
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut raw = Body::one_put().chunk();
    raw[4] ^= 1;
    assert_eq!(refusal(&raw), ChunkError::BadChecksum);
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut raw = Body::one_put().chunk();
    raw.push(0);
    assert_eq!(refusal(&raw), ChunkError::TrailingBytes);
    let inside = Body {
        extra: vec![1, 1, b'x'],
        ..Body::one_put()
    };
    assert_eq!(refusal(&inside.chunk()), ChunkError::TrailingBytes);
}

#[test]
fn every_other_type_is_refused_by_its_number() {
    let body = Body::one_put().bytes();
    for found in (0..=u8::MAX).filter(|found| *found != attacks::CHANGE) {
        assert_eq!(
            refusal(&wrap(found, &body)),
            ChunkError::WrongType { found }
        );
    }
}

#[test]
fn a_change_is_read_up_to_its_limit_in_bytes() {
    let text_of = |len: usize| {
        let mut meta = vec![0x7f];
        uleb(&mut meta, (len as u64) << 4 | 6);
        Body::one_put()
            .column(86, &meta)
            .column(87, &vec![b't'; len])
            .chunk()
    };
    // The number of bytes around a text of about this length does not change with it.
    let around = text_of(CHANGE_BYTES - 100).len() - (CHANGE_BYTES - 100);
    let most = text_of(CHANGE_BYTES - around);
    assert_eq!(most.len(), CHANGE_BYTES);
    assert!(decode_change(&most).is_ok());
    let more = text_of(CHANGE_BYTES - around + 1);
    let len = CHANGE_BYTES + 1;
    assert_eq!(refusal(&more), ChunkError::TooLarge { len });
}

// ---------------------------------------------------------------- the head of the body

fn deps(count: usize) -> Body {
    let deps = (0..count).map(|n| [n as u8; 32]).collect();
    Body {
        deps,
        ..Body::one_put()
    }
}

#[test]
fn dependencies_are_bounded_sorted_and_different() {
    assert_eq!(let_in(&deps(CHANGE_DEPS)).deps.len(), CHANGE_DEPS);
    let more = deps(CHANGE_DEPS + 1);
    assert_eq!(refusal(&more.chunk()), ChunkError::TooManyDeps);
    let mut twice = deps(1);
    twice.deps.push([0; 32]);
    assert_eq!(refusal(&twice.chunk()), ChunkError::DepsOutOfOrder);
    let mut unsorted = deps(2);
    unsorted.deps.reverse();
    assert_eq!(refusal(&unsorted.chunk()), ChunkError::DepsOutOfOrder);
}

#[test]
fn a_count_of_dependencies_allocates_nothing_by_itself() {
    let mut body = vec![];
    uleb(&mut body, u64::MAX);
    assert_eq!(refusal(&wrap(1, &body)), ChunkError::TooManyDeps);
}

#[test]
fn sequence_numbers_and_counters_have_a_range() {
    let seq = |seq| Body {
        seq,
        ..Body::one_put()
    };
    assert_eq!(let_in(&seq(MAX_SEQ)).seq, MAX_SEQ);
    for out in [0, MAX_SEQ + 1, u64::MAX] {
        assert_eq!(refusal(&seq(out).chunk()), ChunkError::SeqOutOfRange);
    }
    let start_op = |start_op| Body {
        start_op,
        ..Body::one_put()
    };
    assert_eq!(let_in(&start_op(MAX_START_OP)).start_op, MAX_START_OP);
    for out in [0, MAX_START_OP + 1, u64::MAX] {
        let raw = start_op(out).chunk();
        assert_eq!(refusal(&raw), ChunkError::StartOpOutOfRange);
    }
}

#[test]
fn actors_are_of_one_length_only() {
    for actor in [vec![], vec![1; 7], vec![1; 9], vec![1; 16]] {
        let body = Body {
            actor,
            ..Body::one_put()
        };
        assert_eq!(refusal(&body.chunk()), ChunkError::BadActor);
    }
}

/// A put which overwrites one operation of each of `others`.
fn overwriting(others: Vec<Vec<u8>>) -> Body {
    let count = others.len() as u64;
    let mut pred_count = vec![0x7f];
    uleb(&mut pred_count, count);
    let mut actors = vec![];
    attacks::sleb(&mut actors, -(count as i64));
    (1..=count).for_each(|index| uleb(&mut actors, index));
    // All with the counter 1: one difference of 1 and then none.
    let mut counters = vec![0x7f, 1];
    match count {
        0 => counters.clear(),
        1 => {}
        2 => counters = vec![0x7e, 1, 0],
        _ => {
            attacks::sleb(&mut counters, count as i64 - 1);
            counters.push(0);
        }
    }
    let pred_actor = if count == 0 { vec![] } else { actors };
    Body {
        others,
        start_op: 2,
        ..Body::one_put()
            .column(112, &pred_count)
            .column(113, &pred_actor)
            .column(115, &counters)
    }
}

fn others(count: usize) -> Vec<Vec<u8>> {
    let actor = |n: usize| [&[0; 4][..], &(n as u32).to_be_bytes()].concat();
    (0..count).map(actor).collect()
}

#[test]
fn other_actors_are_bounded_sorted_different_and_used() {
    let change = let_in(&overwriting(others(OTHER_ACTORS)));
    assert_eq!(change.ops[0].pred.len(), OTHER_ACTORS);
    let more = overwriting(others(OTHER_ACTORS + 1));
    assert_eq!(refusal(&more.chunk()), ChunkError::TooManyActors);

    let mut unsorted = others(2);
    unsorted.reverse();
    let twice = vec![others(1).remove(0); 2];
    let own = vec![attacks::ACTOR.to_vec()];
    for others in [unsorted, twice, own] {
        assert_eq!(refusal(&overwriting(others).chunk()), ChunkError::BadActor);
    }
    let unused = Body {
        others: others(1),
        ..Body::one_put()
    };
    assert_eq!(refusal(&unused.chunk()), ChunkError::BadActor);
}

#[test]
fn times_have_a_range() {
    let at = |time| Body {
        time,
        ..Body::one_put()
    };
    let most = MAX_TIME as i64;
    for time in [-most, most] {
        assert_eq!(let_in(&at(time)).time, time);
    }
    for time in [-most - 1, most + 1, i64::MIN, i64::MAX] {
        assert_eq!(refusal(&at(time).chunk()), ChunkError::TimeOutOfRange);
    }
}

#[test]
fn a_message_is_utf_8_and_short() {
    let said = |message: &[u8]| Body {
        message: message.to_vec(),
        ..Body::one_put()
    };
    let change = let_in(&said("¿qué?\u{202e}\0".as_bytes()));
    assert_eq!(change.message.as_deref(), Some("¿qué?\u{202e}\0"));
    let most = said(&[b'm'; KEY_BYTES]);
    assert_eq!(let_in(&most).message.map(|it| it.len()), Some(KEY_BYTES));
    let more = said(&[b'm'; KEY_BYTES + 1]).chunk();
    assert_eq!(refusal(&more), ChunkError::StringTooLong);
    // An unpaired surrogate, as careless encoders write it.
    let raw = said(&[0xed, 0xa0, 0x80]).chunk();
    assert_eq!(refusal(&raw), ChunkError::BadUtf8);
}

// ---------------------------------------------------------------- columns

#[test]
fn columns_are_known_plain_and_in_order() {
    let with = |spec| Body::one_put().column(spec, &[0x7f, 0]).chunk();
    for spec in [0, 3, 70, 149, 1_000, u64::from(u32::MAX) + 1] {
        let spec = spec & !8;
        assert_eq!(refusal(&with(spec)), ChunkError::UnknownColumn { spec });
    }
    let deflated = 66 | 8;
    assert_eq!(
        refusal(&with(deflated)),
        ChunkError::CompressedColumn { spec: deflated }
    );
    let mut swapped = Body::one_put();
    swapped.columns.swap(0, 1);
    assert_eq!(refusal(&swapped.chunk()), ChunkError::ColumnsOutOfOrder);
    let mut twice = Body::one_put();
    twice.columns.insert(1, twice.columns[0].clone());
    assert_eq!(refusal(&twice.chunk()), ChunkError::ColumnsOutOfOrder);
    let mut empty = Body::one_put();
    empty.columns.insert(0, (1, vec![]));
    assert_eq!(refusal(&empty.chunk()), bad(Column::ObjActor));
}

#[test]
fn a_column_that_is_too_short_or_too_long_is_named() {
    for (spec, column, one, two) in [
        (
            21,
            Column::KeyString,
            &[0x7f, 1, b'a'][..],
            &[2, 1, b'a'][..],
        ),
        (52, Column::Insert, &[1], &[2]),
        (86, Column::ValueMeta, &[0x7f, 0], &[2, 0]),
        (112, Column::PredCount, &[0x7f, 0], &[2, 0]),
    ] {
        let longer = Body::one_put().column(spec, two).chunk();
        assert_eq!(refusal(&longer), bad(column));
        let cut = Body::one_put().column(spec, &one[..one.len() - 1]).chunk();
        assert_eq!(refusal(&cut), bad(column), "{column:?} cut short");
    }
    let fewer = Body::one_put().column(66, &[2, 1]).chunk();
    assert!(matches!(refusal(&fewer), ChunkError::BadColumn { .. }));
}

#[test]
fn runs_written_in_another_way_than_the_only_one_are_refused() {
    let action = |data: &[u8]| refusal(&Body::one_put().column(66, data).chunk());
    for data in [
        &[1, 1][..],         // a run of one
        &[0x7f, 1, 0x7f, 1], // two literals beside each other
        &[0x7e, 1, 1],       // a literal with a repetition
        &[2, 1, 2, 1],       // two runs of the same
        &[0, 0],             // no nulls
        &[0, 1, 0, 1],       // nulls beside nulls
        &[0, 1],             // nothing but nulls
        &[0x7f, 0x81, 0],    // a number longer than it needs to be
        &[0x7f],             // a literal that is missing
        &[0xff; 11],         // a number without end
    ] {
        assert_eq!(action(data), bad(Column::Action), "{data:02x?}");
    }
    let insert = |data: &[u8]| refusal(&Body::one_put().column(52, data).chunk());
    for data in [&[0][..], &[1, 0], &[1, 0, 1], &[0x80], &[0x81, 0]] {
        assert_eq!(insert(data), bad(Column::Insert), "{data:02x?}");
    }
}

#[test]
fn sums_of_runs_do_not_overflow() {
    let mut most = vec![];
    uleb(&mut most, u64::MAX);
    let twice = [&[0][..], &most, &[0x7f, 1, 0], &most].concat();
    let raw = Body::one_put().column(1, &twice).chunk();
    assert_eq!(refusal(&raw), ChunkError::TooManyOps);
    let bools = [most.clone(), most].concat();
    let raw = Body::one_put().column(52, &bools).chunk();
    assert_eq!(refusal(&raw), ChunkError::TooManyOps);
}

#[test]
fn differences_that_overflow_are_refused() {
    let mut data = vec![0x7e];
    attacks::sleb(&mut data, i64::MAX);
    attacks::sleb(&mut data, 1);
    let raw = overwriting(others(2)).column(115, &data).chunk();
    assert_eq!(refusal(&raw), bad(Column::PredCounter));
}

#[test]
fn keys_are_read_up_to_their_limit() {
    let change = decode_change(&attacks::repeated_keys(KEY_BYTES)).unwrap();
    assert_eq!(change.ops.len(), CHANGE_OPS);
    let longer = attacks::repeated_keys(KEY_BYTES + 1);
    assert_eq!(refusal(&longer), ChunkError::StringTooLong);
}

// ---------------------------------------------------------------- operations

#[test]
fn values_have_the_length_and_form_of_their_type() {
    let value = |code: u8, bytes: &[u8]| {
        let mut meta = vec![0x7f];
        uleb(&mut meta, (bytes.len() as u64) << 4 | u64::from(code));
        Body::one_put().column(86, &meta).column(87, bytes)
    };
    for (code, bytes) in [
        (0, &[0][..]),
        (1, &[0]),
        (2, &[0]),
        (3, &[]),
        (3, &[0x81, 0]),
        (3, &[1, 1]),
        (4, &[0xff, 0x7f]),
        (5, &[0; 7]),
        (5, &[0; 9]),
        (8, &[]),
        (9, &[1, 1]),
    ] {
        let raw = value(code, bytes).chunk();
        assert_eq!(refusal(&raw), ChunkError::BadValue { row: 0 });
    }
    assert_eq!(refusal(&value(6, &[0xff]).chunk()), ChunkError::BadUtf8);
    let unknown = let_in(&value(15, &[1, 2]));
    let expected = Value::Unknown {
        code: 15,
        bytes: vec![1, 2],
    };
    assert_eq!(unknown.ops[0].action, Action::Put(expected));

    let left_over = Body::one_put().column(87, &[1]).chunk();
    assert_eq!(refusal(&left_over), bad(Column::ValueRaw));
    let missing = Body::one_put().column(86, &[0x7f, 0x16]).chunk();
    assert_eq!(refusal(&missing), bad(Column::ValueRaw));
}

#[test]
fn ids_name_a_listed_actor_and_an_earlier_operation() {
    let object = |actor: u8, counter: u8| {
        Body {
            start_op: 10,
            ..Body::one_put()
                .column(1, &[0x7f, actor])
                .column(2, &[0x7f, counter])
        }
        .chunk()
    };
    assert!(decode_change(&object(0, 9)).is_ok());
    let column = Column::ObjCounter;
    assert_eq!(
        refusal(&object(1, 9)),
        ChunkError::ActorOutOfRange { column }
    );
    for counter in [0, 10, 11] {
        let refused = refusal(&object(0, counter));
        assert_eq!(refused, ChunkError::BadReference { column });
    }
    let half = Body::one_put().column(1, &[0x7f, 0]).chunk();
    assert_eq!(refusal(&half), bad(Column::ObjActor));
}

#[test]
fn predecessors_are_sorted_different_and_all_used() {
    let column = Column::PredCounter;
    let order = ChunkError::BadReference { column };
    let two = || overwriting(others(2));
    let reversed = two().column(113, &[0x7e, 2, 1]).chunk();
    assert_eq!(refusal(&reversed), order);
    let same = overwriting(others(1))
        .column(112, &[0x7f, 2])
        .column(113, &[2, 1])
        .column(115, &[0x7e, 1, 0])
        .chunk();
    assert_eq!(refusal(&same), order);
    for count in [1, 3] {
        let raw = two().column(112, &[0x7f, count]).chunk();
        assert_eq!(refusal(&raw), bad(Column::PredCount));
    }
    let unequal = two().column(115, &[0x7f, 1]).chunk();
    assert_eq!(refusal(&unequal), bad(column));
}

#[test]
fn operations_do_not_contradict_themselves() {
    let one = Body::one_put;
    let row = 0;
    let action = 8;
    let unknown = one().column(66, &[0x7f, 8]).chunk();
    assert_eq!(refusal(&unknown), ChunkError::UnknownAction { action });
    let increment_by_nothing = one().column(66, &[0x7f, 5]).chunk();
    assert_eq!(refusal(&increment_by_nothing), ChunkError::BadValue { row });
    let map_with_a_value = one().column(66, &[0x7f, 0]).column(86, &[0x7f, 1]).chunk();
    assert_eq!(refusal(&map_with_a_value), ChunkError::BadValue { row });
    for body in [
        one().column(52, &[0, 1]),                    // inserts into a map
        one().column(66, &[0x7f, 3]),                 // deletes nothing
        one().column(66, &[0x7f, 7]),                 // marks a map
        one().column(148, &[0, 1]),                   // a put that expands
        one().column(165, &[0x7f, 1, b'b']),          // a put with a mark's name
        one().column(21, &[]).column(19, &[0x7f, 0]), // puts at a head
        one()
            .column(21, &[])
            .column(19, &[0x7f, 0])
            .column(52, &[0, 1]), // inserts into the root
    ] {
        assert_eq!(refusal(&body.chunk()), ChunkError::BadOp { row });
    }
    let no_key = one().column(21, &[]).chunk();
    assert_eq!(refusal(&no_key), bad(Column::KeyString));
}
