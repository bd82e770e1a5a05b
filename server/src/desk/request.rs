//! What the console asks for, parsed and bounded before the relay core sees it.

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;

use super::{DeskError, Outcome};

/// Most characters of a search.
pub const MAX_SEARCH_CHARS: usize = 200;
/// Most rows of one page.
pub const MAX_PAGE: u16 = 200;
/// Rows of a page when the request does not say.
pub const DEFAULT_PAGE: u16 = 50;
/// Most characters of a comment.
pub const MAX_TEXT_CHARS: usize = 2_000;
/// Most characters of a reason.
pub const MAX_REASON_CHARS: usize = 500;
/// Most heads a view can have been made at; the relay joins above 16.
pub const MAX_HEADS: usize = 64;
/// Most characters of an idempotency key or a cursor.
pub const MAX_KEY_CHARS: usize = 128;

/// A filter of the list by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusFilter {
    /// Pendiente de atención.
    Pending,
    /// Turnada.
    Referred,
    /// En desarrollo.
    InProgress,
    /// Atendida.
    Done,
    /// Atendida por confirmar.
    DoneUnconfirmed,
    /// No procede.
    NotApplicable,
    /// With an open conflict: the queue "Definir Estado Final".
    Conflict,
}

/// One page of the list, as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Search text, trimmed, never empty.
    pub q: Option<String>,
    /// Only this state.
    pub status: Option<StatusFilter>,
    /// Only with this dependencia.
    pub agency: Option<u64>,
    /// Only this colonia.
    pub neighborhood: Option<u64>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Most rows, 1 to [`MAX_PAGE`].
    pub limit: u16,
}

/// The query string of the list, before it is checked.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawListQuery {
    q: Option<String>,
    status: Option<String>,
    agency: Option<String>,
    neighborhood: Option<String>,
    cursor: Option<String>,
    limit: Option<u16>,
}

impl TryFrom<RawListQuery> for ListQuery {
    type Error = DeskError;

    fn try_from(raw: RawListQuery) -> Result<Self, DeskError> {
        let q = filled(raw.q);
        at_most(q.as_deref(), MAX_SEARCH_CHARS, "q")?;
        let cursor = filled(raw.cursor);
        at_most(cursor.as_deref(), MAX_KEY_CHARS, "cursor")?;
        Ok(Self {
            q,
            status: filled(raw.status).map(|s| parse_status(&s)).transpose()?,
            agency: parse_number(raw.agency, "agency")?,
            neighborhood: parse_number(raw.neighborhood, "neighborhood")?,
            cursor,
            limit: raw.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE),
        })
    }
}

fn parse_number(text: Option<String>, field: &'static str) -> Result<Option<u64>, DeskError> {
    let number = filled(text).map(|text| text.parse()).transpose();
    number.map_err(|_| DeskError::Invalid { field })
}

fn parse_status(text: &str) -> Result<StatusFilter, DeskError> {
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(text);
    StatusFilter::deserialize(name).map_err(|_| DeskError::Invalid { field: "status" })
}

/// What an operator does to a petition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Add a comment.
    Comment {
        /// 1 to [`MAX_TEXT_CHARS`] characters.
        text: String,
    },
    /// Refer to a dependencia.
    Refer {
        /// Catalog id.
        agency: u64,
        /// Why, if said.
        reason: Option<String>,
    },
    /// Report as not applicable.
    NotApplicable {
        /// Why; the citizen reads it.
        reason: String,
    },
    /// Define the final state.
    FinalState {
        /// Which.
        outcome: Outcome,
        /// Why, if said.
        reason: Option<String>,
    },
}

/// An act, with what its author was looking at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActRequest {
    /// What to do.
    pub act: Act,
    /// The heads of the view it was decided on, 1 to [`MAX_HEADS`].
    pub heads: Vec<[u8; 32]>,
    /// Idempotency key: visible ASCII, 8 to [`MAX_KEY_CHARS`] characters.
    pub key: String,
}

/// The body of an act, before it is checked.
#[derive(Debug, Deserialize)]
pub(crate) struct RawActRequest {
    act: String,
    heads: Vec<String>,
    key: String,
    text: Option<String>,
    agency: Option<u64>,
    reason: Option<String>,
    outcome: Option<Outcome>,
}

impl TryFrom<RawActRequest> for ActRequest {
    type Error = DeskError;

    fn try_from(raw: RawActRequest) -> Result<Self, DeskError> {
        let heads = parse_heads(&raw.heads)?;
        let key_good = (8..=MAX_KEY_CHARS).contains(&raw.key.len())
            && raw.key.bytes().all(|b| b.is_ascii_graphic());
        if !key_good {
            return Err(DeskError::Invalid { field: "key" });
        }
        let key = raw.key.clone();
        Ok(Self {
            act: parse_act(raw)?,
            heads,
            key,
        })
    }
}

