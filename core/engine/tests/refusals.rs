//! Refusal without loss: what becomes of work that the city did not take, and of the work on top of it,
//! whoever wrote it. Each test is a story; its name is what must hold.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "support/model.rs"]
mod model;
#[path = "support/world.rs"]
mod world;

use manzana_engine::answer::Answer;
use manzana_engine::codec;
use manzana_engine::fold::EventKind;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::DocId;
use manzana_engine::intent::Intent;
use manzana_engine::policy::Rule;
use manzana_engine::replica::{IntentState, ReplicaStore as _, Saved};
use manzana_engine::wire::Down;
use world::World;

const LIGHTS: u32 = 12;

fn crew(world: &mut World, user: u64) -> usize {
    world.enrol(user, Role::Crew, &[Scope::Agency(LIGHTS)])
}

fn state(world: &World, i: usize, saved: &Saved) -> IntentState {
    let row = world.devices[i].replica.store().intent(&saved.intent);
    row.unwrap().unwrap().state
}

fn is_accepted(world: &World, i: usize, saved: &Saved) -> bool {
    matches!(state(world, i, saved), IntentState::Accepted { .. })
}

fn waits_for(world: &World, i: usize, saved: &Saved) -> Option<Rule> {
    match state(world, i, saved) {
        IntentState::ToCorrect { rule, .. } => Some(rule),
        _ => None,
    }
}

fn revoke(world: &mut World, i: usize, revoked: bool) {
    let device = world.device(i);
    world.relay.known.get_mut(&device).unwrap().revoked = revoked;
}

/// Sends again what waits, as it is kept.
fn resend(world: &mut World, i: usize, saved: &Saved) -> Saved {
    let row = world.devices[i].replica.store().intent(&saved.intent);
    let intent: Intent = codec::decode(&row.unwrap().unwrap().intent).unwrap();
    let now = world.tick();
    world.replica(i).resend(&saved.intent, intent, now).unwrap()
}

/// The petition of the city with this comment.
fn petition_with(world: &World, comment: &str) -> Option<DocId> {
    let mut docs = world.relay.docs.iter();
    docs.find(|(_, kept)| {
        world::comments(&kept.saved)
            .iter()
            .any(|text| text == comment)
    })
    .map(|(doc, _)| *doc)
}

/// A captures with no network and comments on it; C, who was handed all of it, comments on top.
fn captured_and_carried(world: &mut World, a: usize, c: usize) -> (Saved, Saved, Saved) {
    let captured = world.capture(a, "Lámpara apagada", LIGHTS);
    let doc = captured.docs[0];
    let of_a = world.comment(a, doc, "de A");
    let envelopes = world.unanswered(a);
    assert_eq!(world.replica(c).carry(envelopes).unwrap(), 2);
    let of_c = world.comment(c, doc, "de C");
    (captured, of_a, of_c)
}

#[test]
fn a_refused_capture_sent_again_takes_along_what_was_done_on_it_by_whoever() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(50);
        let both = [crew(&mut world, 10), crew(&mut world, 11)];
        let [a, c] = both;
        let (captured, of_a, of_c) = captured_and_carried(&mut world, a, c);
        world.relay.refuse_new = Some(Rule::BadValue);
        order.iter().for_each(|first| world.sync(both[*first]));
        world.heal();
        assert_eq!(world.relay.log.len(), 0, "nothing stands on it");
        assert_eq!(waits_for(&world, a, &captured), Some(Rule::BadValue));
        assert_eq!(waits_for(&world, a, &of_a), Some(Rule::UnknownDocument));
        assert_eq!(waits_for(&world, c, &of_c), Some(Rule::UnknownDocument));

        world.relay.refuse_new = None;
        let again = resend(&mut world, a, &captured);
        assert_eq!(again.intent, captured.intent, "the folio that was told");
        world.heal();
        assert!(is_accepted(&world, a, &captured));
        assert!(is_accepted(&world, a, &of_a), "it follows by itself");
        // C knows the petition by its capture, although it is another document.
        resend(&mut world, c, &of_c);
        world.heal();
        assert!(is_accepted(&world, c, &of_c));
        assert_eq!(world.comments(a, again.docs[0]), ["de A", "de C"]);
        world.assert_all_whole();
    }
}

#[test]
fn a_long_chain_behind_a_refused_capture_follows_it_in_order() {
    let mut world = World::new(51);
    let a = crew(&mut world, 10);
    let captured = world.capture(a, "Lámpara apagada", LIGHTS);
    let texts: Vec<String> = (0..60).map(|n| format!("comentario {n:02}")).collect();
    for text in &texts {
        world.comment(a, captured.docs[0], text);
    }
    world.relay.refuse_new = Some(Rule::BadValue);
    world.heal();
    assert_eq!(world.to_correct(a).len(), 61);
    world.relay.refuse_new = None;
    let again = resend(&mut world, a, &captured);
    assert_eq!(world.to_correct(a), []);
    assert_eq!(world.unanswered(a).len(), 61, "all of it is on its way");
    world.heal();
    assert_eq!(world.comments(a, again.docs[0]), texts);
    world.assert_all_whole();
}

