//! Rows out of a damaged SQLite file, page by page, whatever became of the pages above them.
//!
//! SQLite finds a row by its tree: one bad page there hides all rows below. Here every leaf page is
//! looked at for itself, in the database and in its write-ahead log, and each row is handed out that
//! reads as one (<https://www.sqlite.org/fileformat2.html>). What it means, and whether to believe it, is the
//! caller's to say: old versions of rows may come too. SQLite's own recovery extension is not in the
//! SQLite that we are built with.
//!
//! Nothing is written, and memory is bounded by the largest row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::aside::beside;
use crate::sqlite::VALUE_BYTES;

/// Page size of every database of ours, bytes: taken where the header does not say another one.
const PAGE_BYTES: usize = 4096;
/// Columns of a row; none of our tables has more.
const COLUMNS: usize = 64;
const WAL_HEADER: u64 = 32;
const FRAME_HEADER: usize = 24;

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, or the number of the row where the table has such a column.
    Null,
    /// An integer.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A row as it stands in a leaf.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its number; `None` in an index, and in a table without such numbers.
    pub number: Option<i64>,
    /// Its columns.
    pub values: Vec<Value>,
}

/// Hands out every row that can be read.
///
/// # Errors
/// When the file cannot be read at all.
pub fn rows(database: &Path, mut each: impl FnMut(Row)) -> io::Result<()> {
    let mut pages = Pages::open(database)?;
    let free = pages.free();
    for number in 1..=pages.count {
        if free.contains(&number) {
            continue;
        }
        if let Some(page) = pages.read(number) {
            leaf(&mut pages, number, &page, &mut each);
        }
    }
    Ok(())
}

/// The pages of a database: those of its log where they are newer.
struct Pages {
    file: File,
    log: Option<File>,
    /// Where in the log the newest version of a page begins.
    logged: BTreeMap<u32, u64>,
    bytes: usize,
    count: u32,
}

impl Pages {
    fn open(database: &Path) -> io::Result<Self> {
        let mut file = File::open(database)?;
        let mut header = [0; 100];
        let read = read_at(&mut file, 0, &mut header).is_ok();
        let told = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let good = read && header.starts_with(b"SQLite format 3\0");
        let bytes = match told {
            1 if good => 1 << 16,
            told if good && told.is_power_of_two() && told >= 512 => told,
            _ => PAGE_BYTES,
        };
        let mut pages = Self {
            count: u32::try_from(file.metadata()?.len() / bytes as u64).unwrap_or(u32::MAX),
            file,
            log: File::open(beside(database, "-wal")).ok(),
            logged: BTreeMap::new(),
            bytes,
        };
        pages.read_log();
        Ok(pages)
    }

    /// Takes the log up to its last commit, as SQLite does after a crash: what is behind a frame whose
    /// salt or checksum is wrong was never committed, or is gone.
    fn read_log(&mut self) {
        let Some(log) = &mut self.log else { return };
        let mut header = [0; WAL_HEADER as usize];
        if read_at(log, 0, &mut header).is_err() {
            return;
        }
        let big = match word(&header, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return,
        };
        let mut sum = checksum(big, (0, 0), &header[..24]);
        if word(&header, 8) as usize != self.bytes || sum != (word(&header, 24), word(&header, 28))
        {
            return;
        }
        let (mut at, mut pending) = (WAL_HEADER, Vec::new());
        let mut frame = vec![0; FRAME_HEADER + self.bytes];
        while read_at(log, at, &mut frame).is_ok() && frame[8..16] == header[16..24] {
            sum = checksum(big, sum, &frame[..8]);
            sum = checksum(big, sum, &frame[FRAME_HEADER..]);
            if sum != (word(&frame, 16), word(&frame, 20)) {
                break;
            }
            pending.push((word(&frame, 0), at + FRAME_HEADER as u64));
            let committed = word(&frame, 4);
            if committed != 0 {
                self.logged.extend(pending.drain(..));
                self.count = self.count.max(committed);
            }
            at += frame.len() as u64;
        }
    }

