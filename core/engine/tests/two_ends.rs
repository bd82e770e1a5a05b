//! Both ends of the protocol, without IO: production replicas against a relay of production pieces.
//! Each test is a story; its name is what must hold.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "support/model.rs"]
mod model;
#[path = "support/world.rs"]
mod world;

use manzana_engine::answer::Answer;
use manzana_engine::envelope::Envelope;
use manzana_engine::fold::{EventKind, Outcome, Status};
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::DocId;
use manzana_engine::policy::Rule;
use manzana_engine::record::CatalogRef;
use manzana_engine::replica::{Continuity, IntentState, ReplicaStore, Saved, Write};
use manzana_engine::wire::{ByeCode, Down, Up};
use world::World;

const LIGHTS: u32 = 12;
const WATER: u32 = 13;

fn supervisor(world: &mut World) -> usize {
    world.enrol(1, Role::Supervisor, &[Scope::City])
}

fn operator(world: &mut World) -> usize {
    world.enrol(2, Role::Operator, &[Scope::City])
}

fn crew(world: &mut World, user: u64, agency: u32) -> usize {
    world.enrol(user, Role::Crew, &[Scope::Agency(agency)])
}

fn state(world: &World, i: usize, saved: &Saved) -> IntentState {
    let row = world.devices[i].replica.store().intent(&saved.intent);
    row.unwrap().unwrap().state
}

fn is_accepted(state: &IntentState) -> bool {
    matches!(state, IntentState::Accepted { .. })
}

fn is_held(state: &IntentState) -> bool {
    matches!(state, IntentState::Held { .. })
}

#[test]
fn a_petition_captured_with_no_network_reaches_another_device_with_its_folio() {
    let mut world = World::new(1);
    let (a, b) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    world.sync(b);
    let saved = world.capture(a, "Lámpara apagada", LIGHTS);
    let doc = saved.docs[0];
    assert_eq!(world.row(a, doc).unwrap().folio, None);
    assert_eq!(world.row(a, doc).unwrap().provisional, 1);
    world.sync(a);
    assert!(is_accepted(&state(&world, a, &saved)));
    world.pump(b);
    let (on_a, on_b) = (world.row(a, doc).unwrap(), world.row(b, doc).unwrap());
    assert_eq!(on_b.folio, Some(1455));
    assert_eq!(on_a.accepted, on_b.accepted, "saved bytes");
    assert_eq!(on_a.accepted.unwrap(), world.relay.docs[&doc].saved);
    world.heal();
    world.assert_all_whole();
}

#[test]
fn ends_reported_apart_conflict_on_every_replica_until_a_final_state_has_seen_both() {
    let mut world = World::new(2);
    let (a, b, s) = (
        crew(&mut world, 10, LIGHTS),
        operator(&mut world),
        supervisor(&mut world),
    );
    let doc = world.capture(b, "Lámpara apagada", LIGHTS).docs[0];
    world.heal();
    (0..3).for_each(|i| world.cut(i));
    world.act(a, &[doc], EventKind::Done, |_| {});
    world.act(b, &[doc], EventKind::NotApplicable, |event| {
        event.reason = Some("duplicada".into());
    });
    world.heal();
    for i in [a, b, s] {
        let summary = world.row(i, doc).unwrap().summary;
        assert!(summary.conflict, "device {i}");
        assert_eq!(summary.status, Status::InProgress);
    }
    world.act(s, &[doc], EventKind::FinalState, |event| {
        event.outcome = Some(Outcome::Done);
    });
    world.heal();
    for i in [a, b, s] {
        let summary = world.row(i, doc).unwrap().summary;
        assert!(!summary.conflict && summary.is_final, "device {i}");
        assert_eq!(summary.status, Status::Done);
    }
    world.assert_all_whole();
}

/// C holds A's unsent work, as phones give it to each other.
fn hand_over(world: &mut World, from: usize, to: usize) -> usize {
    let envelopes: Vec<Envelope> = world.unanswered(from);
    world.replica(to).carry(envelopes).unwrap()
}

