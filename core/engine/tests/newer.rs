//! What a newer app writes, in the hands of this one: unknown fields, keys of records and kinds of events are
//! kept byte for byte through a device, a relay and the work of others on top, and change nothing that
//! this version understands.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]
// Only a hand can write what this version does not know.
#![allow(clippy::disallowed_methods)]

#[path = "support/model.rs"]
mod model;
#[path = "support/world.rs"]
mod world;

use automerge::transaction::Transactable as _;
use automerge::{ActorId, Automerge, ObjType, ROOT, ReadDoc as _, ScalarValue};
use manzana_engine::codec;
use manzana_engine::document::{Document, field};
use manzana_engine::fold::{EventKind, Status};
use manzana_engine::gate::chunk;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{Actor, RecordId};
use manzana_engine::policy::{self, Rule};
use manzana_engine::record::{By, Event, RECORD_MAPS, Record};
use minicbor::Encode;
use world::{World, comments};

/// A comment of a schema to come: it also says in which language it is.
#[derive(Encode)]
#[cbor(map)]
struct NewerComment {
    #[n(0)]
    by: By,
    #[n(1)]
    text: String,
    #[n(40)]
    language: String,
}

/// An event of a kind to come.
#[derive(Encode)]
#[cbor(map)]
struct NewerEvent {
    #[n(0)]
    by: By,
    #[n(1)]
    kind: u8,
    #[n(41)]
    inspector: String,
}

/// What a newer app puts into a petition.
struct Newer {
    by: By,
    record: RecordId,
}

impl Newer {
    fn comment(&self) -> Vec<u8> {
        codec::encode(&NewerComment {
            by: self.by,
            text: "Sigue apagada.".to_owned(),
            language: "es-MX".to_owned(),
        })
    }

    fn event(&self) -> Vec<u8> {
        codec::encode(&NewerEvent {
            by: self.by,
            kind: 77,
            inspector: "Rosa".to_owned(),
        })
    }

    /// The change that puts a comment and, if asked, a field and an event; by this actor.
    fn change(&self, saved: &[u8], actor: Actor, field: bool, event: bool) -> Vec<u8> {
        let mut doc = Automerge::load(saved).unwrap();
        doc.set_actor(ActorId::from(actor.as_bytes().to_vec()));
        let mut tx = doc.transaction();
        if field {
            tx.put(ROOT, "noise_db", 71_u64).unwrap();
        }
        let key = self.record.key();
        let (_, map) = tx.get(ROOT, "comments").unwrap().unwrap();
        tx.put(map, &key, ScalarValue::Bytes(self.comment()))
            .unwrap();
        if event {
            let (_, map) = tx.get(ROOT, "events").unwrap().unwrap();
            tx.put(map, &key, ScalarValue::Bytes(self.event())).unwrap();
        }
        tx.commit();
        doc.get_last_local_change().unwrap().raw_bytes().to_vec()
    }

    /// The creation of a petition with a field that this version does not know.
    fn creation(&self, actor: Actor) -> Vec<u8> {
        let mut doc = Automerge::new().with_actor(ActorId::from(actor.as_bytes().to_vec()));
        let mut tx = doc.transaction();
        tx.put(ROOT, field::SCHEMA, 1_u64).unwrap();
        tx.put(ROOT, field::DOC, "petition").unwrap();
        tx.put(ROOT, field::TITLE, "LÁMPARA").unwrap();
        tx.put(ROOT, field::DESCRIPTION, "No enciende.").unwrap();
        tx.put(ROOT, "noise_db", 71_u64).unwrap();
        let maps = RECORD_MAPS.map(|name| tx.put_object(ROOT, name, ObjType::Map).unwrap());
        let recorded = Record::Event(Event::new(self.by, EventKind::Recorded)).encode();
        let [_, _, events, _] = maps;
        tx.put(events, self.record.key(), ScalarValue::Bytes(recorded))
            .unwrap();
        tx.commit();
        doc.get_last_local_change().unwrap().raw_bytes().to_vec()
    }

    /// Whether the document still says all of it, to who can read it.
    fn stands_in(&self, saved: &[u8]) {
        self.comment_stands_in(saved);
        noise_stands_in(saved);
        assert_eq!(record_in(saved, "events", &self.record), self.event());
    }

    fn comment_stands_in(&self, saved: &[u8]) {
        assert_eq!(record_in(saved, "comments", &self.record), self.comment());
    }
}

fn noise_stands_in(saved: &[u8]) {
    let doc = Automerge::load(saved).unwrap();
    let (noise, _) = doc.get(ROOT, "noise_db").unwrap().unwrap();
    assert_eq!(noise.as_u64(), Some(71));
}

