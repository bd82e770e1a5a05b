//! Packs that are stored unopened: what must hold when they are cut, when the city goes on meanwhile,
//! and when what they brought is not what its row said.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "support/attacks.rs"]
#[allow(clippy::disallowed_methods)] // Makes documents as a stranger would, with actors of its own.
mod attacks;
#[path = "support/model.rs"]
mod model;
#[path = "support/samples.rs"]
mod samples;
#[path = "support/world.rs"]
mod world;

use manzana_engine::codec;
use manzana_engine::fold::EventKind;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::DocId;
use manzana_engine::limits::{DOC_BYTES, SUMMARY_BYTES};
use manzana_engine::record::CatalogRef;
use manzana_engine::relay::pack_segment;
use manzana_engine::summary::Summary;
use manzana_engine::wire::{Down, Fill, PackedDoc, Up};
use world::World;

const LIGHTS: u32 = 12;
const WATER: u32 = 13;

/// A city with an operator who captured so many petitions, and a device that has seen none of them.
fn city(seed: u64, petitions: usize) -> (World, usize, usize, Vec<DocId>) {
    let mut world = World::new(seed);
    let o = world.enrol(2, Role::Operator, &[Scope::City]);
    let docs = (0..petitions)
        .map(|n| world.capture(o, &format!("Bache {n}"), LIGHTS).docs[0])
        .collect();
    world.sync(o);
    let a = world.enrol(10, Role::Crew, &[Scope::Agency(LIGHTS)]);
    (world, o, a, docs)
}

fn wants(world: &World, i: usize) -> Vec<DocId> {
    let said = world.devices[i].said.iter();
    said.filter_map(|up| match up {
        Up::Want { doc } => Some(*doc),
        _ => None,
    })
    .collect()
}

/// Fills device `a` while the relay packs this document with other bytes than it keeps.
fn fill_with(world: &mut World, a: usize, doc: DocId, spoil: impl FnOnce(&mut Vec<u8>)) {
    let honest = world.relay.docs[&doc].saved.clone();
    spoil(&mut world.relay.docs.get_mut(&doc).unwrap().saved);
    world.sync(a);
    world.relay.docs.get_mut(&doc).unwrap().saved = honest;
}

#[test]
fn a_fill_opens_no_document_and_its_digests_are_the_citys() {
    let (mut world, _, a, docs) = city(1, 9);
    world.sync(a);
    assert_eq!(world.replica(a).store().documents_opened(), 0);
    world.assert_whole(a);
    for doc in docs {
        let (row, document) = world.replica(a).open_document(&doc).unwrap().unwrap();
        assert_eq!(document.summary().unwrap(), row.summary);
    }
}

#[test]
fn a_packed_document_that_does_not_open_is_set_apart_and_asked_for_whole() {
    for garbage in [Vec::new(), vec![7; 40]] {
        let (mut world, _, a, docs) = city(2, 5);
        fill_with(&mut world, a, docs[2], |saved| *saved = garbage.clone());
        // The row is there and counts; nobody has needed the document yet.
        assert!(!world.row(a, docs[2]).unwrap().quarantined);
        assert_eq!(wants(&world, a), []);
        assert!(world.replica(a).open_document(&docs[2]).unwrap().is_none());
        assert!(world.row(a, docs[2]).unwrap().quarantined);
        world.pump(a);
        assert_eq!(wants(&world, a), [docs[2]]);
        world.assert_whole(a);
        assert!(!world.row(a, docs[2]).unwrap().quarantined);
    }
}

