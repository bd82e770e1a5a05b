//! `manzana quarantine`: what the relay holds, for the people who decide what becomes of it.
//!
//! Nothing here opens a document: what is shown of a change is what the bounded decoder reads of it. The
//! commands note decisions; the relay does them, within seconds if it runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use manzana_engine::answer::HeldReason;
use manzana_engine::codec;
use manzana_engine::envelope::{Entry, Envelope};
use manzana_engine::gate::chunk::{self, Action, Key, Obj, Op, Value};
use manzana_engine::ids::{DeviceId, RecordId};
use manzana_engine::record::{CatalogRef, RECORD_MAPS, Record};

use super::{CityArgs, with_store};
use crate::phone::clean;
use crate::storage::{Decision, DocState, HeldGroup, RelayStore, StorageError, UserRow};
use crate::strings::moment;

/// Groups read at a time.
const PAGE: usize = 256;
/// Operations of a change that are shown.
const OPS: usize = 40;
/// Characters of a text that are shown: on its line of the list, and by itself.
const BRIEF: usize = 60;
const TEXT: usize = 1_000;

/// What the relay holds.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List what is held: work of devices that were revoked or whose grant had expired, and what killed
    /// the gate's worker.
    List(ListArgs),
    /// Show one of them.
    Show(OneArgs),
    /// Let their authors do them again, by themselves; the city records those whose device may not write
    /// any more (see `renew`), saying whose they were.
    Release(SomeArgs),
    /// Do not take them: their authors are told, and keep them to correct.
    Drop(SomeArgs),
}

/// All of them.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    city: CityArgs,
}

/// One of them.
#[derive(Debug, Args)]
pub struct OneArgs {
    #[command(flatten)]
    city: CityArgs,
    /// Its number in the list.
    id: u64,
}

/// Some of them.
#[derive(Debug, Args)]
pub struct SomeArgs {
    #[command(flatten)]
    city: CityArgs,
    /// Their numbers in the list.
    #[arg(required = true)]
    ids: Vec<u64>,
}

/// `manzana quarantine`.
///
/// # Errors
/// In words, for the person at the terminal.
pub fn run(command: QuarantineCommand) -> anyhow::Result<()> {
    match command {
        QuarantineCommand::List(args) => with_store(&args.city, async |_, store| list(store).await),
        QuarantineCommand::Show(args) => {
            with_store(&args.city, async |_, store| show(store, args.id).await)
        }
        QuarantineCommand::Release(args) => decide(&args, Decision::Release),
        QuarantineCommand::Drop(args) => decide(&args, Decision::Drop),
    }
}

fn decide(args: &SomeArgs, decision: Decision) -> anyhow::Result<()> {
    with_store(&args.city, async |_, store| {
        for id in &args.ids {
            match store.decide(*id, decision).await {
                Err(StorageError::Missing) => bail!("nothing is held as {id}, or not any more"),
                decided => decided?,
            }
        }
        println!("noted: the relay does it within seconds, or when it runs");
        Ok(())
    })
}

async fn list(store: &dyn RelayStore) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let page = store.held(after, PAGE).await?;
        let Some(last) = page.last().map(|held| held.id) else {
            return Ok(());
        };
        after = last;
        for held in &page {
            let seen = Seen::look(store, held).await?;
            println!("{}", seen.line());
        }
    }
}

async fn show(store: &dyn RelayStore, id: u64) -> anyhow::Result<()> {
    let before = id.checked_sub(1).context("numbers begin with 1")?;
    let found = store.held(before, 1).await?.pop();
    let held = found.filter(|held| held.id == id);
    let held = held.with_context(|| format!("nothing is held as {id}, or not any more"))?;
    print!("{}", Seen::look(store, &held).await?.page());
    Ok(())
}

/// A held group with what is known around it.
struct Seen<'h> {
    held: &'h HeldGroup,
    device_time: i64,
    entries: Vec<Entry>,
    author: Option<UserRow>,
    revoked: bool,
    folios: BTreeMap<[u8; 16], u64>,
}

impl<'h> Seen<'h> {
    async fn look(store: &dyn RelayStore, held: &'h HeldGroup) -> anyhow::Result<Self> {
        let envelope: Envelope = codec::decode(&held.envelope)?;
        let body = envelope.peek()?;
        let entries = body.groups.get(held.group).cloned().unwrap_or_default();
        let docs: Vec<_> = entries.iter().map(|entry| entry.doc).collect();
        let docs = store.docs(&docs).await?.into_values();
        let folio = |state: DocState| Some((state.doc.0, state.folio?));
        let device = store.device(&held.device).await?;
        let author = match &device {
            Some(device) => store.users(&[device.user]).await?.remove(&device.user),
            None => None,
        };
        Ok(Self {
            held,
            device_time: body.device_time,
            entries,
            author,
            revoked: device.is_some_and(|device| device.revoked_at.is_some()),
            folios: docs.filter_map(folio).collect(),
        })
    }

    /// Number, since when, why, whose, what, on which petitions, and what was decided.
    fn line(&self) -> String {
        let mut parts = vec![
            self.held.id.to_string(),
            moment(self.held.since),
            reason(self.held.reason).to_owned(),
            self.whose(),
            self.gist(),
            self.petitions().join(", "),
        ];
        parts.extend(self.state());
        clean(&parts.join(" | "))
    }