fn parse_act(raw: RawActRequest) -> Result<Act, DeskError> {
    let reason = filled(raw.reason);
    at_most(reason.as_deref(), MAX_REASON_CHARS, "reason")?;
    let text = filled(raw.text);
    at_most(text.as_deref(), MAX_TEXT_CHARS, "text")?;
    let missing = |field| DeskError::Invalid { field };
    match raw.act.as_str() {
        "comment" => Ok(Act::Comment {
            text: text.ok_or(missing("text"))?,
        }),
        "refer" => Ok(Act::Refer {
            agency: raw.agency.ok_or(missing("agency"))?,
            reason: reason.or(text),
        }),
        "not_applicable" => Ok(Act::NotApplicable {
            reason: reason.ok_or(missing("reason"))?,
        }),
        "final_state" => Ok(Act::FinalState {
            outcome: raw.outcome.ok_or(missing("outcome"))?,
            reason: reason.or(text),
        }),
        _ => Err(missing("act")),
    }
}

fn parse_heads(heads: &[String]) -> Result<Vec<[u8; 32]>, DeskError> {
    let invalid = || DeskError::Invalid { field: "heads" };
    if heads.is_empty() || heads.len() > MAX_HEADS {
        return Err(invalid());
    }
    heads
        .iter()
        .map(|hex| parse_hex(hex).ok_or_else(invalid))
        .collect()
}

/// Exactly `N` bytes from `2 N` hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    HEXLOWER_PERMISSIVE
        .decode(hex.as_bytes())
        .ok()?
        .try_into()
        .ok()
}

/// The text trimmed, unless that leaves nothing.
fn filled(text: Option<String>) -> Option<String> {
    text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
}

fn at_most(text: Option<&str>, chars: usize, field: &'static str) -> Result<(), DeskError> {
    match text {
        Some(text) if text.chars().count() > chars => Err(DeskError::Invalid { field }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(json: &str) -> Result<ActRequest, DeskError> {
        serde_json::from_str::<RawActRequest>(json)
            .unwrap()
            .try_into()
    }

    fn field(result: Result<ActRequest, DeskError>) -> &'static str {
        match result {
            Err(DeskError::Invalid { field }) => field,
            other => panic!("expected an invalid field, got {other:?}"),
        }
    }

    fn body(rest: &str) -> String {
        format!(
            r#"{{"heads":["{}"],"key":"k-000001",{rest}}}"#,
            "ab".repeat(32)
        )
    }

    #[test]
    fn acts_parse_into_what_they_mean() {
        let parsed = act(&body(r#""act":"comment","text":" Hola ""#)).unwrap();
        assert_eq!(
            parsed.act,
            Act::Comment {
                text: "Hola".into()
            }
        );
        assert_eq!(parsed.heads, [[0xab; 32]]);
        let parsed = act(&body(r#""act":"final_state","outcome":"not_applicable""#)).unwrap();
        assert_eq!(
            parsed.act,
            Act::FinalState {
                outcome: Outcome::NotApplicable,
                reason: None
            }
        );
    }

    #[test]
    fn a_missing_part_is_named() {
        assert_eq!(field(act(&body(r#""act":"comment","text":"  ""#))), "text");
        assert_eq!(field(act(&body(r#""act":"refer""#))), "agency");
        assert_eq!(field(act(&body(r#""act":"not_applicable""#))), "reason");
        assert_eq!(field(act(&body(r#""act":"final_state""#))), "outcome");
        assert_eq!(field(act(&body(r#""act":"burn""#))), "act");
    }

    #[test]
    fn text_is_taken_at_its_limit_and_refused_one_past_it() {
        let comment = |n| {
            act(&body(&format!(
                r#""act":"comment","text":"{}""#,
                "ñ".repeat(n)
            )))
        };
        comment(MAX_TEXT_CHARS).unwrap();
        assert_eq!(field(comment(MAX_TEXT_CHARS + 1)), "text");
    }

    #[test]
    fn heads_must_be_hashes() {
        let json = r#"{"act":"comment","text":"a","key":"k-000001","heads":["abc"]}"#;
        assert_eq!(field(act(json)), "heads");
        let json = r#"{"act":"comment","text":"a","key":"k-000001","heads":[]}"#;
        assert_eq!(field(act(json)), "heads");
    }

    #[test]
    fn an_unknown_status_is_refused_and_blank_filters_are_none() {
        let raw = RawListQuery {
            status: Some("lost".into()),
            ..RawListQuery::default()
        };
        assert!(matches!(
            ListQuery::try_from(raw),
            Err(DeskError::Invalid { field: "status" })
        ));
        let raw = RawListQuery {
            q: Some(" ".into()),
            status: Some(String::new()),
            ..Default::default()
        };
        let query = ListQuery::try_from(raw).unwrap();
        assert_eq!(
            (query.q, query.status, query.limit),
            (None, None, DEFAULT_PAGE)
        );
    }
}