#[test]
fn the_bomb_and_mutated_documents_reach_no_replica_and_stop_no_other_document() {
    let bomb = |_: &[u8]| attacks::document_bomb(10_000_000);
    let mutated = |seed| move |saved: &[u8]| attacks::mutated(saved, seed);
    for seed in 0..40 {
        let (mut world, o, a, docs) = city(20 + seed, 3);
        fill_with(&mut world, a, docs[1], |saved| match seed {
            0 => *saved = bomb(saved),
            _ => *saved = mutated(seed)(saved),
        });
        // Everybody goes on; the bad one is opened, too.
        for doc in &docs {
            world.comment(o, *doc, "urge");
        }
        world.sync(o);
        world.sync(a);
        for doc in &docs {
            let _ = world.replica(a).open_document(doc).unwrap();
        }
        world.heal();
        world.assert_all_whole();
        for doc in &docs {
            assert!(world.replica(a).open_document(doc).unwrap().is_some());
        }
    }
}

#[test]
fn a_bomb_in_a_log_or_handed_whole_sets_apart_its_document_only() {
    for whole in [false, true] {
        let (mut world, _, a, docs) = city(60, 3);
        world.sync(a);
        world.connect(a);
        let bomb = attacks::document_bomb(10_000_000);
        let mut packed = world.relay.packed(&docs[1]).unwrap();
        packed.saved = bomb.into();
        let handed = match whole {
            true => Down::Whole {
                id: docs[1],
                doc: Some(packed),
            },
            false => odd_pack(
                &world,
                Scope::Agency(LIGHTS),
                |it| *it = packed.clone(),
                docs[1],
            ),
        };
        world.inject_down(a, handed).unwrap();
        world.pump(a);
        for doc in [docs[0], docs[2]] {
            assert!(world.replica(a).open_document(&doc).unwrap().is_some());
        }
        world.heal();
        world.assert_all_whole();
    }
}

#[test]
fn a_packed_document_that_is_another_one_is_found_out_when_it_is_opened_or_written_to() {
    for write in [false, true] {
        let (mut world, _, a, docs) = city(3, 5);
        let other = world.relay.docs[&docs[1]].saved.clone();
        fill_with(&mut world, a, docs[2], |saved| *saved = other);
        let opened = match write {
            false => world.replica(a).open_document(&docs[2]).unwrap().is_some(),
            true => {
                let now = world.tick();
                let written = world.replica(a).comment(docs[2], "hola", now);
                written.is_ok()
            }
        };
        assert!(!opened);
        world.pump(a);
        assert_eq!(wants(&world, a), [docs[2]]);
        world.assert_whole(a);
        world.comment(a, docs[2], "ahora sí");
        world.heal();
        world.assert_all_whole();
    }
}

#[test]
fn a_change_on_a_packed_document_that_does_not_open_brings_it_whole_and_stops_nothing_else() {
    let (mut world, o, a, docs) = city(4, 5);
    fill_with(&mut world, a, docs[2], |saved| *saved = vec![1]);
    for doc in &docs {
        world.comment(o, *doc, "urge");
    }
    world.sync(o);
    world.pump(a);
    assert_eq!(wants(&world, a), [docs[2]]);
    world.heal();
    world.assert_all_whole();
}

#[test]
fn what_does_not_open_even_whole_is_asked_for_once_in_a_session_and_again_in_the_next() {
    let (mut world, _, a, docs) = city(5, 3);
    let honest = world.relay.docs[&docs[1]].saved.clone();
    world.relay.docs.get_mut(&docs[1]).unwrap().saved = vec![1];
    world.sync(a);
    assert!(world.replica(a).open_document(&docs[1]).unwrap().is_none());
    world.pump(a);
    assert_eq!(wants(&world, a).len(), 1);
    world.sync(a);
    assert_eq!(wants(&world, a).len(), 2);
    world.relay.docs.get_mut(&docs[1]).unwrap().saved = honest;
    world.sync(a);
    world.assert_whole(a);
    world.sync(a);
    assert_eq!(wants(&world, a).len(), 3, "it is mended");
}

