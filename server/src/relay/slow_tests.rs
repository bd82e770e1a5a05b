//! Readers that take nothing: what a session does about them, in virtual time.
#![allow(clippy::unwrap_used)]

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use async_trait::async_trait;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::wire::{PROTOCOL_VERSION, Position};
use tempfile::TempDir;
use tokio::time::Sleep;

use super::*;
use crate::clock::ManualClock;
use crate::gate::{Gate, GateError};
use crate::relay::{CityFace, CityKeys, RelayParts, SEGMENT_DOCS, SystemRandomness};
use crate::storage::UserRow;
use crate::storage::conformance::format;
use crate::storage::sqlite::SqliteStore;

/// Nobody writes here.
struct NoGate;

#[async_trait]
impl Gate for NoGate {
    async fn judge(&self, _: Bytes) -> Result<Bytes, GateError> {
        Err(GateError::Busy)
    }
}

/// A reader that takes so many messages and falls asleep; the others once it wakes up.
struct Reader {
    takes: usize,
    sleeps: Duration,
    asleep: Option<Pin<Box<Sleep>>>,
    seen: Arc<Seen>,
}

/// What a test sees of a reader.
#[derive(Default)]
struct Seen {
    got: Mutex<Vec<Down>>,
    /// When it fell asleep. (The clock runs ahead while the storage's threads work.)
    asleep_since: watch::Sender<Option<Instant>>,
}

impl Seen {
    fn last_word(&self) -> Option<ByeCode> {
        match self.got.lock().unwrap().last() {
            Some(Down::Bye { code }) => Some(*code),
            _ => None,
        }
    }

    async fn asleep(&self) -> Instant {
        let mut since = self.asleep_since.subscribe();
        let since = since.wait_for(Option::is_some).await.unwrap();
        since.unwrap()
    }
}

impl Stream for Reader {
    type Item = Result<Message, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

impl Sink<Message> for Reader {
    type Error = axum::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<axum::Result<()>> {
        if self.takes == 0 {
            let sleeps = self.sleeps;
            if self.asleep.is_none() {
                self.seen.asleep_since.send_replace(Some(Instant::now()));
            }
            let asleep = &mut self.asleep;
            let asleep = asleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(sleeps)));
            std::task::ready!(asleep.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> axum::Result<()> {
        self.takes = self.takes.saturating_sub(1);
        if let Message::Binary(bytes) = message {
            let frame = decode_frame(&bytes).unwrap();
            self.seen.got.lock().unwrap().push(frame);
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<axum::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<axum::Result<()>> {
        self.poll_ready(cx)
    }
}

/// `axum::Error` for short.
mod axum {
    pub(super) use ::axum::Error;
    pub(super) type Result<T> = std::result::Result<T, Error>;
}

struct Scene {
    _dir: TempDir,
    relay: Arc<Relay>,
    record: DeviceRecord,
    hello: Hello,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("city.db"), &format()).unwrap();
        let parts = RelayParts {
            gate: Arc::new(NoGate),
            entropy: Arc::new(SystemRandomness),
            keys: CityKeys::of_seeds([[1; 32], [2; 32], [3; 32], [4; 32]]),
            face: CityFace {
                center: "Coatzatel".into(),
                folio_prefix: "SIAC-".into(),
                folio_width: 6,
            },
            segment_docs: SEGMENT_DOCS,
        };
        let clock = Arc::new(ManualClock::at(1_770_000_000_000));
        let relay = Relay::start(Arc::new(store), clock, parts).await.unwrap();
        let key = manzana_engine::keys::SecretKey::from_seed([9; 32]).public();
        let user = UserRow {
            id: 5,
            name: "ana".into(),
            display: "Ana".into(),
            role: "operator".into(),
            password_hash: None,
            disabled: false,
        };
        let grant = relay.grant(key, &user, Role::Operator, vec![Scope::City]);
        let record = relay.record(key, user.id, grant, None);
        let hello = Hello {
            version: PROTOCOL_VERSION,
            schema: 1,
            incarnation: 1,
            position: Position::default(),
            answers_seen: 0,
        };
        Self {
            _dir: dir,
            relay,
            record,
            hello,
        }
    }

    /// A session with a reader that takes the welcome and the place, and sleeps for so long.
    fn session(&self, sleeps: Duration) -> (impl Future<Output = ()>, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        let reader = Reader {
            takes: 2,
            sleeps,
            asleep: None,
            seen: Arc::clone(&seen),
        };
        let (record, hello) = (self.record.clone(), self.hello.clone());
        (Arc::clone(&self.relay).serve(record, hello, reader), seen)
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_cut_and_holds_nothing_back() {
    let scene = Scene::new().await;
    let (session, seen) = scene.session(Duration::from_secs(86_400));
    session.await;
    let took = seen.asleep().await.elapsed();
    assert!(took >= WRITE, "{took:?}");
    let at_most = WRITE + FAREWELL + Duration::from_secs(2);
    assert!(took <= at_most, "{took:?}");
    let got = seen.got.lock().unwrap().len();
    assert_eq!(got, 2, "what it took at the start");
    let metrics = &scene.relay.metrics;
    assert_eq!((metrics.sessions.get(), metrics.slow.get()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_wakes_up_as_it_is_cut_is_told_to_resume() {
    let scene = Scene::new().await;
    let (session, seen) = scene.session(WRITE + FAREWELL);
    session.await;
    assert_eq!(seen.last_word(), Some(ByeCode::Resume));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gives_way_at_once_to_a_newer_session_and_to_the_end_of_the_relay() {
    for stop in [false, true] {
        let scene = Scene::new().await;
        let (session, seen) = scene.session(Duration::from_secs(1));
        let other = async {
            // The session stands still in a frame by then.
            seen.asleep().await;
            if stop {
                scene.relay.stop();
            } else {
                drop(scene.relay.take_place(scene.record.id));
            }
        };
        tokio::join!(session, other);
        let code = if stop {
            ByeCode::GoingAway
        } else {
            ByeCode::Replaced
        };
        assert_eq!(seen.last_word(), Some(code));
        assert!(seen.asleep().await.elapsed() <= Duration::from_secs(1) + FAREWELL);
    }
}
