//! Joins: very many heads become few, and nothing else changes.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "support/model.rs"]
mod model;
#[path = "support/world.rs"]
mod world;

use manzana_engine::document::Document;
use manzana_engine::envelope::Entry;
use manzana_engine::fold::{EventKind, Outcome};
use manzana_engine::gate::chunk::decode_change;
use manzana_engine::gate::judge::{Job, JobDoc, JobGroup, Verdict, judge};
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{Actor, DeviceId, DocId, RecordId};
use manzana_engine::intent::NewPetition;
use manzana_engine::limits::{CHANGE_DEPS, JOIN_HEADS};
use manzana_engine::policy::{Facts, Rule};
use manzana_engine::record::{By, CatalogRef, Comment, Event, Record};
use manzana_engine::wire::Up;
use proptest::prelude::*;
use world::World;

const LIGHTS: u32 = 12;

fn heads(world: &World, doc: DocId) -> usize {
    world.relay.docs[&doc].summary.heads.len()
}

/// Dependencies of the changes that the relay has of a document, in the order they came.
fn deps(world: &World, doc: DocId) -> Vec<(usize, usize)> {
    let rows = world.relay.log.iter().filter(|row| row.doc == doc);
    rows.map(|row| decode_change(&row.change).unwrap())
        .map(|change| (change.deps.len(), change.ops.len()))
        .collect()
}

/// So many devices that comment on one petition with no network.
fn crowd(seed: u64, devices: u64) -> (World, Vec<usize>, DocId) {
    let mut world = World::new(seed);
    let o = world.enrol(1, Role::Operator, &[Scope::City]);
    let doc = world.capture(o, "Bache", LIGHTS).docs[0];
    world.sync(o);
    world.cut(o);
    let crowd: Vec<usize> = (0..devices)
        .map(|n| world.enrol(10 + n, Role::Crew, &[Scope::Agency(LIGHTS)]))
        .collect();
    for i in &crowd {
        world.sync(*i);
        world.cut(*i);
    }
    for i in &crowd {
        world.comment(*i, doc, &format!("de {i}"));
    }
    (world, crowd, doc)
}

#[test]
fn seventy_comments_made_apart_end_in_few_heads_and_the_next_act_names_few() {
    let (mut world, crowd, doc) = crowd(1, 70);
    for i in &crowd {
        world.sync(*i);
        assert!(heads(&world, doc) <= JOIN_HEADS, "at any time");
        world.cut(*i);
    }
    println!("{} heads after 70 comments", heads(&world, doc));
    for i in [0, crowd[0], crowd[69]] {
        world.sync(i);
        world.assert_whole(i);
    }
    assert_eq!(world.comments(0, doc).len(), 70);
    let joins = deps(&world, doc)
        .iter()
        .filter(|(_, ops)| *ops == 0)
        .count();
    println!("{joins} joins");
    assert!((1..=5).contains(&joins), "{joins} joins");
    world.act(0, &[doc], EventKind::NotApplicable, |event| {
        event.reason = Some("duplicada".into());
    });
    world.sync(0);
    let (act, _) = *deps(&world, doc).last().unwrap();
    assert!(act <= JOIN_HEADS, "{act} dependencies");
    world.assert_whole(0);
}

#[test]
fn a_device_that_holds_very_many_heads_joins_them_before_it_writes() {
    for count in [17, 70] {
        let (mut world, crowd, doc) = crowd(2, count);
        world.relay.joins = false;
        for i in &crowd {
            world.sync(*i);
            world.cut(*i);
        }
        assert_eq!(heads(&world, doc), crowd.len());
        world.sync(0);
        world.comment(0, doc, "después");
        let pushed = world.unanswered(0);
        let body = pushed[0].peek().unwrap();
        for entry in body.groups.iter().flatten() {
            let change = decode_change(&entry.change).unwrap();
            assert!(change.deps.len() <= CHANGE_DEPS);
        }
        let last = body.groups[0].last().unwrap();
        assert!(decode_change(&last.change).unwrap().deps.len() <= JOIN_HEADS);
        world.sync(0);
        assert_eq!(world.unanswered(0), [], "{count}: answered");
        assert_eq!(world.to_correct(0), []);
        assert!(heads(&world, doc) <= JOIN_HEADS, "{count}");
        world.relay.joins = true;
        world.sync(crowd[0]);
        world.assert_whole(crowd[0]);
    }
}

