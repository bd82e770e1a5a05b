//! `commit_batch`: one transaction of the intake.

use std::collections::BTreeMap;
use std::sync::Arc;

use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::epoch;
use manzana_engine::ids::{DeviceId, Hash, Seq};
use manzana_engine::summary::DocKind;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::{
    CommitBatch, Committed, EntryCommit, EnvelopeCommit, GroupCommit, LogRow, PartCommit, Result,
};
use super::convert::{
    Misuse, cbor, count, id, int, move_code, optional_uint, part_code, scope_key, to_cbor, uint,
};
use super::memory::Memory;
use super::read::chain;
use super::recovery;
use super::search::FolioFormat;
use super::working::WorkingDocs;
use super::{held, people};

/// Writes a batch inside the caller's transaction.
pub(super) fn commit(
    conn: &Connection,
    memory: &mut Memory,
    format: &FolioFormat,
    batch: CommitBatch,
) -> Result<Committed> {
    let mut intake = Intake::begin(conn, format, batch.time)?;
    for envelope in &batch.envelopes {
        intake.envelope(envelope)?;
    }
    intake.write_city()?;
    let docs = intake.docs.flush(conn, format, memory, batch.docs)?;
    Ok(Committed {
        rows: intake.rows,
        docs,
        answers: intake.answers,
    })
}

struct Intake<'a> {
    conn: &'a Connection,
    format: &'a FolioFormat,
    time: i64,
    head: Seq,
    next_folio: u64,
    /// Put back from a backup: no folio is issued until the recovery is closed.
    recovering: bool,
    /// A backup was put back, now or earlier.
    put_back: bool,
    docs: WorkingDocs,
    rows: Vec<Arc<LogRow>>,
    answers: BTreeMap<DeviceId, Vec<EnvelopeAnswer>>,
}

impl<'a> Intake<'a> {
    fn begin(conn: &'a Connection, format: &'a FolioFormat, time: i64) -> Result<Self> {
        let (head, next_folio, recovering, epoch) = conn
            .prepare_cached("SELECT head, next_folio, recovering, epoch FROM city")?
            .query_row([], |row| {
                Ok((
                    uint(row, 0)?,
                    uint(row, 1)?,
                    row.get(2)?,
                    row.get::<_, u32>(3)?,
                ))
            })?;
        Ok(Self {
            conn,
            format,
            time,
            head,
            next_folio,
            recovering,
            put_back: epoch > epoch::FIRST,
            docs: WorkingDocs::default(),
            rows: Vec::new(),
            answers: BTreeMap::new(),
        })
    }

    fn write_city(&self) -> Result<()> {
        self.conn
            .prepare_cached("UPDATE city SET head = ?1, next_folio = ?2")?
            .execute([int(self.head), int(self.next_folio)])?;
        Ok(())
    }

    fn envelope(&mut self, envelope: &EnvelopeCommit) -> Result<()> {
        let earlier = if envelope.resumes {
            self.stored_answers(envelope)?
                .into_iter()
                .map(Some)
                .collect()
        } else {
            self.chain_step(envelope)?;
            vec![None; envelope.groups.len()]
        };
        if earlier.len() != envelope.groups.len() {
            return Err(Misuse("not one answer per group").into());
        }
        for part in &envelope.parts {
            self.part(envelope, part)?;
        }
        let mut groups = Vec::with_capacity(earlier.len());
        for (index, (group, earlier)) in envelope.groups.iter().zip(earlier).enumerate() {
            groups.push(self.group(envelope, index, group.as_ref(), earlier)?);
        }
        self.keep_envelope(envelope, &groups)?;
        let waits = |answer: &Answer| matches!(answer, Answer::Waiting { .. });
        if self.put_back && !groups.iter().any(waits) {
            recovery::drop_proof(self.conn, &envelope.hash)?;
        }
        let accepted = |answer: &Answer| matches!(answer, Answer::Accepted { .. });
        if let Some(act) = envelope
            .act
            .as_ref()
            .filter(|_| groups.iter().any(accepted))
        {
            people::put_act_key(self.conn, act)?;
        }
        self.answer(envelope, groups)
    }

