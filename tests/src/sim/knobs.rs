//! The knobs: every misery has a name, a unit and a reason. A seed turns about half of them off and
//! gives the rest a strength of its own ("swarm testing": Groce et al. 2012), since a run where
//! everything happens at once hides what only shows when little does.

use manzana_server::relay::SEGMENT_DOCS;

use super::dice::Dice;

/// How much of what. Chances are per mille of a frame; weights are shares among the steps of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knobs {
    /// Per mille of frames that vanish, in either direction, while the session goes on.
    pub loss: u32,
    /// Per mille of frames that come twice.
    pub duplication: u32,
    /// Per mille of frames that overtake the one before.
    pub reorder: u32,
    /// Rounds that a frame may be late, at most.
    pub delay_rounds: u64,
    /// Documents of one segment of a fill, at most: few, and scopes change in the middle of a fill.
    pub segment_docs: usize,
    /// Steps of a story.
    pub steps: u32,
    /// Weight: somebody captures a petition.
    pub capture: u32,
    /// Weight: somebody comments.
    pub comment: u32,
    /// Weight: somebody acts on one petition or several at once.
    pub act: u32,
    /// Weight: somebody corrects a field.
    pub edit: u32,
    /// Weight: somebody sends again what waits in "Por corregir".
    pub resend: u32,
    /// Weight: an operator acts at the console, on what the page showed some time ago.
    pub desk: u32,
    /// Weight: a phone finds the network.
    pub connect: u32,
    /// Weight: a connection is cut, with everything in flight.
    pub cut: u32,
    /// Weight: time passes and frames move.
    pub run: u32,
    /// Weight: a phone hands its unsent work to a neighbour's, which carries it.
    pub hand_over: u32,
    /// Weight: a petition that kills the gate's worker (quarantine).
    pub poison: u32,
    /// Weight: a phone's process dies at some write to come, before or after it.
    pub phone_crash: u32,
    /// Weight: the relay's process dies at some write to come, before or after it.
    pub relay_crash: u32,
    /// Weight: a phone's disk is full for some writes.
    pub phone_full: u32,
    /// Weight: the relay's disk is full for some writes.
    pub relay_full: u32,
    /// Weight: a phone's store is copied, to be put back some time.
    pub backup: u32,
    /// Weight: a phone's store is put back as it was copied.
    pub restore: u32,
    /// Weight: the city's database is copied, to be put back some time.
    pub city_backup: u32,
    /// Weight: the city is put back as it was copied, and a recovery opens. Phones keep their stores then:
    /// what both have lost is lost.
    pub city_restore: u32,
    /// 1: with the journal of a second disk, to the last answer.
    pub journal: u32,
    /// Weight: a phone is cloned; both go on with one key.
    pub clone: u32,
    /// Per mille of stores put back or cloned that notice it, and begin another incarnation by themselves.
    pub notice: u32,
    /// Weight: a grant gets other scopes, also while packs stream.
    pub regrant: u32,
    /// Weight: a grant is revoked, with work in flight.
    pub revoke: u32,
    /// Weight: a grant expires, with work in flight; its device goes on coming by.
    pub expire: u32,
    /// Weight: a device is given a grant again, whatever became of the one it had.
    pub renew: u32,
    /// Weight: somebody gets another role, with work in flight that was done in the one before.
    pub role: u32,
    /// Weight: somebody releases or drops something that the relay holds.
    pub decide: u32,
    /// Weight: a captured petition, often one that is not let in, with many comments of its author on it.
    pub chain: u32,
    /// Weight: a device signs two envelopes for one place of its chain, and a neighbour has the other one.
    pub equivocate: u32,
    /// Weight: a phone's clock jumps, years at a time.
    pub clock: u32,
    /// Weight: some phones have no network for a while.
    pub partition: u32,
    /// Weight: a phone stays connected and reads nothing for a while.
    pub stall: u32,
    /// Weight: a phone is away for one to four months, and the relay forgets what nobody waits for.
    pub absence: u32,
}

/// From this seed on the city's own disk is lost and put back, once or several times.
pub const PUT_BACK_FROM: u64 = 1_000_000_000;
/// From this seed on that happens while the city also decides about people and their work.
pub const MIXED_FROM: u64 = 2_000_000_000;