/// A petition in the city; A (not connected) comments on it and C, who was handed that, on top.
fn refused_below(world: &mut World) -> (usize, usize, DocId, Saved, Saved) {
    let (a, c) = (crew(world, 10, LIGHTS), crew(world, 11, LIGHTS));
    let o = operator(world);
    let doc = world.capture(o, "Lámpara apagada", LIGHTS).docs[0];
    world.heal();
    (0..3).for_each(|i| world.cut(i));
    let of_a = world.comment(a, doc, "de A");
    assert_eq!(hand_over(world, a, c), 1);
    assert_eq!(world.comments(c, doc), ["de A"], "C sees what it carries");
    let of_c = world.comment(c, doc, "de C, sobre lo de A");
    (a, c, doc, of_a, of_c)
}

#[test]
fn carried_work_and_work_on_top_of_it_are_accepted_whoever_comes_first() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(3);
        let (a, c, doc, of_a, of_c) = refused_below(&mut world);
        let both = [a, c];
        order.iter().for_each(|first| world.sync(both[*first]));
        world.heal();
        assert!(is_accepted(&state(&world, a, &of_a)), "{order:?}");
        assert!(is_accepted(&state(&world, c, &of_c)), "{order:?}");
        assert_eq!(world.comments(a, doc).len(), 2);
        world.assert_all_whole();
    }
}

#[test]
fn a_refused_change_waits_to_be_corrected_and_the_work_on_top_is_replayed() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(4);
        let (a, c, doc, of_a, of_c) = refused_below(&mut world);
        // A's agency changes: the petition is no longer in A's scopes when its work arrives.
        world.regrant(a, &[Scope::Agency(WATER)]);
        let both = [a, c];
        order.iter().for_each(|first| world.sync(both[*first]));
        world.heal();
        let state_a = state(&world, a, &of_a);
        assert!(
            matches!(
                state_a,
                IntentState::ToCorrect {
                    rule: Rule::OutOfScope,
                    ..
                }
            ),
            "{state_a:?}"
        );
        assert_eq!(world.to_correct(a), [of_a.intent]);
        assert!(is_accepted(&state(&world, c, &of_c)), "{order:?}");
        assert_eq!(world.to_correct(c), []);
        assert_eq!(world.comments(c, doc), ["de C, sobre lo de A"]);
        world.assert_all_whole();
    }
}

#[test]
fn a_replay_does_not_build_on_refused_work_that_is_still_carried() {
    let mut world = World::new(5);
    let (a, c, doc, of_a, of_c) = refused_below(&mut world);
    world.regrant(a, &[Scope::Agency(WATER)]);
    // C is in a session already when A hands over more: nothing of A's was offered by C.
    world.connect(c);
    while !world.devices[c].replica.is_live() {
        assert!(world.step(c));
    }
    world.sync(a);
    world.pump(c);
    world.heal();
    assert!(!is_accepted(&state(&world, a, &of_a)));
    assert!(is_accepted(&state(&world, c, &of_c)));
    assert_eq!(world.comments(c, doc), ["de C, sobre lo de A"]);
    world.assert_all_whole();
}

#[test]
fn swallowed_receipts_never_make_an_intent_accepted() {
    let mut world = World::new(6);
    let a = operator(&mut world);
    let saved = world.capture(a, "Bache", LIGHTS);
    world.devices[a].swallow = Some(|down| matches!(down, Down::Receipt { .. }));
    for _ in 0..3 {
        world.sync(a);
        assert!(matches!(
            state(&world, a, &saved),
            IntentState::Pending { .. }
        ));
    }
    assert_eq!(world.relay.log.len(), 1, "sent again, taken once");
    world.heal();
    assert!(is_accepted(&state(&world, a, &saved)));
    world.assert_all_whole();
}

#[test]
fn a_receipt_played_again_changes_nothing() {
    let mut world = World::new(7);
    let a = operator(&mut world);
    let doc = world.capture(a, "Bache", LIGHTS).docs[0];
    world.comment(a, doc, "uno");
    world.heal();
    world.comment(a, doc, "dos, sin enviar");
    let before = (
        world.replica(a).store().list().unwrap(),
        world.row(a, doc),
        world.unanswered(a),
    );
    let heard = world.devices[a].heard.clone();
    let receipts = heard
        .into_iter()
        .filter(|f| matches!(f, Down::Receipt { .. }));
    let receipts: Vec<Down> = receipts.collect();
    assert!(!receipts.is_empty());
    for receipt in receipts.iter().chain(&receipts) {
        world.inject_down(a, receipt.clone()).unwrap();
    }
    let after = (
        world.replica(a).store().list().unwrap(),
        world.row(a, doc),
        world.unanswered(a),
    );
    assert_eq!(before, after);
}

