//! The console's search: what is indexed of a petition, and how people's words become a query.

use manzana_engine::ids::normalize_provisional;
use manzana_engine::summary::{DocKind, Summary};

/// Most words of a query that are looked at.
const QUERY_WORDS: usize = 12;
/// Longest word of a query, characters; what follows is cut off, and the prefix still finds.
const WORD_CHARS: usize = 40;
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
}

impl FolioFormat {
    /// The folio as it is printed, and without its zeros as people type it.
    fn words(&self, folio: u64) -> String {
        let Self { prefix, width } = self;
        format!("{prefix}{folio:0width$} {folio}")
    }
}

/// The FTS5 expression for what a person typed; `None` when there is no word in it.
///
/// Every word must be there, each as a beginning. Words are always quoted: nothing that a person
/// types is read as an operator.
pub(super) fn expression(typed: &str) -> Option<String> {
    let words: Vec<String> = typed
        .split_whitespace()
        .map(clean)
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .take(QUERY_WORDS)
        .collect();
    if words.is_empty() {
        return None;
    }
    let all: Vec<String> = words.iter().map(|word| one_word(word)).collect();
    let all = all.join(" AND ");
    // Dictated in pieces ("ab1o l2 z9"), the whole of it may be one provisional folio.
    let whole = normalize_provisional(&words.concat());
    if words.len() > 1 && whole.len() == PROVISIONAL_CHARS && is_plain(&whole) {
        return Some(format!("({all}) OR provisional : \"{whole}\""));
    }
    Some(all)
}

fn clean(word: &str) -> String {
    word.chars()
        .filter(|c| !c.is_control())
        .take(WORD_CHARS)
        .collect()
}

fn one_word(word: &str) -> String {
    let quoted = word.replace('"', "\"\"");
    let folio = normalize_provisional(word);
    let tried = PROVISIONAL_PREFIX..=PROVISIONAL_CHARS;
    if tried.contains(&folio.len()) && is_plain(&folio) {
        format!("(\"{quoted}\" * OR provisional : \"{folio}\" *)")
    } else {
        format!("\"{quoted}\" *")
    }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_never_an_operator() {
        assert_eq!(
            expression("a\" OR b* NEAR(c").as_deref(),
            Some(r#""a""" * AND "OR" * AND "b*" * AND "NEAR(c" *"#)
        );
        assert_eq!(expression(" - \u{0} ** "), None);
    }

    #[test]
    fn a_provisional_folio_is_found_as_dictated() {
        let typed = expression("ab1o l2z9").unwrap();
        assert!(typed.contains("provisional : \"AB1012Z9\""), "{typed}");
        let typed = expression("AB1O-L2Z9").unwrap();
        assert!(typed.contains("provisional : \"AB1012Z9\" *"), "{typed}");
    }
}
