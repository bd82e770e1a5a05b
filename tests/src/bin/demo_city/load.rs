//! The way into the city: petitions are written and signed on one thread, chunk by chunk, while what was
//! signed before is pushed through the devices' sessions.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use anyhow::Context;
use indicatif::ProgressBar;
use manzana_engine::codec;
use manzana_engine::document::{Document, MadeChange};
use manzana_engine::envelope::{Part, PartKind};
use manzana_engine::fold::EventKind;
use manzana_engine::ids::{Actor, DocId, Hash, RecordId, Seq};
use manzana_engine::record::{Comment, Event, Link, Record};
use manzana_engine::seal;
use manzana_engine::wire::Up;
use manzana_tests::author::{Author, Line};
use manzana_tests::device::Door;
use tokio::sync::mpsc;

use super::dice::Dice;
use super::plan::{Act, Planned, Step};

/// Petitions written at a time: their documents are in memory meanwhile.
const CHUNK: usize = 2_000;
/// Phases signed ahead of those on their way.
const AHEAD: usize = 12;

/// What the devices push, by the places of their authors, before the next phase may begin.
enum Phase {
    /// One after the other: folios are given in this order.
    InOrder(Vec<(usize, Vec<Up>)>),
    /// All at once.
    Together(Vec<(usize, Vec<Up>)>),
}

/// The devices, and the key that the city wants personal data sealed to.
pub(crate) struct Devices {
    pub(crate) authors: Vec<Author>,
    pub(crate) seal_key: [u8; 32],
}

/// Writes and pushes everything. Gives how many changes the relay took in.
pub(crate) async fn load(
    devices: Devices,
    door: Door,
    planned: Vec<Planned>,
    seed: u64,
    progress: &ProgressBar,
) -> anyhow::Result<u64> {
    let lines = devices.authors.iter().map(|author| Some(author.line()));
    let mut pusher = Pusher {
        door: Arc::new(door),
        lines: lines.collect(),
        pushed: 0,
    };
    let (signed, mut due) = mpsc::channel(AHEAD);
    let writer = std::thread::spawn(move || {
        let mut writer = Writer {
            devices,
            dice: Dice::new(seed),
            docs: Vec::with_capacity(planned.len()),
            signed,
        };
        planned.chunks(CHUNK).all(|chunk| writer.chunk(chunk))
    });
    while let Some(phase) = due.recv().await {
        pusher.push(phase, progress).await?;
    }
    let finished = writer.join().ok().context("writing failed")?;
    anyhow::ensure!(finished, "not everything was pushed");
    Ok(pusher.pushed)
}

struct Writer {
    devices: Devices,
    dice: Dice,
    /// The documents so far, in the order of the plan.
    docs: Vec<DocId>,
    signed: mpsc::Sender<Phase>,
}

impl Writer {
    /// Writes and signs one chunk; `false` when nobody pushes any more.
    fn chunk(&mut self, chunk: &[Planned]) -> bool {
        let mut open = Vec::with_capacity(chunk.len());
        let mut runs = Vec::new();
        for run in chunk.chunk_by(|one, next| one.by == next.by) {
            for planned in run {
                let (doc, document) = self.capture(planned);
                self.docs.push(doc);
                open.push((doc, Open::new(document)));
            }
            let author = run[0].by.place();
            runs.push((author, self.devices.authors[author].take_ready()));
        }
        let mut pushed_by_somebody = self.signed.blocking_send(Phase::InOrder(runs)).is_ok();
        // Step by step, so that what each stands upon is there.
        let steps = chunk.iter().map(|planned| planned.steps.len()).max();
        for step in 0..steps.unwrap_or(0) {
            for (planned, (doc, open)) in chunk.iter().zip(&mut open) {
                if let Some(step) = planned.steps.get(step) {
                    self.perform(*doc, open, step);
                }
            }
            let authors = self.devices.authors.iter_mut().enumerate();
            let ready = authors.map(|(place, author)| (place, author.take_ready()));
            let phase = Phase::Together(ready.filter(|(_, frames)| !frames.is_empty()).collect());
            pushed_by_somebody &= self.signed.blocking_send(phase).is_ok();
        }
        pushed_by_somebody
    }

    fn capture(&mut self, planned: &Planned) -> (DocId, Document) {
        let author = &mut self.devices.authors[planned.by.place()];
        author.now = planned.at;
        let record = author.record();
        let mut form = planned.form.clone();
        let sealed = planned.petitioner.as_ref().map(|petitioner| {
            let key = &self.devices.seal_key;
            let sealed = seal::seal(petitioner, &record, key, &mut self.dice);
            let (commitment, content) = sealed.expect("the city's key");
            form.petitioner = Some(commitment);
            (content, petitioner.masked_name().into_bytes())
        });
        let recorded = Event::new(author.by(), EventKind::Recorded);
        let (document, doc, made) =
            Document::create_petition(author.actor(), record, &form, recorded).expect("a petition");
        let part = |kind, content| codec::encode(&Part { kind, doc, content });
        let parts = sealed.map(|(content, name)| {
            vec![
                part(PartKind::Petitioner, content),
                part(PartKind::MaskedName, name),
            ]
        });
        author.sign(doc, made, parts.unwrap_or_default());
        (doc, document)
    }

