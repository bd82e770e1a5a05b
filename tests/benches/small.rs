//! What takes microseconds, with criterion's statistics: `cargo bench -p manzana-tests --bench small`.
//!
//! What a relay and a device do for each change, one piece at a time; the whole is in `bin/bench`.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use manzana_engine::digest::SetHash;
use manzana_engine::document::Document;
use manzana_engine::envelope::{ChainContext, Entry, Envelope, EnvelopeBody};
use manzana_engine::fold::EventKind;
use manzana_engine::gate::chunk;
use manzana_engine::gate::judge::{Job, JobDoc, JobGroup, judge};
use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::ids::{Actor, CityId, DocId, Hash, RecordId};
use manzana_engine::intent::NewPetition;
use manzana_engine::keys::{Purpose, SecretKey};
use manzana_engine::policy::Facts;
use manzana_engine::record::{By, CatalogRef, Comment, Event, Position, Record};
use manzana_engine::replica::{Continuity, MemoryReplica, Meta, Replica, ReplicaStore};
use manzana_engine::seal;
use manzana_engine::wire::Enrolment;
use manzana_store::SqliteReplica;
use manzana_tests::wait::Seeded;

const NOW: i64 = 1_770_000_000_000;
/// Events and comments of the petition under test.
const STEPS: u32 = 6;

fn key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

fn by() -> By {
    By {
        user: 1,
        role: Role::Supervisor,
        at: NOW,
    }
}

fn form() -> NewPetition {
    let named = |name: &str| Some(CatalogRef::new(1, name));
    NewPetition {
        title: "LAMPARA FUNDIDA FRENTE A LA PRIMARIA".to_owned(),
        description: "Desde hace cuatro días no prende la lámpara que está frente al número de la \
                      casa y la calle queda muy oscura. Se agradece de antemano la atención."
            .to_owned(),
        channel: named("Jefes de manzana"),
        kind: named("Solicitud de servicio"),
        agency: named("Dirección de Alumbrado Publico"),
        service: named("Luminaria apagada"),
        neighborhood: named("COL. BENITO JUAREZ NORTE"),
        street: Some("IGNACIO ZARAGOZA 410".to_owned()),
        cross1: Some("ALDAMA".to_owned()),
        cross2: Some("ALLENDE".to_owned()),
        position: Some(Position {
            lat_e7: 181_300_000,
            lon_e7: -944_500_000,
            accuracy_m: 8,
        }),
        ..NewPetition::default()
    }
}

/// A petition after some steps, and the comment that comes next as a signed envelope.
struct Scene {
    doc: DocId,
    saved: Vec<u8>,
    change: Vec<u8>,
    envelope: Envelope,
    heads: Vec<Hash>,
}

fn scene() -> Scene {
    let device = key().device();
    let actor = Actor::new(&device, 0);
    let record = |n| RecordId::new(&device, n);
    let recorded = Event::new(by(), EventKind::Recorded);
    let (mut document, doc, _) =
        Document::create_petition(actor, record(0), &form(), recorded).unwrap();
    for n in 1..=STEPS {
        let comment = Comment {
            by: by(),
            text: format!("El ciudadano volvió a llamar, ya van {n} veces que pregunta."),
        };
        document
            .add_records(actor, record(n), &[Record::Comment(comment)])
            .unwrap();
    }
    let (saved, heads) = (document.save(), document.heads());
    let done = Record::Event(Event::new(by(), EventKind::Done));
    let made = document.add_records(actor, record(99), &[done]).unwrap();
    let entry = Entry {
        doc,
        change: made.bytes.clone(),
    };
    let body = EnvelopeBody {
        n: 1,
        device_time: NOW,
        city_head: 9,
        groups: vec![vec![entry]],
        detached: Vec::new(),
    };
    let context = ChainContext {
        city: key().city(),
        device,
        incarnation: 1,
        prev: Hash([0; 32]),
        grant: grant().id(),
    };
    Scene {
        doc,
        saved,
        change: made.bytes,
        envelope: Envelope::sign(context, &body, Vec::new(), &key()),
        heads,
    }
}

fn granted() -> GrantBody {
    let city: CityId = key().city();
    GrantBody {
        city,
        device_key: key().public(),
        user: 1,
        role: Role::Supervisor,
        scopes: vec![Scope::City],
        valid_from: 0,
        valid_to: i64::MAX,
    }
}

