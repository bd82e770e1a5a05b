//! The decoder of whole documents: all that the judge lets in passes it, what would harm a replica is
//! named, and what passes can be loaded.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // Makes documents as a stranger would, with actors of its own.

#[path = "support/attacks.rs"]
mod attacks;
#[path = "support/whole.rs"]
mod parts;

use attacks::{Random, sleb, uleb, wrap};
use automerge::transaction::Transactable;
use automerge::{Automerge, ROOT, ScalarValue};
use manzana_engine::document::{CatalogItem, Document};
use manzana_engine::fold::EventKind;
use manzana_engine::gate::chunk::{ChunkError, Column};
use manzana_engine::gate::whole::check_document;
use manzana_engine::grant::Role;
use manzana_engine::ids::{Actor, DeviceId, RecordId};
use manzana_engine::intent::{Edit, NewPetition};
use manzana_engine::limits::{
    ACTOR_BYTES, DOC_ACTORS, DOC_BYTES, DOC_CHANGES, KEY_BYTES, MAX_TIME,
};
use manzana_engine::record::{By, CatalogRef, Comment, Event, Record};
use parts::Parts;

fn actor(n: u16) -> Actor {
    Actor::new(&device(n), n)
}

fn device(n: u16) -> DeviceId {
    DeviceId::of_key(&[n as u8; 32])
}

fn by(n: u16) -> By {
    By {
        user: u64::from(n),
        role: Role::Operator,
        at: 1_770_000_000_000,
    }
}

fn petition() -> Document {
    let petition = NewPetition {
        title: "LÁMPARA FUNDIDA".into(),
        description: "No prende desde el martes.".into(),
        agency: Some(CatalogRef::new(12, "Alumbrado")),
        street: Some("ZARAGOZA 410".into()),
        block: Some(7),
        ..NewPetition::default()
    };
    let recorded = Event::new(by(1), EventKind::Recorded);
    let id = RecordId::new(&device(1), 0);
    Document::create_petition(actor(1), id, &petition, recorded)
        .unwrap()
        .0
}

fn comment(document: &mut Document, n: u16, intent: u32) {
    let comment = Record::Comment(Comment {
        by: by(n),
        text: format!("Comentario {intent}"),
    });
    let id = RecordId::new(&device(n), intent);
    document.add_records(actor(n), id, &[comment]).unwrap();
}

fn title(document: &mut Document, n: u16, text: &str) {
    document
        .edit(actor(n), &[Edit::Title(text.into())])
        .unwrap();
}

/// Three people write at once, again and again; then one of them settles it.
fn contested(rounds: u16) -> Document {
    let mut document = petition();
    for round in 1..=rounds {
        let base = document.clone();
        for n in 1..=3 {
            let mut copy = base.at(&base.heads()).unwrap();
            title(&mut copy, n, &format!("Versión {round} de {n}"));
            comment(&mut copy, n, u32::from(round));
            for made in copy.changes() {
                document.apply(&made.bytes).unwrap();
            }
        }
    }
    title(&mut document, 2, "Así queda");
    document
}

fn assert_passes(document: &Document) {
    let saved = document.save();
    assert_eq!(check_document(&saved), Ok(()));
    assert_eq!(Parts::of(&saved).chunk(), saved, "taken apart rightly");
    let again = Document::load_from_outside(&saved).unwrap();
    assert_eq!(again.heads(), document.heads());
}

// ---------------------------------------------------------------- what is let in

#[test]
fn a_petition_passes_at_each_step_of_its_life() {
    let mut document = petition();
    assert_passes(&document);
    for n in 1..60 {
        comment(&mut document, n % 5, u32::from(n));
        if n % 7 == 0 {
            title(&mut document, n % 3, &format!("Título {n}"));
        }
        assert_passes(&document);
    }
}

#[test]
fn what_many_wrote_at_once_passes_with_its_joins() {
    assert_passes(&contested(5));
    let mut document = petition();
    let base = document.clone();
    for n in 1..=40 {
        let mut copy = base.clone();
        comment(&mut copy, n, 1);
        document
            .apply(&copy.changes().pop().unwrap().bytes)
            .unwrap();
    }
    assert_eq!(document.heads().len(), 40);
    assert_passes(&document);
    document.join_heads(actor(99)).unwrap();
    assert_passes(&document);
}