#[test]
fn held_work_that_is_released_is_done_again_by_its_author_with_all_that_stood_on_it() {
    let mut world = World::new(52);
    let (a, c) = (crew(&mut world, 10), crew(&mut world, 11));
    let (captured, of_a, _) = captured_and_carried(&mut world, a, c);
    revoke(&mut world, a, true);
    world.sync(c);
    assert_eq!(world.relay.log.len(), 0);
    // A is let in again: it learns that all of it is held.
    revoke(&mut world, a, false);
    world.sync(a);
    for saved in [&captured, &of_a] {
        assert!(matches!(state(&world, a, saved), IntentState::Held { .. }));
    }
    let held = world.devices[a].replica.store().held().unwrap();
    assert_eq!(held.len(), 2);
    world.cut(a);
    let device = world.device(a);
    world.relay.decide(device, |by| Answer::Orphaned { by });
    world.heal();
    assert!(is_accepted(&world, a, &captured));
    assert!(is_accepted(&world, a, &of_a));
    assert!(petition_with(&world, "de A").is_some());
    world.assert_all_whole();
}

#[test]
fn held_work_that_is_not_taken_waits_to_be_corrected() {
    let mut world = World::new(53);
    let (a, c) = (crew(&mut world, 10), crew(&mut world, 11));
    let (captured, ..) = captured_and_carried(&mut world, a, c);
    revoke(&mut world, a, true);
    world.sync(c);
    revoke(&mut world, a, false);
    world.sync(a);
    let (device, rule) = (world.device(a), Rule::NotTaken);
    let dropped = |_| Answer::Refused { rule, field: None };
    world.relay.decide(device, dropped);
    world.heal();
    assert_eq!(waits_for(&world, a, &captured), Some(Rule::NotTaken));
    resend(&mut world, a, &captured);
    world.heal();
    assert!(is_accepted(&world, a, &captured));
}

#[test]
fn what_was_said_for_good_stays_whatever_is_signed_later() {
    let mut world = World::new(54);
    let a = crew(&mut world, 10);
    let captured = world.capture(a, "Lámpara apagada", LIGHTS);
    revoke(&mut world, a, true);
    // Revoked while the session lives: A hears that it is held.
    revoke(&mut world, a, false);
    world.connect(a);
    revoke(&mut world, a, true);
    world.pump(a);
    let heard_held = world.devices[a].heard.clone();
    revoke(&mut world, a, false);
    world.cut(a);
    let device = world.device(a);
    world.relay.decide(device, |by| Answer::Orphaned { by });
    world.sync(a);
    assert!(is_accepted(&world, a, &captured));
    // The receipt that it is held comes again, late.
    for down in heard_held {
        if matches!(down, Down::Receipt { .. }) {
            world.inject_down(a, down).unwrap();
        }
    }
    world.heal();
    assert!(is_accepted(&world, a, &captured));
    assert_eq!(world.relay.docs.len(), 1, "done again once");
    world.assert_all_whole();
}

#[test]
fn work_done_in_an_earlier_role_is_done_again_in_the_new_one_where_that_may() {
    let mut world = World::new(55);
    let (a, o) = (
        crew(&mut world, 10),
        world.enrol(2, Role::Operator, &[Scope::City]),
    );
    let doc = world.capture(o, "Bache", LIGHTS).docs[0];
    world.heal();
    world.cut(a);
    let comment = world.comment(a, doc, "de A");
    let started = world.act(a, &[doc], EventKind::Started, |_| {});
    world.regrant_as(a, Role::AgencyDesk, &[Scope::Agency(LIGHTS)]);
    world.heal();
    assert!(is_accepted(&world, a, &comment));
    assert_eq!(world.comments(o, doc), ["de A"]);
    assert_eq!(waits_for(&world, a, &started), Some(Rule::RoleMayNot));
    // Back in the crew, it can be sent again.
    world.regrant_as(a, Role::Crew, &[Scope::Agency(LIGHTS)]);
    world.sync(a);
    resend(&mut world, a, &started);
    world.heal();
    assert!(is_accepted(&world, a, &started));
    world.assert_all_whole();
}

#[test]
fn a_decision_whose_answer_was_lost_on_its_way_is_asked_for() {
    let mut world = World::new(56);
    let a = crew(&mut world, 10);
    let captured = world.capture(a, "Lámpara apagada", LIGHTS);
    world.connect(a);
    revoke(&mut world, a, true);
    world.pump(a);
    assert!(matches!(
        state(&world, a, &captured),
        IntentState::Held { .. }
    ));
    revoke(&mut world, a, false);
    world.connect(a);
    world.pump(a);
    // The receipt that it is released is lost, and later ones come.
    let device = world.device(a);
    world.relay.decide(device, |by| Answer::Orphaned { by });
    world.devices[a].swallow = Some(|down| matches!(down, Down::Receipt { .. }));
    world.capture(a, "Bache", LIGHTS);
    world.pump(a);
    world.devices[a].swallow = None;
    world.capture(a, "Fuga", LIGHTS);
    world.pump(a);
    world.heal();
    assert!(is_accepted(&world, a, &captured));
    world.assert_all_whole();
}
