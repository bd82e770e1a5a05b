//! Repair: whatever a device missed, lost or damaged, it notices by its digest, finds by
//! reconciliation, and is whole again for the price of what differs.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "support/model.rs"]
mod model;
#[path = "support/world.rs"]
mod world;

use manzana_engine::codec;
use manzana_engine::fold::EventKind;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::DocId;
use manzana_engine::record::CatalogRef;
use manzana_engine::replica::{Continuity, DocRow, ReplicaStore, Write};
use manzana_engine::wire::{ByeCode, Down, Item, Up};
use world::World;

const LIGHTS: u32 = 12;
const WATER: u32 = 13;
const MINUTE_MS: i64 = 60_000;

/// A crew of the lights, an operator, and some petitions that both hold.
fn city(seed: u64, petitions: usize) -> (World, usize, usize, Vec<DocId>) {
    let mut world = World::new(seed);
    let crew = world.enrol(10, Role::Crew, &[Scope::Agency(LIGHTS)]);
    let operator = world.enrol(2, Role::Operator, &[Scope::City]);
    world.batch = 64;
    let docs = (0..petitions)
        .map(|n| world.capture(operator, &format!("Bache {n}"), LIGHTS).docs[0])
        .collect();
    world.heal();
    world.assert_all_whole();
    forget_frames(&mut world, crew);
    (world, crew, operator, docs)
}

fn forget_frames(world: &mut World, i: usize) {
    world.devices[i].said.clear();
    world.devices[i].heard.clear();
}

fn refer(world: &mut World, by: usize, doc: DocId, to: u32) {
    world.act(by, &[doc], EventKind::Referred, |event| {
        event.agency = Some(CatalogRef::new(to, "Otra"));
    });
    world.sync(by);
}

/// Writes into a device's store behind its back.
fn tamper(world: &mut World, i: usize, writes: Vec<Write>) {
    world.cut(i);
    let mut store = world.replica(i).store().clone();
    store.commit(writes).unwrap();
    let reopened = world.open(i, store, Continuity::Same);
    let device = world.devices.remove(reopened);
    world.devices[i] = device;
}

/// Puts a row in place of the one that is there, digests included, as if it had always been so.
fn replace(world: &mut World, i: usize, row: DocRow) {
    let now = world.row(i, row.doc).unwrap();
    let mut writes = Vec::new();
    for scope in &now.accepted_scopes {
        let mut digest = world.replica(i).store().digest(scope).unwrap();
        digest.remove(&row.doc, &now.accepted_heads);
        digest.add(&row.doc, &row.accepted_heads);
        writes.push(Write::Digest(scope.clone(), digest));
    }
    writes.push(Write::Doc(Box::new(row)));
    tamper(world, i, writes);
}

struct Cost {
    messages: usize,
    bytes: usize,
    packs: usize,
    fills: usize,
}

/// What repairs took on the device's wire.
fn cost(world: &World, i: usize) -> Cost {
    let device = &world.devices[i];
    let repair_up = |up: &&Up| matches!(up, Up::Reconcile { .. } | Up::Mend { .. });
    let repair_down = |d: &&Down| matches!(d, Down::Reconcile { .. } | Down::Mend { .. });
    let up: Vec<usize> = device
        .said
        .iter()
        .filter(repair_up)
        .map(|up| codec::encode(up).len())
        .collect();
    let down: Vec<usize> = device
        .heard
        .iter()
        .filter(repair_down)
        .map(|down| codec::encode(down).len())
        .collect();
    let packs = device
        .heard
        .iter()
        .filter(|d| matches!(d, Down::Pack { .. }));
    let fills = device
        .said
        .iter()
        .filter(|up| matches!(up, Up::Drift { .. }));
    Cost {
        messages: up.len() + down.len(),
        bytes: up.iter().chain(&down).sum(),
        packs: packs.count(),
        fills: fills.count(),
    }
}

/// It was repaired, and nothing was filled for it.
fn assert_mended(world: &World, i: usize) {
    let Cost {
        messages,
        packs,
        fills,
        ..
    } = cost(world, i);
    assert!(messages > 0, "a repair took place");
    assert_eq!((packs, fills), (0, 0), "without a fill");
    world.assert_whole(i);
}

fn is_log_with_items(down: &Down) -> bool {
    matches!(down, Down::Log { items, .. } if !items.is_empty())
}

#[test]
fn a_lost_change_of_the_log_is_repaired() {
    let (mut world, a, o, docs) = city(1, 40);
    world.devices[a].swallow = Some(is_log_with_items);
    world.comment(o, docs[7], "se perderá");
    world.sync(o);
    world.sync(a);
    assert_mended(&world, a);
    let before = cost(&world, a).messages;
    world.sync(a);
    assert_eq!(cost(&world, a).messages, before, "and once is enough");
}

