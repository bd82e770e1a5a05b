//! What people do, and what is done to them: one function for each step of a story.

use std::collections::BTreeSet;
use std::time::Duration;

use manzana_engine::codec;
use manzana_engine::fold::{EventKind, Outcome};
use manzana_engine::grant::{GrantBody, Role, Scope};
use manzana_engine::ids::{CatalogId, DocId, Hash};
use manzana_engine::intent::{Edit, Intent, NewPetition};
use manzana_engine::record::{CatalogRef, Event};
use manzana_engine::replica::{Continuity, IntentState, ReplicaStore as _};
use manzana_engine::seal::Petitioner;
use manzana_server::clock::Clock as _;
use manzana_server::desk::{Act, ActRequest, Desk as _, DeskError, Outcome as DeskOutcome};

use super::gate::POISON;
use super::story::{Scene, Step};
use super::world::{DeskAct, Said, World};

/// Rounds after every step: people and networks do not wait for each other.
const ROUNDS_AFTER: u64 = 2;
/// As the relay has it when nobody set it.
const RETENTION_DAYS: i64 = 90;
const DAY_MS: i64 = 24 * 3_600_000;
/// Longer than between two sweeps of the relay.
const SWEEP: Duration = Duration::from_secs(3_601);

impl World {
    /// Plays one scene.
    pub(super) async fn play(&mut self, scene: &Scene) {
        self.misery = super::dice::Dice::new(scene.salt, 4);
        match scene.step {
            Step::Capture { who, form } => self.capture(who, form, ""),
            Step::Poison { who } => self.capture(who, 0, POISON),
            Step::Comment { who, which } => self.comment(who, which),
            Step::Act {
                who,
                which,
                kind,
                form,
            } => self.act(who, which, kind, form),
            Step::Edit { who, which, form } => self.edit(who, which, form),
            Step::Resend { who } => self.resend(who),
            Step::Desk { form, which, fresh } => self.desk_act(form, which, fresh).await,
            Step::Connect { who } => {
                let i = self.phone(who);
                self.tell(|| format!("phone {i} finds the network"));
                self.connect(i).await;
            }
            Step::Cut { who } => {
                let i = self.phone(who);
                self.tell(|| format!("phone {i} loses the network"));
                self.hang_up(i);
            }
            Step::Run { rounds } => {
                self.tell(|| format!("{rounds} rounds pass"));
                self.run(rounds).await;
            }
            Step::HandOver { who, to } => self.hand_over(who, to),
            Step::Regrant { who, form } => self.regrant(who, form).await,
            Step::Revoke { who } => self.revoke(who).await,
            Step::Absence { who, days, rounds } => self.be_absent(who, days, rounds).await,
            Step::CityRestore { down } => self.restore_city(down).await,
            Step::Expire { who } => self.expire(who).await,
            Step::Renew { who } => self.renew(who).await,
            Step::Role { who, form } => self.change_role(who, form).await,
            Step::Decide { which, drop } => self.decide(which, drop).await,
            Step::Chain { who, form, long } => self.chain(who, form, long),
            Step::Equivocate { who, which, to } => self.equivocate(who, which, to),
            misfortune => self.suffer(misfortune),
        }
        self.run(ROUNDS_AFTER).await;
    }

    fn suffer(&mut self, step: Step) {
        match step {
            Step::PhoneCrash { who, writes, side } => {
                let i = self.phone(who);
                self.tell(|| format!("phone {i} will die {side:?} its write {writes} from now"));
                let store = &self.phones[i].store;
                store.plan(|faults| faults.die_after(writes, side));
            }
            Step::RelayCrash { writes, side, down } => {
                self.tell(|| format!("the relay will die {side:?} its write {writes} from now"));
                self.store.plan(|faults| faults.die_after(writes, side));
                self.down_until = self.round + down;
            }
            Step::PhoneFull { who, writes } => {
                let i = self.phone(who);
                self.tell(|| format!("phone {i} has no room for {writes} writes"));
                self.phones[i].store.plan(|faults| faults.fill(writes));
            }
            Step::RelayFull { writes } => {
                self.tell(|| format!("the relay has no room for {writes} writes"));
                self.store.plan(|faults| faults.fill(writes));
            }
            Step::Backup { who } => {
                let i = self.phone(who);
                self.tell(|| format!("phone {i} is backed up"));
                let copy = self.phones[i].store.copy();
                self.phones[i].backup = Some((copy, self.said.len()));
            }
            Step::CityBackup => {
                self.tell(|| "the city is backed up".to_owned());
                self.city_backup = Some(self.store.look(Clone::clone));
            }
            Step::Restore { who, noticed } => self.restore(who, noticed),
            Step::Clone { who, noticed } => self.clone_phone(who, noticed),
            Step::Clock { who, by } => {
                let i = self.phone(who);
                self.tell(|| format!("the clock of phone {i} goes wrong by {by} ms"));
                self.phones[i].skew = by;
            }
            Step::Partition { whom, rounds } => {
                self.tell(|| format!("phones {whom:b} have no network for {rounds} rounds"));
                for i in 0..self.phones.len() {
                    if whom >> i & 1 == 1 {
                        self.phones[i].cut_off = self.round + rounds;
                    }
                }
            }
            Step::Stall { who, rounds } => {
                let i = self.phone(who);
                self.tell(|| format!("phone {i} reads nothing for {rounds} rounds"));
                let until = self.round + rounds;
                if let Some(link) = &mut self.phones[i].link {
                    link.stalled = until;
                }
            }
            _ => {}
        }
    }