#[test]
fn a_fill_that_is_cut_goes_on_where_it_was() {
    let mut world = World::new(8);
    let o = operator(&mut world);
    for n in 0..9 {
        world.capture(o, &format!("Bache {n}"), LIGHTS);
    }
    world.sync(o);
    let a = crew(&mut world, 10, LIGHTS);
    let mut packed = 0;
    for _ in 0..200 {
        world.connect(a);
        // Two steps more each time would be merciful: one pack, then the cut.
        let heard = world.devices[a].heard.len();
        while world.step(a) {
            let new = &world.devices[a].heard[heard..];
            if new.iter().any(|down| matches!(down, Down::Pack { .. })) {
                break;
            }
        }
        world.cut(a);
        let all = world.devices[a].heard.iter();
        packed = all.filter(|down| matches!(down, Down::Pack { .. })).count();
        let position = &world.devices[a].replica.meta().unwrap().position;
        if position.fills.is_empty() && position.scopes.len() == 3 {
            break;
        }
        // Somebody works meanwhile.
        let doc = world.capture(o, "Nueva", LIGHTS).docs[0];
        world.comment(o, doc, "hola");
        world.sync(o);
    }
    assert!(packed <= 9, "{packed} packs for 9 documents, 2 in each");
    world.heal();
    world.assert_all_whole();
}

#[test]
fn packs_among_live_changes_end_as_a_fresh_replica_does() {
    let mut world = World::new(9);
    let o = operator(&mut world);
    let docs: Vec<DocId> = (0..8)
        .map(|n| world.capture(o, &format!("Bache {n}"), LIGHTS).docs[0])
        .collect();
    world.sync(o);
    let a = crew(&mut world, 10, LIGHTS);
    world.connect(a);
    for (n, doc) in docs.iter().enumerate() {
        for _ in 0..=n {
            world.step(a);
        }
        world.comment(o, *doc, "entretanto");
        world.pump(o);
    }
    world.pump(a);
    let fresh = crew(&mut world, 11, LIGHTS);
    world.sync(fresh);
    for doc in docs {
        let (a, fresh) = (world.row(a, doc).unwrap(), world.row(fresh, doc).unwrap());
        assert_eq!(a.accepted_heads, fresh.accepted_heads);
        assert_eq!(a.summary, fresh.summary);
    }
    world.heal();
    world.assert_all_whole();
}

fn refer(world: &mut World, by: usize, doc: DocId, to: u32) {
    world.act(by, &[doc], EventKind::Referred, |event| {
        event.agency = Some(CatalogRef::new(to, "Otra"));
    });
    world.sync(by);
}

#[test]
fn a_referral_takes_a_petition_from_one_crew_and_brings_it_whole_to_another() {
    let mut world = World::new(10);
    let (a, b) = (crew(&mut world, 10, LIGHTS), crew(&mut world, 11, WATER));
    let o = operator(&mut world);
    let doc = world.capture(o, "Fuga de agua", LIGHTS).docs[0];
    world.comment(o, doc, "urge");
    world.heal();
    assert!(world.row(a, doc).is_some() && world.row(b, doc).is_none());
    refer(&mut world, o, doc, WATER);
    world.pump(a);
    world.pump(b);
    assert_eq!(world.row(a, doc), None);
    assert_eq!(world.comments(b, doc), ["urge"]);
    world.heal();
    world.assert_all_whole();
    refer(&mut world, o, doc, LIGHTS);
    world.heal();
    assert!(world.row(a, doc).is_some() && world.row(b, doc).is_none());
    world.assert_all_whole();
}

