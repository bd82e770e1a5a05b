//! The client: one device, as apps, bindings and tests hold it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use manzana_engine::codec;
use manzana_engine::document::CatalogView;
use manzana_engine::envelope::Envelope;
use manzana_engine::fold::EventKind;
use manzana_engine::grant::Role;
use manzana_engine::ids::{DocId, Hash, RecordId};
use manzana_engine::intent::{Amendment, Edit, Intent, NewPetition};
use manzana_engine::record::CatalogRef;
use manzana_engine::replica::{IntentState, ReplicaStore as _, Saved};
use manzana_engine::seal::{Entropy as _, Petitioner};
use minicbor::{Decode, Encode};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::changes::{BEHIND, Changes};
use crate::enrol::{self, Outcome};
use crate::error::ClientError;
use crate::invitation::Invitation;
use crate::keeper::{Keeper, State};
use crate::now_ms;
use crate::sync::{self, Shared, SyncReport};
use crate::views::{self, Held, Me, Petition, PetitionDetail, Status, ToCorrect};

/// Largest export to another phone, bytes.
const EXPORT_BYTES: usize = 16 << 20;
/// Most envelopes of one export.
const EXPORT_ENVELOPES: usize = 10_000;
/// What an export has around its envelopes, bytes at most.
const EXPORT_HEAD: usize = 64;
const EXPORT_MARK: &str = "manzana-envelopes-1";

/// How a client is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The device's own folder; made if it is not there.
    pub dir: PathBuf,
}

impl OpenOptions {
    /// A client in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
}

/// A step in a petition's life, as a person states it; the client adds who and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// What happened.
    pub kind: EventKind,
    /// The agency of a referral or proposal.
    pub agency: Option<CatalogRef>,
    /// Why.
    pub reason: Option<String>,
    /// A next date, milliseconds UTC.
    pub next_at: Option<i64>,
    /// Free words.
    pub note: Option<String>,
    /// Hashes of the photos that show it.
    pub evidence: Option<Vec<Hash>>,
    /// What a final state decided.
    pub outcome: Option<manzana_engine::fold::Outcome>,
    /// The crew of an assignment.
    pub crew: Option<CatalogRef>,
}

impl EventDraft {
    /// A bare step of this kind.
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            agency: None,
            reason: None,
            next_at: None,
            note: None,
            evidence: None,
            outcome: None,
            crew: None,
        }
    }
}

/// One device. Clones share it; the last one dropped stops its sync and closes its files.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    sync: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(running) = self.running().take() {
            running.task.abort();
        }
    }
}

