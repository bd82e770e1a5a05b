//! The console's search: what is indexed of a petition, and how people's words become a query.

use manzana_engine::ids::normalize_provisional;
use manzana_engine::summary::{DocKind, Summary};
use rusqlite::{Connection, params};

use super::super::Result;
use super::convert::{cbor, optional_uint};
use super::words::{self, LONGEST};

/// Most words of a query that are looked at.
const QUERY_WORDS: usize = 12;
/// Letters of a provisional folio.
const PROVISIONAL_CHARS: usize = 8;
/// Fewest letters for which a word is tried as the beginning of a provisional folio.
const PROVISIONAL_PREFIX: usize = 4;

/// How folios are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FolioFormat {
    pub(super) prefix: String,
    pub(super) width: usize,
}

/// What the index holds of one petition, by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) folio: String,
    pub(super) provisional: String,
    pub(super) subject: String,
    pub(super) location: String,
    pub(super) neighborhood: String,
    pub(super) name: String,
}

impl Indexed {
    /// What is to be indexed; `None` for catalogs.
    pub(super) fn of(
        summary: &Summary,
        folio: Option<u64>,
        masked_name: Option<&str>,
        format: &FolioFormat,
    ) -> Option<Self> {
        if summary.doc_kind != DocKind::Petition {
            return None;
        }
        Some(Self {
            folio: folio.map(|folio| format.words(folio)).unwrap_or_default(),
            provisional: summary.capture.provisional_folio(),
            subject: summary.title.clone(),
            location: summary.location.clone(),
            neighborhood: summary
                .neighborhood
                .as_ref()
                .map(|entry| entry.name.clone())
                .unwrap_or_default(),
            name: masked_name.unwrap_or_default().to_owned(),
        })
    }

    /// Puts it into the index, instead of what stood there of this petition.
    pub(super) fn put(&self, conn: &Connection, creation_seq: i64) -> Result<()> {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO search
                 (rowid, folio, provisional, subject, location, neighborhood, name)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            creation_seq,
            self.folio,
            self.provisional,
            self.subject,
            self.location,
            self.neighborhood,
            self.name,
        ])?;
        Ok(())
    }
}

/// Indexes what the row of a document says of it.
pub(super) fn index_again(
    conn: &Connection,
    creation_seq: i64,
    format: &FolioFormat,
) -> Result<()> {
    let mut row = conn
        .prepare_cached("SELECT folio, masked_name, summary FROM docs WHERE creation_seq = ?1")?;
    let indexed = row.query_row([creation_seq], |row| {
        let (folio, name): (_, Option<String>) = (optional_uint(row, 0)?, row.get(1)?);
        Ok(Indexed::of(&cbor(row, 2)?, folio, name.as_deref(), format))
    })?;
    indexed.map_or(Ok(()), |indexed| indexed.put(conn, creation_seq))
}

impl FolioFormat {
    /// The folio as it is printed, and without its zeros as people type it.
    fn words(&self, folio: u64) -> String {
        let Self { prefix, width } = self;
        format!("{prefix}{folio:0width$} {folio}")
    }
}

/// What a person looks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// The FTS5 expression.
    pub(super) expression: String,
    /// The words that are looked for instead, when nothing has one of those typed.
    pub(super) corrected: Option<String>,
}

/// What to look for when a person typed this; `None` when there is no word in it.
///
/// Every word must be there, each as a beginning or with what [`words::meaning`] takes it for. Words are
/// always quoted: nothing that a person types is read as an operator.
pub(super) fn search(conn: &Connection, typed: &str) -> Result<Option<Search>> {
    let typed: Vec<String> = typed
        .split_whitespace()
        .map(clean)
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .take(QUERY_WORDS)
        .collect();
    if typed.is_empty() {
        return Ok(None);
    }
    let (mut all, mut corrected) = (Vec::new(), Vec::new());
    for word in &typed {
        let (expression, instead) = one_word(conn, word)?;
        all.push(expression);
        corrected.push(instead);
    }
    let mut expression = all.join(" AND ");
    // Dictated in pieces ("ab1o l2 z9"), the whole of it may be one provisional folio.
    let whole = normalize_provisional(&typed.concat());
    if typed.len() > 1 && whole.len() == PROVISIONAL_CHARS && is_plain(&whole) {
        expression = format!("({expression}) OR provisional : \"{whole}\"");
    }
    let corrected = corrected.iter().any(Option::is_some).then(|| {
        let words = corrected.into_iter().zip(typed);
        let words: Vec<String> = words
            .map(|(instead, typed)| instead.unwrap_or(typed))
            .collect();
        words.join(" ")
    });
    Ok(Some(Search {
        expression,
        corrected,
    }))
}

fn clean(word: &str) -> String {
    word.chars()
        .filter(|c| !c.is_control())
        // What follows is cut off, and the beginning still finds.
        .take(LONGEST)
        .collect()
}

/// The expression of one word, and the word that it was corrected to.
fn one_word(conn: &Connection, word: &str) -> Result<(String, Option<String>)> {
    let quoted = word.replace('"', "\"\"");
    let mut either = vec![format!("\"{quoted}\" *")];
    let mut corrected = None;
    if let Some(folded) = words::folded(word) {
        let meaning = words::meaning(conn, &folded)?;
        corrected = meaning.instead;
        if !meaning.words.is_empty() {
            // Whole words are read from the end of their lists; a beginning is gathered whole first.
            either = vec![words::any_of(&meaning.words)];
        }
    }
    let folio = normalize_provisional(word);
    let tried = PROVISIONAL_PREFIX..=PROVISIONAL_CHARS;
    if tried.contains(&folio.len()) && is_plain(&folio) {
        either.push(format!("provisional : \"{folio}\" *"));
    }
    Ok((format!("({})", either.join(" OR ")), corrected))
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