#[test]
fn joins_come_to_an_end() {
    let (mut world, crowd, doc) = crowd(3, 70);
    world.relay.joins = false;
    for i in &crowd {
        world.sync(*i);
        world.cut(*i);
    }
    world.relay.joins = true;
    let before = world.relay.log.len();
    world.comment(crowd[0], doc, "y otro");
    world.sync(crowd[0]);
    let added = world.relay.log.len() - before;
    assert!(added <= 5, "{added} changes for one comment");
    assert!(heads(&world, doc) <= JOIN_HEADS);
    let quiet = world.relay.log.len();
    for i in [0, crowd[0], crowd[1]] {
        world.sync(i);
        world.assert_whole(i);
    }
    assert_eq!(world.relay.log.len(), quiet, "and nobody joins any more");
}

fn device(n: u8) -> DeviceId {
    DeviceId::of_key(&[n; 32])
}

fn by(n: u8) -> By {
    By {
        user: u64::from(n),
        role: Role::Operator,
        at: 0,
    }
}

fn petition() -> (Document, DocId) {
    let petition = NewPetition {
        title: "Bache".into(),
        description: "Hondo.".into(),
        ..NewPetition::default()
    };
    let recorded = Event::new(by(1), EventKind::Recorded);
    let id = RecordId::new(&device(1), 0);
    let actor = Actor::new(&device(1), 0);
    let (document, doc, _) = Document::create_petition(actor, id, &petition, recorded).unwrap();
    (document, doc)
}

/// A petition with so many comments made apart, each by its own device.
fn wide(count: u8) -> (Document, DocId) {
    let (mut document, doc) = petition();
    let base = document.clone();
    for n in 0..count {
        let record = Record::Comment(Comment {
            by: by(n),
            text: "hola".into(),
        });
        let id = RecordId::new(&device(n), 7);
        let actor = Actor::new(&device(n), 7);
        let made = base.clone().add_records(actor, id, &[record]).unwrap();
        document.apply(&made.bytes).unwrap();
    }
    (document, doc)
}

fn verdict(document: &Document, doc: DocId, role: Role, scopes: &[Scope], raw: &[u8]) -> Verdict {
    let job = Job {
        docs: vec![JobDoc {
            doc,
            saved: document.save().into(),
        }],
        groups: vec![JobGroup {
            facts: Facts {
                device: device(200),
                user: 200,
                role,
                scopes: scopes.to_vec(),
            },
            entries: vec![Entry {
                doc,
                change: raw.to_vec(),
            }],
            proven: false,
        }],
    };
    judge(&job).unwrap().groups.remove(0)
}

#[test]
fn whoever_may_write_to_a_petition_may_join_it_and_nobody_else() {
    let (document, doc) = wide(20);
    let actor = Actor::new(&device(200), 0);
    let join = document.clone().join_heads(actor).unwrap().remove(0);
    let judged = |role, scopes: &[Scope]| verdict(&document, doc, role, scopes, &join.bytes);
    let city = [Scope::City];
    for role in [
        Role::Crew,
        Role::Operator,
        Role::Supervisor,
        Role::AgencyDesk,
        Role::Administrator,
    ] {
        assert!(
            matches!(judged(role, &city), Verdict::Accepted(_)),
            "{role:?}"
        );
    }
    assert_eq!(judged(Role::Auditor, &city), Rule::RoleMayNot.into());
    assert_eq!(
        judged(Role::Crew, &[Scope::Agency(99)]),
        Rule::OutOfScope.into()
    );
}

#[test]
fn a_change_that_joins_nothing_is_refused() {
    use manzana_engine::gate::chunk;
    let (document, doc) = wide(20);
    let actor = Actor::new(&device(200), 0);
    let join = document.clone().join_heads(actor).unwrap().remove(0);
    let mut joined = document.clone();
    joined.apply(&join.bytes).unwrap();
    // On the one head that is left, there is nothing to be joined.
    let empty = empty_on(&joined, actor);
    assert_eq!(chunk::decode_change(&empty).unwrap().deps.len(), 1);
    let answer = verdict(&joined, doc, Role::Operator, &[Scope::City], &empty);
    assert_eq!(answer, Rule::ForbiddenOperation.into());
}

