//! A relay core in memory: rows, users and sessions in vectors, errors on request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use manzana_server::auth::hash_password;
use manzana_server::desk::{
    ActKind, ActRequest, AgencyReport, Catalogs, Days, Desk, DeskError, Detail, Entry, Groups,
    HexHash, HexId, ListPage, ListQuery, LiveRow, Priority, Role, Row, RowsSince, SessionRecord,
    Status, UserRecord, Viewer,
};
use tokio::sync::{Notify, broadcast};

pub(crate) const PASSWORD: &str = "una contraseña larga";
/// Small, so that a test can make a stream fall behind.
pub(crate) const LIVE_ROWS: usize = 4;

/// Hashing takes long enough to do it once.
fn password_hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash_password(PASSWORD).unwrap())
        .clone()
}

/// Where a read of rows stops until released.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Gate {
    BeforeSnapshot,
    AfterSnapshot,
}

#[derive(Default)]
struct State {
    rows: Vec<Row>,
    sessions: HashMap<[u8; 32], SessionRecord>,
    disabled: bool,
    too_old_before: u64,
    acts: Vec<(Viewer, ActRequest)>,
    queries: Vec<ListQuery>,
    failure: Option<fn() -> DeskError>,
    gate: Option<Gate>,
}

pub(crate) struct FakeDesk {
    state: Mutex<State>,
    live: broadcast::Sender<Arc<LiveRow>>,
    /// Told when a gated read has come to its gate.
    pub(crate) entered: Notify,
    /// Lets it go on.
    pub(crate) release: Notify,
}

impl FakeDesk {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            live: broadcast::channel(LIVE_ROWS).0,
            entered: Notify::new(),
            release: Notify::new(),
        }
    }

    /// Accepts a change: the row takes its place and goes to every stream.
    pub(crate) fn accept(&self, seq: u64) {
        let row = row(seq);
        self.state.lock().unwrap().rows.push(row.clone());
        let _ = self.live.send(Arc::new(LiveRow::new(row).unwrap()));
    }

    pub(crate) fn fail_with(&self, failure: fn() -> DeskError) {
        self.state.lock().unwrap().failure = Some(failure);
    }

    pub(crate) fn forget_before(&self, seq: u64) {
        self.state.lock().unwrap().too_old_before = seq;
    }

    pub(crate) fn disable_users(&self) {
        self.state.lock().unwrap().disabled = true;
    }

    /// The next `rows_since` stops there until released.
    pub(crate) fn gate_next_read(&self, gate: Gate) {
        self.state.lock().unwrap().gate = Some(gate);
    }

    async fn wait_at(&self, gate: Gate, next: Option<Gate>) {
        if next == Some(gate) {
            self.entered.notify_one();
            self.release.notified().await;
        }
    }

    fn snapshot(&self, after_seq: u64, limit: usize) -> RowsSince {
        let state = self.state.lock().unwrap();
        let head = state.rows.last().map_or(0, |row| row.seq);
        if after_seq < state.too_old_before {
            return RowsSince::TooOld { head };
        }
        let newer = state.rows.iter().filter(|row| row.seq > after_seq);
        RowsSince::Rows {
            rows: newer.take(limit).cloned().collect(),
            head,
        }
    }

    pub(crate) fn acts(&self) -> Vec<(Viewer, ActRequest)> {
        self.state.lock().unwrap().acts.clone()
    }

    pub(crate) fn queries(&self) -> Vec<ListQuery> {
        self.state.lock().unwrap().queries.clone()
    }

    pub(crate) fn sessions(&self) -> Vec<SessionRecord> {
        self.state
            .lock()
            .unwrap()
            .sessions
            .values()
            .cloned()
            .collect()
    }

    fn check(&self) -> Result<(), DeskError> {
        self.state
            .lock()
            .unwrap()
            .failure
            .map_or(Ok(()), |failure| Err(failure()))
    }

    fn user(&self, id: u64) -> Option<UserRecord> {
        let (name, role) = match id {
            1 => ("operadora", Role::Operator),
            2 => ("supervisora", Role::Supervisor),
            3 => ("jefa", Role::Operator),
            _ => return None,
        };
        Some(UserRecord {
            id,
            name: name.into(),
            display: format!("La {name}"),
            role,
            password_hash: (id != 3).then(password_hash),
            disabled: self.state.lock().unwrap().disabled,
        })
    }
}

