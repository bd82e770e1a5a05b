//! Frames of a session, both ways: read, and given to the machine at that end.

use std::sync::LazyLock;

use manzana_engine::epoch::SignedEpoch;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::Hash;
use manzana_engine::relay::{Ask, LogPlace, Opening, Session};
use manzana_engine::replica::{Continuity, MemoryReplica, Replica, Surroundings};
use manzana_engine::wire::{Down, Hello, Recovery, Up, decode_frame};
use manzana_engine::{codec, reconcile};

use crate::edits::Edits;
use crate::samples::{self, Case};
use crate::world::{Seeded, World};

const NOW: i64 = 1_760_000_000_000;

/// Every frame and record of the protocol, and a phone that holds three petitions.
struct Scene {
    cases: Vec<Case>,
    store: MemoryReplica,
    world: World,
}

// A world has no locks to share it by: each thread has its own.
thread_local! {
    static SCENE: LazyLock<Scene> = const { LazyLock::new(scene) };
}

fn scene() -> Scene {
    let mut world = World::new(2);
    let operator = world.enrol(2, Role::Operator, &[Scope::City]);
    for n in 0..3 {
        world.capture(operator, &format!("BACHE {n}"), 12);
    }
    world.sync(operator);
    let phone = world.enrol(10, Role::Crew, &[Scope::Agency(12)]);
    world.sync(phone);
    world.connect(phone);
    let store = world.replica(phone).store().clone();
    Scene {
        cases: samples::all(),
        store,
        world,
    }
}

/// Runs one input.
pub fn run(input: &[u8]) {
    SCENE.with(|scene| session(scene, input));
}

fn session(scene: &Scene, input: &[u8]) {
    let mut edits = Edits::new(input);
    let mut entropy = Seeded(7);
    let store = scene.store.clone();
    let mut phone = Replica::open(store, Continuity::Same, &mut entropy).unwrap();
    let _ = phone.hello(&[7; 16]).unwrap();
    let mut relay = begin(&samples::hello());
    for _ in 0..=edits.byte() % 4 {
        let case = edits.pick(&scene.cases);
        let mut bytes = case.bytes.clone();
        if !edits.once_in(8) {
            edits.spoil(&mut bytes);
        }
        // What is read is written again as it was read.
        if let Some(again) = (case.reread)(&bytes) {
            assert_eq!((case.reread)(&again), Some(again));
        }
        if let Ok(hello) = decode_frame::<Hello>(&bytes) {
            relay = begin(&hello).or(relay);
        }
        if let (Ok(up), Some(session)) = (decode_frame::<Up>(&bytes), &mut relay) {
            heard(scene, session, up);
        }
        if let Ok(down) = decode_frame::<Down>(&bytes) {
            let mut around = Surroundings {
                now: NOW,
                entropy: &mut entropy,
            };
            let _ = phone.handle(down, &mut around).unwrap();
            for _ in 0..8 {
                let Some(up) = phone.next_up().unwrap() else {
                    break;
                };
                let sent = codec::encode(&up);
                assert_eq!(decode_frame::<Up>(&sent), Ok(up));
            }
        }
    }
}

fn begin(hello: &Hello) -> Option<Session> {
    let (grant, granted) = samples::grant();
    let log = LogPlace {
        epoch: 1,
        head: 50_000,
        floor: 10,
    };
    let chain = (3, Hash([3; 32]));
    let record = SignedEpoch {
        body: Vec::new(),
        signature: [0; 64],
    };
    let opening = Opening {
        chain,
        log,
        time: NOW,
        nonce: &[7; 16],
        // So that it takes back what devices give.
        recovery: Some(Recovery {
            record,
            chains: Vec::new(),
        }),
    };
    let begun = Session::begin(hello, grant, granted, opening);
    begun.ok().map(|(session, _)| session)
}

/// What the relay's driver does with a frame, as far as it is the engine's.
fn heard(scene: &Scene, session: &mut Session, up: Up) {
    let Ok((ask, _)) = session.frame(up) else {
        return;
    };
    match ask {
        Ask::Submit(envelope) | Ask::Carry(envelope) => {
            let _ = envelope.open(&samples::device().public());
        }
        Ask::Reconcile { scope, ranges } => {
            let members = scene.world.relay.members(&Scope::City);
            if let Ok((Some(Down::Reconcile { ranges, .. }), _)) =
                session.reconcile(scope, &members, &ranges)
            {
                let _ = reconcile::answer(&members, &ranges);
            }
        }
        Ask::Vouched { docs, .. } => drop(session.lacks(docs)),
        Ask::TakeBack { .. } => drop(session.took_back()),
        Ask::Receipts(_) | Ask::Seen(_) | Ask::Want(_) | Ask::Forsake(_) | Ask::Nothing => {}
    }
    let _ = session.need(50_000);
}