#[test]
fn a_petition_that_left_stays_while_there_is_unanswered_work_on_it() {
    let mut world = World::new(11);
    let a = crew(&mut world, 10, LIGHTS);
    let o = operator(&mut world);
    let doc = world.capture(o, "Fuga de agua", LIGHTS).docs[0];
    world.heal();
    world.cut(a);
    let saved = world.comment(a, doc, "fui y no estaban");
    refer(&mut world, o, doc, WATER);
    world.devices[a].swallow = Some(|down| matches!(down, Down::Receipt { .. }));
    world.sync(a);
    assert_eq!(world.comments(a, doc), ["fui y no estaban"]);
    world.heal();
    // Judged at its dependencies, where the petition was still A's.
    assert!(is_accepted(&state(&world, a, &saved)));
    assert_eq!(world.comments(o, doc), ["fui y no estaban"]);
    assert_eq!(world.row(a, doc), None);
    world.assert_all_whole();
}

#[test]
fn a_gap_in_a_chain_is_told_and_healed_and_a_replayed_envelope_changes_nothing() {
    let mut world = World::new(12);
    let a = operator(&mut world);
    world.sync(a);
    let doc = world.capture(a, "Bache", LIGHTS).docs[0];
    world.comment(a, doc, "dos");
    world.comment(a, doc, "tres");
    let mut pushes = Vec::new();
    while let Some(up) = world.replica(a).next_up().unwrap() {
        pushes.push(up);
    }
    assert_eq!(pushes.len(), 3);
    // The first is lost: the relay tells the gap once, and the device sends again.
    world.inject_up(a, &pushes[1]);
    world.inject_up(a, &pushes[2]);
    world.pump(a);
    let gaps = |world: &World| {
        let heard = world.devices[a].heard.iter();
        heard.filter(|d| matches!(d, Down::Gap { .. })).count()
    };
    assert_eq!(gaps(&world), 1);
    assert_eq!(world.relay.log.len(), 3);
    for push in pushes {
        world.inject_up(a, &push);
    }
    world.pump(a);
    assert_eq!((gaps(&world), world.relay.log.len()), (1, 3));
    assert!(world.is_connected(a));
    world.heal();
    world.assert_all_whole();
}

#[test]
fn a_broken_signature_ends_that_session_and_nothing_else() {
    let mut world = World::new(13);
    let (a, b) = (operator(&mut world), crew(&mut world, 10, LIGHTS));
    world.sync(a);
    world.sync(b);
    let saved = world.capture(a, "Bache", LIGHTS);
    let Some(Up::Push {
        body,
        mut signature,
        parts,
    }) = world.replica(a).next_up().unwrap()
    else {
        panic!("a push is due");
    };
    signature[5] ^= 1;
    world.inject_up(
        a,
        &Up::Push {
            body,
            signature,
            parts,
        },
    );
    world.pump(a);
    assert_eq!(world.devices[a].bye, Some(ByeCode::BadSignature));
    assert!(!world.is_connected(a) && world.is_connected(b));
    assert!(world.relay.log.is_empty());
    world.heal();
    assert!(is_accepted(&state(&world, a, &saved)));
    world.assert_all_whole();
}

#[test]
fn a_restored_store_delivers_everything_once() {
    let mut world = World::new(14);
    let a = operator(&mut world);
    let doc = world.capture(a, "Sincronizada", LIGHTS).docs[0];
    world.sync(a);
    world.cut(a);
    let unsent = world.capture(a, "En el respaldo, sin enviar", LIGHTS).docs[0];
    world.comment(a, unsent, "en el respaldo");
    let backup = world.replica(a).store().clone();
    world.comment(a, doc, "después del respaldo");
    world.sync(a);
    world.cut(a);
    let later = world.open(a, backup, Continuity::Restored);
    world.comment(later, unsent, "después de restaurar");
    world.capture(later, "Otra", LIGHTS);
    world.sync(later);
    world.sync(later);
    let titles: Vec<&str> = world
        .relay
        .docs
        .values()
        .map(|kept| kept.summary.title.as_str())
        .collect();
    assert_eq!(titles.len(), 3, "{titles:?}");
    assert_eq!(
        world.comments(later, unsent),
        ["después de restaurar", "en el respaldo"]
    );
    assert_eq!(world.comments(later, doc), ["después del respaldo"]);
    assert_eq!(world.to_correct(later), []);
    world.assert_whole(later);
}

