//! The plan of the city: its petitions in the order of their folios, and what happens to each.

use manzana_engine::fold::Outcome;
use manzana_engine::ids::CatalogId;
use manzana_engine::intent::NewPetition;
use manzana_engine::record::{CatalogRef, Position};
use manzana_engine::seal::Petitioner;

use super::catalog::{
    self, AGENCIES, CAPTAINS, CHANNELS, KINDS, NEIGHBORHOODS, STREETS, agency_named,
};
use super::dice::Dice;
use super::texts::{self, Problem};

/// Folio of the city's newest petition.
pub(crate) const LAST_FOLIO: u64 = 30_851;
/// The petitions that the city's own screen showed: always the newest.
pub(crate) const SHOWN: usize = 6;
/// Devices of the counter, and of block captains (the first is Cuauhtémoc's).
pub(crate) const DESKS: usize = 2;
/// Captains with a block each.
pub(crate) const CAPTAIN_COUNT: usize = 6;
/// Block of the first captain; the others follow.
pub(crate) const FIRST_BLOCK: CatalogId = 1101;

const MINUTE: i64 = 60_000;
/// Between two petitions that a captain captures in a row.
const BURST_GAP: std::ops::Range<i64> = 4 * MINUTE..14 * MINUTE;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 02/01/2018 00:00 in Coatzacoalcos.
const FROM: i64 = 1_514_872_800_000;
/// 26/10/2021 00:00 in Coatzacoalcos (UTC-5 then).
const LAST_DAY: i64 = 1_635_224_400_000;
/// What is not answered yet is rare among the old and common among the new.
const RECENT: i64 = 60 * DAY;

/// Crews by their dependencias, as places of the catalog. The last takes what nobody else does.
pub(crate) const CREWS: [(&str, &str, &[usize]); 6] = [
    ("cuadrilla-alumbrado", "Cuadrilla Alumbrado 1", &[0]),
    ("cuadrilla-maquinaria", "Cuadrilla Maquinaria", &[1]),
    ("cuadrilla-ornatos", "Cuadrilla Ornatos", &[2]),
    ("cuadrilla-servicios", "Cuadrilla Servicios 3", &[3, 4, 5]),
    ("cuadrilla-cmas", "Cuadrilla CMAS", &[7, 8, 20, 21]),
    (
        "cuadrilla-mixta",
        "Cuadrilla mixta",
        &[6, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 23],
    ),
];

/// Who acts, by the place of the device among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Desk(usize),
    Captain(usize),
    Crew(usize),
    Supervisor,
}

/// When the devices meet: each round's steps are made knowing what the rounds before had sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// The counter refers and comments.
    Counter,
    /// Crews work with no network.
    Field,
    /// The counter acts without knowing what the crews did.
    Blind,
    /// Everything has arrived: people confirm, the supervisor decides.
    Closing,
}

/// What is done to a petition.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Refer(CatalogRef),
    Comment(String),
    Started,
    NotYet(String),
    Done(String),
    NotApplicable(String),
    Confirmed,
    Final(Outcome, String),
}

/// One step of a petition's history.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) who: Who,
    pub(crate) round: Round,
    pub(crate) at: i64,
    pub(crate) act: Act,
}

/// One petition to be.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) by: Who,
    pub(crate) at: i64,
    pub(crate) form: NewPetition,
    pub(crate) petitioner: Option<Petitioner>,
    pub(crate) steps: Vec<Step>,
}

/// How a petition ends, before its steps are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pending,
    Referred,
    Started,
    Done,
    NotApplicable,
    Conflict,
}

/// The whole city, oldest first, the six known rows last.
pub(crate) fn city(petitions: usize, seed: u64) -> Vec<Planned> {
    let mut dice = Dice::new(seed);
    let times = arrivals(petitions.saturating_sub(SHOWN), &mut dice);
    let conflicts = conflict_places(times.len());
    let mut planned: Vec<Planned> = Vec::with_capacity(petitions);
    for (place, (at, by)) in times.into_iter().enumerate() {
        planned.push(petition(at, by, conflicts.contains(&place), &mut dice));
    }
    planned.extend(shown_rows());
    planned
}

/// Where the conflicts that a supervisor has decided stand: a few, spread over the years.
fn conflict_places(count: usize) -> Vec<usize> {
    if count < 20 {
        return Vec::new();
    }
    vec![count / 2, count * 4 / 5, count - 9]
}

