//! What devices send that no honest one would: each gets its named answer, and nothing else is
//! affected.

#[path = "../../core/engine/tests/support/attacks.rs"]
mod attacks;

use std::time::{Duration, Instant};

use manzana_engine::answer::{Answer, HeldReason};
use manzana_engine::document::Document;
use manzana_engine::envelope::{Entry, Envelope};
use manzana_engine::fold::EventKind;
use manzana_engine::ids::{Actor, DocId, Hash, RecordId};
use manzana_engine::policy::Rule;
use manzana_engine::record::{By, Event, Record};
use manzana_engine::replica::ReplicaStore as _;
use manzana_engine::wire::{ByeCode, Down, Up};
use manzana_engine::{codec, limits};
use manzana_tests::console::Console;
use manzana_tests::device::{Device, Link, NOW, Refusal, push};
use manzana_tests::phone::Phone;
use manzana_tests::relay::City;
use tokio_tungstenite::tungstenite::Message;

/// Memory by which the relay's own process may grow under all of this, KiB.
const GROWTH_KIB: u64 = 64 << 10;
/// What is promised: an open session of a revoked device ends within this.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

/// A city with a captain's hostile device, and another captain who goes on working.
struct Scene {
    city: City,
    bad: Device,
    good: Device,
    good_link: Link,
    worked: u64,
}

impl Scene {
    async fn new() -> Self {
        let city = City::start().await;
        for name in ["malo", "bueno", "lupita"] {
            let role = if name == "lupita" {
                "supervisor"
            } else {
                "block_captain"
            };
            city.user(name, role).await;
        }
        let bad = Device::enrol(&city, "malo", &["block:7"], 1).await;
        let mut good = Device::enrol(&city, "bueno", &["block:7"], 2).await;
        let good_link = good.greet().await;
        Self {
            city,
            bad,
            good,
            good_link,
            worked: 0,
        }
    }

    /// Another device's petition goes through on the session it had open all the time.
    async fn others_go_on(&mut self) {
        self.worked += 1;
        self.good.capture(&format!("LÁMPARA {}", self.worked));
        self.good.settle(&mut self.good_link).await;
        assert!(self.city.is_up());
    }

    /// What the relay answers to one group of the hostile device's, at its place in the chain.
    async fn answer(&mut self, groups: Vec<Vec<Entry>>) -> Answer {
        let mut link = self.bad.connect().await.expect("let in");
        let Some(Down::Welcome {
            have, have_hash, ..
        }) = link.next().await
        else {
            panic!("no welcome");
        };
        let envelope = self.bad.envelope(have + 1, have_hash, groups);
        link.send(&push(&envelope)).await;
        let answer = self.receipt(&mut link, &envelope).await;
        self.others_go_on().await;
        answer
    }

    /// The signed answer to an envelope's first group.
    async fn receipt(&self, link: &mut Link, envelope: &Envelope) -> Answer {
        let meta = self.bad.meta();
        let (key, city, device) = (meta.relay_key, meta.city(), meta.device());
        let hash = envelope.hash();
        link.find(|frame| {
            let Down::Receipt { receipt } = frame else {
                return None;
            };
            let body = receipt
                .open(&key, &city, &device)
                .expect("signed by the relay");
            let answer = body
                .answers
                .into_iter()
                .find(|answer| answer.hash == hash)?;
            Some(answer.groups[0].clone())
        })
        .await
    }

    /// How the relay takes its leave after a frame.
    async fn farewell(&mut self, message: Message) -> Option<ByeCode> {
        let mut link = self.bad.greet().await;
        link.send_raw(message).await;
        let code = link.farewell().await;
        self.others_go_on().await;
        code
    }
}

fn binary(bytes: Vec<u8>) -> Message {
    Message::Binary(bytes.into())
}

fn refused(answer: Answer) -> Rule {
    match answer {
        Answer::Refused { rule, .. } => rule,
        other => panic!("not refused: {other:?}"),
    }
}

