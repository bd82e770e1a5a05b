//! What operators see and do: lists from summaries, details from a worker, acts as envelopes of the
//! user's desk device, which go the same way as a phone's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use manzana_engine::answer::Answer;
use manzana_engine::envelope::{ChainContext, Entry, Envelope, EnvelopeBody};
use manzana_engine::fold::{self, EventKind};
use manzana_engine::gate::judge::{self, AuthorJob, Keyed, ReadJob, Reply, Request};
use manzana_engine::grant::{Role as GrantRole, Scope};
use manzana_engine::ids::{Actor, CatalogId, DocId, Hash, RecordId, UserId};
use manzana_engine::intent::RecordDraft;
use manzana_engine::keys::SecretKey;
use manzana_engine::policy::{Facts, Rule, outcome_of};
use manzana_engine::record::{By, CatalogRef, Comment, Event, Record};
use manzana_engine::summary::{DocKind, Priority as DocPriority};
use tokio::sync::{broadcast, oneshot};

use super::intake::{IntakeError, Submission};
use super::{Relay, RelayError};
use crate::desk::{
    Act, ActKind, ActRequest, AgencyReport, Alternative, Catalogs, CommentView, Days, Desk,
    DeskError, Detail, EventView, HexHash, HexId, ListPage, ListQuery, LiveRow, Outcome, Position,
    Priority, Role, Row, RowsSince, SessionRecord, Status, StatusFilter, UserRecord, Viewer,
};
use crate::storage::{
    ActKey, Committed, DeviceRecord, DocState, ListFilter, SessionRow,
    StatusFilter as StoredFilter, UserRow,
};

/// Setting: the catalogs of agencies and neighborhoods, as JSON.
pub const CATALOGS: &str = "catalogs";
/// Setting: number of the next intent of a desk device; the device's id follows.
const DESK_INTENT: &str = "desk-intent:";

