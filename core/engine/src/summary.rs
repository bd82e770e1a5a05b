//! The summary row: what lists, filters and scopes need, so that no document is opened for them.

use minicbor::{Decode, Encode};

use crate::codec;
use crate::fold::Status;
use crate::grant::Scope;
use crate::ids::{CatalogId, Hash, RecordId, UserId};
use crate::limits::SUMMARY_BYTES;
use crate::record::CatalogRef;

/// Kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum DocKind {
    /// A petition.
    #[n(0)]
    Petition,
    /// A catalog.
    #[n(1)]
    Catalog,
}

/// How urgent a petition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Priority {
    /// As usual.
    #[default]
    #[n(0)]
    Normal,
    /// Soon.
    #[n(1)]
    Urgent,
    /// People are in danger.
    #[n(2)]
    Risk,
}

impl Priority {
    /// The name in files and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Urgent => "urgent",
            Self::Risk => "risk",
        }
    }
}

/// Everything a list shows of a document, derived from it by one function.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Summary {
    /// The kind of document.
    #[n(0)]
    pub doc_kind: DocKind,
    /// The intent that captured it; its provisional folio derives from this.
    #[n(1)]
    pub capture: RecordId,
    /// Who captured it.
    #[n(2)]
    pub author: UserId,
    /// The subject, or a catalog's name.
    #[n(3)]
    pub title: String,
    /// The agency it was addressed to at capture.
    #[n(4)]
    pub captured_agency: Option<CatalogRef>,
    /// The agencies it is with now: several after concurrent referrals.
    #[n(5)]
    pub agencies: Vec<CatalogRef>,
    /// The service asked for.
    #[n(6)]
    pub service: Option<CatalogRef>,
    /// The neighborhood.
    #[n(7)]
    pub neighborhood: Option<CatalogRef>,
    /// Street and cross streets in one line.
    #[n(8)]
    pub location: String,
    /// By which channel it came in.
    #[n(9)]
    pub channel: Option<CatalogRef>,
    /// The block it was captured in.
    #[n(10)]
    pub block: Option<CatalogId>,
    /// The sector it was captured in.
    #[n(11)]
    pub sector: Option<CatalogId>,
    /// The crews it is assigned to.
    #[n(12)]
    pub crews: Vec<CatalogId>,
    /// Priority.
    #[n(13)]
    pub priority: Priority,
    /// The state as reports count it: a conflict counts as in progress.
    #[n(14)]
    pub status: Status,
    /// Closed by a crew, not yet confirmed.
    #[n(15)]
    pub unconfirmed: bool,
    /// Waits in "Definir Estado Final".
    #[n(16)]
    pub conflict: bool,
    /// A late terminal event is attached for review.
    #[n(17)]
    pub review: bool,
    /// Its final state is defined.
    #[n(18)]
    pub is_final: bool,
    /// The agency has accepted it.
    #[n(19)]
    pub accepted: bool,
    /// Capture time by the device's clock, milliseconds UTC.
    #[n(20)]
    pub captured_at: i64,
    /// Number of comments.
    #[n(21)]
    pub comments: u32,
    /// The document's heads, sorted.
    #[n(22)]
    pub heads: Vec<Hash>,
    /// Operations so far: the cap is [`crate::limits::DOC_OPS`].
    #[n(23)]
    pub ops: u64,
    /// Changes so far: the cap is [`crate::limits::DOC_CHANGES`].
    #[n(24)]
    pub changes: u32,
}

impl Summary {
    /// Reads a row that came with a document, without the document: bounded, and only with heads that
    /// can be a document's. `None` sends the reader to the document itself.
    pub fn from_outside(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > SUMMARY_BYTES {
            return None;
        }
        let summary: Self = codec::decode(bytes).ok()?;
        let ascending = summary.heads.is_sorted_by(|a, b| a < b);
        (ascending && !summary.heads.is_empty()).then_some(summary)
    }

    /// The scopes that hold the document now, sorted.
    pub fn scopes(&self) -> Vec<Scope> {
        if self.doc_kind == DocKind::Catalog {
            return vec![Scope::Catalog];
        }
        let mut scopes = vec![Scope::City, Scope::Author(self.author)];
        scopes.extend(self.block.map(Scope::Block));
        scopes.extend(self.sector.map(Scope::Sector));
        scopes.extend(self.agencies.iter().map(|agency| Scope::Agency(agency.id)));
        scopes.extend(self.crews.iter().copied().map(Scope::Crew));
        scopes.sort_unstable();
        scopes.dedup();
        scopes
    }
}
