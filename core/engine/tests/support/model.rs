//! A relay made of production pieces only: sessions, intake, judge, policy, summaries and set hashes,
//! over maps in memory. What is written here is what a storage does, and nothing more.

// Each test binary that shares this module uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use manzana_engine::answer::{Answer, EnvelopeAnswer, HeldReason};
use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::envelope::{ChainContext, Entry, Envelope, EnvelopeBody};
use manzana_engine::epoch::{EpochBody, SignedEpoch};
use manzana_engine::gate::judge::{AuthorJob, Job, JobDoc, JobGroup, Verdict, author, judge};
use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::ids::{Actor, DeviceId, DocId, GrantId, Hash, RecordId, Seq};
use manzana_engine::keys::SecretKey;
use manzana_engine::limits::JOIN_HEADS;
use manzana_engine::policy::{Facts, Rule};
use manzana_engine::reconcile::{Learnt, Member, Members, Version};
use manzana_engine::relay::{LogRowView, Move, intake};
use manzana_engine::summary::Summary;
use manzana_engine::wire::{PackedDoc, Recovery};

/// A row of the city's log.
pub struct Row {
    pub doc: DocId,
    pub device: DeviceId,
    pub hash: Hash,
    pub change: Vec<u8>,
    pub folio: Option<u64>,
    pub moves: Vec<(Scope, Move)>,
}

/// A document as the relay keeps it.
#[derive(Clone)]
pub struct Kept {
    pub saved: Vec<u8>,
    pub summary: Summary,
    pub creation: Seq,
    pub folio: Option<u64>,
}

/// A device as the relay knows it.
pub struct Known {
    pub key: [u8; 32],
    pub grant: SignedGrant,
    pub granted: GrantBody,
    pub grants: BTreeSet<GrantId>,
    pub revoked: bool,
}

struct Stored {
    hash: Hash,
    body: EnvelopeBody,
    grant: GrantId,
    answers: Vec<Answer>,
}

type Chain = (DeviceId, u32);

/// The relay of one city.
pub struct Relay {
    pub root: SecretKey,
    pub key: SecretKey,
    pub epoch: u32,
    pub time: i64,
    /// Places up to here are forgotten for scopes.
    pub floor: Seq,
    /// What reconciliations taught this end.
    pub learnt: Vec<Learnt>,
    /// Documents whose bytes no device can open.
    pub garbled: BTreeSet<DocId>,
    /// Whether very many heads are joined here.
    pub joins: bool,
    pub log: Vec<Row>,
    pub docs: BTreeMap<DocId, Kept>,
    pub known: BTreeMap<DeviceId, Known>,
    /// Extra rule of a test: changes of these devices are refused with this rule.
    pub refuse: BTreeMap<DeviceId, Rule>,
    /// Extra rule of a test: no petition is let in, for this rule.
    pub refuse_new: Option<Rule>,
    digests: BTreeMap<Scope, SetHash>,
    chains: BTreeMap<Chain, Vec<Stored>>,
    answers: BTreeMap<DeviceId, Vec<EnvelopeAnswer>>,
    numbers: BTreeMap<DeviceId, u64>,
    places: BTreeMap<Hash, Seq>,
    dead: BTreeSet<Hash>,
    /// Envelopes that follow a twin's branch: nothing after them can be taken in.
    astray: BTreeSet<Hash>,
    actors: BTreeMap<Actor, Chain>,
    waiting: Vec<(Chain, u64, usize)>,
    next_folio: u64,
}

impl Relay {
    pub fn new() -> Self {
        Self {
            root: SecretKey::from_seed([1; 32]),
            key: SecretKey::from_seed([2; 32]),
            epoch: 1,
            time: 1_760_000_000_000,
            floor: 0,
            learnt: Vec::new(),
            garbled: BTreeSet::new(),
            joins: true,
            log: Vec::new(),
            docs: BTreeMap::new(),
            known: BTreeMap::new(),
            refuse: BTreeMap::new(),
            refuse_new: None,
            digests: BTreeMap::new(),
            chains: BTreeMap::new(),
            answers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            places: BTreeMap::new(),
            dead: BTreeSet::new(),
            astray: BTreeSet::new(),
            actors: BTreeMap::new(),
            waiting: Vec::new(),
            next_folio: 1455,
        }
    }

    /// Signs a grant and keeps it as the device's current one.
    pub fn grant(&mut self, body: GrantBody) -> SignedGrant {
        let grant = SignedGrant::sign(&body, &self.root);
        let device = DeviceId::of_key(&body.device_key);
        let known = self.known.entry(device).or_insert_with(|| Known {
            key: body.device_key,
            grant: grant.clone(),
            granted: body.clone(),
            grants: BTreeSet::new(),
            revoked: false,
        });
        known.grants.insert(grant.id());
        (known.grant, known.granted) = (grant.clone(), body);
        grant
    }