impl Inner {
    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Opens the device in this folder, enrolled or not yet.
    ///
    /// # Errors
    /// [`ClientError::InUse`] while another process has it open; the storage's.
    pub async fn open(options: OpenOptions) -> Result<Self, ClientError> {
        let (changes, _) = broadcast::channel(BEHIND);
        let keeper = Keeper::open(options.dir, changes.clone()).await?;
        let inner = Inner {
            shared: Arc::new(Shared::new(keeper, changes)),
            sync: Mutex::new(None),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Stops the sync and closes the files: the folder is free when this returns. Every later call,
    /// of clones too, fails as cancelled.
    pub async fn close(&self) {
        self.stop_sync().await;
        self.inner.shared.keeper.end().await;
    }

    /// Enrols this device with a one-use code. If the answer is lost on its way, the same folder asks
    /// again with the same key: a relay may give the same answer, or ask for another code.
    ///
    /// # Errors
    /// [`ClientError::Untrusted`] when what answers is not the city's, [`ClientError::Unauthorised`]
    /// when the code is not (or no longer) good, [`ClientError::Offline`]…
    pub async fn enrol(&self, invitation: &Invitation) -> Result<Me, ClientError> {
        let keeper = &self.inner.shared.keeper;
        let mut asked = self.ask_enrolment(invitation).await?;
        if matches!(asked, Outcome::KnownKey) {
            keeper.run(|state| state.home.forget_enrolling()).await?;
            asked = self.ask_enrolment(invitation).await?;
        }
        let Outcome::Enrolled(meta) = asked else {
            return Err(ClientError::Internal("every key is known to the relay"));
        };
        let relay = invitation.relay.clone();
        keeper
            .run(move |state| {
                state.enrol(relay, *meta)?;
                Me::of(state)
            })
            .await
    }

    async fn ask_enrolment(&self, invitation: &Invitation) -> Result<Outcome, ClientError> {
        let (seed, incarnation) = self.inner.shared.keeper.run(begin_enrolment).await?;
        enrol::ask(invitation, seed, incarnation).await
    }

    /// Who this device is.
    pub async fn me(&self) -> Result<Me, ClientError> {
        self.read(Me::of).await
    }

    /// Captures a petition. When this returns it is durable: say "guardado".
    pub async fn capture(
        &self,
        petition: NewPetition,
        petitioner: Option<Petitioner>,
    ) -> Result<Saved, ClientError> {
        self.write(move |state| {
            let (replica, entropy) = state.replica()?;
            Ok(replica.capture(petition, petitioner.as_ref(), now_ms(), entropy)?)
        })
        .await
    }

    /// Adds a step to each of the petitions: one act, accepted whole or not at all.
    pub async fn act(&self, docs: &[DocId], draft: EventDraft) -> Result<Saved, ClientError> {
        let docs = docs.to_vec();
        self.write(move |state| {
            let (replica, _) = state.replica()?;
            let kind = draft.kind;
            let fill = |event: &mut manzana_engine::record::Event| {
                event.agency = draft.agency;
                event.reason = draft.reason;
                event.next_at = draft.next_at;
                event.note = draft.note;
                event.evidence = draft.evidence;
                event.outcome = draft.outcome;
                event.crew = draft.crew;
            };
            Ok(replica.act(&docs, now_ms(), fill, kind)?)
        })
        .await
    }

    /// Refers petitions to an agency; those who may only propose it (crews, agency desks) propose it.
    pub async fn refer(
        &self,
        docs: &[DocId],
        agency: CatalogRef,
        reason: Option<String>,
    ) -> Result<Saved, ClientError> {
        let kind = match self.me().await?.role {
            Role::Crew | Role::AgencyDesk => EventKind::ReferralProposed,
            _ => EventKind::Referred,
        };
        let draft = EventDraft {
            agency: Some(agency),
            reason,
            ..EventDraft::new(kind)
        };
        self.act(docs, draft).await
    }

    /// Comments on a petition.
    pub async fn comment(&self, doc: DocId, text: &str) -> Result<Saved, ClientError> {
        let text = text.to_owned();
        self.write(move |state| Ok(state.replica()?.0.comment(doc, &text, now_ms())?))
            .await
    }

    /// Corrects plain fields of a petition.
    pub async fn correct(&self, doc: DocId, edits: Vec<Edit>) -> Result<Saved, ClientError> {
        self.write(move |state| Ok(state.replica()?.0.correct(doc, edits, now_ms())?))
            .await
    }

    /// All petitions, newest captured first; no document is opened.
    pub async fn list(&self) -> Result<Vec<Petition>, ClientError> {
        self.read(views::list).await
    }

    /// One row; `None` when this device does not hold it (any more).
    pub async fn petition(&self, doc: DocId) -> Result<Option<Petition>, ClientError> {
        self.read(move |state| views::row(state, &doc)).await
    }

    /// One petition in full.
    pub async fn detail(&self, doc: DocId) -> Result<PetitionDetail, ClientError> {
        // Woken afterwards: one that does not open is asked for.
        self.write(move |state| views::detail(state, &doc)).await
    }

    /// The petition that a person names by folio, provisional folio or document id.
    pub async fn find(&self, text: &str) -> Result<DocId, ClientError> {
        let text = text.to_owned();
        self.read(move |state| views::find(state, &text)).await
    }

    /// The catalogs that this device holds (agencies, neighborhoods…), by name.
    pub async fn catalogs(&self) -> Result<Vec<CatalogView>, ClientError> {
        self.write(views::catalogs).await
    }

    /// What waits in "Por corregir", oldest first.
    pub async fn to_correct(&self) -> Result<Vec<ToCorrect>, ClientError> {
        self.read(views::to_correct).await
    }

    /// Does what waits in "Por corregir" again, with what the person changed in it; it leaves the list
    /// once that is durable.
    ///
    /// # Errors
    /// Policy's denial, or something changed that such an act does not have: then it stays as it was.
    pub async fn resend(&self, id: RecordId, changed: Amendment) -> Result<Saved, ClientError> {
        self.write(move |state| resend(state, &id, changed)).await
    }

    /// What the relay holds until somebody in the city decides, oldest first.
    pub async fn held(&self) -> Result<Vec<Held>, ClientError> {
        self.read(views::held).await
    }

    /// Takes something out of "Por corregir": it was done again otherwise, or is given up.
    pub async fn close_correction(&self, id: RecordId) -> Result<(), ClientError> {
        self.inner
            .shared
            .keeper
            .run(move |state| {
                waiting(state, &id)?;
                Ok(state.replica()?.0.close_correction(&id)?)
            })
            .await
    }

    /// A stream of what changes from now on. Bounded: a slow reader is told to read everything again.
    pub fn watch(&self) -> Changes {
        Changes {
            receiver: self.inner.shared.changes.subscribe(),
        }
    }

    /// The device at a glance.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let shared = &self.inner.shared;
        let mut status = self.read(views::status).await?;
        (status.connection, status.problem) = shared.connection();
        (status.bytes_up, status.bytes_down) = shared.traffic.read();
        Ok(status)
    }

    /// Keeps a session alive from now on, on the runtime that this is called in.
    pub fn start_sync(&self) {
        let mut running = self.inner.running();
        if running.as_ref().is_some_and(|r| !r.task.is_finished()) {
            return;
        }
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(sync::keep(Arc::clone(&self.inner.shared), stopped));
        *running = Some(Running { stop, task });
    }

    /// Ends the session; what was saved stays and goes with the next one.
    pub async fn stop_sync(&self) {
        let running = self.inner.running().take();
        if let Some(Running { stop, task }) = running {
            let _ = stop.send(true);
            let _ = task.await;
        }
    }

    /// The platform says that the network may have changed: an attempt is made at once.
    pub fn notify_network(&self) {
        self.inner.shared.network_changed();
    }

    /// Syncs until nothing is left to send or to receive, for `time` at the most. A sync that was
    /// running goes on afterwards; one that was not is stopped again.
    ///
    /// # Errors
    /// [`ClientError::Unauthorised`], [`ClientError::Untrusted`] and [`ClientError::OtherVersion`], where
    /// waiting does not help.
    pub async fn sync_until_idle(&self, time: Duration) -> Result<SyncReport, ClientError> {
        self.me().await?;
        let deadline = tokio::time::Instant::now() + time;
        let started_here = self.inner.running().is_none();
        self.start_sync();
        let result = sync::until_idle(&self.inner.shared, deadline).await;
        if started_here {
            self.stop_sync().await;
        }
        result
    }

    /// This device's unanswered work, for another phone to carry: any road will do.
    pub async fn export_unanswered(&self) -> Result<Vec<u8>, ClientError> {
        self.read(|state| {
            let mut export = Export {
                mark: EXPORT_MARK.to_owned(),
                envelopes: state.read()?.unanswered(EXPORT_ENVELOPES)?,
            };
            let mut bytes = codec::encode(&export);
            while bytes.len() > EXPORT_BYTES {
                // The oldest go first; the rest goes with another export.
                export.envelopes.truncate(export.envelopes.len() / 2);
                bytes = codec::encode(&export);
            }
            Ok(bytes)
        })
        .await
    }

    /// Takes over what another phone exported, to show and to offer to the relay. Gives how many acts
    /// were new.
    ///
    /// # Errors
    /// [`ClientError::BadExport`] when the bytes are not an export.
    pub async fn carry(&self, bytes: &[u8]) -> Result<usize, ClientError> {
        if bytes.len() > EXPORT_BYTES {
            return Err(ClientError::BadExport);
        }
        let export: Export = codec::decode(bytes).map_err(|_| ClientError::BadExport)?;
        if export.mark != EXPORT_MARK {
            return Err(ClientError::BadExport);
        }
        self.write(move |state| Ok(state.replica()?.0.carry(export.envelopes)?))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&State) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, ClientError> {
        self.inner.shared.keeper.run(|state| job(state)).await
    }

    /// Does something that there is to send afterwards.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut State) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let done = self.inner.shared.keeper.run(job).await?;
        self.inner.shared.wake.notify_one();
        Ok(done)
    }
}

