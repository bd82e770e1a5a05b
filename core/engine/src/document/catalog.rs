//! Catalogs: agencies, services, neighborhoods… one document each, in scope `catalog` of every device.
//!
//! An entry is one CBOR scalar under its number in the map `items`. Entries are replaced whole and
//! never deleted: a petition keeps the name it was captured with, and a retired entry is only not
//! offered any more. Only the administration writes catalogs.

use std::collections::BTreeMap;

use automerge::transaction::Transactable;
use automerge::{Automerge, ObjType, ROOT, ReadDoc, ScalarValue, hydrate};
use minicbor::{Decode, Encode};

use super::view::{History, entries, op_id};
use super::{Document, DocumentError, MadeChange, SCHEMA, field, std_map};
use crate::codec;
use crate::fold::Status;
use crate::gate::chunk::OpId;
use crate::ids::{Actor, CatalogId, DocId, Hash, RecordId};
use crate::summary::{DocKind, Priority, Summary};

/// An entry of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CatalogItem {
    /// Its number within the catalog.
    #[n(0)]
    pub id: CatalogId,
    /// Its name, as people read it.
    #[n(1)]
    pub name: String,
    /// The entry it belongs to: a service's agency.
    #[n(2)]
    pub parent: Option<CatalogId>,
    /// No longer offered.
    #[n(3)]
    pub retired: Option<bool>,
}

/// A catalog as of its heads or of earlier ones.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogView {
    /// Which catalog it is: `agencies`, `services`, `neighborhoods`…
    pub name: String,
    /// Its entries, by number.
    pub items: Vec<CatalogItem>,
    /// The operations whose values are visible, by key.
    pub visible: BTreeMap<String, Vec<OpId>>,
    /// The object id of `items`.
    pub map: OpId,
    heads: Vec<Hash>,
    ops: u64,
    changes: u32,
}

impl CatalogView {
    /// The row that scopes and digests need; lists of petitions pass over it.
    pub fn summary(&self) -> Summary {
        Summary {
            doc_kind: DocKind::Catalog,
            capture: RecordId([0; 9]),
            author: 0,
            title: self.name.clone(),
            captured_agency: None,
            agencies: Vec::new(),
            service: None,
            neighborhood: None,
            location: String::new(),
            channel: None,
            block: None,
            sector: None,
            crews: Vec::new(),
            priority: Priority::Normal,
            status: Status::Pending,
            unconfirmed: false,
            conflict: false,
            review: false,
            is_final: false,
            accepted: false,
            captured_at: 0,
            comments: 0,
            heads: self.heads.clone(),
            ops: self.ops,
            changes: self.changes,
        }
    }
}

impl Document {
    /// What kind of document it is; `None` when it says nothing known.
    pub fn kind(&self) -> Option<DocKind> {
        let (value, _) = self.0.get(ROOT, field::DOC).ok().flatten()?;
        match value.as_str()? {
            "petition" => Some(DocKind::Petition),
            "catalog" => Some(DocKind::Catalog),
            _ => None,
        }
    }

    /// The summary row, whatever kind of document it is.
    ///
    /// # Errors
    /// When it is of no known kind.
    pub fn summary(&self) -> Result<Summary, DocumentError> {
        match self.kind() {
            Some(DocKind::Catalog) => Ok(self.catalog_at(&self.heads())?.summary()),
            _ => self.view()?.summary(),
        }
    }

    /// Creates a catalog with its first entries.
    ///
    /// # Errors
    /// When Automerge would not make the change.
    pub fn create_catalog(
        actor: Actor,
        name: &str,
        items: &[CatalogItem],
    ) -> Result<(Self, DocId, MadeChange), DocumentError> {
        let mut map = std_map(vec![
            (field::SCHEMA, ScalarValue::Uint(u64::from(SCHEMA))),
            (field::DOC, ScalarValue::Str("catalog".into())),
            (field::NAME, ScalarValue::Str(name.into())),
        ]);
        let keys: Vec<String> = items.iter().map(|item| item.id.to_string()).collect();
        let entries = keys
            .iter()
            .zip(items)
            .map(|(key, item)| (key.as_str(), ScalarValue::Bytes(codec::encode(item))))
            .collect();
        map.insert(
            field::ITEMS.into(),
            hydrate::Value::Map(std_map(entries).into()),
        );
        Self::create(actor, map.into())
    }

    /// Puts entries into a catalog, over those they replace.
    ///
    /// # Errors
    /// When it is not a catalog.
    pub fn put_items(
        &mut self,
        actor: Actor,
        items: &[CatalogItem],
    ) -> Result<MadeChange, DocumentError> {
        let map = self.0.get(ROOT, field::ITEMS).ok().flatten();
        let (_, map) = map.ok_or(DocumentError::NotAPetition)?;
        self.change(actor, |tx| {
            items.iter().try_for_each(|item| {
                let value = ScalarValue::Bytes(codec::encode(item));
                tx.put(&map, item.id.to_string(), value)
            })
        })
    }

    /// Reads a catalog as of these heads.
    ///
    /// # Errors
    /// When it is not a catalog, or does not know the heads.
    pub fn catalog_at(&self, heads: &[Hash]) -> Result<CatalogView, DocumentError> {
        if !heads.iter().all(|head| self.has(head)) {
            return Err(DocumentError::UnknownHeads);
        }
        let at: Vec<_> = heads
            .iter()
            .map(|head| automerge::ChangeHash(head.0))
            .collect();
        read(&self.0, &at).ok_or(DocumentError::NotAPetition)
    }
}

fn read(doc: &Automerge, at: &[automerge::ChangeHash]) -> Option<CatalogView> {
    let history = History::of(doc, Some(at));
    let (name, _) = doc.get_at(ROOT, field::NAME, at).ok().flatten()?;
    let (items, object) = doc.get_at(ROOT, field::ITEMS, at).ok().flatten()?;
    if items.to_objtype() != Some(ObjType::Map) {
        return None;
    }
    let mut view = CatalogView {
        name: name.as_str()?.to_owned(),
        items: Vec::new(),
        visible: BTreeMap::new(),
        map: op_id(&object)?,
        heads: super::sorted(at.to_vec()),
        ops: history.max_op,
        changes: history.included,
    };
    for (key, values) in entries(doc, Some(at), &object) {
        // The last one wins.
        let item = values
            .last()
            .and_then(|(value, _)| value.as_bytes())
            .map(codec::decode);
        view.items.extend(item.and_then(Result::ok));
        let mut ops: Vec<OpId> = values.iter().filter_map(|(_, id)| op_id(id)).collect();
        ops.sort_unstable();
        view.visible.insert(key, ops);
    }
    view.items.sort_by_key(|item: &CatalogItem| item.id);
    Some(view)
}
