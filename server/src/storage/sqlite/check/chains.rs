//! Devices, their envelopes, and the log that these made.

use std::collections::BTreeMap;

use manzana_engine::answer::Answer;
use manzana_engine::codec;
use manzana_engine::envelope::{Entry, Envelope};
use manzana_engine::epoch;
use manzana_engine::ids::{DeviceId, DocId, Hash, Seq};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::super::{ChainHead, DeviceRecord, Result};
use super::super::convert::{cbor, id, int, optional_uint, uint};
use super::super::{people, read};
use super::Findings;

const ENVELOPES: &str = "SELECT device, incarnation, n, hash, bytes, answers FROM envelopes
     ORDER BY device, incarnation, n";
const ROW: &str = "SELECT doc, device, incarnation, n, change, folio FROM log WHERE seq = ?1";

/// What was verified.
pub(super) struct Chains {
    pub(super) devices: u64,
    pub(super) envelopes: u64,
    pub(super) changes: u64,
}

/// A chain as far as it was followed.
struct Chain {
    device: DeviceId,
    incarnation: u32,
    head: ChainHead,
}

struct Kept {
    device: DeviceId,
    incarnation: u32,
    n: u64,
    hash: Hash,
    envelope: Option<Envelope>,
    answers: Vec<Answer>,
}

pub(super) fn check(conn: &Connection, root: &[u8; 32], findings: &Findings<'_>) -> Result<Chains> {
    let devices = devices(conn, root, findings)?;
    let mut checked = Chains {
        devices: devices.len() as u64,
        envelopes: 0,
        changes: 0,
    };
    let mut chain: Option<Chain> = None;
    let mut statement = conn.prepare(ENVELOPES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let kept = kept(row)?;
        let same = chain
            .as_ref()
            .is_some_and(|c| (c.device, c.incarnation) == (kept.device, kept.incarnation));
        if !same && let Some(whole) = chain.take() {
            whole.ends(conn, findings)?;
        }
        let chain = chain.get_or_insert_with(|| Chain {
            device: kept.device,
            incarnation: kept.incarnation,
            head: ChainHead::default(),
        });
        checked.envelopes += 1;
        checked.changes += chain.follow(conn, devices.get(&kept.device), &kept, findings)?;
        findings.done();
    }
    if let Some(whole) = chain {
        whole.ends(conn, findings)?;
    }
    Ok(checked)
}

/// The devices, each with a grant that the root signed for its key.
fn devices(
    conn: &Connection,
    root: &[u8; 32],
    findings: &Findings<'_>,
) -> Result<BTreeMap<DeviceId, DeviceRecord>> {
    let devices = people::devices(conn)?;
    for device in &devices {
        let granted = device.grant.open(root);
        if !granted.is_ok_and(|granted| granted.device_key == device.key) {
            findings.fault(format!("device {}: its grant is not the city's", device.id));
        }
    }
    Ok(devices
        .into_iter()
        .map(|device| (device.id, device))
        .collect())
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        device: id(row, 0, DeviceId::from_slice)?,
        incarnation: row.get(1)?,
        n: uint(row, 2)?,
        hash: id(row, 3, Hash::from_slice)?,
        envelope: codec::decode(row.get_ref(4)?.as_blob()?).ok(),
        answers: cbor(row, 5)?,
    })
}

impl Chain {
    /// Verifies the next envelope; gives how many changes of it stand in the log.
    fn follow(
        &mut self,
        conn: &Connection,
        author: Option<&DeviceRecord>,
        kept: &Kept,
        findings: &Findings<'_>,
    ) -> Result<u64> {
        let fault = |what: &str| {
            let Kept {
                device,
                incarnation,
                n,
                ..
            } = kept;
            findings.fault(format!("envelope {device} {incarnation} {n}: {what}"));
        };
        let before = std::mem::replace(
            &mut self.head,
            ChainHead {
                have: kept.n,
                hash: kept.hash,
            },
        );
        let opened = kept
            .envelope
            .as_ref()
            .zip(author)
            .and_then(|(envelope, author)| Some((envelope, envelope.open(&author.key).ok()?)));
        let Some((envelope, body)) = opened else {
            fault("not signed by its device");
            return Ok(0);
        };
        let context = &envelope.context;
        let own = (context.device, context.incarnation) == (kept.device, kept.incarnation);
        let follows = body.n == kept.n && kept.n == before.have + 1 && context.prev == before.hash;
        if !own || !follows || envelope.hash() != kept.hash {
            fault("does not follow its chain");
        }
        if kept.answers.len() != body.groups.len() {
            fault("not one answer for each group");
        }
        let mut accepted = 0;
        for (group, answer) in body.groups.iter().zip(&kept.answers) {
            let Answer::Accepted { seq, folio } = answer else {
                continue;
            };
            let stands = match stands(conn, kept, *seq, group, *folio)? {
                true => Some(group.len() as u64),
                // After a recovery others may have brought some of it back before.
                false => scattered(conn, kept, group)?,
            };
            match stands {
                Some(own) => accepted += own,
                None => {
                    accepted += group.len() as u64;
                    fault("the log does not say what was accepted");
                }
            }
        }
        Ok(accepted)
    }

    fn ends(&self, conn: &Connection, findings: &Findings<'_>) -> Result<()> {
        let (device, incarnation) = (self.device, self.incarnation);
        if read::chain(conn, &device, incarnation)? != self.head {
            findings.fault(format!(
                "chain {device} {incarnation}: another head is kept"
            ));
        }
        Ok(())
    }
}

/// How many of a group's entries stand in the log in this envelope's name, each of them somewhere; `None`
/// when one is missing, or no backup was ever put back.
fn scattered(conn: &Connection, kept: &Kept, group: &[Entry]) -> Result<Option<u64>> {
    // Not by the epoch's record, which may be what a damage took.
    if read::head(conn)?.epoch == epoch::FIRST {
        return Ok(None);
    }
    let mut statement = conn
        .prepare_cached("SELECT device, incarnation, n FROM log WHERE doc = ?1 AND change = ?2")?;
    let mut own = 0;
    for entry in group {
        let place = statement
            .query_row(params![entry.doc.as_bytes(), entry.change], |row| {
                Ok((
                    id(row, 0, DeviceId::from_slice)?,
                    row.get(1)?,
                    uint(row, 2)?,
                ))
            })
            .optional()?;
        match place {
            Some(place) => own += u64::from(place == (kept.device, kept.incarnation, kept.n)),
            None => return Ok(None),
        }
    }
    Ok(Some(own))
}

/// Whether a group's entries stand at `seq` and the places after it, byte for byte.
fn stands(
    conn: &Connection,
    kept: &Kept,
    seq: Seq,
    group: &[Entry],
    folio: Option<u64>,
) -> Result<bool> {
    let mut statement = conn.prepare_cached(ROW)?;
    let (mut same, mut issued) = (true, None);
    for (seq, entry) in (seq..).zip(group) {
        let found = statement
            .query_row([int(seq)], |row| {
                let place = (
                    id(row, 1, DeviceId::from_slice)?,
                    row.get(2)?,
                    uint(row, 3)?,
                );
                let says = id(row, 0, DocId::from_slice)? == entry.doc
                    && row.get_ref(4)?.as_blob()? == entry.change
                    && place == (kept.device, kept.incarnation, kept.n);
                Ok((says, optional_uint(row, 5)?))
            })
            .optional()?;
        same &= found.is_some_and(|(says, _)| says);
        issued = issued.or(found.and_then(|(_, folio)| folio));
    }
    Ok(same && issued == folio)
}