    /// The relay forgets meanwhile what nobody waits for any more.
    async fn be_absent(&mut self, who: u64, days: i64, rounds: u64) {
        let i = self.phone(who);
        self.tell(|| format!("phone {i} is away for {days} days"));
        self.phones[i].cut_off = self.round + rounds;
        self.hang_up(i);
        self.clock.advance(days * DAY_MS);
        self.days_away += days;
        // Places are forgotten after so long: who comes then is repaired.
        self.orderly &= self.days_away < RETENTION_DAYS;
        tokio::time::sleep(SWEEP).await;
    }

    pub(super) fn phone(&self, who: u64) -> usize {
        (who % self.phones.len() as u64) as usize
    }

    /// Words that nobody ever used before.
    pub(super) fn words(&mut self, user: u64, what: &str) -> String {
        let text = format!("{what} {}", self.typed.len());
        self.typed.insert(text.clone(), user);
        text
    }

    /// The petitions that a phone shows, newest first.
    pub(super) fn pick(&self, i: usize, which: u64) -> Option<DocId> {
        let rows = self.phones[i].store.look(|kept| kept.list());
        let rows = rows.unwrap_or_default();
        let mut petitions = rows
            .iter()
            .filter(|row| row.summary.doc_kind == manzana_engine::summary::DocKind::Petition);
        let count = petitions.clone().count() as u64;
        let at = which.checked_rem(count)?;
        petitions.nth(at as usize).map(|row| row.doc)
    }

    pub(super) fn capture(&mut self, who: u64, form: u64, mark: &str) {
        let i = self.phone(who);
        let title = self.words(self.phones[i].user, &format!("petición {mark}"));
        let agency = form % 3;
        let petition = NewPetition {
            title: title.clone(),
            description: "No prende desde el lunes".to_owned(),
            agency: (agency > 0).then(|| agency_of(agency)),
            sector: (form >> 4 & 1 == 1).then_some(1),
            ..NewPetition::default()
        };
        let person = Petitioner {
            name: "Fernando del Rosario".to_owned(),
            ..Petitioner::default()
        };
        let person = (form >> 8 & 3 == 0).then_some(person);
        self.tell(|| format!("phone {i} captures «{title}»"));
        let done = self.with(i, |replica, around| {
            let now = around.now;
            replica.capture(petition, person.as_ref(), now, around.entropy)
        });
        self.told(i, Some(title), done);
    }

    fn comment(&mut self, who: u64, which: u64) {
        let i = self.phone(who);
        if let Some(doc) = self.pick(i, which) {
            self.comment_on(i, doc);
        }
    }

    pub(super) fn comment_on(&mut self, i: usize, doc: DocId) {
        let text = self.words(self.phones[i].user, "comentario");
        self.tell(|| format!("phone {i} comments «{text}» on {doc}"));
        let done = self.with(i, |replica, around| replica.comment(doc, &text, around.now));
        self.told(i, Some(text), done);
    }

    fn act(&mut self, who: u64, which: [u64; 2], kind: EventKind, form: u64) {
        let i = self.phone(who);
        let docs: BTreeSet<DocId> = which
            .into_iter()
            .filter_map(|which| self.pick(i, which))
            .collect();
        if docs.is_empty() {
            return;
        }
        let docs: Vec<DocId> = docs.into_iter().collect();
        let text = self.words(self.phones[i].user, "acto");
        self.tell(|| format!("phone {i} acts {kind:?} «{text}» on {docs:?}"));
        let note = text.clone();
        let fill = move |event: &mut Event| {
            event.agency = Some(agency_of(1 + form % 2));
            event.crew = Some(CatalogRef::new(1, "Cuadrilla 1"));
            event.reason = Some("porque sí".to_owned());
            event.note = Some(note);
            event.outcome = Some(match form >> 8 & 1 {
                0 => Outcome::Done,
                _ => Outcome::NotApplicable,
            });
        };
        let done = self.with(i, |replica, around| {
            replica.act(&docs, around.now, fill, kind)
        });
        self.told(i, Some(text), done);
    }

