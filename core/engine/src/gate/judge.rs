//! Judging: decode, place in the document, policy, apply, save, load. And authoring for desk devices.
//!
//! [`serve`] is what the relay's worker process runs: one request in, one answer out, no keys, no
//! state kept. If a request kills it, the relay knows which one did.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::caps;
use super::chunk::{self, DecodedChange};
use crate::codec;
use crate::document::{CatalogItem, Document, DocumentError, PetitionView, field};
use crate::fold::EventKind;
use crate::ids::{Actor, DocId, Hash, RecordId};
use crate::intent::RecordDraft;
use crate::limits::DOC_BYTES;
use crate::policy::{self, Denial, Facts, Rule};
use crate::record::{CatalogRef, Comment, Event, Position};
use crate::summary::{DocKind, Summary};

/// What a worker is asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Request {
    /// Judge groups in order.
    #[n(0)]
    Judge(#[n(0)] Job),
    /// Make a desk device's change.
    #[n(1)]
    Author(#[n(0)] AuthorJob),
    /// Read a petition for a screen.
    #[n(2)]
    Read(#[n(0)] ReadJob),
    /// Make the administration's change of a catalog.
    #[n(3)]
    Catalog(#[n(0)] CatalogJob),
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(flat)]
pub enum Reply {
    /// To `Judge`.
    #[n(0)]
    Judged(#[n(0)] Judged),
    /// To `Author` and `Catalog`: the changes, each on top of the one before; none when there is nothing
    /// to do.
    #[n(1)]
    Authored(#[n(0)] Vec<ByteVec>),
    /// To `Read`.
    #[n(2)]
    Read(#[n(0)] Box<Detail>),
    /// It could not be done; nothing is harmed.
    #[n(3)]
    Failed(#[n(0)] String),
}

/// Groups to judge, with the documents they touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Job {
    /// Documents as saved; absent ones are to be created.
    #[n(0)]
    pub docs: Vec<JobDoc>,
    /// Groups, in order.
    #[n(1)]
    pub groups: Vec<JobGroup>,
}

/// A document of a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobDoc {
    /// Its id.
    #[n(0)]
    pub doc: DocId,
    /// `save_nocompress` of it.
    #[n(1)]
    pub saved: ByteVec,
}

/// An atomic group of a job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JobGroup {
    /// Its author.
    #[n(0)]
    pub facts: Facts,
    /// Its entries.
    #[n(1)]
    pub entries: Vec<crate::envelope::Entry>,
    /// It was in the log before a backup was put back, as the city itself signed: policy and caps let it in
    /// then. That it fits, and does no harm, is asked again.
    #[n(2)]
    pub proven: bool,
}

/// The verdict on a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Judged {
    /// One per group.
    #[n(0)]
    pub groups: Vec<Verdict>,
    /// The changed documents.
    #[n(1)]
    pub docs: Vec<JobDoc>,
}

/// The verdict on one group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub enum Verdict {
    /// All its entries are let in.
    #[n(0)]
    Accepted(#[n(0)] Vec<AcceptedEntry>),
    /// Against a rule.
    #[n(1)]
    Refused {
        /// The rule.
        #[n(0)]
        rule: Rule,
        /// The field.
        #[n(1)]
        field: Option<String>,
    },
    /// It needs changes that are not here (or that were not accepted: the caller knows).
    #[n(2)]
    Waiting {
        /// Their hashes.
        #[n(0)]
        deps: Vec<Hash>,
    },
}

impl From<Denial> for Verdict {
    fn from(denial: Denial) -> Self {
        Self::Refused {
            rule: denial.rule,
            field: denial.field,
        }
    }
}

impl From<Rule> for Verdict {
    fn from(rule: Rule) -> Self {
        Self::Refused { rule, field: None }
    }
}

/// An entry that is let in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcceptedEntry {
    /// The change.
    #[n(0)]
    pub hash: Hash,
    /// Its actor.
    #[n(1)]
    pub actor: Actor,
    /// The document's summary after it.
    #[n(2)]
    pub summary: Summary,
    /// It created the document.
    #[n(3)]
    pub created: bool,
}

/// What a desk device's user did, to be made into a change.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuthorJob {
    /// The document as saved.
    #[n(0)]
    pub saved: ByteVec,
    /// The heads that the user was looking at.
    #[n(1)]
    pub heads: Vec<Hash>,
    /// The desk's actor.
    #[n(2)]
    pub actor: Actor,
    /// The intent's id.
    #[n(3)]
    pub record: RecordId,
    /// The records to add.
    #[n(4)]
    pub records: Vec<RecordDraft>,
    /// A change without operations instead, however few heads there are: it carries a folio.
    #[n(5)]
    pub bare: bool,
}

/// Entries to put into a catalog, or a catalog to make.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CatalogJob {
    /// The catalog as saved; `None` to make it.
    #[n(0)]
    pub saved: Option<ByteVec>,
    /// The administration's actor.
    #[n(1)]
    pub actor: Actor,
    /// Which catalog it is.
    #[n(2)]
    pub name: String,
    /// The entries as they should be; those that stand already are passed over.
    #[n(3)]
    pub items: Vec<CatalogItem>,
}