/// A change without operations on all heads.
#[allow(clippy::disallowed_methods)] // As a stranger would make it.
fn empty_on(document: &Document, actor: Actor) -> Vec<u8> {
    use automerge::ReadDoc;
    let mut doc = automerge::Automerge::load(&document.save()).unwrap();
    doc.set_actor(actor.as_bytes().as_slice().into());
    let options = automerge::transaction::CommitOptions::default().with_time(0);
    let hash = doc.empty_commit(options);
    doc.get_change_by_hash(&hash).unwrap().raw_bytes().to_vec()
}

#[test]
fn a_device_that_joins_after_it_wrote_keeps_what_it_wrote_in_sight() {
    let (mut document, _) = wide(20);
    let actor = Actor::new(&device(3), 7);
    let before = document.view().unwrap();
    document.join_heads(actor).unwrap();
    let after = document.view().unwrap();
    assert_eq!(after.comments, before.comments);
    assert_eq!(after.events, before.events);
    let again = Document::load(&document.save()).unwrap().view().unwrap();
    assert_eq!(again.comments, before.comments);
}

/// A step of a history among four replicas.
#[derive(Debug, Clone)]
enum Step {
    Act(usize, EventKind, bool),
    Meet(usize, usize),
    Join(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use EventKind::{Done, FinalState, NotApplicable, Referred, Reopened, Started};
    let kinds = vec![Done, FinalState, NotApplicable, Referred, Reopened, Started];
    let step = prop_oneof![
        3 => (0..4_usize, prop::sample::select(kinds), any::<bool>())
            .prop_map(|(who, kind, done)| Step::Act(who, kind, done)),
        2 => (0..4_usize, 0..4_usize).prop_map(|(a, b)| Step::Meet(a, b)),
        2 => (0..4_usize).prop_map(Step::Join),
    ];
    prop::collection::vec(step, 1..30)
}

fn meet(into: &mut Document, from: &Document) {
    for made in from.changes() {
        into.apply(&made.bytes).unwrap();
    }
}

fn play(steps: &[Step], joins: bool) -> Document {
    let (document, _) = petition();
    let mut replicas = vec![document; 4];
    for (number, step) in (1..).zip(steps) {
        match step {
            Step::Act(who, kind, done) => {
                let n = u8::try_from(*who).unwrap() + 10;
                let mut event = Event::new(by(n), *kind);
                event.outcome = Some(if *done {
                    Outcome::Done
                } else {
                    Outcome::NotApplicable
                });
                event.agency = Some(CatalogRef::new(1 + u32::from(*done), "Una"));
                let id = RecordId::new(&device(n), number);
                let actor = Actor::new(&device(n), 0);
                let record = Record::Event(event);
                replicas[*who].add_records(actor, id, &[record]).unwrap();
            }
            Step::Meet(a, b) => {
                let from = replicas[*b].clone();
                meet(&mut replicas[*a], &from);
            }
            Step::Join(who) if joins && replicas[*who].heads().len() > 1 => {
                // By the one who writes there, or by another.
                let n = u8::try_from(*who).unwrap() + 10 + u8::from(number % 2 == 0) * 20;
                let empty = empty_on(&replicas[*who], Actor::new(&device(n), 0));
                replicas[*who].apply(&empty).unwrap();
            }
            Step::Join(_) => {}
        }
    }
    let mut all = replicas.remove(0);
    replicas.iter().for_each(|other| meet(&mut all, other));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_state_is_the_same_with_and_without_joins(steps in steps()) {
        let (with, without) = (play(&steps, true), play(&steps, false));
        let (with, without) = (with.view().unwrap(), without.view().unwrap());
        prop_assert_eq!(&with.state, &without.state);
        prop_assert_eq!(with.events.len(), without.events.len());
    }
}

#[test]
fn a_join_travels_as_part_of_the_act_it_was_made_for() {
    let (mut world, crowd, doc) = crowd(4, 20);
    world.relay.joins = false;
    for i in &crowd {
        world.sync(*i);
        world.cut(*i);
    }
    world.sync(0);
    world.devices[0].said.clear();
    world.comment(0, doc, "después");
    world.pump(0);
    let said = world.devices[0].said.iter();
    assert_eq!(said.filter(|up| matches!(up, Up::Push { .. })).count(), 1);
}