impl From<RelayError> for DeskError {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Storage(error) => error.into(),
            RelayError::Gate(crate::gate::GateError::Busy) => Self::Busy,
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl From<IntakeError> for DeskError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Full => Self::StorageFull,
            IntakeError::TooMuch => Self::Busy,
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl Relay {
    /// Tells everyone what was committed: sessions of devices, then event streams of the console.
    pub(super) async fn publish(&self, committed: Arc<Committed>) {
        if let Some(last) = committed.rows.last() {
            self.head.send_if_modified(|head| {
                let news = last.seq > head.seq;
                head.seq = head.seq.max(last.seq);
                news
            });
        }
        let _ = self.commits.send(Arc::new(self.live.hold(&committed)));
        committed
            .docs
            .iter()
            .for_each(|state| self.look_at_heads(state));
        if self.rows.receiver_count() == 0 {
            return; // No console is open; one that opens reads from the storage first.
        }
        let mut docs: Vec<&Arc<DocState>> = committed
            .docs
            .iter()
            .filter(|s| s.summary.doc_kind == DocKind::Petition)
            .collect();
        docs.sort_unstable_by_key(|state| state.last_seq);
        for state in docs {
            match LiveRow::new(self.row(state)) {
                Ok(row) => drop(self.rows.send(Arc::new(row))),
                Err(error) => tracing::error!(%error, "a row could not be encoded"),
            }
        }
    }

    fn row(&self, state: &DocState) -> Row {
        let summary = &state.summary;
        let agencies: Vec<String> = summary.agencies.iter().map(|a| a.name.clone()).collect();
        Row {
            id: HexId(state.doc.0),
            folio: state.folio.map(|folio| self.face.folio_text(folio)),
            provisional: summary.capture.provisional_folio(),
            title: summary.title.clone(),
            agency: agencies.first().cloned(),
            agencies,
            agency_ids: summary.agencies.iter().map(|a| u64::from(a.id)).collect(),
            petitioner: state.masked_name.clone(),
            neighborhood: summary.neighborhood.as_ref().map(|n| n.name.clone()),
            neighborhood_id: summary.neighborhood.as_ref().map(|n| u64::from(n.id)),
            location: summary.location.clone(),
            status: status(summary.status),
            unconfirmed: summary.unconfirmed,
            conflict: summary.conflict,
            review: summary.review,
            priority: match summary.priority {
                DocPriority::Normal => Priority::Normal,
                DocPriority::Urgent => Priority::Urgent,
                DocPriority::Risk => Priority::Risk,
            },
            created_at: summary.captured_at,
            channel: summary
                .channel
                .as_ref()
                .map(|c| c.name.clone())
                .unwrap_or_default(),
            comments: summary.comments,
            seq: state.last_seq,
        }
    }

    async fn state(&self, id: DocId) -> Result<DocState, DeskError> {
        self.store
            .docs(&[id])
            .await?
            .remove(&id)
            .ok_or(DeskError::NotFound)
    }

    async fn read(&self, viewer: &Viewer, state: &DocState) -> Result<judge::Detail, DeskError> {
        let saved = state.saved.to_vec().into();
        let facts = desk_facts(viewer);
        match self.ask(&Request::Read(ReadJob { saved, facts })).await? {
            Reply::Read(detail) => Ok(*detail),
            _ => Err(internal("the gate answered something else")),
        }
    }

    async fn detail_of(&self, viewer: &Viewer, id: DocId) -> Result<Detail, DeskError> {
        let state = self.state(id).await?;
        let read = self.read(viewer, &state).await?;
        let users: BTreeSet<UserId> = read
            .events
            .iter()
            .map(|e| e.record.by.user)
            .chain(read.comments.iter().map(|c| c.record.by.user))
            .collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let users = self.store.users(&users).await?;
        let times = self.store.accepted_times(&id).await?;
        let names = Names {
            users: &users,
            times: &times,
        };
        Ok(names.detail(self.row(&state), &read))
    }

    /// Authors an act as the desk device of its user and takes it in like everything else.
    async fn author(
        &self,
        viewer: &Viewer,
        state: &DocState,
        request: &ActRequest,
    ) -> Result<(), DeskError> {
        // One desk act at a time: their chains are made here, and they are few.
        let _turn = self.desks.lock().await;
        let done = self.store.act_key(viewer.user, &request.key).await?;
        if done.is_some() {
            // The same key again.
            return Ok(());
        }
        let user = self.user(viewer.user).await?;
        let desk = self.desk_device(&user, grant_role(viewer.role)).await?;
        let now = self.now();
        let by = By {
            user: viewer.user,
            role: grant_role(viewer.role),
            at: now,
        };
        let act = self.record_of(by, &request.act).await?;
        let record = self.next_record(&desk).await?;
        let heads: Vec<Hash> = request.heads.iter().copied().map(Hash).collect();
        let job = AuthorJob {
            saved: state.saved.to_vec().into(),
            heads,
            actor: Actor::new(&desk.id, 0),
            record,
            records: vec![RecordDraft::from(&act)],
            bare: false,
        };
        let changes = match self.ask(&Request::Author(job)).await {
            Ok(Reply::Authored(changes)) => changes.into_iter().map(Vec::from).collect(),
            Ok(_) => return Err(internal("the gate answered something else")),
            Err(RelayError::Worker(_)) => {
                return Err(DeskError::Conflict {
                    reason: "unknown_heads",
                });
            }
            Err(error) => return Err(error.into()),
        };
        // Remembered with the commit and not before it: an act that was never done is done when it is
        // sent again.
        let act = ActKey {
            user: viewer.user,
            key: request.key.clone(),
            record,
        };
        let answers = self.append_as(&desk, state.doc, changes, Some(act)).await?;
        match answers.first() {
            Some(Answer::Accepted { .. }) => Ok(()),
            Some(Answer::Refused { rule, .. }) => Err(refusal(*rule)),
            _ => Err(DeskError::Conflict {
                reason: "unknown_heads",
            }),
        }
    }

    /// Takes changes in, all or none, as the next envelope of a desk device. The caller holds the desks'
    /// turn.
    pub(super) async fn append_as(
        &self,
        desk: &DeviceRecord,
        doc: DocId,
        changes: Vec<Vec<u8>>,
        act: Option<ActKey>,
    ) -> Result<Vec<Answer>, DeskError> {
        let entries = changes.into_iter().map(|change| Entry { doc, change });
        let envelope = self.desk_envelope(desk, entries.collect()).await?;
        self.submit_as_desk(envelope, act).await
    }

    /// The next envelope of a desk device, with one group.
    pub(super) async fn desk_envelope(
        &self,
        desk: &DeviceRecord,
        group: Vec<Entry>,
    ) -> Result<Box<Envelope>, DeskError> {
        let seed = desk
            .desk_seed
            .ok_or_else(|| internal("a desk device without its key"))?;
        let chain = self.store.chain(&desk.id, DESK_INCARNATION).await?;
        let context = ChainContext {
            city: self.keys.city(),
            device: desk.id,
            incarnation: DESK_INCARNATION,
            prev: chain.hash,
            grant: desk.grant_id,
        };
        let body = EnvelopeBody {
            n: chain.have + 1,
            device_time: self.now(),
            city_head: self.head.borrow().seq,
            groups: vec![group],
            detached: Vec::new(),
        };
        let key = SecretKey::from_seed(seed);
        Ok(Box::new(Envelope::sign(context, &body, Vec::new(), &key)))
    }

    pub(super) async fn submit_as_desk(
        &self,
        envelope: Box<Envelope>,
        act: Option<ActKey>,
    ) -> Result<Vec<Answer>, DeskError> {
        let (reply, answered) = oneshot::channel();
        let submission = Submission {
            envelope,
            verified: true,
            act,
            reply,
        };
        self.submissions
            .send(submission)
            .await
            .map_err(|_| internal("stopping"))?;
        Ok(answered.await.map_err(|_| internal("stopping"))??)
    }

    async fn next_record(&self, desk: &DeviceRecord) -> Result<RecordId, DeskError> {
        let name = format!("{DESK_INTENT}{}", desk.id);
        let last = self.store.setting(&name).await?;
        let number = last
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        self.store
            .put_setting(&name, &(number + 1).to_be_bytes())
            .await?;
        Ok(RecordId::new(&desk.id, number))
    }

    async fn record_of(&self, by: By, act: &Act) -> Result<Record, DeskError> {
        let event = |kind| Event::new(by, kind);
        Ok(Record::Event(match act {
            Act::Comment { text } => {
                return Ok(Record::Comment(Comment {
                    by,
                    text: text.clone(),
                }));
            }
            Act::Refer { agency, reason } => Event {
                agency: Some(self.agency(*agency).await?),
                note: reason.clone(),
                ..event(EventKind::Referred)
            },
            Act::NotApplicable { reason } => Event {
                reason: Some(reason.clone()),
                ..event(EventKind::NotApplicable)
            },
            Act::FinalState { outcome, reason } => Event {
                outcome: Some(match outcome {
                    Outcome::Done => fold::Outcome::Done,
                    Outcome::NotApplicable => fold::Outcome::NotApplicable,
                }),
                reason: reason.clone(),
                ..event(EventKind::FinalState)
            },
        }))
    }

    async fn agency(&self, id: u64) -> Result<CatalogRef, DeskError> {
        let found = self
            .catalogs()
            .await?
            .agencies
            .into_iter()
            .find(|entry| entry.id == id);
        let entry = found.ok_or(DeskError::Invalid { field: "agency" })?;
        let id = CatalogId::try_from(id).map_err(|_| DeskError::Invalid { field: "agency" })?;
        Ok(CatalogRef::new(id, entry.name))
    }
}

fn catalog_id(id: Option<u64>, field: &'static str) -> Result<Option<CatalogId>, DeskError> {
    let id = id.map(CatalogId::try_from).transpose();
    id.map_err(|_| DeskError::Invalid { field })
}

/// Desk devices live in the relay's own database: they have one life per epoch.
const DESK_INCARNATION: u32 = 1;

#[async_trait]
impl Desk for Relay {
    async fn list(&self, query: ListQuery) -> Result<ListPage, DeskError> {
        let before = match &query.cursor {
            Some(cursor) => Some(
                cursor
                    .parse()
                    .map_err(|_| DeskError::Invalid { field: "cursor" })?,
            ),
            None => None,
        };
        let filter = ListFilter {
            query: query.q,
            status: query.status.map(stored_filter),
            agency: catalog_id(query.agency, "agency")?,
            neighborhood: catalog_id(query.neighborhood, "neighborhood")?,
            before,
            limit: usize::from(query.limit),
        };
        // The head first: what is committed between the two reads comes again by the stream.
        let seq = self.store.head().await?.seq;
        let listed = self.store.list(&filter).await?;
        let docs = listed.rows;
        let full = docs.len() == filter.limit;
        let next = docs
            .last()
            .filter(|_| full)
            .map(|state| state.creation_seq.to_string());
        Ok(ListPage {
            rows: docs.iter().map(|state| self.row(state)).collect(),
            next,
            corrected: listed.corrected,
            total: listed.total,
            seq,
        })
    }