    fn chain_step(&self, envelope: &EnvelopeCommit) -> Result<()> {
        let held = chain(self.conn, &envelope.device, envelope.incarnation)?;
        if envelope.n != held.have + 1 {
            return Err(Misuse("an envelope that does not follow its chain").into());
        }
        self.conn
            .prepare_cached(
                "INSERT INTO chains (device, incarnation, have, hash) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (device, incarnation)
                 DO UPDATE SET have = excluded.have, hash = excluded.hash",
            )?
            .execute(params![
                envelope.device.as_bytes(),
                envelope.incarnation,
                int(envelope.n),
                envelope.hash.as_bytes(),
            ])?;
        Ok(())
    }

    fn stored_answers(&self, envelope: &EnvelopeCommit) -> Result<Vec<Answer>> {
        let stored: Option<(Hash, Vec<Answer>)> = self
            .conn
            .prepare_cached(
                "SELECT hash, answers FROM envelopes
                 WHERE device = ?1 AND incarnation = ?2 AND n = ?3",
            )?
            .query_row(
                params![
                    envelope.device.as_bytes(),
                    envelope.incarnation,
                    int(envelope.n)
                ],
                |row| Ok((id(row, 0, Hash::from_slice)?, cbor(row, 1)?)),
            )
            .optional()?;
        match stored {
            Some((hash, answers)) if hash == envelope.hash => Ok(answers),
            _ => Err(Misuse("an envelope to resume that is not stored").into()),
        }
    }

