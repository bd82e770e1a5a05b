//! Taking over: what a device did that is not in the city any more, recorded by the city itself, in words
//! that say whose it was.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::chunk::{self, Action, DecodedChange, Key, Obj, Op, Value};
use crate::codec;
use crate::document::{Document, DocumentError, PetitionView, field};
use crate::ids::{Actor, Hash, RecordId};
use crate::intent::{Edit, NewPetition};
use crate::record::{By, Comment, Record};
use crate::summary::Priority;

/// One change that the relay holds, to be made again by the city's own device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TakeOverJob {
    /// The document as saved; `None` for a capture, which becomes another petition.
    #[n(0)]
    pub saved: Option<ByteVec>,
    /// The change.
    #[n(1)]
    pub change: ByteVec,
    /// The city's actor.
    #[n(2)]
    pub actor: Actor,
    /// The intent's id.
    #[n(3)]
    pub record: RecordId,
    /// Who records it now. Each record keeps its time.
    #[n(4)]
    pub by: By,
    /// Whose it was and when, in words.
    #[n(5)]
    pub whose: String,
    /// Commitment to the petitioner of a capture, sealed for the petition that it becomes.
    #[n(6)]
    pub petitioner: Option<Hash>,
}

/// The record of a capture and its commitment to a sealed petitioner, read by the bounded decoder alone;
/// `None` for a change that has none.
pub fn sealed_in(change: &[u8]) -> Option<(RecordId, Hash)> {
    let change = chunk::decode_change(change).ok()?;
    let (mut capture, mut commitment) = (None, None);
    for op in change.ops.iter().filter(|_| change.deps.is_empty()) {
        match (&op.obj, &op.key, &op.action) {
            (Obj::Root, Key::Map(name), Action::Put(Value::Bytes(bytes)))
                if name == field::PETITIONER =>
            {
                commitment = Hash::from_slice(bytes).ok();
            }
            (Obj::Id(_), Key::Map(key), _) => capture = RecordId::from_key(key).ok(),
            _ => {}
        }
    }
    capture.zip(commitment)
}

/// Makes the changes, each on top of the one before; none for a change that only joined heads.
///
/// # Errors
/// When the document or the change does not open, or holds what the city's device does not write.
pub fn take_over(job: &TakeOverJob) -> Result<Vec<Vec<u8>>, DocumentError> {
    let change = chunk::decode_change(&job.change).map_err(|_| DocumentError::Unappliable)?;
    let made = match &job.saved {
        None => vec![capture(job)?],
        Some(saved) => again(job, Document::load(saved)?, &change)?,
    };
    Ok(made)
}

/// The petition that was captured, as another one.
fn capture(job: &TakeOverJob) -> Result<Vec<u8>, DocumentError> {
    let mut captured = Document::empty();
    captured.apply(&job.change)?;
    let view = captured.view()?;
    let recorded = view.recorded().ok_or(DocumentError::NotAPetition)?;
    let mut event = recorded.record.clone();
    event.by = as_of(job, &event.by);
    let petition = form(job, &view);
    let (_, _, made) = Document::create_petition(job.actor, job.record, &petition, event)?;
    Ok(made.bytes)
}

fn form(job: &TakeOverJob, view: &PetitionView) -> NewPetition {
    let text = |name| view.text(name).map(str::to_owned);
    let catalog_id = |name| view.number(name).and_then(|id| u32::try_from(id).ok());
    let description = view.text(field::DESCRIPTION).unwrap_or_default();
    NewPetition {
        title: text(field::TITLE).unwrap_or_default(),
        description: format!("{description}\n\n{}", job.whose),
        channel: view.reference(field::CHANNEL),
        kind: view.reference(field::KIND),
        agency: view.reference(field::AGENCY),
        service: view.reference(field::SERVICE),
        neighborhood: view.reference(field::NEIGHBORHOOD),
        street: text(field::STREET),
        cross1: text(field::CROSS1),
        cross2: text(field::CROSS2),
        position: view.position(),
        priority: view.priority(),
        block: catalog_id(field::BLOCK),
        sector: catalog_id(field::SECTOR),
        petitioner: job.petitioner,
    }
}

/// What was done on a petition, on what is known of it now.
fn again(
    job: &TakeOverJob,
    mut document: Document,
    change: &DecodedChange,
) -> Result<Vec<Vec<u8>>, DocumentError> {
    let (edits, mut records) = content(change)?;
    let mut said = false;
    for record in &mut records {
        *record.by_mut() = as_of(job, record.by());
        said |= says_whose(record, &job.whose);
    }
    if edits.is_empty() && records.is_empty() {
        return Ok(Vec::new());
    }
    if !said {
        let by = records.first().map_or(job.by, |record| *record.by());
        let text = job.whose.clone();
        records.push(Record::Comment(Comment { by, text }));
    }
    let mut made = document.join_heads(job.actor)?;
    match document.edit(job.actor, &edits) {
        Ok(edited) => made.push(edited),
        // Nothing was edited, or somebody wrote the same meanwhile.
        Err(DocumentError::Unchanged) => {}
        Err(error) => return Err(error),
    }
    made.push(document.add_records(job.actor, job.record, &records)?);
    Ok(made.into_iter().map(|made| made.bytes).collect())
}

fn as_of(job: &TakeOverJob, by: &By) -> By {
    By {
        at: by.at,
        ..job.by
    }
}

/// Puts the words before the record's own; `false` where it has none.
fn says_whose(record: &mut Record, whose: &str) -> bool {
    match record {
        Record::Comment(comment) => comment.text = format!("{whose}: {}", comment.text),
        Record::Event(event) => {
            event.note = Some(match &event.note {
                Some(note) => format!("{whose}: {note}"),
                None => whose.to_owned(),
            });
        }
        Record::Attachment(_) | Record::Link(_) => return false,
    }
    true
}

/// What the change puts. Its maps are those of the document that it was made on, which may be another one.
fn content(change: &DecodedChange) -> Result<(Vec<Edit>, Vec<Record>), DocumentError> {
    let (mut edits, mut records) = (Vec::new(), Vec::new());
    for op in &change.ops {
        match &op.obj {
            Obj::Root => edits.push(edit(op).ok_or(DocumentError::Unappliable)?),
            Obj::Id(_) => records.push(record(op).ok_or(DocumentError::Unappliable)?),
        }
    }
    Ok((edits, records))
}

fn record(op: &Op) -> Option<Record> {
    match &op.action {
        Action::Put(Value::Bytes(bytes)) => Record::decode_any(bytes),
        _ => None,
    }
}

fn edit(op: &Op) -> Option<Edit> {
    let (Key::Map(name), Action::Put(value)) = (&op.key, &op.action) else {
        return None;
    };
    Some(match (name.as_str(), value) {
        (field::TITLE, Value::Str(text)) => Edit::Title(text.clone()),
        (field::DESCRIPTION, Value::Str(text)) => Edit::Description(text.clone()),
        (field::STREET, Value::Str(text)) => Edit::Street(text.clone()),
        (field::NEIGHBORHOOD, Value::Bytes(bytes)) => {
            Edit::Neighborhood(codec::decode(bytes).ok()?)
        }
        (field::PRIORITY, Value::Uint(0)) => Edit::Priority(Priority::Normal),
        (field::PRIORITY, Value::Uint(1)) => Edit::Priority(Priority::Urgent),
        (field::PRIORITY, Value::Uint(2)) => Edit::Priority(Priority::Risk),
        _ => return None,
    })
}