#[test]
fn a_catalog_of_as_many_entries_as_may_be_passes() {
    let items = |from: u32, until: u32, name: &str| -> Vec<CatalogItem> {
        let item = |id| CatalogItem {
            id,
            name: format!("{name} {id}"),
            parent: None,
            retired: None,
        };
        (from..until).map(item).collect()
    };
    let created = Document::create_catalog(actor(1), "neighborhoods", &items(0, 9_000, "Col."));
    let (mut document, ..) = created.unwrap();
    document
        .put_items(actor(1), &items(4_000, 13_000, "Ampliación"))
        .unwrap();
    assert_passes(&document);
}

#[test]
fn a_document_of_as_many_changes_as_may_be_passes_and_one_more_does_not() {
    let mut document = petition();
    for n in 1..DOC_CHANGES as u32 {
        title(&mut document, (n % 4) as u16, &format!("{n}"));
    }
    assert_passes(&document);
    title(&mut document, 1, "una más");
    let one_more = check_document(&document.save());
    assert_eq!(one_more, Err(ChunkError::TooManyChanges));
}

#[test]
fn a_document_of_as_many_actors_as_may_be_passes_and_one_more_does_not() {
    let mut document = petition();
    for n in 2..=DOC_ACTORS as u16 {
        title(&mut document, n, &format!("{n}"));
    }
    assert_passes(&document);
    title(&mut document, 1_000, "una más");
    let one_more = check_document(&document.save());
    assert_eq!(one_more, Err(ChunkError::TooManyActors));
}

// ---------------------------------------------------------------- the known attacks

#[test]
fn the_bomb_of_a_hundred_and_eighty_six_bytes_is_refused_by_its_columns() {
    let bomb = attacks::document_bomb(10_000_000);
    assert!(bomb.len() < 200, "{} bytes", bomb.len());
    assert!(Document::load_from_outside(&bomb).is_err());
    assert_eq!(check_document(&bomb), Err(ChunkError::TooManyOps));
    // Within the limits it is refused all the same: there are no lists in our documents.
    let small = attacks::document_bomb(100);
    assert_eq!(check_document(&small), Err(bad(Column::KeyActor)));
}

#[test]
fn every_other_chunk_has_the_wrong_type() {
    let body = attacks::body(&petition().save()).to_vec();
    for found in 1..=u8::MAX {
        let wrong = ChunkError::WrongType { found };
        assert_eq!(check_document(&wrap(found, &body)), Err(wrong));
    }
}

#[test]
fn text_lists_counters_and_marks_are_in_no_document_of_ours() {
    assert!(check_document(&attacks::rich_document().save_nocompress()).is_err());
    let mut counted = attacks::document();
    let counter = ScalarValue::counter(3);
    counted.put(ROOT, "n", counter).unwrap();
    let saved = counted.save_nocompress();
    assert_eq!(check_document(&saved), Err(ChunkError::BadValue { row: 0 }));
    let mut deleted = attacks::document();
    deleted.put(ROOT, "n", 1).unwrap();
    deleted.commit();
    deleted.delete(ROOT, "n").unwrap();
    let column = Column::IdActor;
    assert_eq!(check_document(&deleted.save_nocompress()), Err(bad(column)));
    let mut long = attacks::document();
    for n in 0..200 {
        long.put(ROOT, format!("{n:080}"), n).unwrap();
    }
    let deflated = check_document(&long.save());
    assert!(matches!(deflated, Err(ChunkError::CompressedColumn { .. })));
}

/// What passes must load, read, fork, save as it came; nothing may panic on the way.
fn assert_harmless(raw: &[u8]) -> bool {
    if check_document(raw).is_err() {
        return false;
    }
    // A document with other hashes than its heads is refused by Automerge in good order.
    if let Ok(document) = Automerge::load(raw) {
        document.hydrate(None);
        document.fork();
        assert_eq!(document.save_nocompress(), raw);
        document.get_changes(&[]);
    }
    true
}