/// A petition to read for a screen.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReadJob {
    /// The document as saved.
    #[n(0)]
    pub saved: ByteVec,
    /// Who looks: decides what acts are offered.
    #[n(1)]
    pub facts: Facts,
}

/// A record with its key and the change that brought it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Keyed<T> {
    /// Key.
    #[n(0)]
    pub id: RecordId,
    /// Change.
    #[n(1)]
    pub change: Hash,
    /// Record.
    #[n(2)]
    pub record: T,
}

/// All that a petition's screen shows.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Detail {
    /// The row of the lists.
    #[n(0)]
    pub summary: Summary,
    /// Description.
    #[n(1)]
    pub description: String,
    /// Kind of petition.
    #[n(2)]
    pub kind: Option<CatalogRef>,
    /// Street and number.
    #[n(3)]
    pub street: Option<String>,
    /// First cross street.
    #[n(4)]
    pub cross1: Option<String>,
    /// Second cross street.
    #[n(5)]
    pub cross2: Option<String>,
    /// Position.
    #[n(6)]
    pub position: Option<Position>,
    /// Text fields with several concurrent values, the shown one first.
    #[n(7)]
    pub alternatives: Vec<(String, Vec<String>)>,
    /// Events, in an order in which each comes after those its author had seen.
    #[n(8)]
    pub events: Vec<Keyed<Event>>,
    /// Comments, likewise.
    #[n(9)]
    pub comments: Vec<Keyed<Comment>>,
    /// The two sides of each open conflict.
    #[n(10)]
    pub conflicts: Vec<(RecordId, RecordId)>,
    /// Terminal events attached for review.
    #[n(11)]
    pub review: Vec<RecordId>,
    /// Events that the viewer may add.
    #[n(12)]
    pub allowed: Vec<EventKind>,
    /// Commitment to the petitioner.
    #[n(13)]
    pub petitioner: Option<Hash>,
    /// Number of attachments.
    #[n(14)]
    pub attachments: u32,
}

/// Answers one encoded [`Request`] with one encoded [`Reply`]. Never keeps anything.
pub fn serve(request: &[u8]) -> Vec<u8> {
    let reply = match codec::decode::<Request>(request) {
        Ok(Request::Judge(job)) => match judge(&job) {
            Ok(judged) => Reply::Judged(judged),
            Err(error) => Reply::Failed(error.to_string()),
        },
        Ok(Request::Author(job)) => match author(&job) {
            Ok(changes) => Reply::Authored(changes.into_iter().map(ByteVec::from).collect()),
            Err(error) => Reply::Failed(error.to_string()),
        },
        Ok(Request::Catalog(job)) => match author_catalog(&job) {
            Ok(change) => Reply::Authored(change.into_iter().map(ByteVec::from).collect()),
            Err(error) => Reply::Failed(error.to_string()),
        },
        Ok(Request::Read(job)) => match detail(&job) {
            Ok(detail) => Reply::Read(Box::new(detail)),
            Err(error) => Reply::Failed(error.to_string()),
        },
        Err(error) => Reply::Failed(error.to_string()),
    };
    codec::encode(&reply)
}

/// Judges the groups of a job in order, each on what the accepted ones before it left.
///
/// # Errors
/// When a stored document does not open, or does not open again after the changes: the caller then
/// judges the groups one by one and quarantines the one at fault.
pub fn judge(job: &Job) -> Result<Judged, DocumentError> {
    let mut desk = Desk::default();
    for JobDoc { doc, saved } in &job.docs {
        desk.bytes.insert(*doc, saved.len());
        desk.docs.insert(*doc, Document::load(saved)?);
    }
    let groups = job.groups.iter().map(|group| desk.group(group)).collect();
    Ok(Judged {
        groups,
        docs: desk.finish()?,
    })
}

/// The documents under judgement.
#[derive(Default)]
struct Desk {
    docs: BTreeMap<DocId, Document>,
    changed: BTreeMap<DocId, Vec<Hash>>,
    /// At least as many bytes as the documents have when they are saved.
    bytes: BTreeMap<DocId, usize>,
    spoilt: bool,
}