/// Times and authors in order: captains bring an afternoon's petitions at once.
fn arrivals(count: usize, dice: &mut Dice) -> Vec<(i64, Who)> {
    let mut gaps: Vec<(usize, Who)> = Vec::with_capacity(count);
    let mut desk = Who::Desk(0);
    while gaps.len() < count {
        let gap = 20 + dice.below(180);
        let channel = CHANNELS[dice.weighted(CHANNELS.iter().map(|(_, weight)| *weight))].0;
        if channel == CAPTAINS {
            let captain = Who::Captain(dice.below(CAPTAIN_COUNT));
            gaps.push((gap, captain));
            gaps.extend((0..3 + dice.below(5)).map(|_| (0, captain)));
            desk = Who::Desk(dice.below(DESKS));
        } else {
            gaps.push((gap, desk));
        }
    }
    gaps.truncate(count);
    let sum = gaps.iter().map(|(gap, _)| gap).sum::<usize>().max(1);
    // The bursts take time of their own, a few minutes for each petition.
    let bursts = i64::try_from(count).unwrap_or(i64::MAX) * BURST_GAP.end * 2;
    let unit = (LAST_DAY - DAY - FROM - bursts) / i64::try_from(sum).unwrap_or(i64::MAX);
    let mut at = FROM;
    let mut times = Vec::with_capacity(count);
    for (gap, who) in gaps {
        at += match i64::try_from(gap) {
            // Doubled, since a day's 24 hours are told in 12.
            Ok(0) => 2 * dice.between(BURST_GAP.start, BURST_GAP.end),
            gap => gap.unwrap_or(0) * unit,
        };
        times.push((by_day(at), who));
    }
    times
}

/// The same moment between 8 and 20 hours of its day, in the same order.
fn by_day(at: i64) -> i64 {
    let day = (at - FROM).div_euclid(DAY);
    let rest = (at - FROM).rem_euclid(DAY);
    FROM + day * DAY + 8 * HOUR + rest / 2
}

fn petition(at: i64, by: Who, conflict: bool, dice: &mut Dice) -> Planned {
    let agency = dice.weighted(AGENCIES.iter().map(|agency| agency.counts.iter().sum()));
    let problem = dice.pick(texts::problems(agency));
    let mut form = form(agency, problem, by, dice);
    let fate = if conflict {
        Fate::Conflict
    } else {
        fate(agency, at, dice)
    };
    let steps = steps(agency, at, by, fate, dice);
    if fate != Fate::Pending && dice.percent(10) {
        // Who reports does not always know whose it is; the counter does.
        form.agency = None;
        form.service = None;
    }
    let petitioner = dice.percent(92).then(|| person(texts::name(dice), dice));
    Planned {
        by,
        at,
        form,
        petitioner,
        steps,
    }
}

fn person(name: String, dice: &mut Dice) -> Petitioner {
    Petitioner {
        name,
        phone: dice
            .percent(70)
            .then(|| format!("921{:07}", dice.below(10_000_000))),
        notice_accepted: true,
        ..Petitioner::default()
    }
}

fn form(agency: usize, problem: &Problem, by: Who, dice: &mut Dice) -> NewPetition {
    let channel = match by {
        Who::Captain(_) => CAPTAINS,
        _ => loop {
            let channel = CHANNELS[dice.weighted(CHANNELS.iter().map(|(_, w)| *w))].0;
            if channel != CAPTAINS {
                break channel;
            }
        },
    };
    let neighborhood = match by {
        Who::Captain(place) => NEIGHBORHOODS[3 + place],
        _ => dice.pick(&NEIGHBORHOODS),
    };
    let [street, cross1, cross2] = [(); 3].map(|()| (*dice.pick(&STREETS)).to_owned());
    let number = dice.percent(70).then(|| 100 + dice.below(1_900));
    NewPetition {
        title: texts::title(problem, dice),
        description: texts::description(problem, dice),
        channel: Some(channel_named(channel)),
        kind: Some(kind(dice)),
        agency: Some(CatalogRef::new(catalog::id(agency), AGENCIES[agency].name)),
        service: Some(CatalogRef::new(catalog::id(agency) * 100, problem.service)),
        neighborhood: Some(neighborhood_named(neighborhood)),
        street: Some(number.map_or_else(|| street.clone(), |n| format!("{street} {n}"))),
        cross1: dice.percent(85).then_some(cross1),
        cross2: dice.percent(75).then_some(cross2),
        position: dice.percent(55).then(|| position(dice)),
        ..NewPetition::default()
    }
}

