//! Imported catalogs become documents that replicate to every device.
//!
//! `manzana catalog` leaves the import in a setting; the relay publishes it as changes of the
//! administration's desk device, which go through the gate and policy like everything else.

use manzana_engine::document::CatalogItem;
use manzana_engine::gate::judge::{CatalogJob, Reply, Request};
use manzana_engine::grant::Role;
use manzana_engine::ids::{Actor, CatalogId, DocId};
use manzana_engine::relay::intake::peek;

use super::Relay;
use super::desk::{CATALOGS, internal};
use crate::desk::DeskError;
use crate::storage::{DeviceRecord, StorageError, UserRow};
use crate::strings;

/// Sign-in name of the administration's own user; it has no password.
const SYSTEM: &str = "sistema";
/// Entries in one change: imports are split into small ones.
const ITEMS: usize = 200;

/// The import file, as far as devices need it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Import {
    agencies: Vec<Item>,
    services: Vec<Item>,
    neighborhoods: Vec<Item>,
    channels: Vec<Item>,
    kinds: Vec<Item>,
}

#[derive(Debug, serde::Deserialize)]
struct Item {
    id: CatalogId,
    name: String,
    /// The agency of a service.
    agency: Option<CatalogId>,
}

impl Relay {
    /// Publishes the imported catalogs if they are not those of `published`.
    pub(super) async fn publish_catalogs(&self, published: &mut Option<Vec<u8>>) {
        let Ok(Some(imported)) = self.store.setting(CATALOGS).await else {
            return;
        };
        if published.as_ref() == Some(&imported) {
            return;
        }
        match self.publish_import(&imported).await {
            Ok(()) => *published = Some(imported),
            Err(error) => tracing::error!(%error, "the catalogs could not be published"),
        }
    }

    async fn publish_import(&self, imported: &[u8]) -> Result<(), DeskError> {
        let import: Import =
            serde_json::from_slice(imported).map_err(|_| internal("the import is not JSON"))?;
        let Import {
            agencies,
            services,
            neighborhoods,
            channels,
            kinds,
        } = import;
        let lists = [
            ("agencies", agencies),
            ("services", services),
            ("neighborhoods", neighborhoods),
            ("channels", channels),
            ("kinds", kinds),
        ];
        let _turn = self.desks.lock().await;
        let desk = self.administration().await?;
        for (name, list) in lists {
            let items: Vec<CatalogItem> = list.into_iter().map(Item::into_item).collect();
            for part in items.chunks(ITEMS) {
                self.publish_items(&desk, name, part.to_vec()).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn administration(&self) -> Result<DeviceRecord, DeskError> {
        self.own_desk(SYSTEM, Role::Administrator).await
    }

    /// The desk device of one of the city's own users, who are no people; both made at first use.
    pub(super) async fn own_desk(&self, name: &str, role: Role) -> Result<DeviceRecord, DeskError> {
        let user = UserRow {
            id: 0,
            name: name.to_owned(),
            display: strings::own_user(name).to_owned(),
            role: role.as_str().to_owned(),
            password_hash: None,
            disabled: false,
        };
        match self.store.add_user(&user).await {
            Ok(_) | Err(StorageError::Exists) => {}
            Err(error) => return Err(error.into()),
        }
        let user = self
            .store
            .user_by_name(name)
            .await?
            .ok_or(DeskError::NotFound)?;
        Ok(self.desk_device(&user, role).await?)
    }

    async fn publish_items(
        &self,
        desk: &DeviceRecord,
        name: &str,
        items: Vec<CatalogItem>,
    ) -> Result<(), DeskError> {
        let stored = self.store.catalogs().await?;
        let stored = stored.into_iter().find(|state| state.summary.title == name);
        let job = CatalogJob {
            saved: stored.as_ref().map(|state| state.saved.to_vec().into()),
            actor: Actor::new(&desk.id, 0),
            name: name.to_owned(),
            items,
        };
        let Reply::Authored(mut changes) = self.ask(&Request::Catalog(job)).await? else {
            return Err(internal("the gate answered something else"));
        };
        let Some(change) = changes.pop().map(Vec::from) else {
            return Ok(());
        };
        let doc = match stored {
            Some(state) => state.doc,
            None => created_by(&change)?,
        };
        let answers = self.append_as(desk, doc, vec![change], None).await?;
        match answers.first() {
            Some(manzana_engine::answer::Answer::Accepted { .. }) => Ok(()),
            other => Err(internal(&format!("a catalog was not accepted: {other:?}"))),
        }
    }
}

impl Item {
    fn into_item(self) -> CatalogItem {
        CatalogItem {
            id: self.id,
            name: self.name,
            parent: self.agency,
            retired: None,
        }
    }
}

/// The id of the document that a change creates.
pub(super) fn created_by(change: &[u8]) -> Result<DocId, DeskError> {
    let entry = manzana_engine::envelope::Entry {
        doc: DocId([0; 16]),
        change: change.to_vec(),
    };
    let peeked = peek(&[entry]).ok().and_then(|mut entries| entries.pop());
    let made = peeked.ok_or_else(|| internal("the gate made no change"))?;
    Ok(DocId::of_creation(&made.hash))
}