impl Desk {
    fn group(&mut self, group: &JobGroup) -> Verdict {
        // One entry changes nothing unless it is accepted; several may have to be taken back.
        let before = (group.entries.len() > 1)
            .then(|| (self.docs.clone(), self.changed.clone(), self.bytes.clone()));
        let mut accepted = Vec::with_capacity(group.entries.len());
        for entry in &group.entries {
            match self.entry(group, entry.doc, &entry.change) {
                Ok(entry) => accepted.push(entry),
                Err(verdict) => {
                    if let Some((docs, changed, bytes)) = before {
                        (self.docs, self.changed, self.bytes) = (docs, changed, bytes);
                    }
                    return verdict;
                }
            }
        }
        Verdict::Accepted(accepted)
    }

    fn entry(
        &mut self,
        group: &JobGroup,
        doc: DocId,
        raw: &[u8],
    ) -> Result<AcceptedEntry, Verdict> {
        let change = chunk::decode_change(raw).map_err(|_| Verdict::from(Rule::BadChange))?;
        let hash = Hash(change.hash);
        if group.proven && self.docs.get(&doc).is_some_and(|held| held.has(&hash)) {
            // Somebody else gave it back in this very job: looked at again once that is committed.
            return Err(Verdict::Waiting { deps: vec![hash] });
        }
        let created = change.deps.is_empty();
        if created {
            self.check_new(group, doc, &change)?;
        } else {
            self.check_next(group, doc, &change)?;
        }
        let document = match self.docs.get_mut(&doc) {
            Some(document) => document,
            None => &mut Document::empty(),
        };
        let before = self.bytes.get(&doc).copied().unwrap_or(0);
        let bytes = match group.proven {
            true => caps::grown(before, raw),
            false => caps::check(document, &change, raw, before)?,
        };
        let document = self.docs.entry(doc).or_insert_with(Document::empty);
        let applied = document.apply(raw).and_then(|_| document.summary());
        let summary = applied.map_err(|_| {
            // Our own checks let through what the document does not take: nothing of this job stands.
            self.spoilt = true;
            Verdict::from(Rule::BadChange)
        })?;
        self.changed.insert(doc, summary.heads.clone());
        self.bytes.insert(doc, bytes);
        Ok(AcceptedEntry {
            hash,
            actor: Actor(*change.actor.as_bytes()),
            summary,
            created,
        })
    }

    fn check_new(
        &self,
        group: &JobGroup,
        doc: DocId,
        change: &DecodedChange,
    ) -> Result<(), Verdict> {
        if DocId::of_creation(&Hash(change.hash)) != doc || self.docs.contains_key(&doc) {
            return Err(Rule::BadDocId.into());
        }
        if change.seq != 1 || change.start_op != 1 {
            return Err(Rule::BadSequence.into());
        }
        match group.proven {
            true => Ok(()),
            false => policy::check(&group.facts, None, change).map_err(Verdict::from),
        }
    }

    fn check_next(
        &self,
        group: &JobGroup,
        doc: DocId,
        change: &DecodedChange,
    ) -> Result<(), Verdict> {
        let deps: Vec<Hash> = change.deps.iter().copied().map(Hash).collect();
        let Some(document) = self.docs.get(&doc) else {
            return Err(Verdict::Waiting { deps });
        };
        let missing: Vec<Hash> = deps
            .iter()
            .copied()
            .filter(|dep| !document.has(dep))
            .collect();
        if !missing.is_empty() {
            return Err(Verdict::Waiting { deps: missing });
        }
        document
            .check_fit(change)
            .map_err(|_| Verdict::from(Rule::BadSequence))?;
        if group.proven {
            return Ok(());
        }
        let facts = &group.facts;
        let unreadable = |_| Verdict::from(Rule::BadSequence);
        if document.kind() == Some(DocKind::Catalog) {
            let before = document.catalog_at(&deps).map_err(unreadable)?;
            return policy::check_catalog(facts, &before, change).map_err(Verdict::from);
        }
        let view = document.view_at(&deps).map_err(unreadable)?;
        policy::check(facts, Some(&view), change).map_err(Verdict::from)
    }

    /// Saves what changed and opens it again: some damage shows only then.
    fn finish(self) -> Result<Vec<JobDoc>, DocumentError> {
        if self.spoilt {
            return Err(DocumentError::Unappliable);
        }
        let mut out = Vec::with_capacity(self.changed.len());
        for (doc, heads) in self.changed {
            let Some(document) = self.docs.get(&doc) else {
                continue;
            };
            let saved = document.save();
            if saved.len() > DOC_BYTES || Document::load(&saved)?.heads() != heads {
                return Err(DocumentError::Unreadable);
            }
            out.push(JobDoc {
                doc,
                saved: saved.into(),
            });
        }
        Ok(out)
    }
}