fn grant() -> SignedGrant {
    SignedGrant::sign(&granted(), &key())
}

fn relay_side(criterion: &mut Criterion) {
    let scene = scene();
    let public = key().public();
    criterion.bench_function("verify an envelope", |bench| {
        bench.iter(|| black_box(&scene.envelope).open(&public).unwrap());
    });
    criterion.bench_function("decode a change", |bench| {
        bench.iter(|| chunk::decode_change(black_box(&scene.change)).unwrap());
    });
    let job = Job {
        docs: vec![JobDoc {
            doc: scene.doc,
            saved: scene.saved.clone().into(),
        }],
        groups: vec![JobGroup {
            facts: Facts {
                device: key().device(),
                user: 1,
                role: Role::Supervisor,
                scopes: vec![Scope::City],
            },
            entries: scene.envelope.peek().unwrap().groups.remove(0),
            proven: false,
        }],
    };
    criterion.bench_function("judge a change", |bench| {
        bench.iter(|| judge(black_box(&job)).unwrap());
    });
    criterion.bench_function("set hash: add and remove", |bench| {
        let mut hash = SetHash::default();
        bench.iter(|| {
            hash.add(&scene.doc, &scene.heads);
            hash.remove(&scene.doc, &scene.heads);
        });
    });
}

fn documents(criterion: &mut Criterion) {
    let scene = scene();
    let document = Document::load(&scene.saved).unwrap();
    criterion.bench_function("document: load", |bench| {
        bench.iter(|| Document::load(black_box(&scene.saved)).unwrap());
    });
    criterion.bench_function("document: save", |bench| {
        bench.iter(|| black_box(&document).save());
    });
    criterion.bench_function("document: read whole, with the fold", |bench| {
        bench.iter(|| black_box(&document).view().unwrap());
    });
    criterion.bench_function("document: summary", |bench| {
        bench.iter(|| black_box(&document).summary().unwrap());
    });
    criterion.bench_function("document: apply a change", |bench| {
        bench.iter_batched(
            || document.clone(),
            |mut document| document.apply(&scene.change).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

/// An enrolled device on this store.
fn device<S: ReplicaStore>(store: S) -> Replica<S> {
    let (_, seal_key) = seal::key_pair(&[3; 32]);
    let vouch = |public: &[u8; 32]| key().sign(Purpose::RelayKey, public);
    let enrolment = Enrolment {
        grant: grant(),
        relay_key: key().public(),
        relay_key_signature: vouch(&key().public()),
        seal_key,
        seal_key_signature: vouch(&seal_key),
        center: "Centro".to_owned(),
        folio_prefix: "SIAC-".to_owned(),
        folio_width: 6,
        block: None,
        nonce: Vec::new().into(),
        display: "Ana".to_owned(),
    };
    let meta = Meta::enrolled(&key(), key().public(), enrolment, 1).unwrap();
    let mut replica = Replica::open(store, Continuity::First, &mut Seeded(1)).unwrap();
    replica.enrol(meta).unwrap();
    replica
}

fn device_side(criterion: &mut Criterion) {
    let mut random = Seeded(2);
    let mut replica = device(MemoryReplica::default());
    criterion.bench_function("capture, in memory", |bench| {
        bench.iter(|| replica.capture(form(), None, NOW, &mut random).unwrap());
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replica.db");
    let (store, _) = SqliteReplica::open(&path, [1; 16]).unwrap();
    let mut replica = device(store);
    criterion.bench_function("capture, durable", |bench| {
        bench.iter(|| replica.capture(form(), None, NOW, &mut random).unwrap());
    });
    let saved = replica.capture(form(), None, NOW, &mut random).unwrap();
    let mut doc = saved.docs[0];
    let mut acts = 0;
    criterion.bench_function("act, durable", |bench| {
        bench.iter(|| {
            acts += 1;
            if acts % 8 == 0 {
                // Another petition now and then: one with a thousand comments is no measure.
                doc = replica
                    .capture(form(), None, NOW, &mut random)
                    .unwrap()
                    .docs[0];
            }
            replica.comment(doc, "Sigue sin repararse", NOW).unwrap()
        });
    });
}

criterion_group!(small, relay_side, documents, device_side);
criterion_main!(small);