    fn perform(&mut self, doc: DocId, open: &mut Open, step: &Step) {
        let author = &mut self.devices.authors[step.who.place()];
        author.now = step.at;
        let by = author.by();
        let event = |kind, fill: &dyn Fn(&mut Event)| {
            let mut event = Event::new(by, kind);
            fill(&mut event);
            Record::Event(event)
        };
        let record = match &step.act {
            Act::Refer(agency) => event(EventKind::Referred, &|e| e.agency = Some(agency.clone())),
            Act::Started => event(EventKind::Started, &|_| {}),
            Act::NotYet(reason) => event(EventKind::NotYet, &|e| e.reason = Some(reason.clone())),
            Act::Done(note) => event(EventKind::Done, &|e| e.note = Some(note.clone())),
            Act::NotApplicable(reason) => event(EventKind::NotApplicable, &|e| {
                e.reason = Some(reason.clone());
            }),
            Act::Confirmed => event(EventKind::CitizenConfirmed, &|_| {}),
            Act::Final(outcome, reason) => event(EventKind::FinalState, &|e| {
                e.outcome = Some(*outcome);
                e.reason = Some(reason.clone());
            }),
            Act::Comment(text) => Record::Comment(Comment {
                by,
                text: text.clone(),
            }),
            Act::DuplicateOf(place) => Record::Link(Link {
                by,
                other: self.docs[*place],
                undone: false,
            }),
        };
        let (actor, id) = (author.actor(), author.record());
        let made = open.add(actor, id, &record, step.blind);
        author.sign(doc, made, Vec::new());
    }
}

/// A petition that is being written.
struct Open {
    document: Document,
    /// Its heads before the last step.
    before: Vec<Hash>,
}

impl Open {
    fn new(document: Document) -> Self {
        Self {
            before: document.heads(),
            document,
        }
    }

    /// Adds a record. Who acts blind has not seen what the step before said.
    fn add(&mut self, actor: Actor, id: RecordId, record: &Record, blind: bool) -> MadeChange {
        let records = std::slice::from_ref(record);
        if blind {
            let mut seen = self.document.at(&self.before).expect("its own heads");
            let made = seen.add_records(actor, id, records).expect("a petition");
            self.document.apply(&made.bytes).expect("it fits");
            return made;
        }
        self.before = self.document.heads();
        let made = self.document.add_records(actor, id, records);
        made.expect("a petition")
    }
}

struct Pusher {
    door: Arc<Door>,
    lines: Vec<Option<Line>>,
    /// Changes taken in: the log is at least as long.
    pushed: Seq,
}

impl Pusher {
    async fn push(&mut self, phase: Phase, progress: &ProgressBar) -> anyhow::Result<()> {
        match phase {
            Phase::InOrder(runs) => self.in_order(runs, progress).await,
            Phase::Together(frames) => self.together(frames, progress).await,
        }
    }

    async fn in_order(
        &mut self,
        runs: Vec<(usize, Vec<Up>)>,
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        let at = self.pushed;
        let mut connected = BTreeMap::new();
        for (author, frames) in runs {
            let line = match connected.entry(author) {
                Entry::Occupied(line) => line.into_mut(),
                Entry::Vacant(place) => {
                    let mut line = self.take(author)?;
                    line.connect(&self.door, at).await;
                    place.insert(line)
                }
            };
            let count = line.deliver(frames).await;
            self.pushed += count;
            progress.inc(count);
        }
        for (author, line) in connected {
            self.give_back(author, line);
        }
        Ok(())
    }

    async fn together(
        &mut self,
        frames: Vec<(usize, Vec<Up>)>,
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        let at = self.pushed;
        let mut running = tokio::task::JoinSet::new();
        for (author, frames) in frames {
            let (mut line, door) = (self.take(author)?, Arc::clone(&self.door));
            running.spawn(async move {
                line.connect(&door, at).await;
                let count = line.deliver(frames).await;
                (author, line, count)
            });
        }
        while let Some(done) = running.join_next().await {
            let (author, line, count) = done?;
            self.give_back(author, line);
            self.pushed += count;
            progress.inc(count);
        }
        Ok(())
    }

    fn take(&mut self, author: usize) -> anyhow::Result<Line> {
        self.lines[author].take().context("a device in two places")
    }

    /// Between its phases a device has no session: it would be sent what it does not read.
    fn give_back(&mut self, author: usize, mut line: Line) {
        line.hang_up();
        self.lines[author] = Some(line);
    }
}