/// Somewhere in the city.
fn position(dice: &mut Dice) -> Position {
    let coordinate = |dice: &mut Dice, from, to| i32::try_from(dice.between(from, to)).unwrap_or(0);
    Position {
        lat_e7: coordinate(dice, 181_150_000, 181_480_000),
        lon_e7: coordinate(dice, -944_900_000, -944_150_000),
        accuracy_m: 4 + u32::try_from(dice.below(60)).unwrap_or(0),
    }
}

fn kind(dice: &mut Dice) -> CatalogRef {
    let place = if dice.percent(75) {
        0
    } else {
        dice.below(KINDS.len())
    };
    CatalogRef::new(catalog::id(place), KINDS[place])
}

fn channel_named(name: &str) -> CatalogRef {
    catalog::reference(CHANNELS.iter().map(|(channel, _)| *channel), name)
}

fn neighborhood_named(name: &str) -> CatalogRef {
    catalog::reference(NEIGHBORHOODS, name)
}

fn fate(agency: usize, at: i64, dice: &mut Dice) -> Fate {
    let recent = LAST_DAY - at < RECENT;
    if recent && dice.percent(55) {
        return *dice.pick(&[Fate::Pending, Fate::Referred, Fate::Referred, Fate::Started]);
    }
    match dice.weighted(AGENCIES[agency].counts.iter().copied()) {
        0 if dice.percent(60) => Fate::Pending,
        0 => Fate::Referred,
        1 => Fate::Started,
        3 => Fate::NotApplicable,
        _ => Fate::Done,
    }
}

/// The steps that lead to a fate, each some hours or days after the one before.
fn steps(agency: usize, created: i64, by: Who, fate: Fate, dice: &mut Dice) -> Vec<Step> {
    let crew = CREWS
        .iter()
        .position(|(_, _, agencies)| agencies.contains(&agency));
    let crew = Who::Crew(crew.unwrap_or(CREWS.len() - 1));
    let desk = Who::Desk(dice.below(DESKS));
    let mut story = Story {
        at: created,
        steps: Vec::new(),
    };
    let referred = CatalogRef::new(catalog::id(agency), AGENCIES[agency].name);
    if fate != Fate::Pending {
        story.next(desk, Round::Counter, Act::Refer(referred), dice);
    }
    for _ in 0..dice.weighted([60, 28, 12].into_iter()) {
        let text = (*dice.pick(&texts::OPERATOR_COMMENTS)).to_owned();
        story.next(
            Who::Desk(dice.below(DESKS)),
            Round::Counter,
            Act::Comment(text),
            dice,
        );
    }
    match fate {
        Fate::Pending | Fate::Referred => {}
        Fate::NotApplicable if dice.percent(40) => {
            let reason = (*dice.pick(&texts::NOT_APPLICABLE)).to_owned();
            story.next(desk, Round::Counter, Act::NotApplicable(reason), dice);
        }
        _ => story.field(crew, fate, dice),
    }
    match fate {
        Fate::Conflict => story.conflict(desk, crew, dice),
        Fate::Done if dice.percent(35) => {
            let who = if matches!(by, Who::Captain(_)) {
                by
            } else {
                desk
            };
            story.next(who, Round::Closing, Act::Confirmed, dice);
        }
        _ => {}
    }
    story.steps
}

struct Story {
    at: i64,
    steps: Vec<Step>,
}

impl Story {
    fn next(&mut self, who: Who, round: Round, act: Act, dice: &mut Dice) {
        let latest = LAST_DAY + 19 * HOUR;
        self.at = by_day(self.at + dice.between(2 * HOUR, 6 * DAY)).max(self.at + 9 * MINUTE);
        self.at = self.at.min(latest);
        self.steps.push(Step {
            who,
            round,
            at: self.at,
            act,
        });
    }

    /// What a crew does with no network.
    fn field(&mut self, crew: Who, fate: Fate, dice: &mut Dice) {
        if fate == Fate::Started || dice.percent(50) {
            self.next(crew, Round::Field, Act::Started, dice);
        }
        if dice.percent(15) {
            let reason = (*dice.pick(&texts::NOT_YET)).to_owned();
            self.next(crew, Round::Field, Act::NotYet(reason), dice);
        }
        if dice.percent(30) {
            let text = (*dice.pick(&texts::CREW_COMMENTS)).to_owned();
            self.next(crew, Round::Field, Act::Comment(text), dice);
        }
        let end = match fate {
            Fate::Done => Act::Done((*dice.pick(&texts::DONE_NOTES)).to_owned()),
            Fate::NotApplicable => {
                Act::NotApplicable((*dice.pick(&texts::NOT_APPLICABLE)).to_owned())
            }
            _ => return,
        };
        self.next(crew, Round::Field, end, dice);
    }