    async fn detail(&self, viewer: &Viewer, id: [u8; 16]) -> Result<Detail, DeskError> {
        self.detail_of(viewer, DocId(id)).await
    }

    async fn act(
        &self,
        viewer: &Viewer,
        id: [u8; 16],
        request: ActRequest,
    ) -> Result<Detail, DeskError> {
        let state = self.state(DocId(id)).await?;
        self.author(viewer, &state, &request).await?;
        self.detail_of(viewer, DocId(id)).await
    }

    async fn agency_report(&self, days: Days) -> Result<AgencyReport, DeskError> {
        let seq = self.store.head().await?.seq;
        let counts = self.store.by_agency(days.period()).await?;
        Ok(AgencyReport::new(days, counts, seq, self.now()))
    }

    async fn catalogs(&self) -> Result<Catalogs, DeskError> {
        let stored = self.store.setting(CATALOGS).await?;
        Ok(stored
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
    }

    async fn rows_since(&self, after_seq: u64, limit: usize) -> Result<RowsSince, DeskError> {
        let head = self.store.head().await?.seq;
        if after_seq > head {
            return Ok(RowsSince::TooOld { head });
        }
        let docs = self.store.changed_since(after_seq, limit).await?;
        let petitions = docs
            .iter()
            .filter(|s| s.summary.doc_kind == DocKind::Petition);
        Ok(RowsSince::Rows {
            rows: petitions.map(|state| self.row(state)).collect(),
            head,
        })
    }

    fn live(&self) -> broadcast::Receiver<Arc<LiveRow>> {
        self.rows.subscribe()
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, DeskError> {
        Ok(self.store.user_by_name(name).await?.and_then(console_user))
    }

    async fn put_session(&self, session: SessionRecord) -> Result<(), DeskError> {
        let row = SessionRow {
            token_hash: Hash(session.hash),
            user: session.user,
            csrf: String::new(),
            used_at: session.seen_ms,
        };
        Ok(self.store.put_session(&row).await?)
    }

    async fn session_by_hash(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<(SessionRecord, UserRecord)>, DeskError> {
        let Some(row) = self.store.session(&Hash(*hash)).await? else {
            return Ok(None);
        };
        let user = self.store.users(&[row.user]).await?.remove(&row.user);
        let session = SessionRecord {
            hash: *hash,
            user: row.user,
            seen_ms: row.used_at,
        };
        Ok(user.and_then(console_user).map(|user| (session, user)))
    }

    async fn delete_session(&self, hash: &[u8; 32]) -> Result<(), DeskError> {
        Ok(self.store.delete_session(&Hash(*hash)).await?)
    }

    async fn delete_sessions_before(&self, seen_ms: i64) -> Result<(), DeskError> {
        Ok(self.store.delete_sessions_before(seen_ms).await?)
    }

    async fn ready(&self) -> Result<(), DeskError> {
        self.store.head().await?;
        let nothing = Request::Judge(judge::Job::default());
        self.ask(&nothing).await?;
        Ok(())
    }
}

/// Puts names and times to what the document says.
struct Names<'n> {
    users: &'n BTreeMap<UserId, UserRow>,
    times: &'n BTreeMap<Hash, i64>,
}

impl Names<'_> {
    fn detail(&self, row: Row, read: &judge::Detail) -> Detail {
        let history: Vec<EventView> = read.events.iter().map(|event| self.event(event)).collect();
        let sides: BTreeSet<String> = read
            .conflicts
            .iter()
            .flat_map(|(a, b)| [a.key(), b.key()])
            .collect();
        Detail {
            description: read.description.clone(),
            kind: read.kind.as_ref().map(|kind| kind.name.clone()),
            service: read
                .summary
                .service
                .as_ref()
                .map(|service| service.name.clone()),
            street: read.street.clone().unwrap_or_default(),
            cross1: read.cross1.clone().unwrap_or_default(),
            cross2: read.cross2.clone().unwrap_or_default(),
            position: read.position.map(|at| Position {
                lat: f64::from(at.lat_e7) / 1e7,
                lon: f64::from(at.lon_e7) / 1e7,
                accuracy_m: Some(f64::from(at.accuracy_m)),
            }),
            heads: read
                .summary
                .heads
                .iter()
                .map(|head| HexHash(head.0))
                .collect(),
            alternatives: read
                .alternatives
                .iter()
                .map(|(field, values)| Alternative {
                    field: field.clone(),
                    values: values.clone(),
                })
                .collect(),
            notes: read
                .comments
                .iter()
                .map(|comment| self.comment(comment))
                .collect(),
            conflict_sides: history
                .iter()
                .filter(|e| sides.contains(&e.id))
                .cloned()
                .collect(),
            acts: acts(&read.allowed),
            history,
            row,
        }
    }

    fn event(&self, entry: &Keyed<Event>) -> EventView {
        let event = &entry.record;
        let (at, clamped) = self.when(&entry.change, event.by.at);
        EventView {
            id: entry.id.key(),
            kind: event.kind.as_str().to_owned(),
            at,
            clamped,
            by: self.name(event.by.user),
            role: event.by.role.as_str().to_owned(),
            agency: event.agency.as_ref().map(|agency| agency.name.clone()),
            reason: event.reason.clone(),
            next_at: event.next_at,
            note: event.note.clone(),
            outcome: outcome_of(event).map(|outcome| match outcome {
                fold::Outcome::Done => Outcome::Done,
                fold::Outcome::NotApplicable => Outcome::NotApplicable,
            }),
            evidence: event
                .evidence
                .as_ref()
                .map_or(0, |e| u32::try_from(e.len()).unwrap_or(0)),
        }
    }

    fn comment(&self, entry: &Keyed<Comment>) -> CommentView {
        let (at, _) = self.when(&entry.change, entry.record.by.at);
        CommentView {
            id: entry.id.key(),
            at,
            by: self.name(entry.record.by.user),
            role: entry.record.by.role.as_str().to_owned(),
            text: entry.record.text.clone(),
        }
    }

    /// A device's clock may be years ahead: nothing is shown later than it was received.
    fn when(&self, change: &Hash, claimed: i64) -> (i64, bool) {
        match self.times.get(change) {
            Some(received) if claimed > *received => (*received, true),
            _ => (claimed, false),
        }
    }

    fn name(&self, user: UserId) -> String {
        self.users
            .get(&user)
            .map_or_else(|| format!("#{user}"), |user| user.display.clone())
    }
}

fn acts(allowed: &[EventKind]) -> Vec<ActKind> {
    let mut acts = vec![ActKind::Comment];
    acts.extend(allowed.iter().filter_map(|kind| match kind {
        EventKind::Referred => Some(ActKind::Refer),
        EventKind::NotApplicable => Some(ActKind::NotApplicable),
        EventKind::FinalState => Some(ActKind::FinalState),
        _ => None,
    }));
    acts
}

fn desk_facts(viewer: &Viewer) -> Facts {
    Facts {
        // No device acts here: only the role and the scope decide what is offered.
        device: manzana_engine::ids::DeviceId([0; 16]),
        user: viewer.user,
        role: grant_role(viewer.role),
        scopes: vec![Scope::City],
    }
}

fn grant_role(role: Role) -> GrantRole {
    match role {
        Role::Operator => GrantRole::Operator,
        Role::Supervisor => GrantRole::Supervisor,
    }
}

fn console_user(user: UserRow) -> Option<UserRecord> {
    let role = match GrantRole::parse(&user.role)? {
        GrantRole::Operator => Role::Operator,
        GrantRole::Supervisor => Role::Supervisor,
        _ => return None,
    };
    Some(UserRecord {
        id: user.id,
        name: user.name,
        display: user.display,
        role,
        password_hash: user.password_hash,
        disabled: user.disabled,
    })
}

fn status(status: fold::Status) -> Status {
    match status {
        fold::Status::Pending => Status::Pending,
        fold::Status::Referred => Status::Referred,
        fold::Status::InProgress => Status::InProgress,
        fold::Status::Done => Status::Done,
        fold::Status::NotApplicable => Status::NotApplicable,
    }
}

fn stored_filter(filter: StatusFilter) -> StoredFilter {
    match filter {
        StatusFilter::Pending => StoredFilter::Pending,
        StatusFilter::Referred => StoredFilter::Referred,
        StatusFilter::InProgress => StoredFilter::InProgress,
        StatusFilter::Done => StoredFilter::Done,
        StatusFilter::DoneUnconfirmed => StoredFilter::DoneUnconfirmed,
        StatusFilter::NotApplicable => StoredFilter::NotApplicable,
        StatusFilter::Conflict => StoredFilter::Conflict,
    }
}

/// A refusal in the words that the console's catalog knows.
fn refusal(rule: Rule) -> DeskError {
    match rule {
        Rule::AlreadyFinal => DeskError::Conflict {
            reason: "already_final",
        },
        Rule::AlreadyClosed => DeskError::Conflict {
            reason: "already_closed",
        },
        Rule::InConflict => DeskError::Conflict {
            reason: "in_conflict",
        },
        Rule::DocumentFull => DeskError::Conflict {
            reason: "document_full",
        },
        Rule::RoleMayNot | Rule::OutOfScope => DeskError::Forbidden { rule: "role" },
        Rule::BadValue => DeskError::Invalid { field: "text" },
        other => internal(&format!("a desk act was refused: {other:?}")),
    }
}

pub(super) fn internal(what: &str) -> DeskError {
    DeskError::Internal(what.to_owned().into())
}