    fn read(&mut self, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; self.bytes];
        let (file, at) = match (self.logged.get(&number), &mut self.log) {
            (Some(at), Some(log)) => (log, *at),
            _ => (
                &mut self.file,
                u64::from(number.checked_sub(1)?) * self.bytes as u64,
            ),
        };
        read_at(file, at, &mut page).ok()?;
        Some(page)
    }

    /// Pages that hold nothing any more, as far as the list of them can be read.
    fn free(&mut self) -> BTreeSet<u32> {
        let mut free = BTreeSet::new();
        let mut trunk = self.read(1).map_or(0, |first| word(&first, 32));
        while trunk != 0 && free.insert(trunk) {
            let Some(page) = self.read(trunk) else { break };
            let many = (word(&page, 4) as usize).min(page.len() / 4 - 2);
            free.extend((0..many).map(|leaf| word(&page, 8 + 4 * leaf)));
            trunk = word(&page, 0);
        }
        free
    }
}

fn read_at(file: &mut File, at: u64, to: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(to)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

fn checksum(big: bool, (mut one, mut two): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let read = |four: &[u8]| {
        let four = four.try_into().unwrap_or_default();
        match big {
            true => u32::from_be_bytes(four),
            false => u32::from_le_bytes(four),
        }
    };
    for pair in bytes.chunks_exact(8) {
        one = one.wrapping_add(read(&pair[..4])).wrapping_add(two);
        two = two.wrapping_add(read(&pair[4..])).wrapping_add(one);
    }
    (one, two)
}

/// The rows of a page, if it is a leaf.
fn leaf(pages: &mut Pages, number: u32, page: &[u8], each: &mut impl FnMut(Row)) {
    let head = if number == 1 { 100 } else { 0 };
    let numbered = match page[head] {
        0x0d => true,
        0x0a => false,
        _ => return,
    };
    let many = usize::from(u16::from_be_bytes([page[head + 3], page[head + 4]]));
    for cell in 0..many {
        let at = head + 8 + 2 * cell;
        let Some(pointer) = page.get(at..at + 2) else {
            return;
        };
        let start = usize::from(u16::from_be_bytes([pointer[0], pointer[1]]));
        let row = page
            .get(start..)
            .and_then(|cell| row(pages, cell, numbered));
        if let Some(row) = row {
            each(row);
        }
    }
}

fn row(pages: &mut Pages, cell: &[u8], numbered: bool) -> Option<Row> {
    let mut cell = Bytes(cell);
    let length = usize::try_from(cell.varint()?).ok()?;
    if length > VALUE_BYTES as usize {
        return None;
    }
    let number = match numbered {
        true => Some(cell.varint()?),
        false => None,
    };
    let usable = pages.bytes;
    let (largest, least) = match numbered {
        true => (usable - 35, (usable - 12) * 32 / 255 - 23),
        false => ((usable - 12) * 64 / 255 - 23, (usable - 12) * 32 / 255 - 23),
    };
    let here = match length {
        length if length <= largest => length,
        length => match least + (length - least) % (usable - 4) {
            here if here <= largest => here,
            _ => least,
        },
    };
    let mut payload = cell.take(here)?.to_vec();
    let mut next = if here < length {
        word(cell.take(4)?, 0)
    } else {
        0
    };
    while payload.len() < length {
        let page = pages.read(next)?;
        let more = (length - payload.len()).min(usable - 4);
        payload.extend_from_slice(&page[4..4 + more]);
        next = word(&page, 0);
    }
    let values = record(&payload)?;
    Some(Row { number, values })
}

/// The columns of a record; `None` when it is none.
fn record(payload: &[u8]) -> Option<Vec<Value>> {
    let mut header = Bytes(payload);
    let length = usize::try_from(header.varint()?).ok()?;
    let mut body = Bytes(payload.get(length..)?);
    header.0 = payload.get(payload.len() - header.0.len()..length)?;
    let mut values = Vec::new();
    while !header.0.is_empty() {
        if values.len() == COLUMNS {
            return None;
        }
        values.push(body.value(header.varint()?)?);
    }
    body.0.is_empty().then_some(values)
}

/// Bytes that are taken from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, many: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(many)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<i64> {
        let mut value: u64 = 0;
        for at in 0..9 {
            let byte = self.take(1)?[0];
            if at == 8 {
                value = value << 8 | u64::from(byte);
                break;
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                break;
            }
        }
        Some(value.cast_signed())
    }

    /// The value of this serial type.
    fn value(&mut self, kind: i64) -> Option<Value> {
        Some(match kind {
            0 => Value::Null,
            1..=4 => self.int(usize::try_from(kind).ok()?)?,
            5 => self.int(6)?,
            6 => self.int(8)?,
            8 | 9 => Value::Int(kind - 8),
            12.. => {
                let bytes = self.take(usize::try_from((kind - 12) / 2).ok()?)?.to_vec();
                match kind % 2 {
                    0 => Value::Blob(bytes),
                    _ => Value::Text(String::from_utf8(bytes).ok()?),
                }
            }
            // Numbers with fractions, which no table of ours has, and what is reserved.
            _ => return None,
        })
    }

    fn int(&mut self, bytes: usize) -> Option<Value> {
        let bytes = self.take(bytes)?;
        let sign = if bytes[0] < 0x80 { 0 } else { -1 };
        let whole = bytes
            .iter()
            .fold(sign, |whole, byte| whole << 8 | i64::from(*byte));
        Some(Value::Int(whole))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn all(database: &Path) -> Vec<Row> {
        let mut found = Vec::new();
        rows(database, |row| found.push(row)).unwrap();
        found
    }

    #[test]
    fn rows_of_every_size_and_type_come_back_also_from_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, i, t, b)",
        )
        .unwrap();
        let ints = [
            0,
            1,
            -1,
            127,
            -129,
            40_000,
            -9_000_000,
            1 << 33,
            i64::MIN,
            5,
        ];
        let mut expected = Vec::new();
        for (n, int) in (1..).zip(ints) {
            let blob = vec![n as u8; 1 << (2 * n)];
            conn.execute("INSERT INTO t VALUES (?1, ?2, 'ñ', ?3)", (n, int, &blob))
                .unwrap();
            let values = vec![
                Value::Null,
                Value::Int(int),
                Value::Text("ñ".into()),
                Value::Blob(blob),
            ];
            expected.push(Row {
                number: Some(n),
                values,
            });
        }
        let found = |path: &Path| {
            let mut found = all(path);
            found.retain(|row| row.values.len() == 4);
            found.sort_by_key(|row| row.number);
            found
        };
        assert!(found(&path) == expected, "from the log");
        drop(conn);
        assert!(found(&path) == expected, "from the database");
        // The first page is gone, and with it every name and every tree.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..PAGE_BYTES].fill(0);
        std::fs::write(&path, bytes).unwrap();
        assert!(found(&path) == expected, "without the first page");
    }

    #[test]
    fn any_bytes_are_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE t (a, b); CREATE INDEX i ON t (b)")
            .unwrap();
        for n in 0..40 {
            conn.execute("INSERT INTO t VALUES (?1, randomblob(9000))", [n])
                .unwrap();
        }
        drop(conn);
        let whole = std::fs::read(&path).unwrap();
        for n in 0..400_usize {
            let mut bytes = whole.clone();
            for m in 0..64 {
                let at = (n * 7919 + m * m * 104_729) % bytes.len();
                bytes[at] = (n + m) as u8;
            }
            bytes.truncate(bytes.len() - n * 31);
            std::fs::write(&path, bytes).unwrap();
            all(&path);
        }
    }
}
