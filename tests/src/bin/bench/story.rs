//! The reference petition: title of 20-60 characters, description of 100-400, every field of the form,
//! the petitioner sealed, one photo reference, 3-6 events, 0-3 comments of 50-150 characters, by three
//! authors. Texts are those of the demonstration, seeded, so that no two are alike.

use manzana_engine::fold::EventKind;
use manzana_engine::ids::{CatalogId, Hash};
use manzana_engine::intent::NewPetition;
use manzana_engine::record::{Attachment, By, CatalogRef, Comment, Event, Position, Record};
use manzana_engine::seal::{Entropy as _, Petitioner};
use manzana_engine::summary::Priority;

use crate::catalog::{AGENCIES, CHANNELS, KINDS, NEIGHBORHOODS, STREETS};
use crate::dice::Dice;
use crate::texts;

/// Blocks of the city, and agencies that petitions go to.
pub(crate) const BLOCKS: u32 = 40;
pub(crate) const CITY_AGENCIES: u32 = 10;

/// Which of a petition's three authors acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Captain,
    Desk,
    Crew,
}

/// What one of them does after the capture.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Event(EventKind),
    Done,
    Comment(String),
}

/// One petition to be.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) block: CatalogId,
    pub(crate) agency: CatalogId,
    pub(crate) form: NewPetition,
    pub(crate) petitioner: Petitioner,
    pub(crate) steps: Vec<(Who, Act)>,
}

/// The next petition.
pub(crate) fn story(dice: &mut Dice) -> Story {
    let block = 1 + below(dice, BLOCKS);
    let agency = 1 + below(dice, CITY_AGENCIES);
    Story {
        block,
        agency,
        form: form(block, agency, dice),
        petitioner: Petitioner {
            name: texts::name(dice),
            phone: Some(format!("921{:07}", dice.below(10_000_000))),
            notice_accepted: true,
            ..Petitioner::default()
        },
        steps: steps(dice),
    }
}

/// The form of a petition in this block and of this agency.
pub(crate) fn form(block: CatalogId, agency: CatalogId, dice: &mut Dice) -> NewPetition {
    let place = agency as usize - 1;
    let problem = dice.pick(texts::problems(place));
    let street = *dice.pick(&STREETS);
    let mut title = texts::title(problem, dice);
    if title.chars().count() < 20 {
        title = format!("{title} EN {street}");
    }
    while title.chars().count() < 20 {
        title.push_str(" ESQUINA");
    }
    let mut description = texts::description(problem, dice);
    while description.chars().count() < 100 {
        description = format!("{description} {}", dice.pick(&texts::OPERATOR_COMMENTS));
    }
    let channel = dice.below(CHANNELS.len());
    let kind = dice.below(KINDS.len());
    let neighborhood = dice.below(NEIGHBORHOODS.len());
    NewPetition {
        title: cut(title, 60),
        description: cut(description, 400),
        channel: Some(named(channel, CHANNELS[channel].0)),
        kind: Some(named(kind, KINDS[kind])),
        agency: Some(named(place, AGENCIES[place].name)),
        service: Some(CatalogRef::new(agency * 100, problem.service)),
        neighborhood: Some(named(neighborhood, NEIGHBORHOODS[neighborhood])),
        street: Some(format!("{street} {}", 100 + dice.below(1_900))),
        cross1: Some((*dice.pick(&STREETS)).to_owned()),
        cross2: Some((*dice.pick(&STREETS)).to_owned()),
        position: Some(Position {
            lat_e7: 181_150_000 + i32::try_from(dice.below(330_000)).unwrap_or(0),
            lon_e7: -944_900_000 + i32::try_from(dice.below(750_000)).unwrap_or(0),
            accuracy_m: 4 + below(dice, 60),
        }),
        priority: *dice.pick(&[Priority::Normal, Priority::Urgent]),
        block: Some(block),
        sector: Some(block / 10 + 1),
        petitioner: None,
    }
}

fn named(place: usize, name: &str) -> CatalogRef {
    CatalogRef::new(u32::try_from(place).unwrap_or(0) + 1, name)
}

fn below(dice: &mut Dice, bound: u32) -> u32 {
    u32::try_from(dice.below(bound as usize)).unwrap_or(0)
}

fn cut(text: String, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// With the capture's own, 3-6 events, and comments between them.
fn steps(dice: &mut Dice) -> Vec<(Who, Act)> {
    let mut steps = vec![(Who::Desk, Act::Event(EventKind::Referred))];
    let mut comments = dice.below(4);
    let mut comment = |steps: &mut Vec<(Who, Act)>, who, dice: &mut Dice| {
        if comments > 0 {
            comments -= 1;
            steps.push((who, Act::Comment(comment_of(who, dice))));
        }
    };
    comment(&mut steps, Who::Desk, dice);
    if dice.percent(50) {
        steps.push((Who::Crew, Act::Event(EventKind::Started)));
    }
    if dice.percent(50) {
        steps.push((Who::Crew, Act::Event(EventKind::NotYet)));
        comment(&mut steps, Who::Crew, dice);
    }
    steps.push((Who::Crew, Act::Done));
    comment(&mut steps, Who::Desk, dice);
    if dice.percent(50) {
        steps.push((Who::Captain, Act::Event(EventKind::CitizenConfirmed)));
    }
    while comments > 0 {
        comments -= 1;
        steps.push((Who::Desk, Act::Comment(comment_of(Who::Desk, dice))));
    }
    steps
}

fn comment_of(who: Who, dice: &mut Dice) -> String {
    let texts: &[&str] = match who {
        Who::Crew => &texts::CREW_COMMENTS,
        _ => &texts::OPERATOR_COMMENTS,
    };
    comment(texts, dice)
}

/// A comment of 50-150 characters.
pub(crate) fn comment(texts: &[&str], dice: &mut Dice) -> String {
    let mut text = (*dice.pick(texts)).to_owned();
    while text.chars().count() < 50 {
        text = format!("{text} {}", dice.pick(texts));
    }
    if dice.percent(50) {
        text = texts::misspelt(&text, dice);
    }
    cut(text, 150)
}

impl Act {
    /// The records that it puts.
    pub(crate) fn records(&self, by: By, agency: &CatalogRef, dice: &mut Dice) -> Vec<Record> {
        match self {
            Self::Comment(text) => vec![Record::Comment(Comment {
                by,
                text: text.clone(),
            })],
            Self::Event(kind) => {
                let mut event = Event::new(by, *kind);
                match kind {
                    EventKind::Referred => event.agency = Some(agency.clone()),
                    EventKind::NotYet => {
                        event.reason = Some((*dice.pick(&texts::NOT_YET)).to_owned());
                    }
                    _ => {}
                }
                vec![Record::Event(event)]
            }
            Self::Done => {
                let mut event = Event::new(by, EventKind::Done);
                event.note = Some((*dice.pick(&texts::DONE_NOTES)).to_owned());
                let mut content = [0; 32];
                dice.fill(&mut content);
                let photo = Attachment {
                    by,
                    content: Hash(content),
                    media_type: "image/jpeg".to_owned(),
                    size: 90_000 + dice.below(60_000) as u64,
                };
                vec![Record::Event(event), Record::Attachment(photo)]
            }
        }
    }
}
