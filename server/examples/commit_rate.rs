//! Rows per second of `commit_batch` with synthetic single-entry envelopes, durable on this disk.
//!
//! `cargo run --release -p manzana-server --example commit_rate [directory]`

use std::time::{Duration, Instant};

use anyhow::Result;
use manzana_server::storage::conformance::format;
use manzana_server::storage::conformance::samples::{Author, Sheet, batch};
use manzana_server::storage::sqlite::SqliteStore;
use manzana_server::storage::{CommitBatch, RelayStore};

/// How long each size is measured.
const SPAN: Duration = Duration::from_secs(3);
/// One creation, then so many changes of it.
const CHANGES_EACH: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let dir = match std::env::args().nth(1) {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    for size in [1_usize, 64, 256] {
        let path = dir.path().join(format!("{size}.db"));
        let store = SqliteStore::open(&path, &format())?;
        let mut city = City::default();
        let (mut rows, mut spent) = (0, Duration::ZERO);
        while spent < SPAN {
            let batch = city.batch(size);
            let began = Instant::now();
            store.commit_batch(batch).await?;
            spent += began.elapsed();
            rows += size;
        }
        let rate = rows as f64 / spent.as_secs_f64();
        let each = spent / u32::try_from(rows / size)?;
        println!("{size:>4} per batch: {rate:>8.0} rows/s, {each:.1?} a batch, {rows} rows");
    }
    Ok(())
}

struct City {
    authors: Vec<Author>,
    sheets: Vec<(Sheet, usize)>,
}

impl Default for City {
    fn default() -> Self {
        Self {
            authors: (1..=100).map(Author::new).collect(),
            sheets: Vec::new(),
        }
    }
}

impl City {
    fn batch(&mut self, size: usize) -> CommitBatch {
        let mut envelopes = Vec::with_capacity(size);
        let mut touched = Vec::with_capacity(size);
        for _ in 0..size {
            if self.sheets.len() < size {
                let who = self.sheets.len() % self.authors.len();
                let sheet = self.begin(who);
                self.sheets.push((sheet, who));
            }
            let (mut sheet, who) = self.sheets.remove(0);
            let author = &mut self.authors[who];
            let mut entry = sheet.change(author);
            entry.change = vec![7; 300].into();
            envelopes.push(author.accepted(vec![entry]));
            sheet.saved = vec![9; 2_000].into();
            touched.push(sheet.clone());
            if sheet.summary.changes as usize <= CHANGES_EACH {
                self.sheets.push((sheet, who));
            }
        }
        batch(envelopes, &touched.iter().collect::<Vec<_>>())
    }

    fn begin(&mut self, who: usize) -> Sheet {
        let mut sheet = self.authors[who].petition();
        sheet.summary.block = u32::try_from(who).ok();
        sheet.summary.sector = Some(1);
        sheet.refer(&[1]);
        sheet
    }
}