#[test]
fn a_lost_enter_is_repaired() {
    let (mut world, a, o, _) = city(2, 40);
    let doc = world.capture(o, "Fuga", WATER).docs[0];
    world.sync(o);
    world.sync(a);
    assert_eq!(world.row(a, doc), None);
    world.devices[a].swallow = Some(|down| {
        let enters = |item: &Item| matches!(item, Item::Enter { .. });
        matches!(down, Down::Log { items, .. } if items.iter().any(enters))
    });
    refer(&mut world, o, doc, LIGHTS);
    world.sync(a);
    assert!(world.row(a, doc).is_some());
    assert_mended(&world, a);
}

#[test]
fn a_missed_leave_is_repaired_and_unanswered_work_keeps_its_document() {
    for works in [false, true] {
        let (mut world, a, o, docs) = city(3, 40);
        refer(&mut world, o, docs[3], WATER);
        world.cut(a);
        let saved = works.then(|| world.comment(a, docs[3], "fui y no estaban"));
        world.devices[a].swallow = Some(|down| {
            let leaves = |item: &Item| matches!(item, Item::Leave { .. });
            let lost = matches!(down, Down::Log { items, .. } if items.iter().any(leaves));
            lost || matches!(down, Down::Receipt { .. })
        });
        world.sync(a);
        if saved.is_some() {
            assert_eq!(world.comments(a, docs[3]), ["fui y no estaban"]);
            world.heal();
            assert_eq!(world.comments(o, docs[3]), ["fui y no estaban"]);
        }
        assert_eq!(world.row(a, docs[3]), None);
        assert_mended(&world, a);
    }
}

#[test]
fn a_document_set_back_on_the_device_is_repaired() {
    let (mut world, a, o, docs) = city(4, 40);
    let before = world.row(a, docs[5]).unwrap();
    world.comment(o, docs[5], "uno");
    world.sync(o);
    world.sync(a);
    world.assert_whole(a);
    replace(&mut world, a, before);
    world.sync(a);
    assert_mended(&world, a);
}

#[test]
fn a_document_whose_bytes_are_damaged_is_repaired_when_it_is_opened() {
    let (mut world, a, o, docs) = city(5, 40);
    let mut row = world.row(a, docs[5]).unwrap();
    row.accepted.as_mut().unwrap()[20..40].fill(0x55);
    tamper(&mut world, a, vec![Write::Doc(Box::new(row))]);
    world.comment(o, docs[5], "uno");
    world.sync(o);
    world.sync(a);
    assert!(world.is_connected(a));
    world.assert_whole(a);
}

#[test]
fn a_count_that_is_wrong_is_counted_again_without_a_document() {
    let (mut world, a, _, docs) = city(6, 40);
    let scope = Scope::Agency(LIGHTS);
    let mut digest = world.replica(a).store().digest(&scope).unwrap();
    digest.add(&docs[0], &[]);
    tamper(&mut world, a, vec![Write::Digest(scope, digest)]);
    world.sync(a);
    let asked = world.devices[a].said.iter();
    assert_eq!(asked.filter(|up| matches!(up, Up::Mend { .. })).count(), 0);
    assert_mended(&world, a);
}

#[test]
fn a_device_whose_place_is_forgotten_is_repaired_with_what_left() {
    let (mut world, a, o, docs) = city(7, 60);
    world.cut(a);
    refer(&mut world, o, docs[1], WATER);
    world.comment(o, docs[2], "entretanto");
    let new = world.capture(o, "Nueva", LIGHTS).docs[0];
    world.sync(o);
    world.relay.floor = world.relay.head();
    let unsent = world.comment(a, docs[4], "sin red");
    world.sync(a);
    assert_eq!(world.row(a, docs[1]), None, "what left");
    assert!(world.row(a, new).is_some(), "what came");
    assert_eq!(world.comments(a, docs[2]), ["entretanto"]);
    assert_mended(&world, a);
    world.sync(o);
    assert_eq!(world.comments(o, docs[4]), ["sin red"]);
    let _ = unsent;
    world.assert_all_whole();
}

#[test]
fn a_repair_that_is_cut_anywhere_begins_again() {
    for steps in 1..40 {
        let (mut world, a, o, docs) = city(8, 40);
        world.cut(a);
        docs[..9]
            .iter()
            .for_each(|doc| drop(world.comment(o, *doc, "entretanto")));
        world.sync(o);
        world.relay.floor = world.relay.head();
        world.connect(a);
        for _ in 0..steps {
            world.step(a);
        }
        world.cut(a);
        world.sync(a);
        world.assert_whole(a);
    }
}

