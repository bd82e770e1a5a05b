//! The plan of the city: its petitions in the order of their folios, and what happens to each.

use manzana_engine::fold::Outcome;
use manzana_engine::intent::NewPetition;
use manzana_engine::record::CatalogRef;
use manzana_engine::seal::Petitioner;

use super::catalog::{
    self, AGENCIES, CAPTAINS, CHANNELS, KINDS, NEIGHBORHOODS, STREETS, agency_named,
};
use super::dice::Dice;
use super::places;
use super::texts::{self, Problem};

/// The petitions that the city's own screen showed: always the newest.
pub(crate) const SHOWN: usize = 6;
/// Devices of the counter.
pub(crate) const DESKS: usize = 3;
/// Captains, with a block of their own each.
pub(crate) const CAPTAIN_COUNT: usize = 12;
/// Colonia of the first captain (Adolfo López Mateos); the others follow.
pub(crate) const FIRST_COLONIA: usize = 3;

const MINUTE: i64 = 60_000;
/// Between two petitions that a captain captures in a row.
const BURST_GAP: std::ops::Range<i64> = 4 * MINUTE..14 * MINUTE;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 02/01/2018 00:00 in Coatzacoalcos.
const FROM: i64 = 1_514_872_800_000;
/// 26/10/2021 00:00 in Coatzacoalcos (UTC-5 then).
const LAST_DAY: i64 = 1_635_224_400_000;

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

impl Who {
    /// The place of the device among all of them: desks, captains, crews, the supervisor.
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Desk(n) => n,
            Self::Captain(n) => DESKS + n,
            Self::Crew(n) => DESKS + CAPTAIN_COUNT + n,
            Self::Supervisor => DESKS + CAPTAIN_COUNT + CREWS.len(),
        }
    }
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
    /// It tells of the same problem as the petition at this place of the plan.
    DuplicateOf(usize),
}

/// One step of a petition's history.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) who: Who,
    pub(crate) at: i64,
    pub(crate) act: Act,
    /// Done without knowing of the step before.
    pub(crate) blind: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pending,
    Referred,
    Started,
    Done,
    NotApplicable,
}

/// What is known of a petition before anything of it is written.
#[derive(Debug, Clone, Copy)]
struct Card {
    agency: usize,
    fate: Fate,
    /// Crew and counter close it differently; a supervisor decides.
    conflict: bool,
}

/// One petition in so many is closed twice, and decided.
const CONFLICT_EVERY: usize = 480;
/// Of a hundred petitions, those that tell of a problem told already.
const DUPLICATES: usize = 2;
/// How far back a duplicate looks for its like.
const NEIGHBOURS: usize = 60;

/// The whole city, oldest first, the six known rows last: as many as the city had, and each agency's are
/// exactly those of its report; of fewer, a sample.
pub(crate) fn city(petitions: usize, seed: u64) -> Vec<Planned> {
    let mut dice = Dice::new(seed);
    let cards = deck(petitions.saturating_sub(SHOWN), &mut dice);
    let times = arrivals(cards.len(), &mut dice);
    let mut planned: Vec<Planned> = Vec::with_capacity(petitions);
    for (card, (at, by)) in cards.into_iter().zip(times) {
        let like = dice.percent(DUPLICATES).then(|| like(&planned, card, by));
        planned.push(petition(at, by, card, &mut dice));
        if let Some(place) = like.flatten() {
            let (older, newer) = planned.split_at_mut(place + 1);
            if let (Some(first), Some(last)) = (older.last(), newer.last_mut()) {
                last.repeat(first, place);
            }
        }
    }
    planned.extend(shown_rows());
    planned
}

/// A recent petition to the same agency, from which a neighbour's may be made.
fn like(planned: &[Planned], card: Card, by: Who) -> Option<usize> {
    // A captain's petition lies in the captain's block.
    let Who::Desk(_) = by else { return None };
    let recent = planned.iter().enumerate().rev().take(NEIGHBOURS);
    let mut same = recent.filter(|(_, other)| {
        let agency = other.form.agency.as_ref().map(|agency| agency.id);
        agency == Some(catalog::id(card.agency)) && !other.is_duplicate()
    });
    same.next().map(|(place, _)| place)
}

impl Planned {
    fn is_duplicate(&self) -> bool {
        let linked = |step: &Step| matches!(step.act, Act::DuplicateOf(_));
        self.steps.iter().any(linked)
    }