    fn edit(&mut self, who: u64, which: u64, form: u64) {
        let i = self.phone(who);
        let Some(doc) = self.pick(i, which) else {
            return;
        };
        let edit = match form % 3 {
            0 => Edit::Description(format!("Descripción {form}")),
            1 => Edit::Street(format!("Calle {form}")),
            _ => Edit::Neighborhood(CatalogRef::new((form % 7) as u32, "COL. CENTRO")),
        };
        self.tell(|| format!("phone {i} corrects {doc}: {edit:?}"));
        let done = self.with(i, |replica, around| {
            replica.correct(doc, vec![edit], around.now)
        });
        self.told(i, None, done);
    }

    /// Notes what the person was told.
    fn told<E>(
        &mut self,
        i: usize,
        text: Option<String>,
        done: Option<Result<manzana_engine::replica::Saved, E>>,
    ) {
        match done {
            Some(Ok(saved)) => self.said.push(Said {
                phone: Some(i),
                lost: false,
                text,
                intent: Some(saved.intent),
            }),
            _ => self.tell(|| "   (not saved, and the person was told so)".to_owned()),
        }
    }

    fn resend(&mut self, who: u64) {
        let i = self.phone(who);
        let rows = self.phones[i].store.look(|kept| kept.to_correct());
        let Some(row) = rows.unwrap_or_default().into_iter().next() else {
            return;
        };
        let Ok(intent) = codec::decode::<Intent>(&row.intent) else {
            return;
        };
        if super::office::is_taken_over(&row.state) {
            self.tell(|| format!("phone {i} discards {}, which the city recorded", row.id));
            self.with(i, |replica, _| replica.close_correction(&row.id));
            // It stands in the city under the reviewer's name. What has no words cannot be looked for there.
            let discarded = |said: &Said| said.phone == Some(i) && said.intent == Some(row.id);
            self.said
                .retain(|said| said.text.is_some() || !discarded(said));
            return;
        }
        self.tell(|| format!("phone {i} sends {} again", row.id));
        self.with(i, |replica, around| {
            replica.resend(&row.id, intent, around.now)
        });
    }

    fn hand_over(&mut self, who: u64, to: u64) {
        let (from, to) = (self.phone(who), self.phone(to));
        let Some(Ok(envelopes)) = self.with(from, |replica, _| replica.unanswered(usize::MAX))
        else {
            return;
        };
        let count = envelopes.len();
        self.tell(|| format!("phone {from} hands {count} envelopes to phone {to}"));
        self.with(to, |replica, _| replica.carry(envelopes));
    }

    /// What was said since the copy and reached nobody is lost with it, as its person accepts.
    fn restore(&mut self, who: u64, noticed: bool) {
        let i = self.phone(who);
        let Some((copy, said)) = self.phones[i].backup.take() else {
            return;
        };
        self.tell(|| format!("phone {i} is put back from its backup (noticed: {noticed})"));
        let city = self.texts_in_city();
        for said in self.said.iter_mut().skip(said) {
            let reached = said.text.as_ref().is_some_and(|text| city.contains(text));
            said.lost |= said.phone == Some(i) && !reached;
        }
        self.kill_phone(i);
        let phone = &mut self.phones[i];
        phone.lives += 1;
        phone.store.replace(copy);
        self.open(i, continuity(noticed));
    }

    fn clone_phone(&mut self, who: u64, noticed: bool) {
        let i = self.phone(who);
        if self.phones.len() >= MOST_PHONES {
            return;
        }
        let twin = self.phones.len();
        self.tell(|| format!("phone {i} is cloned: phone {twin} (noticed: {noticed})"));
        self.add_twin(i, continuity(noticed));
    }