    fn page(&self) -> String {
        let held = self.held;
        let mut page = String::new();
        let revoked = if self.revoked { " (revoked)" } else { "" };
        let state = self.state().unwrap_or_else(|| "nothing decided".to_owned());
        let lines = [
            ("held as", held.id.to_string()),
            ("since", moment(held.since)),
            ("why", reason(held.reason).to_owned()),
            ("detail", held.detail.clone().unwrap_or_default()),
            ("author", self.whose()),
            ("device", format!("{}{revoked}", held.device)),
            ("place", format!("{} of life {}", held.n, held.incarnation)),
            ("done", moment(self.device_time)),
            ("petition", self.petitions().join(", ")),
            ("state", state),
        ];
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            // Writing into a String cannot fail.
            let _ = writeln!(page, "{name:<9} {}", clean(value));
        }
        for act in self.acts() {
            let _ = writeln!(page, "  {}", clean(&act));
        }
        page
    }

    fn whose(&self) -> String {
        match &self.author {
            Some(user) => format!("{} ({})", user.name, user.role),
            None => "unknown".to_owned(),
        }
    }

    /// The petitions: by folio, those that the city does not have by what they have.
    fn petitions(&self) -> Vec<String> {
        let name = |entry: &Entry| match self.folios.get(&entry.doc.0) {
            Some(folio) => format!("folio {folio}"),
            None => capture(entry, &self.held.device)
                .map_or_else(|| entry.doc.to_string(), |id| id.provisional_folio()),
        };
        let mut names: Vec<String> = self.entries.iter().map(name).collect();
        names.dedup();
        names
    }

    /// What was done, operation by operation.
    fn acts(&self) -> Vec<String> {
        let mut acts = Vec::new();
        for entry in &self.entries {
            match chunk::decode_change(&entry.change) {
                Ok(change) => acts.extend(change.ops.iter().filter_map(act).take(OPS)),
                Err(_) => acts.push("a change that cannot be read".to_owned()),
            }
        }
        acts.dedup();
        acts
    }

    /// What was done, in a few words: of a capture its subject.
    fn gist(&self) -> String {
        let acts = self.acts();
        let title = acts.iter().find(|act| act.starts_with("title: "));
        title
            .or(acts.first())
            .map_or_else(String::new, |act| brief(act))
    }

    fn state(&self) -> Option<String> {
        let decided = self.held.decision.map(|decision| match decision {
            Decision::Release => "to be released".to_owned(),
            Decision::Drop => "to be dropped".to_owned(),
        });
        let problem = self.held.problem.as_ref();
        decided.or_else(|| problem.map(|problem| format!("not done: {problem}")))
    }
}

fn reason(reason: HeldReason) -> &'static str {
    match reason {
        HeldReason::GrantRevoked => "grant revoked",
        HeldReason::GrantExpired => "grant expired",
        HeldReason::Quarantined => "quarantined",
        _ => "held",
    }
}

fn brief(text: &str) -> String {
    shorten(text, BRIEF)
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The record of the capture, where the entry creates a petition.
fn capture(entry: &Entry, device: &DeviceId) -> Option<RecordId> {
    let change = chunk::decode_change(&entry.change).ok()?;
    let mut ops = change.ops.iter().filter(|_| change.deps.is_empty());
    ops.find_map(|op| match &op.key {
        Key::Map(key) if op.obj != Obj::Root => RecordId::from_key(key).ok(),
        _ => None,
    })
    .filter(|id| id.belongs_to(device))
}

/// An operation in words; `None` for one that says nothing to people.
fn act(op: &Op) -> Option<String> {
    let Key::Map(name) = &op.key else {
        return Some("an operation that no petition has".to_owned());
    };
    match (&op.obj, &op.action) {
        (Obj::Root, Action::Put(value)) => {
            let words = value_words(value)?;
            Some(format!("{}: {words}", shorten(name, BRIEF)))
        }
        (Obj::Root, Action::MakeMap) if RECORD_MAPS.contains(&name.as_str()) => None,
        (Obj::Id(_), Action::Put(Value::Bytes(bytes))) => Some(record(bytes)),
        _ => Some("an operation that no petition has".to_owned()),
    }
}

fn value_words(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(shorten(text, TEXT)),
        Value::Uint(number) => Some(number.to_string()),
        Value::Bytes(bytes) => codec::decode::<CatalogRef>(bytes)
            .ok()
            .map(|reference| shorten(&reference.name, TEXT)),
        _ => Some("…".to_owned()),
    }
}

fn record(bytes: &[u8]) -> String {
    match Record::decode_any(bytes) {
        Some(Record::Event(event)) => {
            let mut words = event.kind.as_str().to_owned();
            let references = [event.agency, event.crew].into_iter().flatten();
            let texts = references.map(|reference| reference.name);
            for text in texts.chain(event.reason).chain(event.note) {
                let _ = write!(words, " — {}", shorten(&text, TEXT));
            }
            words
        }
        Some(Record::Comment(comment)) => format!("comment: {}", shorten(&comment.text, TEXT)),
        Some(Record::Link(link)) => format!("link to {}", link.other),
        Some(Record::Attachment(file)) => {
            format!(
                "attachment: {}, {} bytes",
                shorten(&file.media_type, BRIEF),
                file.size
            )
        }
        None => "a record of a newer kind".to_owned(),
    }
}
