//! The engine's types that this crate's calls take and give: whoever stands on the client names
//! these, and need not depend on the engine.

pub use manzana_engine::document::{CatalogItem, CatalogView, PetitionView, RecordEntry, field};
pub use manzana_engine::fold::{EventKind, Outcome, Status};
pub use manzana_engine::grant::Role;
pub use manzana_engine::ids::{CatalogId, DocId, IdError, RecordId};
pub use manzana_engine::intent::{Amendment, Edit, Intent, NewPetition, RecordDraft};
pub use manzana_engine::policy::Rule;
pub use manzana_engine::record::{CatalogRef, Comment, Event, Position, Record};
pub use manzana_engine::replica::Saved;
pub use manzana_engine::seal::Petitioner;
pub use manzana_engine::summary::{Priority, Summary};