/// Two phones with one store, both of which worked on.
fn cloned(world: &mut World, shared_unsent: bool) -> (usize, usize, DocId) {
    let a = operator(world);
    let doc = world.capture(a, "Antes", LIGHTS).docs[0];
    world.sync(a);
    world.cut(a);
    if shared_unsent {
        world.comment(a, doc, "antes de clonar, sin enviar");
    }
    let copy = world.replica(a).store().clone();
    let b = world.open(a, copy, Continuity::Same);
    (a, b, doc)
}

#[test]
fn both_branches_of_a_cloned_phone_are_kept_and_nothing_comes_twice() {
    for (shared, order) in [
        (false, [0, 1]),
        (false, [1, 0]),
        (true, [0, 1]),
        (true, [1, 0]),
    ] {
        let mut world = World::new(15);
        let (a, b, doc) = cloned(&mut world, shared);
        let of_a = world.capture(a, "De una", LIGHTS).docs[0];
        world.comment(a, of_a, "sobre la de una");
        world.comment(a, doc, "una");
        let of_b = world.capture(b, "De la otra", LIGHTS).docs[0];
        world.comment(b, of_b, "sobre la de la otra");
        world.comment(b, doc, "otra");
        let both = [a, b];
        order.iter().for_each(|first| world.sync(both[*first]));
        world.heal();
        let mut titles: Vec<&str> = world
            .relay
            .docs
            .values()
            .map(|kept| kept.summary.title.as_str())
            .collect();
        titles.sort_unstable();
        let context = format!("shared: {shared}, order: {order:?}");
        assert_eq!(titles, ["Antes", "De la otra", "De una"], "{context}");
        let mut expected = vec!["otra", "una"];
        if shared {
            expected.insert(0, "antes de clonar, sin enviar");
        }
        for i in both {
            assert_eq!(world.comments(i, doc), expected, "{context}");
            assert_eq!(world.to_correct(i), [], "{context}");
        }
        let on_theirs: Vec<String> = world
            .relay
            .docs
            .values()
            .flat_map(|kept| world::comments(&kept.saved))
            .filter(|text| text.starts_with("sobre"))
            .collect();
        assert_eq!(on_theirs.len(), 2, "{context}: {on_theirs:?}");
        world.assert_all_whole();
    }
}

#[test]
fn a_clone_with_nothing_of_its_own_learns_what_became_of_the_shared_work() {
    let mut world = World::new(16);
    let (a, b, _) = cloned(&mut world, true);
    world.sync(a);
    // A's answers are acknowledged, so that the relay forgets them.
    world.sync(a);
    world.heal();
    assert_eq!(world.unanswered(b), []);
    world.assert_all_whole();
}

#[test]
fn a_clone_in_session_that_is_overtaken_goes_on_in_the_same_session() {
    let mut world = World::new(17);
    let (a, b, doc) = cloned(&mut world, false);
    world.sync(b);
    // A's envelope travels by somebody else while B's session lives.
    let c = crew(&mut world, 10, LIGHTS);
    world.comment(a, doc, "una");
    hand_over(&mut world, a, c);
    world.sync(c);
    let of_b = world.comment(b, doc, "otra");
    world.pump(b);
    let later = world.comment(b, doc, "y otra");
    world.pump(b);
    assert!(world.is_connected(b));
    assert_eq!(world.unanswered(b), []);
    assert_eq!(world.comments(b, doc), ["otra", "una", "y otra"]);
    assert!(is_accepted(&state(&world, b, &later)));
    let _ = of_b;
    world.heal();
    world.assert_all_whole();
}

/// Writes the document as it was before, as a bug that loses an accepted change would.
fn lose_a_change(
    world: &mut World,
    i: usize,
    doc: DocId,
    before: &manzana_engine::replica::DocRow,
) {
    let now = world.row(i, doc).unwrap();
    let mut writes = vec![Write::Doc(Box::new(before.clone()))];
    for scope in &now.accepted_scopes {
        let mut digest = world.replica(i).store().digest(scope).unwrap();
        digest.remove(&doc, &now.accepted_heads);
        digest.add(&doc, &before.accepted_heads);
        writes.push(Write::Digest(scope.clone(), digest));
    }
    let mut store = world.replica(i).store().clone();
    store.commit(writes).unwrap();
    let reopened = world.open(i, store, Continuity::Same);
    let device = world.devices.remove(reopened);
    world.devices[i] = device;
}

