//! The story of a relay's storage: people, batches that create and change documents, parts, answers that
//! are seen, and openings in between.

use std::path::{Path, PathBuf};

use manzana_server::storage::conformance::format;
use manzana_server::storage::conformance::samples::{Author, Sheet, batch};
use manzana_server::storage::sqlite::SqliteStore;
use manzana_server::storage::{CommitBatch, RelayStore as _, StorageError, UserRow};

use super::story::{Story, Told};
use super::tape::Tape;

/// Batches of each of the two processes.
const BATCHES: usize = 4;

/// See the [module](self).
pub(crate) struct Relay {
    /// Each with the log's head after it.
    batches: Vec<(CommitBatch, u64)>,
    user: UserRow,
}

impl Relay {
    pub(crate) fn new() -> Self {
        let (mut ana, mut beto) = (Author::new(1), Author::new(2));
        let mut sheets: Vec<Sheet> = Vec::new();
        let mut head = 0;
        let batches = (0..2 * BATCHES).map(|_| {
            let mut new = ana.petition();
            let mut created = ana.accepted(vec![new.change(&ana)]);
            created.parts.push(new.masked_name("ANA P."));
            let mut envelopes = vec![created];
            if let Some(old) = sheets.last_mut() {
                old.refer(&[3]);
                envelopes.push(beto.accepted(vec![old.change(&beto)]));
            }
            head += envelopes.len() as u64;
            let mut touched: Vec<&Sheet> = sheets.last().into_iter().collect();
            touched.push(&new);
            let done = (batch(envelopes, &touched), head);
            sheets.push(new);
            done
        });
        Self {
            batches: batches.collect(),
            user: UserRow {
                id: 0,
                name: "ana".into(),
                display: "Ana".into(),
                role: "operator".into(),
                password_hash: None,
                disabled: false,
            },
        }
    }

    fn open(&self, folder: &Path, again: bool) -> Result<SqliteStore, Told> {
        let open = || SqliteStore::open(&self.database(folder), &format());
        Ok(match open() {
            Err(_) if again => open()?,
            opened => opened?,
        })
    }

    async fn people(&self, store: &SqliteStore) -> Result<(), StorageError> {
        if store.user_by_name("ana").await?.is_none() {
            store.add_user(&self.user).await?;
        }
        Ok(())
    }

    /// The batches until the log has this head.
    async fn write(
        &self,
        store: &SqliteStore,
        part: &[(CommitBatch, u64)],
        tape: &Tape,
        again: bool,
    ) -> Result<(), Told> {
        for (batch, after) in part {
            let head = match store.head().await {
                Err(_) if again => store.head().await?,
                head => head?,
            };
            if head.seq >= *after {
                continue;
            }
            match store.commit_batch(batch.clone()).await {
                Err(_) if again => store.commit_batch(batch.clone()).await?,
                done => done?,
            };
            tape.mark();
        }
        Ok(())
    }
}

impl Story for Relay {
    const NAME: &'static str = "relay";

    fn database(&self, folder: &Path) -> PathBuf {
        folder.join("city.sqlite")
    }

    fn beside(&self, _: &Path) -> Option<PathBuf> {
        None
    }

    fn play(&self, folder: &Path, tape: &Tape, again: bool) -> Result<(), Told> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let (first, second) = self.batches.split_at(BATCHES);
            let store = self.open(folder, again)?;
            tape.mark();
            match self.people(&store).await {
                Err(_) if again => self.people(&store).await?,
                done => done?,
            }
            tape.mark();
            self.write(&store, first, tape, again).await?;
            drop(store);
            let store = self.open(folder, again)?;
            self.write(&store, second, tape, again).await
        })
    }

    fn recover(&self, folder: &Path) {
        self.open(folder, false).expect("opened");
    }
}

impl From<StorageError> for Told {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => Self::Full,
            StorageError::Backend(error) => Self::Failed(error.to_string()),
            other => panic!("a fault of the disk is told as: {other}"),
        }
    }
}