    fn keep_envelope(&self, envelope: &EnvelopeCommit, groups: &Vec<Answer>) -> Result<()> {
        let sql = if envelope.resumes {
            "UPDATE envelopes SET answers = ?4
             WHERE device = ?1 AND incarnation = ?2 AND n = ?3"
        } else {
            "INSERT INTO envelopes (device, incarnation, n, answers, hash, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        };
        let mut statement = self.conn.prepare_cached(sql)?;
        let answers = to_cbor(groups);
        let device = envelope.device.as_bytes();
        let (incarnation, n) = (envelope.incarnation, int(envelope.n));
        if envelope.resumes {
            statement.execute(params![device, incarnation, n, answers])?;
        } else {
            let (hash, bytes) = (envelope.hash.as_bytes(), envelope.bytes.as_ref());
            statement.execute(params![device, incarnation, n, answers, hash, bytes])?;
        }
        Ok(())
    }

    fn answer(&mut self, envelope: &EnvelopeCommit, groups: Vec<Answer>) -> Result<()> {
        let device = envelope.device.as_bytes();
        let no = self
            .conn
            .prepare_cached(
                "INSERT INTO answer_counters (device, last) VALUES (?1, 1)
                 ON CONFLICT (device) DO UPDATE SET last = last + 1 RETURNING last",
            )?
            .query_row([device], |row| uint(row, 0))?;
        let answer = EnvelopeAnswer {
            no,
            incarnation: envelope.incarnation,
            n: envelope.n,
            hash: envelope.hash,
            groups,
        };
        self.conn
            .prepare_cached("INSERT INTO answers (device, no, answer) VALUES (?1, ?2, ?3)")?
            .execute(params![device, int(no), to_cbor(&answer)])?;
        self.answers
            .entry(envelope.device)
            .or_default()
            .push(answer);
        Ok(())
    }

    /// Parts are kept whatever becomes of their envelope, and seen only once a change of their
    /// document was accepted with them: nobody names the petitioner of another's petition.
    fn part(&self, envelope: &EnvelopeCommit, part: &PartCommit) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO parts (device, incarnation, n, hash, doc, kind, bytes, masked_name)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                envelope.device.as_bytes(),
                envelope.incarnation,
                int(envelope.n),
                part.hash.as_bytes(),
                part.doc.as_bytes(),
                part_code(part.kind),
                part.bytes.as_ref(),
                part.masked_name,
            ])?;
        Ok(())
    }

    fn group(
        &mut self,
        envelope: &EnvelopeCommit,
        index: usize,
        group: Option<&GroupCommit>,
        earlier: Option<Answer>,
    ) -> Result<Answer> {
        match (group, earlier) {
            (None, Some(earlier)) => return Ok(earlier),
            (None, None) => return Err(Misuse("a group without an answer").into()),
            (Some(_), Some(Answer::Waiting { .. })) => self.end_waiting(envelope, index)?,
            (Some(GroupCommit::NotAccepted { answer, .. }), Some(Answer::Held { .. }))
                if answer.is_final() =>
            {
                held::let_go(self.conn, envelope, index)?;
            }
            (Some(_), Some(_)) => return Err(Misuse("a group that did not wait").into()),
            (Some(_), None) => {}
        }
        match group {
            Some(GroupCommit::Accepted(entries)) => self.accept(envelope, entries),
            Some(GroupCommit::Known { seq }) => Ok(Answer::Accepted {
                seq: *seq,
                folio: self.folio_from(*seq)?,
            }),
            Some(GroupCommit::NotAccepted {
                answer,
                changes,
                detail,
            }) => {
                self.turn_away(envelope, index, answer, changes)?;
                if let Answer::Held { reason } = answer {
                    let detail = detail.as_deref();
                    held::hold(self.conn, envelope, index, self.time, *reason, detail)?;
                }
                Ok(answer.clone())
            }
            None => Err(Misuse("a group without an answer").into()),
        }
    }

    fn accept(&mut self, envelope: &EnvelopeCommit, entries: &[EntryCommit]) -> Result<Answer> {
        if entries.is_empty() {
            return Err(Misuse("an accepted group without entries").into());
        }
        let seq = self.head + 1;
        let mut folio = None;
        for entry in entries {
            let issued = self.entry(envelope, entry)?;
            folio = folio.or(issued);
        }
        Ok(Answer::Accepted { seq, folio })
    }

    fn entry(&mut self, envelope: &EnvelopeCommit, entry: &EntryCommit) -> Result<Option<u64>> {
        let seq = self.head + 1;
        self.head = seq;
        self.accepted_fate(&entry.hash, seq)?;
        self.bind_actor(envelope, entry)?;
        let moves = self
            .docs
            .apply(self.conn, self.format, &entry.doc, seq, &entry.summary)?;
        let folio = self.folio(entry)?;
        self.show_parts(envelope, entry)?;
        for (scope, step) in &moves {
            self.conn
                .prepare_cached("INSERT INTO scope_log (scope, seq, move) VALUES (?1, ?2, ?3)")?
                .execute(params![scope_key(scope), int(seq), move_code(*step)])?;
        }
        let row = LogRow {
            seq,
            doc: entry.doc,
            device: envelope.device,
            hash: entry.hash,
            change: entry.change.clone(),
            folio,
            moves,
        };
        self.log_row(envelope, &row)?;
        self.rows.push(Arc::new(row));
        Ok(folio)
    }

    fn log_row(&self, envelope: &EnvelopeCommit, row: &LogRow) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO log (seq, doc, device, incarnation, n, hash, change, folio, time)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                int(row.seq),
                row.doc.as_bytes(),
                row.device.as_bytes(),
                envelope.incarnation,
                int(envelope.n),
                row.hash.as_bytes(),
                row.change.as_ref(),
                row.folio.map(int),
                self.time,
            ])?;
        Ok(())
    }

    /// Being in the log wins over anything said of the same bytes when somebody else sent them.
    fn accepted_fate(&self, hash: &Hash, seq: Seq) -> Result<()> {
        let written = self
            .conn
            .prepare_cached(
                "INSERT INTO fates (hash, seq) VALUES (?1, ?2)
                 ON CONFLICT (hash) DO UPDATE SET seq = excluded.seq WHERE seq IS NULL",
            )?
            .execute(params![hash.as_bytes(), int(seq)])?;
        if written == 0 {
            return Err(Misuse("a change that is in the log already").into());
        }
        Ok(())
    }

    fn bind_actor(&self, envelope: &EnvelopeCommit, entry: &EntryCommit) -> Result<()> {
        if entry.given_back {
            // Its own device binds it when it comes.
            return Ok(());
        }
        let actor = entry.actor.as_bytes();
        let bound = self
            .conn
            .prepare_cached("SELECT device, incarnation FROM actors WHERE actor = ?1")?
            .query_row([actor], |row| {
                Ok((id(row, 0, DeviceId::from_slice)?, row.get::<_, u32>(1)?))
            })
            .optional()?;
        match bound {
            Some(bound) if bound == (envelope.device, envelope.incarnation) => Ok(()),
            Some(_) => Err(Misuse("an actor of another device or incarnation").into()),
            None => {
                self.conn
                    .prepare_cached(
                        "INSERT INTO actors (actor, device, incarnation) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![
                        actor,
                        envelope.device.as_bytes(),
                        envelope.incarnation
                    ])?;
                Ok(())
            }
        }
    }

    /// The folio of the petition that was created at this place, if one was.
    fn folio_from(&self, seq: Seq) -> Result<Option<u64>> {
        let folio = self
            .conn
            .prepare_cached("SELECT folio FROM docs WHERE creation_seq = ?1")?
            .query_row([int(seq)], |row| optional_uint(row, 0))
            .optional()?;
        Ok(folio.flatten())
    }

    /// The folio of a petition that has none: the one that it had before a backup was put back, or the
    /// next one, unless the city recovers: then it waits.
    fn folio(&mut self, entry: &EntryCommit) -> Result<Option<u64>> {
        let petition = entry.summary.doc_kind == DocKind::Petition;
        if !petition || self.docs.folio(&entry.doc).is_some() {
            return Ok(None);
        }
        let claimed = match entry.reclaims {
            None if self.put_back => recovery::claim_of(self.conn, &entry.doc)?,
            reclaims => reclaims,
        };
        let reclaimed = match claimed {
            Some(folio) if recovery::is_free(self.conn, folio)? => Some(folio),
            _ => None,
        };
        let issued = match reclaimed {
            None if !self.recovering => {
                self.next_folio += 1;
                Some(self.next_folio - 1)
            }
            reclaimed => reclaimed,
        };
        if let Some(folio) = issued {
            self.docs.set_folio(&entry.doc, folio);
        }
        Ok(issued)
    }

    fn show_parts(&mut self, envelope: &EnvelopeCommit, entry: &EntryCommit) -> Result<()> {
        if envelope.parts.is_empty() && !envelope.resumes {
            return Ok(());
        }
        let mut shown = self.conn.prepare_cached(
            "UPDATE parts SET live = 1
             WHERE device = ?1 AND incarnation = ?2 AND n = ?3 AND doc = ?4 RETURNING masked_name",
        )?;
        let names = shown.query_map(
            params![
                envelope.device.as_bytes(),
                envelope.incarnation,
                int(envelope.n),
                entry.doc.as_bytes(),
            ],
            |row| row.get::<_, Option<String>>(0),
        )?;
        for name in names {
            if let Some(name) = name? {
                self.docs.set_masked_name(&entry.doc, name);
            }
        }
        Ok(())
    }

    fn turn_away(
        &self,
        envelope: &EnvelopeCommit,
        index: usize,
        answer: &Answer,
        changes: &[Hash],
    ) -> Result<()> {
        match answer {
            Answer::Accepted { .. } => Err(Misuse("accepted, and not").into()),
            Answer::Waiting { deps } if deps.is_empty() => {
                Err(Misuse("a group that waits for nothing").into())
            }
            Answer::Waiting { deps } => self.wait(envelope, index, deps),
            _ => self.dead_fates(changes),
        }
    }

    fn wait(&self, envelope: &EnvelopeCommit, index: usize, deps: &[Hash]) -> Result<()> {
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO waiting (dep, device, incarnation, n, grp) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?;
        for dep in deps {
            insert.execute(params![
                dep.as_bytes(),
                envelope.device.as_bytes(),
                envelope.incarnation,
                int(envelope.n),
                count(index),
            ])?;
        }
        Ok(())
    }

    fn end_waiting(&self, envelope: &EnvelopeCommit, index: usize) -> Result<()> {
        self.conn
            .prepare_cached(
                "DELETE FROM waiting
                 WHERE device = ?1 AND incarnation = ?2 AND n = ?3 AND grp = ?4",
            )?
            .execute(params![
                envelope.device.as_bytes(),
                envelope.incarnation,
                int(envelope.n),
                count(index),
            ])?;
        Ok(())
    }

    fn dead_fates(&self, changes: &[Hash]) -> Result<()> {
        bury(self.conn, changes)
    }
}

/// Marks hashes as dead, unless they are known already.
pub(super) fn bury(conn: &Connection, hashes: &[Hash]) -> Result<()> {
    let mut insert = conn
        .prepare_cached("INSERT INTO fates (hash, seq) VALUES (?1, NULL) ON CONFLICT DO NOTHING")?;
    for hash in hashes {
        insert.execute([hash.as_bytes()])?;
    }
    Ok(())
}
