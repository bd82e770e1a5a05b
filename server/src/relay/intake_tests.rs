//! The intake on a relay that is interrupted between a change and what waited for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use manzana_engine::answer::Answer;
use manzana_engine::envelope::{ChainContext, Envelope};
use manzana_engine::gate::judge;
use manzana_engine::grant::Scope;
use manzana_engine::ids::{DocId, Hash};
use manzana_engine::intent::NewPetition;
use manzana_engine::keys::SecretKey;
use manzana_engine::policy::Rule;
use manzana_engine::replica::{Continuity, MemoryReplica, Meta, Replica, ReplicaStore as _};
use manzana_engine::seal::Entropy;
use tokio::sync::oneshot;

use super::Submission;
use crate::clock::SystemClock;
use crate::gate::{Gate, GateError};
use crate::relay::{CityFace, CityKeys, Relay, RelayParts, SEGMENT_DOCS, SystemRandomness, invite};
use crate::storage::sqlite::SqliteStore;
use crate::storage::{CityFormat, RelayStore as _, UserRow};

const ROOT: [u8; 32] = [1; 32];
const NOW: i64 = 1_770_000_000_000;

/// Judges so many jobs, and then fails as a pool does that cannot start a worker.
struct Failing(AtomicUsize);

#[async_trait]
impl Gate for Failing {
    async fn judge(&self, job: Bytes) -> Result<Bytes, GateError> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_err(|_| GateError::Stopped)?;
        Ok(judge::serve(&job).into())
    }
}

struct Same(u8);

impl Entropy for Same {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    store: Arc<SqliteStore>,
    gate: Arc<Failing>,
    relay: Arc<Relay>,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let format = CityFormat {
            first_folio: 1,
            folio_prefix: "SIAC-".to_owned(),
            folio_width: 6,
        };
        let path = dir.path().join("city.sqlite");
        let store = Arc::new(SqliteStore::open(&path, &format).unwrap());
        let gate = Arc::new(Failing(AtomicUsize::new(usize::MAX)));
        let relay = start(&store, &gate).await;
        Self {
            _dir: dir,
            store,
            gate,
            relay,
        }
    }

    async fn device(&self, name: &str, seed: u8) -> Replica<MemoryReplica> {
        let user = UserRow {
            id: 0,
            name: name.to_owned(),
            display: name.to_owned(),
            role: "block_captain".to_owned(),
            password_hash: None,
            disabled: false,
        };
        let user = self.store.add_user(&user).await.unwrap();
        let now = self.relay.now();
        let scopes = vec![Scope::Block(7)];
        let code = invite(&*self.store, user, scopes, Some(7), now)
            .await
            .unwrap();
        let key = SecretKey::from_seed([seed; 32]);
        let enrolment = self.relay.enrol(&code, key.public()).await.unwrap();
        let root = SecretKey::from_seed(ROOT).public();
        let meta = Meta::enrolled(&key, root, enrolment, 1).unwrap();
        let store = MemoryReplica::default();
        let mut replica = Replica::open(store, Continuity::First, &mut Same(seed)).unwrap();
        replica.enrol(meta).unwrap();
        replica
    }

    async fn submit(&self, envelope: Envelope) -> Answer {
        let (reply, answered) = oneshot::channel();
        let submission = Submission {
            envelope: Box::new(envelope),
            verified: true,
            act: None,
            reply,
        };
        assert!(self.relay.submissions.send(submission).await.is_ok());
        answered.await.unwrap().unwrap().remove(0)
    }

    /// A comment of Beto's that waited for Ana's petition, which is taken in by a relay that fails before
    /// it comes to the comment.
    async fn interrupted(&self) -> (Replica<MemoryReplica>, Replica<MemoryReplica>) {
        let mut ana = self.device("ana", 2).await;
        let mut beto = self.device("beto", 3).await;
        let doc = capture(&mut ana);
        let created = last(&ana);
        beto.carry(vec![created.clone()]).unwrap();
        beto.comment(doc, "Urge", NOW).unwrap();
        let waits = self.submit(last(&beto)).await;
        assert!(matches!(waits, Answer::Waiting { .. }), "{waits:?}");
        self.gate.0.store(1, Ordering::SeqCst);
        let taken = self.submit(created).await;
        assert!(matches!(taken, Answer::Accepted { .. }), "{taken:?}");
        (ana, beto)
    }

    /// Waits until the comment is in the log.
    async fn accepted(&self, beto: &Replica<MemoryReplica>) {
        let meta = beto.meta().unwrap();
        let (device, incarnation) = (meta.device(), meta.incarnation);
        let accepted = async {
            loop {
                let found = self.store.envelope_answers(&device, incarnation, 1).await;
                let (_, answers) = found.unwrap().unwrap();
                if matches!(answers[..], [Answer::Accepted { seq: 2.., .. }]) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), accepted).await;
        in_time.expect("what waited is judged");
    }
}

