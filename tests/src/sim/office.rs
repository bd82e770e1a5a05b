//! What the administration does with devices and with what the relay holds, and what must hold of that.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use manzana_engine::answer::Answer;
use manzana_engine::grant::{GrantBody, Role, SignedGrant};
use manzana_engine::ids::{DeviceId, UserId};
use manzana_engine::policy::Rule;
use manzana_engine::replica::{Continuity, IntentState, Replica, ReplicaStore as _};
use manzana_server::clock::Clock as _;
use manzana_server::relay::{REVIEW, renew};
use manzana_server::storage::{Decision, RelayStore as _};

use super::check::Checker;
use super::city::City;
use super::gate::POISON;
use super::world::World;

/// What a grant lasts, milliseconds.
const GRANTED_MS: i64 = 2 * 365 * 24 * 3_600_000;

impl World {
    /// Gives a phone's device another grant, unless the change says no.
    pub(super) async fn grant_otherwise(
        &mut self,
        i: usize,
        change: impl FnOnce(&mut GrantBody) -> bool,
    ) {
        let device = self.device(i);
        let (Ok(Some(mut record)), Some(relay)) =
            (self.store.device(&device).await, self.relay.clone())
        else {
            return;
        };
        if self.store.look(|city| city.head.recovering) {
            // The administration waits: what a phone may not hold any more it cannot give back.
            return;
        }
        let root = relay.keys().root();
        let Ok(mut granted) = record.grant.open(&root.public()) else {
            return;
        };
        granted.valid_to = self.clock.now_ms() + GRANTED_MS;
        if !change(&mut granted) {
            return;
        }
        let (role, scopes) = (granted.role, &granted.scopes);
        self.tell(|| format!("phone {i} is granted {scopes:?} as {role:?}"));
        record.grant = SignedGrant::sign(&granted, root);
        record.grant_id = record.grant.id();
        // Not kept when the disk is full or the relay dies of it: the old grant stands.
        let _ = self.store.put_device(&record).await;
    }

    pub(super) async fn expire(&mut self, who: u64) {
        let i = self.phone(who);
        // Somebody must be left to decide.
        if self.phones[i].person == 0 {
            return;
        }
        let now = self.clock.now_ms();
        let expired = |granted: &mut GrantBody| {
            granted.valid_to = now - 1;
            true
        };
        self.grant_otherwise(i, expired).await;
    }

    pub(super) async fn change_role(&mut self, who: u64, form: u64) {
        let i = self.phone(who);
        let other = |granted: &mut GrantBody| {
            granted.role = match (granted.role, form & 1) {
                (Role::Crew, _) => Role::AgencyDesk,
                (Role::AgencyDesk, _) => Role::Crew,
                (Role::BlockCaptain, _) => Role::Coordinator,
                (Role::Coordinator, 0) => Role::Citizen,
                (Role::Coordinator | Role::Citizen, _) => Role::BlockCaptain,
                _ => return false,
            };
            true
        };
        self.grant_otherwise(i, other).await;
    }

    pub(super) async fn renew(&mut self, who: u64) {
        let i = self.phone(who);
        let (device, Some(relay)) = (self.device(i), self.relay.clone()) else {
            return;
        };
        self.tell(|| format!("phone {i} is given a grant again"));
        let now = self.clock.now_ms();
        let _ = renew(&self.store, relay.keys().root(), &device, now).await;
        let revoked = self.store.look(|city| {
            let record = city.devices.get(&device);
            record.is_some_and(|record| record.revoked_at.is_some())
        });
        for i in 0..self.phones.len() {
            if self.device(i) == device {
                self.phones[i].revoked = revoked;
            }
        }
    }

    pub(super) async fn decide(&mut self, which: u64, drop: bool) {
        let ids: Vec<u64> = self.store.look(|city| city.held.keys().copied().collect());
        let Some(at) = which.checked_rem(ids.len() as u64) else {
            return;
        };
        let id = ids[at as usize];
        let decision = match drop {
            true => Decision::Drop,
            false => Decision::Release,
        };
        self.tell(|| format!("what is held as {id} is decided: {decision:?}"));
        // A disk that is full notes nothing: nothing comes of it.
        let _ = self.store.decide(id, decision).await;
    }

    /// In every second story somebody mends the gate in the end and releases all that is held.
    pub(super) async fn clear_up(&mut self) {
        if !self.clears_up() {
            return;
        }
        self.gate_mended.store(true, Ordering::Relaxed);
        let ids: Vec<u64> = self.store.look(|city| city.held.keys().copied().collect());
        for id in ids {
            let _ = self.store.decide(id, Decision::Release).await;
        }
    }

    fn clears_up(&self) -> bool {
        self.knobs.steps.is_multiple_of(2)
    }

