//! The words that petitions are written with, so that a search forgives what is typed, and what was
//! typed: "lanpara" finds LAMPARA, and "lampara" finds LAMAPRA.
//!
//! A word of a query is replaced by the words of the city that begin with it, and those near it. Near is
//! counted in edits (optimal string alignment: a letter more, less, other, or two exchanged). What is near
//! a word that finds something is taken for a misspelling of it only where it is much rarer: `calle` is
//! not a misspelt `valle`.

use std::collections::HashSet;

use rapidfuzz::distance::osa;
use rusqlite::Connection;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::super::Result;
use super::convert::{count, uint};

/// Shortest word that is forgiven anything, letters: nearly everything is near a shorter one.
const SHORTEST: usize = 4;
/// Longest word kept, letters.
pub(super) const LONGEST: usize = 40;
/// From here on two edits are near.
const LONG: usize = 8;
/// Most words that one word of a query stands for; beyond, its beginning is looked for as it is.
const MOST: usize = 64;
/// Most words near one word.
const MOST_NEAR: usize = 16;
/// Documents counted at most, to tell a misspelling from another word.
const COUNTED: i64 = 400;
/// How much rarer than a word its misspellings are.
const RARER: u64 = 8;
/// Words remembered by the writer at most: some MiB.
const REMEMBERED: usize = 100_000;

const WITH_PREFIX: &str =
    "SELECT word FROM words WHERE word >= ?1 AND word < ?1 || char(0x10FFFF) LIMIT ?2";
const OF_LENGTH: &str = "SELECT word FROM words WHERE letters BETWEEN ?1 AND ?2";
const DOCS_WITH: &str =
    "SELECT count(*) FROM (SELECT 1 FROM search WHERE search MATCH ?1 LIMIT ?2)";

/// What one word of a query stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Words of the city, whole; empty when the word is to be looked for as a beginning.
    pub(super) words: Vec<String>,
    /// The nearest, when nothing has what was typed.
    pub(super) instead: Option<String>,
}

/// As the index has it: lower case, no accents. `None` for what is not a word of letters, or too short
/// to be forgiven anything.
pub(super) fn folded(word: &str) -> Option<String> {
    let folded: String = word
        .nfd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect();
    let letters = folded.chars().count();
    let whole = folded.chars().all(char::is_alphabetic);
    (whole && (SHORTEST..=LONGEST).contains(&letters)).then_some(folded)
}

/// The words of the city that a folded word of a query stands for.
pub(super) fn meaning(conn: &Connection, word: &str) -> Result<Meaning> {
    let begun = with_prefix(conn, word)?;
    if begun.len() > MOST {
        return Ok(Meaning {
            words: Vec::new(),
            instead: None,
        });
    }
    let found = docs_with(conn, &begun)?;
    let mut near = near(conn, word, found == 0)?;
    near.retain(|(_, other)| !other.starts_with(word));
    if found > 0 {
        let mut rare = Vec::new();
        for (_, other) in near {
            if docs_with(conn, std::slice::from_ref(&other))? * RARER <= found {
                rare.push(other);
            }
        }
        return Ok(Meaning {
            words: begun.into_iter().chain(rare).collect(),
            instead: None,
        });
    }
    let least = near.first().map(|(edits, _)| *edits);
    near.retain(|(edits, _)| Some(*edits) == least);
    let mut counted = Vec::new();
    for (_, other) in near {
        counted.push((docs_with(conn, std::slice::from_ref(&other))?, other));
    }
    // What most petitions say was most probably meant.
    counted.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let words: Vec<String> = counted.into_iter().map(|(_, word)| word).collect();
    Ok(Meaning {
        instead: words.first().cloned(),
        words,
    })
}

/// The words that begin with this one: one more than [`MOST`] at most.
fn with_prefix(conn: &Connection, word: &str) -> Result<Vec<String>> {
    let mut statement = conn.prepare_cached(WITH_PREFIX)?;
    let rows = statement.query_map((word, count(MOST + 1)), |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many documents have any of the words, counted up to [`COUNTED`].
fn docs_with(conn: &Connection, words: &[String]) -> Result<u64> {
    if words.is_empty() {
        return Ok(0);
    }
    let mut statement = conn.prepare_cached(DOCS_WITH)?;
    Ok(statement.query_row((any_of(words), COUNTED), |row| uint(row, 0))?)
}

/// The FTS5 expression of any of the words. They are of letters alone, but quoted all the same.
pub(super) fn any_of(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" OR ")
}

/// The words near this one, nearest first, each with its edits. Where nothing begins with it, it may be
/// the beginning of a word, misspelt.
fn near(conn: &Connection, word: &str, or_begun: bool) -> Result<Vec<(usize, String)>> {
    let letters = word.chars().count();
    let allowed = if letters >= LONG { 2 } else { 1 };
    let longest = if or_begun { LONGEST } else { letters + allowed };
    let typed: Vec<char> = word.chars().collect();
    let typed = osa::BatchComparator::new(typed);
    let within = osa::Args::default().score_cutoff(allowed);
    let mut statement = conn.prepare_cached(OF_LENGTH)?;
    let mut rows = statement.query((count(letters.saturating_sub(allowed)), count(longest)))?;
    let (mut near, mut spelt) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let other = row.get_ref(0)?.as_str().unwrap_or_default();
        spelt.clear();
        spelt.extend(other.chars());
        let whole = typed.distance_with_args(spelt.iter().copied(), &within);
        let edits = whole.or_else(|| {
            let begun = spelt.get(..letters).filter(|_| or_begun)?;
            typed.distance_with_args(begun.iter().copied(), &within)
        });
        near.extend(edits.map(|edits| (edits, other.to_owned())));
    }
    near.sort();
    near.truncate(MOST_NEAR);
    Ok(near)
}

/// The words that this writer has put into the index.
#[derive(Default)]
pub(super) struct KnownWords {
    known: HashSet<String>,
}

impl KnownWords {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// Keeps the memory bounded between batches.
    pub(super) fn trim(&mut self) {
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
    }

    /// Adds the words of a text that are not there yet. They stay when no petition has them any more:
    /// then they find nothing.
    pub(super) fn add(&mut self, conn: &Connection, text: &str) -> Result<()> {
        let words = text.split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c));
        for word in words.filter_map(folded) {
            if self.known.contains(&word) {
                continue;
            }
            conn.prepare_cached(
                "INSERT INTO words (word, letters) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute((&word, count(word.chars().count())))?;
            self.known.insert(word);
        }
        Ok(())
    }
}