#[test]
fn a_row_that_does_not_say_what_its_document_says_is_derived_anew_when_it_is_opened() {
    let (mut world, _, a, docs) = city(6, 3);
    let kept = world.relay.docs.get_mut(&docs[0]).unwrap();
    let honest = kept.summary.clone();
    kept.summary.title = "OTRA COSA".into();
    world.sync(a);
    world.relay.docs.get_mut(&docs[0]).unwrap().summary = honest.clone();
    assert_eq!(world.row(a, docs[0]).unwrap().summary.title, "OTRA COSA");
    let (row, _) = world.replica(a).open_document(&docs[0]).unwrap().unwrap();
    assert_eq!(row.summary, honest);
    world.assert_whole(a);
}

/// A pack as a relay that errs would send it.
fn odd_pack(world: &World, scope: Scope, change: impl Fn(&mut PackedDoc), doc: DocId) -> Down {
    let mut packed = world.relay.packed(&doc).unwrap();
    change(&mut packed);
    Down::Pack {
        fill: Fill {
            scope,
            pinned: world.relay.head(),
            before: 0,
        },
        done: false,
        segment: pack_segment(&[packed]).into(),
    }
}

fn with_summary(packed: &mut PackedDoc, change: impl Fn(&mut Summary)) {
    let mut summary: Summary = codec::decode(&packed.summary).unwrap();
    change(&mut summary);
    packed.summary = codec::encode(&summary).into();
}

#[test]
fn a_document_whose_row_is_not_in_the_scope_of_its_pack_is_not_stored() {
    let (mut world, o, a, docs) = city(7, 1);
    let water = world.capture(o, "Fuga", WATER).docs[0];
    world.sync(o);
    world.connect(a);
    let lights = Scope::Agency(LIGHTS);
    let foreign = odd_pack(&world, lights.clone(), |_| {}, water);
    world.inject_down(a, foreign).unwrap();
    assert_eq!(world.row(a, water), None);
    // One of its own agency that comes in the pack of its author's scope.
    let author = Scope::Author(10);
    let misplaced = odd_pack(&world, author, |_| {}, docs[0]);
    world.inject_down(a, misplaced).unwrap();
    assert_eq!(world.row(a, docs[0]), None);
    world.pump(a);
    world.assert_whole(a);
}

#[test]
fn a_row_that_cannot_be_taken_from_outside_sends_the_device_to_the_document() {
    let long = |packed: &mut PackedDoc| {
        with_summary(packed, |summary| summary.title = "x".repeat(SUMMARY_BYTES));
    };
    let headless = |packed: &mut PackedDoc| with_summary(packed, |summary| summary.heads.clear());
    let unsorted = |packed: &mut PackedDoc| {
        with_summary(packed, |summary| {
            let head = summary.heads[0];
            summary.heads = vec![head, head];
        });
    };
    let garbage = |packed: &mut PackedDoc| packed.summary = vec![0xff].into();
    let oddities: [&dyn Fn(&mut PackedDoc); 4] = [&long, &headless, &unsorted, &garbage];
    for change in oddities {
        let (mut world, _, a, docs) = city(8, 2);
        world.connect(a);
        let odd = odd_pack(&world, Scope::Agency(LIGHTS), change, docs[0]);
        world.inject_down(a, odd).unwrap();
        let row = world.row(a, docs[0]).unwrap();
        assert_eq!(row.summary, world.relay.docs[&docs[0]].summary);
        world.pump(a);
        world.assert_whole(a);
    }
}

#[test]
fn a_row_is_taken_from_outside_at_its_limit_and_not_one_byte_past_it() {
    let mut summary = samples::summary();
    summary.title.clear();
    let empty = codec::encode(&summary).len();
    // A text of this length has four more bytes of head.
    let fits = SUMMARY_BYTES - empty - 4;
    summary.title = "x".repeat(fits);
    let bytes = codec::encode(&summary);
    assert_eq!(bytes.len(), SUMMARY_BYTES);
    assert_eq!(Summary::from_outside(&bytes), Some(summary.clone()));
    summary.title.push('x');
    assert_eq!(Summary::from_outside(&codec::encode(&summary)), None);
}