pub(crate) fn row(seq: u64) -> Row {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&seq.to_be_bytes());
    Row {
        id: HexId(id),
        folio: Some(format!("SIAC-{seq:06}")),
        provisional: "7K3M9QXA".into(),
        title: "Luminaria apagada".into(),
        agency: None,
        agencies: vec![],
        agency_ids: vec![],
        petitioner: None,
        neighborhood: Some("COL. CENTRO".into()),
        neighborhood_id: Some(3),
        location: "JUVENTINO ROSAS 1207".into(),
        status: Status::InProgress,
        unconfirmed: false,
        conflict: false,
        review: false,
        priority: Priority::Urgent,
        created_at: 1_700_000_000_000,
        channel: "Vía Ventanilla".into(),
        comments: 0,
        seq,
    }
}

fn detail(row: Row) -> Detail {
    Detail {
        row,
        description: "No enciende".into(),
        kind: None,
        service: None,
        street: String::new(),
        cross1: String::new(),
        cross2: String::new(),
        position: None,
        heads: vec![HexHash([0xab; 32])],
        alternatives: vec![],
        history: vec![],
        notes: vec![],
        conflict_sides: vec![],
        acts: vec![ActKind::Comment, ActKind::FinalState],
    }
}

#[async_trait]
impl Desk for FakeDesk {
    async fn list(&self, query: ListQuery) -> Result<ListPage, DeskError> {
        self.check()?;
        let mut state = self.state.lock().unwrap();
        state.queries.push(query);
        let seq = state.rows.last().map_or(0, |row| row.seq);
        Ok(ListPage {
            rows: state.rows.clone(),
            next: None,
            corrected: None,
            total: None,
            seq,
        })
    }

    async fn detail(&self, _: &Viewer, id: [u8; 16]) -> Result<Detail, DeskError> {
        self.check()?;
        let state = self.state.lock().unwrap();
        let row = state.rows.iter().find(|row| row.id.0 == id).cloned();
        row.map(detail).ok_or(DeskError::NotFound)
    }

    async fn act(
        &self,
        viewer: &Viewer,
        id: [u8; 16],
        request: ActRequest,
    ) -> Result<Detail, DeskError> {
        self.check()?;
        self.state.lock().unwrap().acts.push((*viewer, request));
        self.detail(viewer, id).await
    }

    async fn agency_report(&self, days: Days) -> Result<AgencyReport, DeskError> {
        self.check()?;
        Ok(AgencyReport {
            from: days.from,
            to: days.to,
            rows: vec![],
            totals: Groups::default(),
            seq: 0,
            made_at: 1_700_000_000_000,
        })
    }

    async fn catalogs(&self) -> Result<Catalogs, DeskError> {
        self.check()?;
        let agencies = vec![Entry {
            id: 9,
            name: "CAEV".into(),
        }];
        Ok(Catalogs {
            neighborhoods: vec![],
            agencies,
        })
    }

    async fn rows_since(&self, after_seq: u64, limit: usize) -> Result<RowsSince, DeskError> {
        let gate = self.state.lock().unwrap().gate.take();
        self.wait_at(Gate::BeforeSnapshot, gate).await;
        let rows = self.snapshot(after_seq, limit);
        self.wait_at(Gate::AfterSnapshot, gate).await;
        Ok(rows)
    }

    fn live(&self) -> broadcast::Receiver<Arc<LiveRow>> {
        self.live.subscribe()
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<UserRecord>, DeskError> {
        Ok((1..=3)
            .filter_map(|id| self.user(id))
            .find(|user| user.name == name))
    }

    async fn put_session(&self, session: SessionRecord) -> Result<(), DeskError> {
        self.state
            .lock()
            .unwrap()
            .sessions
            .insert(session.hash, session);
        Ok(())
    }

    async fn session_by_hash(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<(SessionRecord, UserRecord)>, DeskError> {
        let session = self.state.lock().unwrap().sessions.get(hash).cloned();
        Ok(session.and_then(|session| Some((session.clone(), self.user(session.user)?))))
    }

    async fn delete_session(&self, hash: &[u8; 32]) -> Result<(), DeskError> {
        self.state.lock().unwrap().sessions.remove(hash);
        Ok(())
    }

    async fn delete_sessions_before(&self, seen_ms: i64) -> Result<(), DeskError> {
        self.state
            .lock()
            .unwrap()
            .sessions
            .retain(|_, session| session.seen_ms >= seen_ms);
        Ok(())
    }

    async fn ready(&self) -> Result<(), DeskError> {
        self.check()
    }
}