fn repairs(world: &World, i: usize) -> usize {
    let said = world.devices[i].said.iter();
    said.filter(|up| matches!(up, Up::Mend { .. })).count()
}

#[test]
fn a_replica_that_lost_a_change_notices_and_is_whole_again() {
    let mut world = World::new(18);
    let (a, o) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    let doc = world.capture(o, "Bache", LIGHTS).docs[0];
    world.capture(o, "Otro", LIGHTS);
    world.heal();
    let before = world.row(a, doc).unwrap();
    world.comment(o, doc, "se perderá");
    world.heal();
    assert_eq!(repairs(&world, a), 0);
    lose_a_change(&mut world, a, doc, &before);
    world.sync(a);
    assert_eq!(repairs(&world, a), 1);
    world.assert_whole(a);
    world.sync(a);
    assert_eq!(repairs(&world, a), 1);
}

#[test]
fn a_difference_that_no_repair_mends_is_not_repaired_for_ever() {
    let mut world = World::new(19);
    let (a, o) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    let doc = world.capture(o, "Bache", LIGHTS).docs[0];
    world.heal();
    // The device holds a change as accepted that the city does not know.
    world.cut(a);
    world.comment(a, doc, "nunca llegó");
    let mut row = world.row(a, doc).unwrap();
    row.accepted = row.shown.take();
    row.accepted_heads = row.summary.heads.clone();
    row.provisional = 0;
    let key = world.unanswered(a)[0].context;
    let drop_envelope = Write::DropEnvelope(key.device, key.incarnation, 1);
    lose_a_change(&mut world, a, doc, &row);
    let mut store = world.replica(a).store().clone();
    store.commit(vec![drop_envelope]).unwrap();
    let _ = store;
    world.regrant(a, &[Scope::Agency(LIGHTS)]);
    world.relay.refuse.insert(world.device(a), Rule::RoleMayNot);
    world.sync(a);
    assert!(repairs(&world, a) <= 3, "once for each scope and session");
}

#[test]
fn held_work_is_kept_and_what_was_built_on_it_is_orphaned_and_replayed() {
    let mut world = World::new(20);
    let (a, c, doc, of_a, of_c) = refused_below(&mut world);
    world.connect(a);
    let device = world.device(a);
    world.relay.known.get_mut(&device).unwrap().revoked = true;
    world.pump(a);
    assert!(is_held(&state(&world, a, &of_a)));
    world.heal();
    assert!(is_held(&state(&world, a, &of_a)));
    assert_eq!(world.devices[a].bye, Some(ByeCode::Revoked));
    assert!(is_accepted(&state(&world, c, &of_c)));
    assert_eq!(world.comments(c, doc), ["de C, sobre lo de A"]);
    world.assert_whole(c);
    let orphaned = world.devices[c].heard.iter().any(|down| match down {
        Down::Receipt { receipt } => {
            let (relay, city) = (world.relay.key.public(), world.relay.root.city());
            let body = receipt.open(&relay, &city, &world.device(c)).unwrap();
            let mut groups = body.answers.into_iter().flat_map(|answer| answer.groups);
            groups.any(|answer| matches!(answer, Answer::Orphaned { .. }))
        }
        _ => false,
    });
    assert!(orphaned, "C was told so");
}

#[test]
fn work_signed_under_an_earlier_grant_is_delivered_before_and_after_new_work() {
    let mut world = World::new(22);
    let a = operator(&mut world);
    let doc = world.capture(a, "Bache", LIGHTS).docs[0];
    world.sync(a);
    world.cut(a);
    world.comment(a, doc, "con el permiso de ayer");
    world.comment(a, doc, "también");
    world.regrant(a, &[Scope::City, Scope::Block(4)]);
    world.connect(a);
    world.pump(a);
    world.comment(a, doc, "con el de hoy");
    world.pump(a);
    assert!(world.is_connected(a));
    assert_eq!(world.unanswered(a), []);
    assert_eq!(world.comments(a, doc).len(), 3);
    world.heal();
    world.assert_all_whole();
}