async fn start(store: &Arc<SqliteStore>, gate: &Arc<Failing>) -> Arc<Relay> {
    let parts = RelayParts {
        gate: gate.clone(),
        entropy: Arc::new(SystemRandomness),
        keys: CityKeys::of_seeds([ROOT, [4; 32], [5; 32], [6; 32]]),
        face: CityFace {
            center: "Coatzatel".to_owned(),
            folio_prefix: "SIAC-".to_owned(),
            folio_width: 6,
        },
        segment_docs: SEGMENT_DOCS,
    };
    let started = Relay::start(store.clone(), Arc::new(SystemClock), parts).await;
    started.unwrap()
}

fn capture(replica: &mut Replica<MemoryReplica>) -> DocId {
    let petition = NewPetition {
        title: "LÁMPARA".to_owned(),
        description: "No prende".to_owned(),
        ..NewPetition::default()
    };
    let saved = replica.capture(petition, None, NOW, &mut Same(9)).unwrap();
    saved.docs[0]
}

fn last(replica: &Replica<MemoryReplica>) -> Envelope {
    let meta = replica.meta().unwrap();
    let kept = replica
        .store()
        .envelope(&meta.device(), meta.incarnation, meta.last_n);
    kept.unwrap().unwrap().envelope
}

#[tokio::test]
async fn what_waited_for_a_change_is_judged_by_the_next_relay_if_this_one_died_before() {
    let mut scene = Scene::new().await;
    let (_, beto) = scene.interrupted().await;
    scene.relay.kill();
    scene.gate.0.store(usize::MAX, Ordering::SeqCst);
    scene.relay = start(&scene.store, &scene.gate).await;
    scene.accepted(&beto).await;
}

#[tokio::test]
async fn what_waited_for_a_change_is_judged_with_the_next_batch_if_it_could_not_be_at_once() {
    let scene = Scene::new().await;
    let (mut ana, beto) = scene.interrupted().await;
    scene.gate.0.store(usize::MAX, Ordering::SeqCst);
    capture(&mut ana);
    scene.submit(last(&ana)).await;
    scene.accepted(&beto).await;
}

/// The same work, signed as the first envelope of another life of the device.
fn in_another_life(envelope: Envelope, key: &SecretKey) -> Envelope {
    let mut body = envelope.peek().unwrap();
    body.n = 1;
    let context = ChainContext {
        incarnation: envelope.context.incarnation + 1,
        prev: Hash([0; 32]),
        ..envelope.context
    };
    let parts = envelope.parts.into_iter().map(Vec::from).collect();
    Envelope::sign(context, &body, parts, key)
}

#[tokio::test]
async fn what_stands_upon_a_change_by_an_actor_of_another_life_does_not_wait_for_it() {
    let scene = Scene::new().await;
    let mut ana = scene.device("ana", 2).await;
    let mut beto = scene.device("beto", 3).await;
    capture(&mut ana);
    let bound = scene.submit(last(&ana)).await;
    assert!(matches!(bound, Answer::Accepted { .. }), "{bound:?}");
    let doc = capture(&mut ana);
    let created = in_another_life(last(&ana), &SecretKey::from_seed([2; 32]));
    beto.carry(vec![created.clone()]).unwrap();
    beto.comment(doc, "Urge", NOW).unwrap();
    let refused = scene.submit(created).await;
    let foreign = Answer::Refused {
        rule: Rule::ForeignActor,
        field: None,
    };
    assert_eq!(refused, foreign);
    let orphaned = scene.submit(last(&beto)).await;
    assert!(matches!(orphaned, Answer::Orphaned { .. }), "{orphaned:?}");
}

#[tokio::test]
async fn an_operators_act_that_was_not_taken_in_is_done_when_it_is_sent_again_and_only_once() {
    use crate::desk::{Act, ActRequest, Desk as _, Role, Viewer};
    let scene = Scene::new().await;
    let mut ana = scene.device("ana", 2).await;
    let doc = capture(&mut ana);
    scene.submit(last(&ana)).await;
    let operator = UserRow {
        id: 0,
        name: "ventanilla".to_owned(),
        display: "Ventanilla".to_owned(),
        role: "operator".to_owned(),
        password_hash: None,
        disabled: false,
    };
    let viewer = Viewer {
        user: scene.store.add_user(&operator).await.unwrap(),
        role: Role::Operator,
    };
    let seen = scene.relay.detail(&viewer, doc.0).await.unwrap();
    let request = ActRequest {
        act: Act::Comment {
            text: "Ya se pidió".to_owned(),
        },
        heads: seen.heads.iter().map(|head| head.0).collect(),
        key: "la-misma-clave".to_owned(),
    };
    // The gate makes the change, and fails before it is judged.
    scene.gate.0.store(1, Ordering::SeqCst);
    let failed = scene.relay.act(&viewer, doc.0, request.clone()).await;
    assert!(failed.is_err(), "it is not told as done");
    scene.gate.0.store(usize::MAX, Ordering::SeqCst);
    for _ in 0..2 {
        let done = scene.relay.act(&viewer, doc.0, request.clone()).await;
        assert_eq!(done.unwrap().notes.len(), 1);
    }
}