fn entry(doc: DocId, change: Vec<u8>) -> Vec<Vec<Entry>> {
    vec![vec![Entry { doc, change }]]
}

/// The chunk with the attacks' actor replaced by this one, its checksum right again.
fn owned_by(actor: Actor, chunk: &[u8]) -> Vec<u8> {
    let theirs = attacks::ACTOR;
    let mut raw = chunk.to_vec();
    let Some(at) = raw.windows(theirs.len()).position(|part| part == theirs) else {
        return raw;
    };
    raw[at..at + theirs.len()].copy_from_slice(actor.as_bytes());
    attacks::wrap(raw[8], attacks::body(&raw))
}

/// The document as the device shows it.
fn shown(device: &Device, doc: DocId) -> Document {
    let row = device
        .replica
        .store()
        .doc(&doc)
        .expect("stored")
        .expect("held");
    Document::load(row.bytes()).expect("a document")
}

/// An event of a device's on a document, under a record key and an actor that may be another's.
fn event(device: &Device, doc: DocId, kind: EventKind, key: RecordId, actor: Actor) -> Vec<u8> {
    let granted = &device.meta().granted;
    let by = By {
        user: granted.user,
        role: granted.role,
        at: NOW,
    };
    let event = Event {
        reason: Some("porque sí".to_owned()),
        ..Event::new(by, kind)
    };
    let made = shown(device, doc).add_records(actor, key, &[Record::Event(event)]);
    made.expect("made").bytes
}

#[tokio::test]
async fn a_frame_that_is_none_ends_its_session_with_a_code_and_no_other() {
    let mut scene = Scene::new().await;
    let before = scene.city.memory_kib();
    assert_eq!(
        scene.farewell(binary(vec![0xff; 40])).await,
        Some(ByeCode::BadFrame)
    );
    assert_eq!(
        scene.farewell(binary(Vec::new())).await,
        Some(ByeCode::BadFrame)
    );
    assert_eq!(
        scene.farewell(Message::Text("hola".into())).await,
        Some(ByeCode::BadFrame)
    );
    // At the limit it is read, and is no frame; one byte past it the socket is closed unread.
    let longest = vec![0; limits::FRAME_BYTES];
    assert_eq!(
        scene.farewell(binary(longest)).await,
        Some(ByeCode::BadFrame)
    );
    let longer = vec![0; limits::FRAME_BYTES + 1];
    assert_eq!(scene.farewell(binary(longer)).await, None);
    assert!(scene.city.memory_kib() < before + GROWTH_KIB);
}