#[test]
fn an_act_on_twelve_petitions_is_all_or_nothing() {
    let mut world = World::new(21);
    let (a, o) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    let docs: Vec<DocId> = (0..12)
        .map(|n| world.capture(o, &format!("Lámpara {n}"), LIGHTS).docs[0])
        .collect();
    world.heal();
    world.cut(a);
    let done = world.act(a, &docs, EventKind::Done, |_| {});
    assert_eq!(world.unanswered(a).len(), 1);
    world.heal();
    assert!(is_accepted(&state(&world, a, &done)));
    for doc in &docs {
        assert_eq!(world.row(o, *doc).unwrap().summary.status, Status::Done);
    }
    world.assert_all_whole();

    // Twelve more: A comments on all, but the last is built on what will be refused.
    let more: Vec<DocId> = (0..12)
        .map(|n| world.capture(o, &format!("Bache {n}"), LIGHTS).docs[0])
        .collect();
    world.heal();
    world.cut(a);
    let started = world.act(a, &more, EventKind::Started, |_| {});
    world.regrant(a, &[Scope::Agency(WATER)]);
    let log = world.relay.log.len();
    world.heal();
    assert_eq!(world.relay.log.len(), log, "none of the twelve");
    assert_eq!(
        state(&world, a, &started),
        IntentState::ToCorrect {
            rule: Rule::OutOfScope,
            field: None
        }
    );
    assert_eq!(world.to_correct(a), [started.intent]);
    for doc in &more {
        assert_eq!(world.row(o, *doc).unwrap().summary.status, Status::Pending);
    }
    world.assert_all_whole();
}

#[test]
fn a_petition_that_comes_without_its_base_while_another_scope_fills_is_asked_for() {
    let mut world = World::new(40);
    let (a, o) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    world.capture(o, "Fuga", WATER);
    world.heal();
    // A twin of A's phone, not noticed, captures; A's own knows nothing of it.
    let store = world.replica(a).store().clone();
    let twin = world.open(a, store, Continuity::Same);
    let doc = world.capture(twin, "Lámpara", LIGHTS).docs[0];
    world.sync(twin);
    world.regrant(a, &[Scope::Agency(LIGHTS), Scope::Agency(WATER)]);
    world.sync(a);
    assert!(world.row(a, doc).is_some_and(|row| row.accepted.is_some()));
    assert_eq!(
        repairs(&world, a),
        0,
        "it is asked for, and not found to differ"
    );
    world.heal();
    world.assert_all_whole();
}

#[test]
fn what_is_missing_is_asked_for_in_the_next_session_if_this_one_ends() {
    let mut world = World::new(41);
    let (a, o) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    world.heal();
    let store = world.replica(a).store().clone();
    let twin = world.open(a, store, Continuity::Same);
    let doc = world.capture(twin, "Lámpara", LIGHTS).docs[0];
    world.sync(twin);
    world.devices[a].swallow = Some(|down| matches!(down, Down::Whole { .. }));
    world.sync(a);
    assert!(world.row(a, doc).is_none(), "its answer is lost");
    world.cut(a);
    world.devices[a].swallow = None;
    world.sync(a);
    assert!(world.row(a, doc).is_some());
    let _ = o;
    assert_eq!(repairs(&world, a), 0);
}

#[test]
fn a_correction_that_says_nothing_new_is_told_so_and_done_again_it_stops_no_answers() {
    use manzana_engine::document::DocumentError;
    use manzana_engine::intent::Edit;
    use manzana_engine::replica::ReplicaError;
    let mut world = World::new(42);
    let a = crew(&mut world, 10, LIGHTS);
    let (o, c) = (
        operator(&mut world),
        world.enrol(3, Role::Operator, &[Scope::City]),
    );
    let doc = world.capture(o, "Lámpara", LIGHTS).docs[0];
    world.heal();
    let street = |world: &mut World, i: usize| {
        let now = world.tick();
        let edit = Edit::Street("Zaragoza 410".into());
        world.replica(i).correct(doc, vec![edit], now)
    };
    street(&mut world, o).unwrap();
    let again = street(&mut world, o);
    let unchanged = matches!(again, Err(ReplicaError::Document(DocumentError::Unchanged)));
    assert!(unchanged, "{again:?}");
    // A's refused comment lies below C's correction, which says what O's says.
    (0..3).for_each(|i| world.cut(i));
    world.comment(a, doc, "de A");
    hand_over(&mut world, a, c);
    let of_c = street(&mut world, c).unwrap();
    world.comment(c, doc, "de C");
    world.regrant(a, &[Scope::Agency(WATER)]);
    world.sync(o);
    world.sync(a);
    world.sync(c);
    world.heal();
    let settled = state(&world, c, &of_c);
    assert!(
        matches!(settled, IntentState::Closed | IntentState::Accepted { .. }),
        "{settled:?}"
    );
    assert_eq!(world.comments(o, doc), ["de C"]);
}