    pub(super) fn chain(&mut self, who: u64, form: u64, long: u64) {
        let mark = if form & 1 == 1 { POISON } else { "" };
        let told = self.said.len();
        self.capture(who, form >> 1, mark);
        let i = self.phone(who);
        let captured = self.said.get(told).and_then(|said| said.intent);
        let doc = captured.and_then(|id| {
            let row = self.phones[i].store.look(|kept| kept.intent(&id));
            row.ok().flatten()?.docs.first().copied()
        });
        for _ in 0..long {
            let Some(doc) = doc else { return };
            self.comment_on(i, doc);
        }
    }

    /// The device's key signs another envelope for its next place, with the same actor: a copy of the store
    /// that is thrown away. A neighbour carries it.
    pub(super) fn equivocate(&mut self, who: u64, which: u64, to: u64) {
        let (i, to) = (self.phone(who), self.phone(to));
        let Some(doc) = self.pick(i, which) else {
            return;
        };
        if self.device(i) == self.device(to) {
            return;
        }
        let text = self.words(self.phones[i].user, "doblez");
        self.tell(|| format!("phone {i} signs twice: «{text}», for phone {to} to carry"));
        let (copy, now) = (self.phones[i].store.copy(), self.clock_of(i));
        // With all that its chain has before it, as carriers take it.
        let envelopes = Replica::open(copy, Continuity::Same, &mut self.entropy)
            .ok()
            .and_then(|mut double| {
                double.comment(doc, &text, now).ok()?;
                double.unanswered(usize::MAX).ok()
            });
        if let Some(envelopes) = envelopes {
            self.phones[i].lives += 1;
            self.with(to, |replica, _| replica.carry(envelopes));
        }
    }

    /// Under which numbers the city recorded what it took over: another one after it was put back.
    pub(super) fn reviewers(&self) -> BTreeSet<UserId> {
        let now = self.store.look(|city| city.user_named(REVIEW));
        self.reviewers_before.iter().copied().chain(now).collect()
    }

    /// What is held is listed, nothing else is, and whoever did it knows or will be told; what the city says
    /// to have recorded itself stands in it.
    pub(super) fn check_held(&mut self) {
        let found = self.store.look(held_and_listed);
        found
            .into_iter()
            .for_each(|what| self.blame(Checker::Held, what));
        if self.clears_up() {
            let left = self.store.look(|city| {
                let mut held = city.held.values();
                held.find(|held| held.problem.is_none()).cloned()
            });
            if let Some(left) = left {
                let what = format!("released and nothing came of it: {left:?}");
                self.blame(Checker::Liveness, what);
            }
        }
        let standing = self.texts_in_city();
        for i in 0..self.phones.len() {
            let (device, store) = (self.device(i), self.phones[i].store.clone());
            let excused = self.phones[i].lives > 0 || self.is_away(&device);
            for row in store.look(|kept| kept.intents()) {
                let place = match row.state {
                    IntentState::Held {
                        incarnation,
                        n,
                        group,
                    } => Some((incarnation, n, group)),
                    _ => None,
                };
                let kept = place.is_none_or(|place| {
                    self.store.look(|city| is_held_or_told(city, device, place))
                });
                let again = self.was_put_back() && self.is_held_again(i);
                let recorded = !is_taken_over(&row.state)
                    || again
                    || super::check::texts_of_intent(&row.intent)
                        .iter()
                        .all(|text| standing.contains(text));
                if !(excused || kept && recorded) {
                    let what = format!("{} of phone {i} is lost: {:?}", row.id, row.state);
                    self.blame(Checker::Held, what);
                }
            }
        }
    }
}

/// Whether the city recorded it itself.
pub(super) fn is_taken_over(state: &IntentState) -> bool {
    let taken_over = Rule::TakenOver;
    matches!(state, IntentState::ToCorrect { rule, .. } if *rule == taken_over)
}

fn held_and_listed(city: &City) -> Vec<String> {
    let mut found = Vec::new();
    let mut listed: Vec<_> = city
        .held
        .values()
        .map(|held| ((held.device, held.incarnation, held.n), held.group))
        .collect();
    for (place, stored) in &city.envelopes {
        for (group, answer) in stored.answers.iter().enumerate() {
            let at = listed.iter().position(|row| *row == (*place, group));
            match (answer, at) {
                (Answer::Held { .. }, Some(at)) => drop(listed.swap_remove(at)),
                (Answer::Held { .. }, None) => {
                    found.push(format!("group {group} of {place:?} is held and not listed"));
                }
                _ => {}
            }
        }
    }
    found.extend(
        listed
            .iter()
            .map(|row| format!("{row:?} is listed and not held")),
    );
    found
}

/// Whether the relay holds a group, or keeps a later answer for its author.
fn is_held_or_told(
    city: &City,
    device: DeviceId,
    (incarnation, n, group): (u32, u64, u32),
) -> bool {
    let stored = city.envelopes.get(&(device, incarnation, n));
    let answer = stored.and_then(|stored| stored.answers.get(group as usize));
    let kept = city.answers.get(&device).into_iter().flatten();
    let mut kept = kept.filter(|(_, kept)| (kept.incarnation, kept.n) == (incarnation, n));
    matches!(answer, Some(Answer::Held { .. })) || kept.next().is_some()
}