impl Knobs {
    /// A city where nothing goes wrong: people work, networks come and go.
    pub fn calm() -> Self {
        Self {
            loss: 0,
            duplication: 0,
            reorder: 0,
            delay_rounds: 0,
            segment_docs: SEGMENT_DOCS,
            steps: 80,
            capture: 12,
            comment: 14,
            act: 14,
            edit: 3,
            resend: 3,
            desk: 5,
            connect: 18,
            cut: 6,
            run: 18,
            hand_over: 0,
            poison: 0,
            phone_crash: 0,
            relay_crash: 0,
            phone_full: 0,
            relay_full: 0,
            backup: 0,
            restore: 0,
            city_backup: 0,
            city_restore: 0,
            journal: 0,
            clone: 0,
            notice: 1_000,
            regrant: 0,
            revoke: 0,
            expire: 0,
            renew: 0,
            role: 0,
            decide: 0,
            chain: 0,
            equivocate: 0,
            clock: 0,
            partition: 0,
            stall: 0,
            absence: 0,
        }
    }

    /// The knobs of a seed.
    pub fn swarm(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0x6b6e_6f62);
        let mut knobs = Self::calm();
        knobs.steps = 40 + dice.below(140) as u32;
        let absence = "absence";
        for (_, knob) in knobs
            .miseries()
            .into_iter()
            .filter(|(name, _)| *name != absence)
        {
            let most = if dice.chance(200) { 12 } else { 5 };
            *knob = if dice.chance(500) {
                0
            } else {
                1 + dice.below(most) as u32
            };
        }
        for (chance, strength) in [
            (&mut knobs.loss, 60),
            (&mut knobs.duplication, 150),
            (&mut knobs.reorder, 150),
        ] {
            if dice.chance(250) {
                *chance = 1 + dice.below(strength) as u32;
            }
        }
        if dice.chance(500) {
            knobs.delay_rounds = 1 + dice.below(6);
        }
        if dice.chance(700) {
            knobs.notice = 600;
        }
        if dice.chance(600) {
            knobs.segment_docs = 1 + dice.below(5) as usize;
        }
        if seed < PUT_BACK_FROM && dice.chance(300) {
            knobs.absence = 1 + dice.below(2) as u32;
        }
        (knobs.city_backup, knobs.city_restore) = (0, 0);
        if seed >= PUT_BACK_FROM {
            knobs.city_restore = 1 + dice.below(2) as u32;
            knobs.city_backup = 2;
            (knobs.restore, knobs.clone) = (0, 0);
        }
        if seed >= MIXED_FROM {
            knobs.journal = u32::from(dice.chance(250));
        }
        if (PUT_BACK_FROM..MIXED_FROM).contains(&seed) {
            (knobs.revoke, knobs.expire, knobs.renew, knobs.role) = (0, 0, 0, 0);
            (knobs.decide, knobs.chain, knobs.equivocate) = (0, 0, 0);
        }
        if knobs.restore > 0 {
            knobs.backup = knobs.backup.max(2);
        }
        knobs
    }

    /// The knobs of a seed in a city of thousands of petitions.
    pub fn large(seed: u64) -> Self {
        let mut knobs = Self::swarm(seed);
        knobs.steps *= 100;
        for weight in [
            &mut knobs.capture,
            &mut knobs.comment,
            &mut knobs.act,
            &mut knobs.connect,
            &mut knobs.desk,
        ] {
            *weight *= 8;
        }
        knobs
    }

    /// The weights of what goes wrong, by name: what shrinking turns off.
    pub fn miseries(&mut self) -> [(&'static str, &mut u32); 23] {
        [
            ("hand_over", &mut self.hand_over),
            ("poison", &mut self.poison),
            ("phone_crash", &mut self.phone_crash),
            ("relay_crash", &mut self.relay_crash),
            ("phone_full", &mut self.phone_full),
            ("relay_full", &mut self.relay_full),
            ("backup", &mut self.backup),
            ("restore", &mut self.restore),
            ("city_backup", &mut self.city_backup),
            ("city_restore", &mut self.city_restore),
            ("clone", &mut self.clone),
            ("regrant", &mut self.regrant),
            ("revoke", &mut self.revoke),
            ("expire", &mut self.expire),
            ("renew", &mut self.renew),
            ("role", &mut self.role),
            ("decide", &mut self.decide),
            ("chain", &mut self.chain),
            ("equivocate", &mut self.equivocate),
            ("clock", &mut self.clock),
            ("partition", &mut self.partition),
            ("stall", &mut self.stall),
            ("absence", &mut self.absence),
        ]
    }

    /// Whether frames come once, whole and in order while a session lasts, as TLS has it.
    pub fn is_orderly(&self) -> bool {
        self.loss == 0 && self.reorder == 0 && self.duplication == 0
    }

    /// Whether two stores may live under one key.
    pub fn has_twins(&self) -> bool {
        self.clone > 0 || self.restore > 0 || self.equivocate > 0
    }

    /// Whether two stores may write one chain, since one of them does not know of the other.
    pub fn has_blind_twins(&self) -> bool {
        self.equivocate > 0 || self.has_twins() && self.notice < 1_000
    }
}