#[test]
fn what_follows_an_envelope_that_a_twin_outran_is_offered_too_whoever_built_on_it() {
    let mut world = World::new(43);
    let (a, o) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    let doc = world.capture(o, "Lámpara", LIGHTS).docs[0];
    world.heal();
    (0..2).for_each(|i| world.cut(i));
    let store = world.replica(a).store().clone();
    let twin = world.open(a, store, Continuity::Same);
    world.capture(a, "de A", LIGHTS);
    world.sync(a);
    world.capture(twin, "de su gemelo", LIGHTS);
    world.comment(twin, doc, "uno");
    world.connect(twin);
    while world.devices[twin].heard.is_empty() {
        assert!(world.step(twin));
    }
    world.comment(twin, doc, "dos, sobre uno");
    // The relay is told of the first envelope alone, and the session ends.
    let first = world.replica(twin).next_up().unwrap().unwrap();
    assert!(matches!(first, Up::Carry { .. }), "{first:?}");
    while world.replica(twin).next_up().unwrap().is_some() {}
    world.inject_up(twin, &first);
    let told = |down: &Down| matches!(down, Down::Carried { .. });
    while !world.devices[twin].heard.iter().any(told) {
        assert!(world.step(twin));
    }
    world.cut(twin);
    world.heal();
    world.assert_all_whole();
    assert_eq!(world.comments(o, doc), ["dos, sobre uno", "uno"]);
}

#[test]
fn all_of_a_branch_comes_back_after_a_backup_that_nobody_noticed() {
    let mut world = World::new(44);
    let (a, o) = (crew(&mut world, 10, LIGHTS), operator(&mut world));
    let backup = world.replica(a).store().clone();
    world.capture(a, "antes", LIGHTS);
    world.sync(a);
    world.cut(a);
    let restored = world.open(a, backup, Continuity::Same);
    let device = world.devices.remove(restored);
    world.devices[a] = device;
    let doc = world.capture(a, "después", LIGHTS).docs[0];
    world.comment(a, doc, "urge");
    world.capture(a, "y otra", LIGHTS);
    world.sync(a);
    // In the session in which it learns of it, and in one new life.
    world.assert_whole(a);
    world.heal();
    world.assert_all_whole();
    let titles: Vec<String> = world
        .relay
        .docs
        .values()
        .map(|kept| kept.summary.title.clone())
        .collect();
    for title in ["antes", "después", "y otra"] {
        assert!(titles.iter().any(|kept| kept == title), "{title}");
    }
    let comments = world.relay.docs.keys().map(|doc| world.comments(o, *doc));
    assert_eq!(comments.flatten().collect::<Vec<_>>(), ["urge"]);
}

#[test]
fn a_carried_petition_that_was_referred_elsewhere_meanwhile_is_not_kept() {
    let mut world = World::new(45);
    let (a, c) = (crew(&mut world, 10, LIGHTS), crew(&mut world, 11, LIGHTS));
    let o = operator(&mut world);
    let doc = world.capture(a, "Lámpara", LIGHTS).docs[0];
    hand_over(&mut world, a, c);
    assert!(world.row(c, doc).is_some(), "C sees what it carries");
    world.sync(a);
    world.sync(o);
    world.act(o, &[doc], EventKind::Referred, |event| {
        event.agency = Some(CatalogRef::new(WATER, "Agua"));
    });
    world.sync(o);
    // C comes for the first time: the log has passed both places.
    world.sync(c);
    assert!(world.row(c, doc).is_none(), "it is not C's any more");
    assert_eq!(repairs(&world, c), 0);
    world.heal();
    world.assert_all_whole();
}