    /// Crew and counter close it differently without knowing of each other; a supervisor decides.
    fn conflict(&mut self, desk: Who, crew: Who, dice: &mut Dice) {
        let done = (*dice.pick(&texts::DONE_NOTES)).to_owned();
        let reason = (*dice.pick(&texts::NOT_APPLICABLE)).to_owned();
        self.next(crew, Round::Field, Act::Done(done), dice);
        self.next(desk, Round::Blind, Act::NotApplicable(reason), dice);
        let (outcome, why) = match dice.percent(60) {
            true => (Outcome::Done, "La cuadrilla mostró el trabajo terminado."),
            false => (
                Outcome::NotApplicable,
                "Se confirmó que no corresponde al municipio.",
            ),
        };
        self.next(
            Who::Supervisor,
            Round::Closing,
            Act::Final(outcome, why.to_owned()),
            dice,
        );
    }
}

/// The rows of the city's own screen, word for word, oldest first.
fn shown_rows() -> Vec<Planned> {
    type Row = (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        Place,
        &'static str,
    );
    type Place = (&'static str, &'static str, &'static str);
    const ROWS: [Row; SHOWN] = [
        (
            "REPARACION DE CALLE",
            "Servicios Municipales",
            "SANDRA LUZ SOTO DIAZ",
            "COL. CENTRO",
            ("JUVENTINO ROSAS 1207", "MELCHOR OCAMPO", "INDEPENDENCIA"),
            "Via Ventanilla",
        ),
        (
            "REHABILITACION DE CALLE",
            "Maquinaria Pesada",
            "ROBERTO GARCIA ESPINOZA",
            "COL. ADOLFO LÓPEZ MATEOS",
            ("CUAUHTEMOC", "18 DE MARZO", "JUAN DE LA BARRERA"),
            CAPTAINS,
        ),
        (
            "LAMPARA FUNDIDA",
            "Dirección de Alumbrado Publico",
            "GUADALUPE PEREZ PEREZ",
            "FRA. CIUDAD OLMECA",
            ("", "BOULEVAR TEOCALLI", "JAGUAR"),
            "Redes Sociales",
        ),
        (
            "LUMINARIA FUNDIDA",
            "Dirección de Alumbrado Publico",
            "ROBERTO GARCIA ESPINOZA",
            "COL. ADOLFO LÓPEZ MATEOS",
            ("CUAUHTEMOC 594", "18 DE MARZO", "JUAN DE LA BARRERA"),
            CAPTAINS,
        ),
        (
            "COLADERA TAPADA",
            "CMAS - Alcantarillado y Saneamiento",
            "OSVALDO FUENTES",
            "COL. PETROLERA",
            ("NUEVO LEON", "MEXICO", "MICHOACAN"),
            "Via Web",
        ),
        (
            "LAMPARA FUNDIDA",
            "Dirección de Alumbrado Publico",
            "FERNANDO DEL ROSARIO ACOSTA TORRES",
            "COL. IQUIISA",
            ("CHABACANO 7-N", "ALAMO", "CLAVE"),
            "Redes Sociales",
        ),
    ];
    // The city's screen shows no description; these say no more than the subject does.
    let written =
        |(n, (title, agency, name, neighborhood, (street, cross1, cross2), channel)): (
            i64,
            Row,
        )| {
            let by = if channel == CAPTAINS {
                Who::Captain(0)
            } else {
                Who::Desk(0)
            };
            let form = NewPetition {
                title: title.to_owned(),
                description: format!("{title} EN {neighborhood}."),
                channel: Some(channel_named(channel)),
                kind: Some(CatalogRef::new(1, KINDS[0])),
                agency: Some(agency_named(agency)),
                neighborhood: Some(neighborhood_named(neighborhood)),
                street: Some(street.to_owned()).filter(|street| !street.is_empty()),
                cross1: Some(cross1.to_owned()),
                cross2: Some(cross2.to_owned()),
                ..NewPetition::default()
            };
            let petitioner = Petitioner {
                name: name.to_owned(),
                notice_accepted: true,
                ..Petitioner::default()
            };
            let at = LAST_DAY + 9 * HOUR + n * 83 * MINUTE;
            Planned {
                by,
                at,
                form,
                petitioner: Some(petitioner),
                steps: Vec::new(),
            }
        };
    (0..).zip(ROWS).map(written).collect()
}