    /// Makes it tell of the same problem as another, from the same corner.
    fn repeat(&mut self, other: &Self, place: usize) {
        self.form = NewPetition {
            service: other.form.service.clone(),
            neighborhood: other.form.neighborhood.clone(),
            street: other.form.street.clone(),
            cross1: other.form.cross1.clone(),
            cross2: other.form.cross2.clone(),
            position: other.form.position,
            title: other.form.title.clone(),
            ..self.form.clone()
        };
        let link = Step {
            who: self.by,
            at: self.at + 5 * MINUTE,
            act: Act::DuplicateOf(place),
            blind: false,
        };
        self.steps.insert(0, link);
    }
}

/// What the city's report counts, less the rows that are shown, in the order in which it came in: what is
/// not answered yet is more common among the new.
fn deck(count: usize, dice: &mut Dice) -> Vec<Card> {
    let mut cards = Vec::new();
    for (agency, counted) in AGENCIES.iter().enumerate() {
        for (fate, count) in FATES.into_iter().zip(counted.counts) {
            let shown = match fate {
                Fate::Pending => shown_of(counted.name),
                _ => 0,
            };
            let card = Card {
                agency,
                fate,
                conflict: false,
            };
            let count = usize::try_from(count).unwrap_or_default() - shown;
            cards.extend(std::iter::repeat_n(card, count));
        }
    }
    let mut drawn: Vec<(usize, Card)> = cards
        .into_iter()
        .map(|card| (dice.below(DEAL), card))
        .collect();
    drawn.sort_by_key(|(number, _)| *number);
    drawn.truncate(count);
    for (number, card) in &mut drawn {
        *number = match card.fate {
            Fate::Done | Fate::NotApplicable => dice.below(DEAL),
            _ => dice.below(DEAL).max(dice.below(DEAL)),
        };
        if card.fate == Fate::Pending && dice.percent(40) {
            card.fate = Fate::Referred;
        }
    }
    drawn.sort_by_key(|(number, _)| *number);
    let mut cards: Vec<Card> = drawn.into_iter().map(|(_, card)| card).collect();
    let decided = |card: &Card| matches!(card.fate, Fate::Done | Fate::NotApplicable);
    let closed = cards.iter_mut().filter(|card| decided(card));
    for card in closed.skip(CONFLICT_EVERY / 40).step_by(CONFLICT_EVERY) {
        card.conflict = true;
    }
    cards
}

/// Large enough that no two cards are likely to have the same number.
const DEAL: usize = 1 << 40;
/// The groups of the report, by the places of an agency's counts.
const FATES: [Fate; 4] = [
    Fate::Pending,
    Fate::Started,
    Fate::Done,
    Fate::NotApplicable,
];

/// How many of the shown rows are an agency's.
fn shown_of(agency: &str) -> usize {
    let shown = shown_rows().into_iter();
    let agencies = shown.filter_map(|planned| planned.form.agency);
    agencies.filter(|shown| shown.name == agency).count()
}

/// Times and authors in order: captains bring an afternoon's petitions at once.
fn arrivals(count: usize, dice: &mut Dice) -> Vec<(i64, Who)> {
    let mut gaps: Vec<(Gap, Who)> = Vec::with_capacity(count);
    let mut desk = Who::Desk(0);
    while gaps.len() < count {
        let gap = Gap::Share(dice.between(20, 200));
        let channel = CHANNELS[dice.weighted(CHANNELS.iter().map(|(_, weight)| *weight))].0;
        if channel == CAPTAINS {
            let captain = Who::Captain(dice.below(CAPTAIN_COUNT));
            gaps.push((gap, captain));
            for _ in 0..3 + dice.below(5) {
                // Doubled, since a day's 24 hours are told in 12.
                let soon = 2 * dice.between(BURST_GAP.start, BURST_GAP.end);
                gaps.push((Gap::Time(soon), captain));
            }
            desk = Who::Desk(dice.below(DESKS));
        } else {
            gaps.push((gap, desk));
        }
    }
    gaps.truncate(count);
    let (mut shares, mut left) = (0, LAST_DAY - DAY - FROM);
    for (gap, _) in &gaps {
        match gap {
            Gap::Share(share) => shares += share,
            Gap::Time(time) => left -= time,
        }
    }
    let unit = left / shares.max(1);
    let mut at = FROM;
    let mut next = |(gap, who)| {
        at += match gap {
            Gap::Share(share) => share * unit,
            Gap::Time(time) => time,
        };
        (by_day(at), who)
    };
    gaps.into_iter().map(&mut next).collect()
}