/// Makes a desk device's change on what its user was looking at, joined with the desk's own last
/// change there, so that ancestry is true and one actor's changes stay in one line. Where that is very
/// many heads, they are joined first; without records that is all.
///
/// # Errors
/// When the document does not open or does not know the heads.
pub fn author(job: &AuthorJob) -> Result<Vec<Vec<u8>>, DocumentError> {
    let document = Document::load(&job.saved)?;
    let mut heads = job.heads.clone();
    heads.extend(document.last_of(&job.actor).map(|(_, hash)| hash));
    let mut seen = document.at(&heads)?;
    let mut made = seen.join_heads(job.actor)?;
    if job.bare && made.is_empty() {
        made.push(seen.join(job.actor)?);
    }
    let records = job
        .records
        .iter()
        .filter_map(RecordDraft::record)
        .collect::<Vec<_>>();
    if !records.is_empty() {
        made.push(seen.add_records(job.actor, job.record, &records)?);
    }
    Ok(made.into_iter().map(|made| made.bytes).collect())
}

/// Makes a catalog's change; none when everything stands already.
///
/// # Errors
/// When the document does not open or is not a catalog.
pub fn author_catalog(job: &CatalogJob) -> Result<Option<Vec<u8>>, DocumentError> {
    let Some(saved) = &job.saved else {
        let (_, _, made) = Document::create_catalog(job.actor, &job.name, &job.items)?;
        return Ok(Some(made.bytes));
    };
    let mut document = Document::load(saved)?;
    let before = document.catalog_at(&document.heads())?;
    let fresh = job.items.iter().filter(|item| !before.items.contains(item));
    let fresh: Vec<CatalogItem> = fresh.cloned().collect();
    if fresh.is_empty() {
        return Ok(None);
    }
    Ok(Some(document.put_items(job.actor, &fresh)?.bytes))
}

/// Reads a petition for a screen.
///
/// # Errors
/// When the document does not open or is not a petition.
pub fn detail(job: &ReadJob) -> Result<Detail, DocumentError> {
    let document = Document::load(&job.saved)?;
    let view = document.view()?;
    Detail::of(&document, &view, &job.facts)
}

impl Detail {
    /// Everything that a screen shows of the petition, in the order in which it became known.
    ///
    /// # Errors
    /// When the document is not a petition.
    pub fn of(
        document: &Document,
        view: &PetitionView,
        facts: &Facts,
    ) -> Result<Self, DocumentError> {
        let order: BTreeMap<Hash, usize> = document
            .changes()
            .iter()
            .enumerate()
            .map(|(i, made)| (made.hash, i))
            .collect();
        let text = |name| view.text(name).map(str::to_owned);
        Ok(Self {
            summary: view.summary()?,
            description: text(field::DESCRIPTION).unwrap_or_default(),
            kind: view.reference(field::KIND),
            street: text(field::STREET),
            cross1: text(field::CROSS1),
            cross2: text(field::CROSS2),
            position: view.position(),
            alternatives: alternatives(view),
            events: in_order(&view.events, &order),
            comments: in_order(&view.comments, &order),
            conflicts: view.state.conflicts.clone(),
            review: view.state.review.clone(),
            allowed: policy::allowed_events(facts, view),
            petitioner: view
                .bytes(field::PETITIONER)
                .and_then(|b| Hash::from_slice(b).ok()),
            attachments: u32::try_from(view.attachments.len()).unwrap_or(u32::MAX),
        })
    }
}

fn in_order<T: Clone>(
    entries: &[crate::document::RecordEntry<T>],
    order: &BTreeMap<Hash, usize>,
) -> Vec<Keyed<T>> {
    let mut keyed: Vec<Keyed<T>> = entries
        .iter()
        .map(|e| Keyed {
            id: e.id,
            change: e.change,
            record: e.record.clone(),
        })
        .collect();
    keyed.sort_by_key(|entry| (order.get(&entry.change).copied(), entry.id));
    keyed
}

fn alternatives(view: &PetitionView) -> Vec<(String, Vec<String>)> {
    view.fields
        .iter()
        .filter(|(_, field)| field.values.len() > 1)
        .map(|(name, field)| {
            let values = field.values.iter().map(|(value, _)| shown(value)).collect();
            (name.clone(), values)
        })
        .collect()
}

fn shown(value: &automerge::ScalarValue) -> String {
    match value {
        automerge::ScalarValue::Str(text) => text.to_string(),
        automerge::ScalarValue::Bytes(bytes) => codec::decode::<CatalogRef>(bytes)
            .map_or_else(|_| "…".to_owned(), |reference| reference.name),
        other => other.to_string(),
    }
}