#[test]
fn work_goes_on_during_a_repair() {
    let (mut world, a, o, docs) = city(9, 60);
    world.cut(a);
    docs[..20]
        .iter()
        .for_each(|doc| drop(world.comment(o, *doc, "entretanto")));
    world.sync(o);
    world.relay.floor = world.relay.head();
    world.connect(a);
    for (n, doc) in docs.iter().enumerate() {
        world.step(a);
        match n % 3 {
            0 => drop(world.comment(o, *doc, "más")),
            1 => drop(world.comment(a, *doc, "de la cuadrilla")),
            _ => refer(&mut world, o, *doc, WATER),
        }
        world.pump(o);
    }
    world.pump(a);
    world.heal();
    world.assert_all_whole();
}

#[test]
fn another_epoch_repairs_and_names_what_the_relay_lost() {
    let (mut world, a, o, docs) = city(10, 60);
    world.cut(a);
    world.comment(o, docs[2], "entretanto");
    world.sync(o);
    world.relay.lose(&docs[8]);
    world.sync(a);
    assert_eq!(world.comments(a, docs[2]), ["entretanto"]);
    let surplus = world.devices[a].replica.meta().unwrap().surplus().to_vec();
    assert_eq!(surplus, [docs[8]]);
    assert!(world.row(a, docs[8]).is_some(), "kept, to be given back");
    let learnt = &world.relay.learnt;
    assert!(
        learnt
            .iter()
            .any(|l| l.theirs.iter().any(|m| m.doc == docs[8])),
        "the relay's end found it too"
    );
    let Cost { packs, fills, .. } = cost(&world, a);
    assert_eq!((packs, fills), (0, 0));
}

#[test]
fn a_document_that_cannot_be_opened_here_is_an_exception_and_not_asked_for_again() {
    let (mut world, a, o, docs) = city(11, 40);
    world.devices[a].swallow = Some(is_log_with_items);
    world.comment(o, docs[7], "ilegible aquí");
    world.sync(o);
    world.relay.garbled.insert(docs[7]);
    world.sync(a);
    let mends = |world: &World| {
        let said = world.devices[a].said.iter();
        said.filter(|up| matches!(up, Up::Mend { .. })).count()
    };
    let first = mends(&world);
    assert!(first > 0 && first <= 3, "once for each scope");
    // Whenever it looks again, it finds the same exception and asks for nothing.
    for _ in 0..5 {
        world.now += 24 * 60 * MINUTE_MS;
        world.sync(a);
        assert!(world.is_connected(a));
    }
    assert_eq!(mends(&world), first);
    world.devices[a].swallow = None;
    world.relay.garbled.clear();
    world.comment(o, docs[7], "legible");
    world.sync(o);
    world.now += 24 * 60 * MINUTE_MS;
    world.sync(a);
    world.assert_whole(a);
}

#[test]
fn a_repair_that_does_not_help_waits_each_time_longer() {
    let (mut world, a, _, docs) = city(12, 40);
    world.relay.lose(&docs[3]);
    world.sync(a);
    let count = |world: &World| {
        let said = world.devices[a].said.iter();
        said.filter(|up| matches!(up, Up::Reconcile { .. })).count()
    };
    let mut repairs = Vec::new();
    let mut last = count(&world);
    for minute in 1..200 {
        world.now += MINUTE_MS;
        world.sync(a);
        if count(&world) > last {
            repairs.push(minute);
            last = count(&world);
        }
    }
    assert!((2..=5).contains(&repairs.len()), "{repairs:?}");
    let pauses: Vec<i64> = repairs.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted(), "{repairs:?}");
}

#[test]
fn a_scope_with_little_left_of_it_is_filled() {
    let (mut world, a, _, docs) = city(13, 200);
    let writes = docs[..150].iter().map(|doc| Write::DropDoc(*doc)).collect();
    tamper(&mut world, a, writes);
    let scope = Scope::Agency(LIGHTS);
    tamper(&mut world, a, vec![Write::DropDigest(scope)]);
    world.sync(a);
    assert!(cost(&world, a).fills > 0);
    world.assert_whole(a);
}

#[test]
fn more_messages_than_a_repair_needs_end_the_session_and_nothing_else() {
    let (mut world, a, _, _) = city(14, 4);
    world.connect(a);
    world.pump(a);
    let up = Up::Reconcile {
        scope: Scope::Agency(LIGHTS),
        ranges: Vec::new(),
    };
    for _ in 0..1_000 {
        world.inject_up(a, &up);
    }
    world.pump(a);
    assert_eq!(world.devices[a].bye, Some(ByeCode::TooMuch));
    world.heal();
    world.assert_all_whole();
}

#[test]
fn one_changed_document_of_a_thousand_costs_two_kilobytes() {
    let (mut world, a, o, docs) = city(15, 1_000);
    world.cut(a);
    world.comment(o, docs[500], "entretanto");
    world.sync(o);
    world.relay.floor = world.relay.head();
    world.sync(a);
    assert_mended(&world, a);
    let Cost {
        messages, bytes, ..
    } = cost(&world, a);
    println!("{messages} messages, {bytes} bytes");
    assert!(bytes < 4_000, "{bytes} bytes");
    assert!(messages <= 8, "{messages} messages");
}