fn record_in(saved: &[u8], map: &str, record: &RecordId) -> Vec<u8> {
    let doc = Automerge::load(saved).unwrap();
    let (_, object) = doc.get(ROOT, map).unwrap().unwrap();
    let (value, _) = doc.get(object, record.key()).unwrap().unwrap();
    value.as_bytes().unwrap().to_vec()
}

/// A petition that two devices of a block hold, and what a newer app of the first one would put into it.
fn story() -> (
    World,
    usize,
    usize,
    manzana_engine::ids::DocId,
    Newer,
    Actor,
) {
    let mut world = World::new(3);
    let ana = world.enrol(7, Role::Operator, &[Scope::City]);
    let beto = world.enrol(8, Role::Operator, &[Scope::City]);
    let doc = world.capture(ana, "LÁMPARA", 12).docs[0];
    world.sync(ana);
    let device = world.device(ana);
    let newer = Newer {
        by: By {
            user: 7,
            role: Role::Operator,
            at: world.now,
        },
        record: RecordId::new(&device, 900),
    };
    let actor = Actor::new(&device, 900);
    (world, ana, beto, doc, newer, actor)
}

/// What the policy of this version says of a change of the first device.
fn judged(world: &World, ana: usize, saved: Option<&[u8]>, change: &[u8]) -> Result<(), Rule> {
    let before = saved.map(|saved| Document::load(saved).unwrap().view().unwrap());
    let decoded = chunk::decode_change(change).unwrap();
    let facts = world.devices[ana].replica.meta().unwrap().facts();
    policy::check(&facts, before.as_ref(), &decoded).map_err(|denial| denial.rule)
}

#[test]
fn unknown_fields_of_a_capture_and_unknown_keys_of_records_pass_and_are_kept() {
    let (world, ana, _, doc, newer, actor) = story();
    let creation = newer.creation(actor);
    assert_eq!(judged(&world, ana, None, &creation), Ok(()));
    let mut document = Document::empty();
    document.apply(&creation).unwrap();
    assert_eq!(document.summary().unwrap().title, "LÁMPARA");
    noise_stands_in(&document.save());

    let saved = &world.relay.docs[&doc].saved;
    let change = newer.change(saved, actor, false, false);
    assert_eq!(judged(&world, ana, Some(saved), &change), Ok(()));
    let mut document = Document::load(saved).unwrap();
    document.apply(&change).unwrap();
    assert_eq!(comments(&document.save()), ["Sigue apagada."]);
    newer.comment_stands_in(&document.save());
}

#[test]
fn what_only_a_newer_policy_can_judge_waits_for_a_newer_relay() {
    let (world, ana, _, doc, newer, actor) = story();
    let saved = &world.relay.docs[&doc].saved;
    for (field, event) in [(true, false), (false, true)] {
        let change = newer.change(saved, actor, field, event);
        assert_eq!(
            judged(&world, ana, Some(saved), &change),
            Err(Rule::NewerSchema)
        );
    }
}

#[test]
fn what_a_newer_relay_accepted_survives_an_older_device_that_works_on_it() {
    let (mut world, _, beto, doc, newer, actor) = story();
    // A newer relay: it took the change in.
    let kept = world.relay.docs.get_mut(&doc).unwrap();
    let change = newer.change(&kept.saved, actor, true, true);
    let mut document = Document::load(&kept.saved).unwrap();
    document.apply(&change).unwrap();
    let (plain, summary) = (kept.summary.clone(), document.summary().unwrap());
    assert_eq!(
        summary.status,
        Status::Pending,
        "the unknown step decides nothing"
    );
    assert_eq!(
        (summary.comments, summary.conflict),
        (plain.comments + 1, plain.conflict)
    );
    (kept.saved, kept.summary) = (document.save(), summary);
    // A device of this version is filled with it, shows what it knows, and works on it.
    world.sync(beto);
    let (_, opened) = world.replica(beto).open_document(&doc).unwrap().unwrap();
    assert_eq!(opened.view().unwrap().events.len(), 1, "the capture");
    newer.stands_in(&opened.save());
    world.comment(beto, doc, "Ya vamos.");
    newer.stands_in(world.row(beto, doc).unwrap().bytes());
    world.sync(beto);
    newer.stands_in(&world.relay.docs[&doc].saved);
    assert_eq!(
        comments(&world.relay.docs[&doc].saved),
        ["Sigue apagada.", "Ya vamos."]
    );
}
