//! The story of a device: captures without a network, receipts, the log with a neighbour's work, a
//! refusal, and openings in between. What the relay says in it was said by the engine's own to a device in
//! memory, once.

use std::path::{Path, PathBuf};

use manzana_engine::codec;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::intent::NewPetition;
use manzana_engine::record::CatalogRef;
use manzana_engine::replica::{
    Continuity, Meta, Replica, ReplicaError, ReplicaStore as _, Surroundings,
};
use manzana_engine::wire::Down;
use manzana_store::sqlite::{OpenError, StoreError};
use manzana_store::{SqliteReplica, token_path};

use super::story::{Story, Told};
use super::tape::Tape;
use super::world::{Seeded, World};

/// Any agency.
const AGENCY: u32 = 12;

enum Step {
    /// A capture at this time, which becomes the envelope of this number.
    Capture { n: u64, now: i64 },
    /// A session after so many envelopes: what the relay says. Played again it changes nothing.
    Session { frames: Vec<Down>, now: i64, n: u64 },
    /// The process ends, and another begins.
    Reopen,
}

/// See the [module](self).
pub(crate) struct Phone {
    meta: Vec<u8>,
    steps: Vec<Step>,
}

impl Phone {
    /// Plays it in memory to learn what the relay says.
    pub(crate) fn new() -> Self {
        let mut world = World::new(1);
        let ana = world.enrol(7, Role::BlockCaptain, &[Scope::Block(5)]);
        let beto = world.enrol(8, Role::Operator, &[Scope::City]);
        let meta = world.replica(ana).store().meta();
        let meta = meta.expect("memory").expect("enrolled");
        let mut phone = Self {
            meta,
            steps: Vec::new(),
        };
        phone.captures(&mut world, ana, 2);
        phone.session(&mut world, ana);
        world.sync(beto);
        let docs: Vec<_> = world.replica(beto).store().list().expect("memory");
        for row in docs {
            world.comment(beto, row.doc, "Ya vamos.");
        }
        world.sync(beto);
        phone.captures(&mut world, ana, 1);
        phone.steps.push(Step::Reopen);
        phone.session(&mut world, ana);
        phone.captures(&mut world, ana, 2);
        phone.steps.push(Step::Reopen);
        phone
    }

    fn captures(&mut self, world: &mut World, who: usize, count: usize) {
        for _ in 0..count {
            world.capture(who, "Lámpara", AGENCY);
            let now = world.now;
            let n = world.replica(who).meta().expect("enrolled").last_n;
            self.steps.push(Step::Capture { n, now });
        }
    }

    fn session(&mut self, world: &mut World, who: usize) {
        let heard = world.devices[who].heard.len();
        world.sync(who);
        let frames = world.devices[who].heard[heard..].to_vec();
        world.cut(who);
        let now = world.now;
        let n = world.replica(who).meta().expect("enrolled").last_n;
        self.steps.push(Step::Session { frames, now, n });
    }

    fn open(&self, folder: &Path) -> Result<Replica<SqliteReplica>, Told> {
        let path = self.database(folder);
        let token = std::fs::read(token_path(&path)).unwrap_or_default();
        // Another one at each opening.
        let mut fresh = [token.first().map_or(1, |last| last.wrapping_add(1)); 16];
        fresh[1] = 7;
        let (store, continuity) = SqliteReplica::open(&path, fresh)?;
        assert_ne!(continuity, Continuity::Restored, "no backup was put back");
        Ok(Replica::open(store, continuity, &mut Seeded(1))?)
    }
}

impl Step {
    fn is_done(&self, meta: &Meta) -> bool {
        match self {
            Self::Capture { n, .. } => meta.last_n >= *n,
            // Whatever comes after it is a capture.
            Self::Session { n, .. } => meta.last_n > *n,
            Self::Reopen => false,
        }
    }

    fn play(&self, replica: &mut Replica<SqliteReplica>, tape: &Tape) -> Result<(), Told> {
        match self {
            Self::Capture { now, .. } => {
                let form = NewPetition {
                    title: "Lámpara".into(),
                    description: "No enciende.".into(),
                    agency: Some(CatalogRef::new(AGENCY, "Alumbrado")),
                    ..NewPetition::default()
                };
                replica.capture(form, None, *now, &mut Seeded(1))?;
                tape.mark();
            }
            Self::Session { frames, now, .. } => {
                replica.hello(&[7; 16])?;
                for frame in frames {
                    while replica.next_up()?.is_some() {}
                    let entropy = &mut Seeded(1);
                    let taken =
                        replica.handle(frame.clone(), &mut Surroundings { now: *now, entropy });
                    taken?.expect("as the relay said it");
                    tape.mark();
                }
                replica.hang_up();
            }
            Self::Reopen => {}
        }
        Ok(())
    }
}

impl Story for Phone {
    const NAME: &'static str = "device";

    fn database(&self, folder: &Path) -> PathBuf {
        folder.join("replica.db")
    }

    fn beside(&self, folder: &Path) -> Option<PathBuf> {
        Some(token_path(&self.database(folder)))
    }

    fn play(&self, folder: &Path, tape: &Tape, again: bool) -> Result<(), Told> {
        let mut replica = self.open(folder)?;
        if replica.meta().is_err() {
            let meta: Meta = codec::decode(&self.meta).expect("its own state");
            let enrolled = replica.enrol(meta.clone());
            match enrolled {
                Err(_) if again => replica.enrol(meta)?,
                enrolled => enrolled?,
            }
        }
        tape.mark();
        for step in &self.steps {
            if step.is_done(replica.meta()?) {
                continue;
            }
            if let Step::Reopen = step {
                drop(replica);
                replica = match self.open(folder) {
                    Err(_) if again => self.open(folder)?,
                    opened => opened?,
                };
                continue;
            }
            match step.play(&mut replica, tape) {
                Err(_) if again => step.play(&mut replica, tape)?,
                played => played?,
            }
        }
        Ok(())
    }

    fn recover(&self, folder: &Path) {
        self.open(folder).expect("opened");
    }
}

impl From<StoreError> for Told {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Backend(error) => Self::Failed(error.to_string()),
            other => panic!("a fault of the disk is told as: {other}"),
        }
    }
}

impl From<OpenError> for Told {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            other => panic!("a fault of the disk is told as: {other}"),
        }
    }
}

impl From<ReplicaError<StoreError>> for Told {
    fn from(error: ReplicaError<StoreError>) -> Self {
        match error {
            ReplicaError::Store(error) => error.into(),
            other => panic!("a fault of the disk is told as: {other}"),
        }
    }
}