#[test]
fn mutations_with_a_right_checksum_do_no_harm() {
    let mut passed = 0;
    for saved in [petition().save(), contested(2).save()] {
        for seed in 0..30_000 {
            passed += u32::from(assert_harmless(&attacks::mutated(&saved, seed)));
        }
    }
    assert!(passed > 100, "some mutations only change a text: {passed}");
}

#[test]
fn columns_of_other_documents_do_no_harm() {
    let documents = [petition(), contested(1), contested(3)].map(|it| Parts::of(&it.save()));
    let mut random = Random(7);
    for _ in 0..20_000 {
        let mut mixed = documents[random.below(3)].clone();
        let other = &documents[random.below(3)];
        for _ in 0..=random.below(2) {
            let (ours, theirs) = match random.below(2) {
                0 => (&mut mixed.changes, &other.changes),
                _ => (&mut mixed.ops, &other.ops),
            };
            let (spec, data) = &theirs[random.below(theirs.len())];
            Parts::set(ours, *spec, data);
        }
        assert_harmless(&mixed.chunk());
    }
}

#[test]
fn every_truncation_is_refused() {
    let saved = contested(1).save();
    for end in 0..saved.len() {
        assert!(check_document(&saved[..end]).is_err());
    }
    let mut longer = saved;
    longer.push(0);
    assert_eq!(check_document(&longer), Err(ChunkError::TrailingBytes));
}

// ---------------------------------------------------------------- each part made wrong

fn bad(column: Column) -> ChunkError {
    ChunkError::BadColumn { column }
}

fn refusal(change: impl FnOnce(&mut Parts)) -> ChunkError {
    let mut parts = Parts::of(&contested(1).save());
    change(&mut parts);
    check_document(&parts.chunk()).expect_err("the gate refuses this")
}

/// A column of literals.
fn numbers(values: &[i64], signed: bool) -> Vec<u8> {
    let mut out = vec![];
    sleb(&mut out, -(values.len() as i64));
    for value in values {
        match signed {
            true => sleb(&mut out, *value),
            false => uleb(&mut out, *value as u64),
        }
    }
    out
}

#[test]
fn a_wrong_checksum_and_what_is_too_long_are_refused() {
    let mut saved = petition().save();
    saved[4] ^= 1;
    assert_eq!(check_document(&saved), Err(ChunkError::BadChecksum));
    let long = wrap(attacks::DOCUMENT, &vec![0; 2 * DOC_BYTES]);
    let len = long.len();
    assert_eq!(check_document(&long), Err(ChunkError::TooLarge { len }));
}

#[test]
fn actors_and_heads_are_those_of_the_changes() {
    assert_eq!(refusal(|it| it.actors.reverse()), ChunkError::BadActor);
    let longer = |it: &mut Parts| it.actors[0].push(0);
    assert_eq!(refusal(longer), ChunkError::BadActor);
    let unused = |it: &mut Parts| it.actors.push(vec![0xff; ACTOR_BYTES]);
    assert_eq!(refusal(unused), ChunkError::BadActor);
    let column = Column::Author;
    let missing = |it: &mut Parts| drop(it.actors.pop());
    assert_eq!(refusal(missing), ChunkError::ActorOutOfRange { column });
    let heads = |change: fn(&mut Parts)| assert_eq!(refusal(change), ChunkError::BadHeads);
    heads(|it| it.heads.clear());
    heads(|it| it.heads.push(it.heads[0].clone()));
    heads(|it| it.places[0] = 0);
    heads(|it| it.places[0] = 1_000);
    let more = |it: &mut Parts| it.extra.push(0);
    assert_eq!(refusal(more), ChunkError::TrailingBytes);
}