#[tokio::test]
async fn an_envelope_is_taken_once_in_its_place_and_signed() {
    let mut scene = Scene::new().await;
    let doc = scene.bad.capture("BACHE");
    let mut link = scene.bad.greet().await;
    scene.bad.settle(&mut link).await;
    let meta = scene.bad.meta().clone();
    let sent = scene
        .bad
        .replica
        .store()
        .envelope(&meta.device(), meta.incarnation, 1);
    let sent = sent.expect("stored").expect("kept").envelope;

    // The same again, in the session and in a new one: no answer, no second effect.
    link.send(&push(&sent)).await;
    let mut link = scene.bad.greet().await;
    link.send(&push(&sent)).await;
    let comment = |scene: &Scene, n: u32| {
        let key = RecordId::new(&meta.device(), 1_000 + n);
        let by = By {
            user: meta.granted.user,
            role: meta.granted.role,
            at: NOW,
        };
        let text = format!("comentario {n}");
        let record = Record::Comment(manzana_engine::record::Comment { by, text });
        let actor = Actor::new(&meta.device(), 0);
        let made = shown(&scene.bad, doc).add_records(actor, key, &[record]);
        entry(doc, made.expect("made").bytes)
    };
    let second = scene.bad.envelope(2, sent.hash(), comment(&scene, 2));
    link.send(&push(&second)).await;
    let answer = scene.receipt(&mut link, &second).await;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");

    // A gap is told once, with where the chain stands.
    let third = scene.bad.envelope(3, second.hash(), comment(&scene, 3));
    let fourth = scene.bad.envelope(4, third.hash(), comment(&scene, 4));
    link.send(&push(&fourth)).await;
    let gap = |frame| match frame {
        Down::Gap { have, have_hash } => Some((have, have_hash)),
        _ => None,
    };
    assert_eq!(link.find(gap).await, (2, second.hash()));

    // A signature broken in one bit, and one made for another place of the chain.
    let mut broken = third.clone();
    broken.signature[10] ^= 1;
    link.send(&push(&broken)).await;
    assert_eq!(link.farewell().await, Some(ByeCode::BadSignature));
    scene.others_go_on().await;
    let misplaced = scene.bad.envelope(3, Hash([7; 32]), comment(&scene, 3));
    let mut link = scene.bad.greet().await;
    link.send(&push(&misplaced)).await;
    assert_eq!(link.farewell().await, Some(ByeCode::BadSignature));
    scene.others_go_on().await;

    let console = Console::sign_in(&scene.city, "lupita").await;
    let rows = console.petitions().await;
    let mine: Vec<_> = rows.iter().filter(|row| row["title"] == "BACHE").collect();
    assert_eq!(mine.len(), 1);
    assert_eq!(mine[0]["comments"], 1);
}

#[tokio::test]
async fn a_change_against_the_rules_is_refused_by_name() {
    let mut scene = Scene::new().await;
    let doc = scene.bad.capture("FUGA DE AGUA");
    let mut link = scene.bad.greet().await;
    scene.bad.settle(&mut link).await;
    drop(link);
    let me = scene.bad.meta().device();
    let other = scene.good.meta().device();
    let key = |n: u32| RecordId::new(&me, 2_000 + n);
    let actor = Actor::new(&me, 0);
    use EventKind::{CitizenConfirmed, NotApplicable};

    let change = event(&scene.bad, doc, NotApplicable, key(1), actor);
    assert_eq!(
        refused(scene.answer(entry(doc, change)).await),
        Rule::RoleMayNot
    );
    let foreign_key = RecordId::new(&other, 0);
    let change = event(&scene.bad, doc, CitizenConfirmed, foreign_key, actor);
    assert_eq!(
        refused(scene.answer(entry(doc, change)).await),
        Rule::BadRecord
    );
    // The key of its own first record: an event is never written over another.
    let change = event(
        &scene.bad,
        doc,
        CitizenConfirmed,
        RecordId::new(&me, 0),
        actor,
    );
    assert_eq!(
        refused(scene.answer(entry(doc, change)).await),
        Rule::BadRecord
    );
    let foreign = Actor::new(&other, 0);
    let change = event(&scene.bad, doc, CitizenConfirmed, key(2), foreign);
    assert_eq!(
        refused(scene.answer(entry(doc, change)).await),
        Rule::ForeignActor
    );
    let change = event(&scene.bad, doc, CitizenConfirmed, key(3), actor);
    assert_eq!(
        refused(scene.answer(entry(doc, change)).await),
        Rule::NotClosed
    );

    let console = Console::sign_in(&scene.city, "lupita").await;
    let rows = console.petitions().await;
    let mine = rows
        .iter()
        .find(|row| row["title"] == "FUGA DE AGUA")
        .expect("there");
    assert_eq!(mine["status"], "pending");
}