/// Between two petitions: a time, or so many parts of the years that are left.
enum Gap {
    Share(i64),
    Time(i64),
}

/// The same moment between 8 and 20 hours of its day, in the same order.
fn by_day(at: i64) -> i64 {
    let day = (at - FROM).div_euclid(DAY);
    let rest = (at - FROM).rem_euclid(DAY);
    FROM + day * DAY + 8 * HOUR + rest / 2
}

fn petition(at: i64, by: Who, card: Card, dice: &mut Dice) -> Planned {
    let problem = dice.pick(texts::problems(card.agency));
    let mut form = form(card.agency, problem, by, dice);
    let steps = steps(card, at, by, dice);
    if card.fate != Fate::Pending && by == desk_of(card.agency) && dice.percent(20) {
        // Who calls does not always know whose it is; the counter does.
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
    let colonia = match by {
        Who::Captain(place) => FIRST_COLONIA + place,
        _ => dice.below(NEIGHBORHOODS.len()),
    };
    let block = matches!(by, Who::Captain(_)).then(|| places::block(colonia));
    let [street, cross1, cross2] = [(); 3].map(|()| (*dice.pick(&STREETS)).to_owned());
    let number = dice.percent(70).then(|| 100 + dice.below(1_900));
    NewPetition {
        title: texts::title(problem, dice),
        description: texts::description(problem, dice),
        channel: Some(channel_named(channel)),
        kind: Some(kind(dice)),
        agency: Some(CatalogRef::new(catalog::id(agency), AGENCIES[agency].name)),
        service: Some(CatalogRef::new(catalog::id(agency) * 100, problem.service)),
        neighborhood: Some(neighborhood_named(NEIGHBORHOODS[colonia])),
        sector: Some(places::sector(colonia)),
        block,
        street: Some(number.map_or_else(|| street.clone(), |n| format!("{street} {n}"))),
        cross1: dice.percent(85).then_some(cross1),
        cross2: dice.percent(75).then_some(cross2),
        position: dice.percent(55).then(|| places::position(colonia, dice)),
        ..NewPetition::default()
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

/// The desk that looks after an agency.
pub(crate) fn desk_of(agency: usize) -> Who {
    Who::Desk(agency % DESKS)
}

/// The steps that lead to a fate, each some hours or days after the one before.
fn steps(card: Card, created: i64, by: Who, dice: &mut Dice) -> Vec<Step> {
    let Card { agency, fate, .. } = card;
    let crew = CREWS
        .iter()
        .position(|(_, _, agencies)| agencies.contains(&agency));
    let crew = Who::Crew(crew.unwrap_or(CREWS.len() - 1));
    let desk = desk_of(agency);
    let mut story = Story {
        at: created,
        steps: Vec::new(),
    };
    let referred = CatalogRef::new(catalog::id(agency), AGENCIES[agency].name);
    if fate != Fate::Pending {
        story.next(desk, Act::Refer(referred), dice);
    }
    for _ in 0..dice.weighted([60, 28, 12].into_iter()) {
        let text = (*dice.pick(&texts::OPERATOR_COMMENTS)).to_owned();
        story.next(desk, Act::Comment(text), dice);
    }
    match fate {
        Fate::Pending | Fate::Referred => {}
        _ if card.conflict => story.conflict(desk, crew, fate, dice),
        Fate::NotApplicable if dice.percent(40) => {
            let reason = (*dice.pick(&texts::NOT_APPLICABLE)).to_owned();
            story.next(desk, Act::NotApplicable(reason), dice);
        }
        _ => story.field(crew, fate, dice),
    }
    if fate == Fate::Done && !card.conflict && dice.percent(35) {
        let captain = matches!(by, Who::Captain(_));
        story.next(if captain { by } else { desk }, Act::Confirmed, dice);
    }
    story.steps
}

struct Story {
    at: i64,
    steps: Vec<Step>,
}

impl Story {
    fn next(&mut self, who: Who, act: Act, dice: &mut Dice) {
        let latest = LAST_DAY + 19 * HOUR;
        self.at = by_day(self.at + dice.between(2 * HOUR, 6 * DAY)).max(self.at + 9 * MINUTE);
        self.at = self.at.min(latest);
        self.steps.push(Step {
            who,
            at: self.at,
            act,
            blind: false,
        });
    }

    /// What a crew does with no network.
    fn field(&mut self, crew: Who, fate: Fate, dice: &mut Dice) {
        if fate == Fate::Started || dice.percent(50) {
            self.next(crew, Act::Started, dice);
        }
        if dice.percent(15) {
            let reason = (*dice.pick(&texts::NOT_YET)).to_owned();
            self.next(crew, Act::NotYet(reason), dice);
        }
        if dice.percent(30) {
            let text = (*dice.pick(&texts::CREW_COMMENTS)).to_owned();
            self.next(crew, Act::Comment(text), dice);
        }
        let end = match fate {
            Fate::Done => Act::Done((*dice.pick(&texts::DONE_NOTES)).to_owned()),
            Fate::NotApplicable => {
                Act::NotApplicable((*dice.pick(&texts::NOT_APPLICABLE)).to_owned())
            }
            _ => return,
        };
        self.next(crew, end, dice);
    }

    /// Crew and counter close it differently without knowing of each other; a supervisor decides.
    fn conflict(&mut self, desk: Who, crew: Who, fate: Fate, dice: &mut Dice) {
        let done = (*dice.pick(&texts::DONE_NOTES)).to_owned();
        let reason = (*dice.pick(&texts::NOT_APPLICABLE)).to_owned();
        self.next(crew, Act::Done(done), dice);
        self.next(desk, Act::NotApplicable(reason), dice);
        if let Some(step) = self.steps.last_mut() {
            step.blind = true;
        }
        let (outcome, why) = match fate {
            Fate::Done => (Outcome::Done, "La cuadrilla mostró el trabajo terminado."),
            _ => (
                Outcome::NotApplicable,
                "Se confirmó que no corresponde al municipio.",
            ),
        };
        self.next(Who::Supervisor, Act::Final(outcome, why.to_owned()), dice);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// All petitions of the city.
    const ALL: usize = 29_397;

    fn group(planned: &Planned) -> usize {
        let closing = |step: &&Step| {
            matches!(
                step.act,
                Act::Started | Act::Done(_) | Act::NotApplicable(_) | Act::Final(..)
            )
        };
        match planned.steps.iter().rev().find(closing).map(|s| &s.act) {
            None => 0,
            Some(Act::Started) => 1,
            Some(Act::Done(_) | Act::Final(Outcome::Done, _)) => 2,
            _ => 3,
        }
    }

    fn agency(planned: &Planned) -> String {
        let referred = planned.steps.iter().find_map(|step| match &step.act {
            Act::Refer(agency) => Some(agency),
            _ => None,
        });
        let agency = referred.or(planned.form.agency.as_ref());
        agency.map(|agency| agency.name.clone()).unwrap_or_default()
    }

    #[test]
    fn the_whole_city_is_its_report_to_the_digit() {
        let planned = city(ALL, 26_102_021);
        assert_eq!(planned.len(), ALL);
        let mut counted: BTreeMap<String, [u32; 4]> = BTreeMap::new();
        for each in &planned {
            counted.entry(agency(each)).or_default()[group(each)] += 1;
        }
        let report = AGENCIES.iter().filter(|agency| agency.counts != [0; 4]);
        let report: BTreeMap<String, [u32; 4]> = report
            .map(|agency| (agency.name.to_owned(), agency.counts))
            .collect();
        assert_eq!(counted, report);
        let in_order = planned.is_sorted_by_key(|each| each.at);
        assert!(in_order, "folios follow the dates");
        let newest = planned[ALL - SHOWN - 1].at;
        assert!(LAST_DAY - newest < 3 * DAY, "it goes on to the last day");
        let duplicates = planned.iter().filter(|each| each.is_duplicate()).count();
        assert!(duplicates > 100, "{duplicates} duplicates");
        let conflicts = planned
            .iter()
            .filter(|each| each.steps.iter().any(|s| s.blind));
        assert!(conflicts.count() > 20);
    }

    #[test]
    fn steps_follow_each_other_in_time() {
        for each in city(3_000, 7) {
            let times: Vec<i64> = each.steps.iter().map(|step| step.at).collect();
            assert!(times.is_sorted(), "{each:?}");
        }
    }
}