#[test]
fn a_document_larger_than_any_may_be_is_not_stored() {
    let (mut world, _, a, docs) = city(9, 2);
    world.connect(a);
    let large = |packed: &mut PackedDoc| packed.saved = vec![7; DOC_BYTES + 1].into();
    let odd = odd_pack(&world, Scope::Agency(LIGHTS), large, docs[0]);
    world.inject_down(a, odd).unwrap();
    assert_eq!(world.row(a, docs[0]), None);
    world.pump(a);
    world.assert_whole(a);
}

/// Runs the device's session until one more pack has come; `false` when there is none any more.
fn one_more_pack(world: &mut World, a: usize) -> bool {
    let packs = |world: &World| {
        let heard = world.devices[a].heard.iter();
        heard
            .filter(|down| matches!(down, Down::Pack { .. }))
            .count()
    };
    let before = packs(world);
    while world.step(a) {
        if packs(world) > before {
            return true;
        }
    }
    false
}

fn refer(world: &mut World, by: usize, doc: DocId, to: u32) {
    world.act(by, &[doc], EventKind::Referred, |event| {
        event.agency = Some(CatalogRef::new(to, "Otra"));
    });
}

/// Cuts (or not) after every pack, and lets `meanwhile` work on the city each time.
fn fill_among(seed: u64, cut: bool, meanwhile: impl Fn(&mut World, usize, usize, &[DocId])) {
    let (mut world, o, a, docs) = city(seed, 12);
    world.connect(a);
    for turn in 0.. {
        assert!(turn < 100, "the fill ends");
        if !one_more_pack(&mut world, a) {
            break;
        }
        if cut {
            world.cut(a);
        }
        meanwhile(&mut world, o, turn, &docs);
        world.sync(o);
        if cut {
            world.connect(a);
        }
    }
    world.assert_whole(a);
    world.heal();
    world.assert_all_whole();
}

#[test]
fn a_fill_cut_after_every_segment_brings_each_document_once_and_goes_on_where_it_was() {
    let (mut world, _, a, docs) = city(10, 12);
    loop {
        world.connect(a);
        if !one_more_pack(&mut world, a) {
            break;
        }
        world.cut(a);
    }
    world.assert_whole(a);
    // 12 in the agency's scope, two in each; the author's and the catalogs' scopes are empty.
    let heard = world.devices[a].heard.iter();
    let filled = heard.filter(|down| match down {
        Down::Pack { fill, .. } => fill.scope == Scope::Agency(LIGHTS),
        _ => false,
    });
    assert_eq!(filled.count(), docs.len() / 2);
}

#[test]
fn documents_that_leave_a_scope_while_it_fills_are_gone_at_its_end() {
    for cut in [false, true] {
        // From both ends: what has come already, and what is still to come.
        fill_among(11, cut, |world, o, turn, docs| match turn {
            1 => refer(world, o, docs[11], WATER),
            2 => refer(world, o, docs[0], WATER),
            _ => {}
        });
    }
}

#[test]
fn documents_that_enter_a_scope_while_it_fills_are_there_at_its_end() {
    for cut in [false, true] {
        fill_among(12, cut, |world, o, turn, docs| match turn {
            // Out before they came, and in again behind and before the place of the fill.
            0 => [docs[0], docs[5]]
                .iter()
                .for_each(|doc| refer(world, o, *doc, WATER)),
            1 => refer(world, o, docs[5], LIGHTS),
            4 => refer(world, o, docs[0], LIGHTS),
            _ => {}
        });
    }
}

#[test]
fn documents_that_change_while_their_scope_fills_end_as_the_city_has_them() {
    for cut in [false, true] {
        fill_among(13, cut, |world, o, turn, docs| {
            if turn < docs.len() {
                world.comment(o, docs[turn], "entretanto");
                world.comment(o, docs[docs.len() - 1 - turn], "también");
            }
            if turn == 3 {
                world.capture(o, "Nueva", LIGHTS);
            }
        });
    }
}