/// Envelopes as files that [`Client::carry`] takes, in this order.
pub fn exports(envelopes: Vec<Envelope>) -> Vec<Vec<u8>> {
    let (mut files, mut file, mut bytes) = (Vec::new(), Vec::new(), 0);
    for envelope in envelopes {
        let more = codec::encode(&envelope).len();
        if file.len() == EXPORT_ENVELOPES || bytes + more > EXPORT_BYTES - EXPORT_HEAD {
            files.push(std::mem::take(&mut file));
            bytes = 0;
        }
        bytes += more;
        file.push(envelope);
    }
    files.push(file);
    files.retain(|file| !file.is_empty());
    let encoded = |envelopes| {
        codec::encode(&Export {
            mark: EXPORT_MARK.to_owned(),
            envelopes,
        })
    };
    files.into_iter().map(encoded).collect()
}

#[derive(Encode, Decode)]
struct Export {
    #[n(0)]
    mark: String,
    #[n(1)]
    envelopes: Vec<Envelope>,
}

fn begin_enrolment(state: &mut State) -> Result<([u8; 32], u32), ClientError> {
    if state.open.is_some() {
        return Err(ClientError::AlreadyEnrolled);
    }
    let (mut fresh, mut incarnation) = ([0; 32], [0; 4]);
    state.entropy.fill(&mut fresh);
    state.entropy.fill(&mut incarnation);
    let seed = state.home.enrolling_seed(|| fresh)?;
    Ok((seed, u32::from_be_bytes(incarnation)))
}

/// The intent, if it waits in "Por corregir".
fn waiting(state: &State, id: &RecordId) -> Result<Intent, ClientError> {
    let row = state.read()?.store().intent(id)?;
    let row = row.filter(|row| matches!(row.state, IntentState::ToCorrect { .. }));
    let row = row.ok_or(ClientError::NotFound)?;
    codec::decode(&row.intent).map_err(|_| ClientError::Internal("an intent cannot be read"))
}

fn resend(state: &mut State, id: &RecordId, changed: Amendment) -> Result<Saved, ClientError> {
    let mut intent = waiting(state, id)?;
    intent
        .amend(changed)
        .map_err(|denial| ClientError::Denied {
            rule: denial.rule,
            field: denial.field,
        })?;
    let (replica, _) = state.replica()?;
    Ok(replica.resend(id, intent, now_ms())?)
}