    async fn regrant(&mut self, who: u64, form: u64) {
        let i = self.phone(who);
        let scopes = |granted: &mut GrantBody| {
            granted.scopes = match (granted.role, form % 4) {
                (Role::Supervisor, _) => return false,
                (Role::BlockCaptain, 0) => vec![Scope::Block(1)],
                (Role::BlockCaptain, 1) => vec![Scope::Block(2)],
                (Role::BlockCaptain, _) => vec![Scope::Block(1), Scope::Block(2)],
                (Role::Operator, 0) => vec![Scope::City],
                (Role::Operator, _) => vec![Scope::Sector(1)],
                (_, 0) => vec![Scope::Agency(1)],
                (_, 1) => vec![Scope::Agency(2)],
                (_, 2) => vec![Scope::Agency(1), Scope::Agency(2)],
                _ => vec![Scope::Crew(1)],
            };
            true
        };
        self.grant_otherwise(i, scopes).await;
    }

    async fn revoke(&mut self, who: u64) {
        let i = self.phone(who);
        let device = self.device(i);
        // Somebody must be left to decide, and most of the city.
        let revoked = self.phones.iter().filter(|phone| phone.revoked).count();
        if self.phones[i].person == 0 || revoked >= 2 {
            return;
        }
        self.tell(|| format!("phone {i} is revoked"));
        let now = self.clock.now_ms();
        let done = manzana_server::relay::revoke(&self.store, &device, now).await;
        let stands = self.store.look(|city| {
            city.devices
                .get(&device)
                .is_some_and(|record| record.revoked_at.is_some())
        });
        if done.is_ok() || stands {
            for i in 0..self.phones.len() {
                self.phones[i].revoked |= self.device(i) == device;
            }
        }
    }

    // ---- operators ----

    async fn desk_act(&mut self, form: u64, which: u64, fresh: bool) {
        let (viewer, name) = self.desk[(form & 1) as usize];
        let docs: Vec<(DocId, Vec<Hash>)> = self.store.look(|city| {
            let docs = city.docs.values();
            docs.filter(|state| state.folio.is_some())
                .map(|state| (state.doc, state.summary.heads.clone()))
                .collect()
        });
        let Some(at) = which.checked_rem(docs.len() as u64) else {
            return;
        };
        let (doc, heads) = docs[at as usize].clone();
        let seen = self.seen.entry(doc).or_insert_with(|| heads.clone());
        if fresh {
            *seen = heads;
        }
        let heads = seen.iter().map(|head| head.0).collect();
        let text = self.words(viewer.user, "ventanilla");
        let act = match form >> 1 & 3 {
            0 => Act::Comment { text: text.clone() },
            1 => Act::Refer {
                agency: 1 + (form >> 4 & 1),
                reason: Some(text.clone()),
            },
            2 => Act::NotApplicable {
                reason: text.clone(),
            },
            _ => Act::FinalState {
                outcome: match form >> 4 & 1 {
                    0 => DeskOutcome::Done,
                    _ => DeskOutcome::NotApplicable,
                },
                reason: Some(text.clone()),
            },
        };
        self.tell(|| format!("{name} acts «{text}» on {doc}"));
        self.desk_open.push(DeskAct {
            viewer,
            doc,
            request: ActRequest {
                act,
                heads,
                key: format!("clave {}", self.typed.len()),
            },
            text,
        });
        self.retry_desk().await;
    }

    /// The pages send again what was not answered, under the same keys.
    pub(super) async fn retry_desk(&mut self) {
        let Some(relay) = self.relay.clone() else {
            return;
        };
        for open in std::mem::take(&mut self.desk_open) {
            let done = relay.act(&open.viewer, open.doc.0, open.request.clone());
            let text = open.text.clone();
            match done.await {
                Ok(_) => self.said.push(Said {
                    phone: None,
                    lost: false,
                    text: Some(text),
                    intent: None,
                }),
                Err(
                    DeskError::Forbidden { .. }
                    | DeskError::Conflict { .. }
                    | DeskError::Invalid { .. },
                ) => {}
                Err(error) => {
                    self.tell(|| format!("   «{text}» is not answered: {error}"));
                    self.desk_open.push(open);
                }
            }
        }
    }
}

/// Phones of one story, twins included.
const MOST_PHONES: usize = 10;

fn continuity(noticed: bool) -> Continuity {
    match noticed {
        true => Continuity::Restored,
        false => Continuity::Same,
    }
}

fn agency_of(id: u64) -> CatalogRef {
    CatalogRef::new(CatalogId::try_from(id).unwrap_or_default(), "Una")
}

/// Whether an intent waits for its person or for a reviewer.
pub(super) fn waits_for_somebody(state: &IntentState) -> bool {
    matches!(
        state,
        IntentState::ToCorrect { .. } | IntentState::Held { .. }
    )
}