    pub fn head(&self) -> Seq {
        self.log.len() as Seq
    }

    pub fn chain(&self, device: DeviceId, incarnation: u32) -> (u64, Hash) {
        let chain = self.chains.get(&(device, incarnation));
        let last = chain.and_then(|chain| Some((chain.len() as u64, chain.last()?.hash)));
        last.unwrap_or((0, Hash([0; 32])))
    }

    pub fn digest(&self, scope: &Scope) -> Hash {
        self.digests
            .get(scope)
            .cloned()
            .unwrap_or_default()
            .digest()
    }

    /// Takes an envelope in from whatever road: its answers, or `None` when it could not be taken.
    pub fn take(&mut self, envelope: &Envelope) -> Option<Vec<Answer>> {
        let context = envelope.context;
        let known = self.known.get(&context.device)?;
        let body = envelope.open(&known.key).ok()?;
        if context.city != self.root.city() {
            return None;
        }
        let chain = (context.device, context.incarnation);
        let (have, last) = self.chain(chain.0, chain.1);
        let hash = envelope.hash();
        if body.n <= have {
            let stored = &self.chains[&chain][body.n as usize - 1];
            if stored.hash == hash {
                return Some(stored.answers.clone());
            }
            return self.bury(hash, body);
        }
        let astray = body.n == have + 1 && context.prev != last;
        if astray || self.astray.contains(&context.prev) {
            return self.bury(hash, body);
        }
        if body.n != have + 1 {
            return None;
        }
        let n = body.n;
        let docs: BTreeSet<DocId> = body
            .groups
            .iter()
            .flatten()
            .map(|entry| entry.doc)
            .collect();
        let groups = body.groups.len();
        self.chains.entry(chain).or_default().push(Stored {
            hash,
            body,
            grant: context.grant,
            answers: vec![Answer::Waiting { deps: Vec::new() }; groups],
        });
        for group in 0..groups {
            self.settle(chain, n, group);
        }
        self.tell(chain, n);
        self.wake();
        docs.iter().for_each(|doc| self.join(doc));
        let stored = &self.chains[&chain][n as usize - 1];
        Some(stored.answers.clone())
    }

    /// Joins the heads of a document when they are very many, as the administration's device.
    fn join(&mut self, doc: &DocId) {
        let kept = self.docs.get(doc).filter(|_| self.joins);
        let Some(kept) = kept.filter(|kept| kept.summary.heads.len() > JOIN_HEADS) else {
            return;
        };
        let key = SecretKey::from_seed([8; 32]);
        let desk = key.device();
        let job = AuthorJob {
            saved: kept.saved.clone().into(),
            heads: kept.summary.heads.clone(),
            actor: Actor::new(&desk, 0),
            record: RecordId::new(&desk, 0),
            records: Vec::new(),
            bare: false,
        };
        let changes = author(&job).unwrap().into_iter();
        let entries = changes.map(|change| Entry { doc: *doc, change });
        let grant = self.grant(GrantBody {
            city: self.root.city(),
            device_key: key.public(),
            user: 1_000_000,
            role: Role::Administrator,
            scopes: vec![Scope::City],
            valid_from: 0,
            valid_to: i64::MAX,
        });
        let (have, prev) = self.chain(desk, 1);
        let context = ChainContext {
            city: self.root.city(),
            device: desk,
            incarnation: 1,
            prev,
            grant: grant.id(),
        };
        let body = EnvelopeBody {
            n: have + 1,
            device_time: self.time,
            city_head: self.head(),
            groups: vec![entries.collect()],
            detached: Vec::new(),
        };
        let answers = self.take(&Envelope::sign(context, &body, Vec::new(), &key));
        assert!(matches!(answers.unwrap()[..], [Answer::Accepted { .. }]));
    }

    /// A twin's envelope stands in the chain: these changes will never be in the log, and what was
    /// built on them must be told so.
    fn bury(&mut self, envelope: Hash, body: EnvelopeBody) -> Option<Vec<Answer>> {
        self.astray.insert(envelope);
        let entries: Vec<Entry> = body.groups.into_iter().flatten().collect();
        let hashes = intake::peek(&entries).unwrap_or_default().into_iter();
        let dead = hashes.map(|peek| peek.hash);
        self.dead
            .extend(dead.filter(|hash| !self.places.contains_key(hash)));
        self.wake();
        None
    }

    fn stored(&mut self, chain: Chain, n: u64) -> &mut Stored {
        &mut self.chains.get_mut(&chain).unwrap()[n as usize - 1]
    }