#[test]
fn a_change_follows_from_those_before_it() {
    // Creation by 1; a title and a comment by each of three on top of it; a title over the three titles.
    let rows = 8;
    let fresh = |spec, values: &[i64], signed| {
        let data = numbers(values, signed);
        refusal(|it| Parts::set(&mut it.changes, spec, &data))
    };
    let row = |row| ChunkError::BadChange { row };
    // Sequence numbers, as differences; each depending on itself, or on nothing.
    assert_eq!(fresh(3, &[2, 0, 1, 0, 1, 0, 1, 0], true), row(0));
    assert_eq!(fresh(67, &[0, 2], true), row(2));
    assert_eq!(fresh(64, &[0, 1, 0, 1, 0, 1, 0, 3], false), row(2));
    // A change that ends before its dependency does.
    assert_eq!(fresh(19, &[5, -1], true), row(1));
    let none = refusal(|it| Parts::set(&mut it.changes, 1, &[]));
    assert_eq!(none, bad(Column::Seq));
    let extra = |it: &mut Parts| Parts::set(&mut it.changes, 86, &[rows, 0x17]);
    assert_eq!(refusal(extra), row(0));
    let raw = |it: &mut Parts| Parts::set(&mut it.changes, 87, b"x");
    assert_eq!(refusal(raw), bad(Column::ExtraRaw));
    let mut late = vec![rows];
    sleb(&mut late, MAX_TIME as i64);
    let late = refusal(|it| Parts::set(&mut it.changes, 35, &late));
    assert_eq!(late, ChunkError::TimeOutOfRange);
    let mut long = vec![rows];
    uleb(&mut long, KEY_BYTES as u64 + 1);
    long.extend([b'm'; KEY_BYTES + 1]);
    let long = refusal(|it| Parts::set(&mut it.changes, 53, &long));
    assert_eq!(long, ChunkError::StringTooLong);
}

#[test]
fn runs_that_stand_for_more_than_a_document_may_have_are_counted_not_expanded() {
    for (count, changes, ops) in [
        (2_001_i64, ChunkError::TooManyChanges, bad(Column::IdActor)),
        (i64::MAX, ChunkError::TooManyChanges, ChunkError::TooManyOps),
    ] {
        let mut run = vec![];
        sleb(&mut run, count);
        run.push(0);
        let many = refusal(|it| Parts::set(&mut it.changes, 1, &run));
        assert_eq!(many, changes);
        let many = refusal(|it| Parts::set(&mut it.ops, 33, &run));
        assert_eq!(many, ops);
    }
    // One change that claims all the counters there are.
    let mut parts = Parts::of(&petition().save());
    let mut most = vec![0x7f];
    sleb(&mut most, 1 << 40);
    Parts::set(&mut parts.changes, 19, &most);
    assert_eq!(check_document(&parts.chunk()), Err(ChunkError::TooManyOps));
}

#[test]
fn operations_are_those_of_the_changes_each_in_its_place() {
    let fresh = |spec: u64, data: &[u8]| refusal(|it| Parts::set(&mut it.ops, spec, data));
    assert_eq!(fresh(33, &[]), bad(Column::IdActor));
    assert_eq!(fresh(17, &[0x7f, 0]), bad(Column::KeyActor));
    assert_eq!(fresh(148, &[1]), bad(Column::Expand));
    assert_eq!(fresh(52, &[1, 1]), bad(Column::Insert));
    assert_eq!(fresh(87, b""), bad(Column::ValueRaw));
    assert_eq!(fresh(86, &[]), bad(Column::ValueMeta));
    assert_eq!(fresh(1, &[]), bad(Column::ObjActor));
    assert_eq!(fresh(21, &[]), bad(Column::KeyString));
    assert_eq!(fresh(128, &[]), bad(Column::SuccCount));
    let column = Column::SuccActor;
    assert_eq!(fresh(129, &[]), bad(column));
    // The same keys in the opposite order.
    let saved = petition().save();
    let mut parts = Parts::of(&saved);
    let keys = parts.ops.iter_mut().find(|(spec, _)| *spec == 21).unwrap();
    let at = keys.1.windows(5).position(|it| it == b"title").unwrap();
    keys.1[at..at + 5].copy_from_slice(b"aitle");
    let turned = check_document(&parts.chunk());
    assert!(
        matches!(turned, Err(ChunkError::BadOp { .. })),
        "{turned:?}"
    );
}