#[tokio::test]
async fn chunks_that_would_fill_the_memory_or_kill_the_process_are_refused() {
    let mut scene = Scene::new().await;
    let before = scene.city.memory_kib();
    use Rule::{BadChange, BadDocId, ForbiddenOperation};
    let chunks = [
        ("sync message", attacks::sync_message(), BadChange),
        (
            "ten million inserts",
            attacks::run_length_bomb(10_000_000),
            BadChange,
        ),
        (
            "a list of as many as a change may have",
            attacks::run_length_bomb(9_000),
            BadDocId,
        ),
        ("repeated keys", attacks::repeated_keys(200), BadDocId),
        ("document", attacks::run_length_document(), BadChange),
        ("deflated zeros", attacks::deflate_bomb(2), BadChange),
        ("last counter", attacks::last_counter(), BadChange),
        ("bundle", attacks::bundles().swap_remove(200), BadChange),
    ];
    let actor = Actor::new(&scene.bad.meta().device(), 0);
    for (name, chunk, rule) in chunks {
        // The sender's own actor, so that nothing but the chunk itself is wrong.
        let chunk = owned_by(actor, &chunk);
        let begun = Instant::now();
        let given = refused(scene.answer(entry(DocId([9; 16]), chunk)).await);
        println!("{name}: {given:?}");
        assert!(
            given == rule || given == ForbiddenOperation,
            "{name}: {given:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{name}: {:?}",
            begun.elapsed()
        );
    }
    let grown = scene.city.memory_kib().saturating_sub(before);
    println!("memory of the relay grew by {grown} KiB");
    assert!(grown < GROWTH_KIB, "{grown} KiB");
}

#[tokio::test]
async fn a_revoked_devices_session_ends_within_five_seconds_and_later_work_is_held() {
    let mut scene = Scene::new().await;
    scene.bad.capture("ANTES");
    let mut link = scene.bad.greet().await;
    scene.bad.settle(&mut link).await;
    let meta = scene.bad.meta().clone();
    scene.city.revoke(&meta.device().to_string()).await;
    let begun = Instant::now();
    assert_eq!(link.farewell().await, Some(ByeCode::Revoked));
    let took = begun.elapsed();
    println!(
        "the session ended {} ms after the revocation",
        took.as_millis()
    );
    assert!(took <= REVOKED_WITHIN, "{took:?}");
    assert_eq!(scene.bad.connect().await.err(), Some(Refusal::Status(403)));

    // What it writes later comes by another's hand, and waits for a person.
    scene.bad.capture("DESPUÉS");
    let later = scene
        .bad
        .replica
        .store()
        .envelope(&meta.device(), meta.incarnation, 2);
    let later = later.expect("stored").expect("kept").envelope;
    let carried = Up::Carry {
        envelope: codec::encode(&later).into(),
    };
    scene.good_link.send(&carried).await;
    let hash = later.hash();
    let groups = scene
        .good_link
        .find(|frame| match frame {
            Down::Carried { hash: of, groups } if of == hash => Some(groups),
            _ => None,
        })
        .await;
    assert_eq!(
        groups,
        [Answer::Held {
            reason: HeldReason::GrantRevoked
        }]
    );
    scene.others_go_on().await;

    let console = Console::sign_in(&scene.city, "lupita").await;
    let rows = console.petitions().await;
    let titles: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["title"].as_str())
        .collect();
    assert_eq!(titles, ["LÁMPARA 1", "ANTES"]);
}

#[tokio::test]
async fn a_revoked_phone_keeps_its_work_and_says_that_it_is_not_let_in() {
    let city = City::start().await;
    city.user("ana", "block_captain").await;
    let phone = Phone::enrol(&city, "ana", &["block:7"]).await;
    phone.capture("ANTES", &[]).await;
    phone.sync().await;
    let device = phone.status().await["device"]
        .as_str()
        .expect("an id")
        .to_owned();
    city.revoke(&device).await;
    phone.capture("DESPUÉS", &[]).await;
    let ran = phone.run(&["sync"]).await;
    let said: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (ran.code, &said["error"]["code"]),
        (Some(1), &"unauthorised".into())
    );
    let custody: Vec<_> = phone
        .list()
        .await
        .into_iter()
        .map(|row| row["custody"].clone())
        .collect();
    assert_eq!(custody, ["on_this_phone", "received"]);
}