    /// Judges one group and keeps what became of it. Says whether it is final.
    fn settle(&mut self, chain: Chain, n: u64, group: usize) -> bool {
        let stored = self.stored(chain, n);
        let (entries, grant) = (stored.body.groups[group].clone(), stored.grant);
        let answer = self.judge(chain, grant, &entries);
        if !matches!(answer, Answer::Accepted { .. } | Answer::Waiting { .. }) {
            let hashes = intake::peek(&entries).unwrap_or_default();
            self.dead.extend(hashes.into_iter().map(|peek| peek.hash));
        }
        let waits = matches!(answer, Answer::Waiting { .. });
        self.stored(chain, n).answers[group] = answer;
        self.waiting.retain(|other| *other != (chain, n, group));
        if waits {
            self.waiting.push((chain, n, group));
        }
        !waits
    }

    /// Judges again what waits, until nothing more comes of it.
    fn wake(&mut self) {
        loop {
            let mut moved = false;
            for (chain, n, group) in self.waiting.clone() {
                if self.settle(chain, n, group) {
                    self.tell(chain, n);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// People decided what becomes of the held groups of a device: each is answered again.
    pub fn decide(&mut self, device: DeviceId, answer: impl Fn(Hash) -> Answer) {
        let chains: Vec<Chain> = self.chains.keys().copied().collect();
        for chain in chains.into_iter().filter(|chain| chain.0 == device) {
            for n in 1..=self.chain(chain.0, chain.1).0 {
                let stored = self.stored(chain, n);
                let mut decided = false;
                for (entries, told) in stored.body.groups.iter().zip(&mut stored.answers) {
                    if matches!(told, Answer::Held { .. }) {
                        *told = answer(intake::peek(entries).unwrap()[0].hash);
                        decided = true;
                    }
                }
                if decided {
                    self.tell(chain, n);
                }
            }
        }
    }

    fn tell(&mut self, chain: Chain, n: u64) {
        let number = self.numbers.entry(chain.0).or_default();
        *number += 1;
        let no = *number;
        let stored = &self.chains[&chain][n as usize - 1];
        let answer = EnvelopeAnswer {
            no,
            incarnation: chain.1,
            n,
            hash: stored.hash,
            groups: stored.answers.clone(),
        };
        self.answers.entry(chain.0).or_default().push(answer);
    }

    fn judge(&mut self, chain: Chain, grant: GrantId, entries: &[Entry]) -> Answer {
        let known = &self.known[&chain.0];
        let refused = |rule| Answer::Refused { rule, field: None };
        if !known.grants.contains(&grant) {
            return refused(Rule::ForeignGrant);
        }
        if known.revoked {
            let reason = HeldReason::GrantRevoked;
            return Answer::Held { reason };
        }
        let facts = Facts {
            device: chain.0,
            user: known.granted.user,
            role: known.granted.role,
            scopes: known.granted.scopes.clone(),
        };
        let peeks = match intake::peek(entries) {
            Ok(peeks) => peeks,
            Err(rule) => return refused(rule),
        };
        if let Some(rule) = self.refuse.get(&chain.0) {
            return refused(*rule);
        }
        if let Some(rule) = self.refuse_new
            && peeks.iter().any(|peek| peek.deps.is_empty())
        {
            return refused(rule);
        }
        for peek in &peeks {
            let bound = self.actors.get(&peek.actor);
            if bound.is_some_and(|owner| *owner != chain) {
                return refused(Rule::ForeignActor);
            }
        }
        let ids: BTreeSet<DocId> = entries.iter().map(|entry| entry.doc).collect();
        let docs = ids.iter().filter_map(|id| {
            let saved = self.docs.get(id)?.saved.clone().into();
            Some(JobDoc { doc: *id, saved })
        });
        let job = Job {
            docs: docs.collect(),
            groups: vec![JobGroup {
                facts,
                entries: entries.to_vec(),
                proven: false,
            }],
        };
        let mut judged = judge(&job).unwrap();
        let verdict = judged.groups.remove(0);
        if let Some(answer) = intake::answer(&verdict, &self.dead) {
            return answer;
        }
        let Verdict::Accepted(accepted) = verdict else {
            unreachable!("an answer was given for all others");
        };
        let seq = self.head() + 1;
        let mut folio = None;
        for (entry, accepted) in entries.iter().zip(accepted) {
            self.actors.insert(accepted.actor, chain);
            let issued = self.append(chain.0, entry, accepted.hash, accepted.summary);
            assert_eq!(accepted.created, issued.is_some());
            folio = folio.or(issued);
        }
        for JobDoc { doc, saved } in judged.docs {
            self.docs.get_mut(&doc).unwrap().saved = saved.into();
        }
        Answer::Accepted { seq, folio }
    }

    fn append(&mut self, by: DeviceId, entry: &Entry, hash: Hash, summary: Summary) -> Option<u64> {
        let seq = self.head() + 1;
        assert!(self.places.insert(hash, seq).is_none(), "accepted twice");
        let old = self.docs.get(&entry.doc).cloned();
        let before = old.as_ref().map_or(Vec::new(), |old| old.summary.scopes());
        let after = summary.scopes();
        if let Some(old) = &old {
            for scope in &before {
                let digest = self.digests.entry(scope.clone()).or_default();
                digest.remove(&entry.doc, &old.summary.heads);
            }
        }
        let mut moves = Vec::new();
        for scope in &after {
            let digest = self.digests.entry(scope.clone()).or_default();
            digest.add(&entry.doc, &summary.heads);
            let step = if before.contains(scope) {
                Move::Stay
            } else {
                Move::Enter
            };
            moves.push((scope.clone(), step));
        }
        let gone = before.iter().filter(|scope| !after.contains(scope));
        moves.extend(gone.map(|scope| (scope.clone(), Move::Leave)));
        let issued = old.is_none().then(|| {
            self.next_folio += 1;
            self.next_folio - 1
        });
        self.docs.insert(
            entry.doc,
            Kept {
                saved: Vec::new(),
                summary,
                creation: old.as_ref().map_or(seq, |old| old.creation),
                folio: old.map_or(issued, |old| old.folio),
            },
        );
        self.log.push(Row {
            doc: entry.doc,
            device: by,
            hash,
            change: entry.change.clone(),
            folio: issued,
            moves,
        });
        issued
    }

    pub fn answers_after(&self, device: &DeviceId, after: u64) -> Vec<EnvelopeAnswer> {
        let all = self.answers.get(device).into_iter().flatten();
        all.filter(|answer| answer.no > after).cloned().collect()
    }

    pub fn forget_answers(&mut self, device: &DeviceId, up_to: u64) {
        let all = self.answers.entry(*device).or_default();
        all.retain(|answer| answer.no > up_to);
    }

    pub fn packed(&self, doc: &DocId) -> Option<PackedDoc> {
        let kept = self.docs.get(doc)?;
        Some(PackedDoc {
            doc: *doc,
            creation_seq: kept.creation,
            folio: kept.folio,
            saved: match self.garbled.contains(doc) {
                true => vec![0x55; 40].into(),
                false => kept.saved.clone().into(),
            },
            summary: codec::encode(&kept.summary).into(),
        })
    }

    /// Documents of a scope created before a place, newest first.
    pub fn in_scope(&self, scope: &Scope, before: Seq) -> Vec<DocId> {
        let mut found: Vec<(Seq, DocId)> = self
            .docs
            .iter()
            .filter(|(_, kept)| kept.creation < before && kept.summary.scopes().contains(scope))
            .map(|(doc, kept)| (kept.creation, *doc))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, doc)| doc).collect()
    }

    /// The members of a scope, from summaries.
    pub fn members(&self, scope: &Scope) -> Members {
        let inside = self
            .docs
            .iter()
            .filter(|(_, kept)| kept.summary.scopes().contains(scope));
        let members = inside.map(|(doc, kept)| Member {
            doc: *doc,
            version: Version::of(&kept.summary.heads),
        });
        members.collect::<Vec<_>>().into()
    }

    /// What it says once a backup was put back. It takes nothing back.
    pub fn recovery(&self) -> Option<Recovery> {
        let body = EpochBody {
            city: self.root.city(),
            epoch: self.epoch,
            before: 1,
            cut: 0,
            at: self.time,
            why: "simulacro".to_owned(),
        };
        (self.epoch > 1).then(|| Recovery {
            record: SignedEpoch::sign(&body, &self.root),
            chains: Vec::new(),
        })
    }

    /// Loses a document, as a relay that was restored would, and begins another epoch.
    pub fn lose(&mut self, doc: &DocId) {
        let kept = self.docs.remove(doc).unwrap();
        for scope in kept.summary.scopes() {
            let digest = self.digests.get_mut(&scope).unwrap();
            digest.remove(doc, &kept.summary.heads);
        }
        self.epoch += 1;
    }

    /// At most `limit` rows after a place.
    pub fn rows_after(&self, after: Seq, limit: usize) -> Vec<LogRowView<'_>> {
        assert!(after >= self.floor, "what is forgotten cannot be read");
        let rows = self.log.iter().enumerate().skip(after as usize).take(limit);
        rows.map(|(i, row)| LogRowView {
            seq: i as Seq + 1,
            doc: row.doc,
            device: row.device,
            hash: row.hash,
            change: &row.change,
            folio: row.folio,
            moves: &row.moves,
        })
        .collect()
    }
}
