//! Who may do what: one pure function over a change's decoded operations, used at both ends.
//!
//! A look at the document before and after is blind to a delete with a re-creation of equal content,
//! to a put that loses, to an overlay of the root maps; so the *operations* are judged:
//! - record maps take only new keys of their author, whole, with no predecessors;
//! - nothing is deleted, counted, listed or marked;
//! - root maps are made by the creation alone;
//! - a plain field is written over exactly the values its author could see.
//!
//! State and scope rules look at the document *as its author saw it* (the change's deps): who closed
//! honestly with no network is not refused because the desk closed first. That is a conflict.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use crate::document::{CatalogItem, CatalogView, PetitionView, SCHEMA, field};
use crate::fold::{EventKind, Outcome, Status};
use crate::gate::chunk::{Action, DecodedChange, Key, Obj, Op, OpId, Value};
use crate::grant::{Role, Scope};
use crate::ids::{DeviceId, RecordId, UserId};
use crate::limits::{RECORD_BYTES, TEXT_BYTES};
use crate::record::{By, CatalogRef, Event, Position, RECORD_MAPS, Record};

/// A rule that a change is against. Codes are stable: phones keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Rule {
    /// The change's bytes are not an acceptable change chunk.
    #[n(0)]
    BadChange,
    /// The actor does not belong to the device, or is another incarnation's.
    #[n(1)]
    ForeignActor,
    /// Sequence number or first operation do not follow from the document.
    #[n(2)]
    BadSequence,
    /// The id is not the hash of the creation change, or a document is created twice.
    #[n(3)]
    BadDocId,
    /// The document is at one of its caps.
    #[n(4)]
    DocumentFull,
    /// An operation that no document of this kind has (delete, list, counter, overlay of a root map…).
    #[n(5)]
    ForbiddenOperation,
    /// A record key that is not the author's, not new, or not whole.
    #[n(6)]
    BadRecord,
    /// A record that does not carry its author's user id and role.
    #[n(7)]
    ForeignRecord,
    /// A field written over values that its author had not seen.
    #[n(8)]
    BlindWrite,
    /// A value of the wrong type, too long, or missing.
    #[n(9)]
    BadValue,
    /// The role may not do this.
    #[n(10)]
    RoleMayNot,
    /// The petition is not in the author's scopes.
    #[n(11)]
    OutOfScope,
    /// Its final state is defined.
    #[n(12)]
    AlreadyFinal,
    /// It was closed already, as its author knew.
    #[n(13)]
    AlreadyClosed,
    /// It is in conflict, as its author knew: only a final state ends that.
    #[n(14)]
    InConflict,
    /// There is nothing to reopen, confirm or dispute.
    #[n(15)]
    NotClosed,
    /// Written by a schema newer than the relay's.
    #[n(16)]
    NewerSchema,
    /// The document is not known and the change does not create it.
    #[n(17)]
    UnknownDocument,
    /// The envelope names another city or grant.
    #[n(18)]
    ForeignGrant,
}

/// A denial: the rule and, where there is one, the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule.
    pub rule: Rule,
    /// The field, by its name in the document.
    pub field: Option<String>,
}

impl From<Rule> for Denial {
    fn from(rule: Rule) -> Self {
        Self { rule, field: None }
    }
}

fn deny<T>(rule: Rule, field: &str) -> Result<T, Denial> {
    Err(Denial {
        rule,
        field: Some(field.to_owned()),
    })
}

/// The author, as the grant tells it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Facts {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// The person.
    #[n(1)]
    pub user: UserId,
    /// The role.
    #[n(2)]
    pub role: Role,
    /// The scopes of the grant.
    #[n(3)]
    pub scopes: Vec<Scope>,
}

impl Facts {
    /// Whether the author may hold a document in these scopes: by the grant, or as its author.
    pub fn covers(&self, scopes: &[Scope]) -> bool {
        scopes
            .iter()
            .any(|s| self.scopes.contains(s) || *s == Scope::Author(self.user))
    }
}

/// Judges one change of a petition. `before` is the petition at the change's deps; `None` when the
/// change creates it.
pub fn check(
    facts: &Facts,
    before: Option<&PetitionView>,
    change: &DecodedChange,
) -> Result<(), Denial> {
    if !change.actor.as_bytes().starts_with(&facts.device.tag()) {
        return Err(Rule::ForeignActor.into());
    }
    match before {
        None if creates_catalog(change) => check_new_catalog(facts, change),
        None => check_creation(facts, change),
        Some(view) => check_update(facts, view, change),
    }
}

/// Judges one change of a catalog: the administration puts whole entries, over exactly those it saw.
///
/// # Errors
/// The denial.
pub fn check_catalog(
    facts: &Facts,
    before: &CatalogView,
    change: &DecodedChange,
) -> Result<(), Denial> {
    if !change.actor.as_bytes().starts_with(&facts.device.tag()) {
        return Err(Rule::ForeignActor.into());
    }
    if facts.role != Role::Administrator {
        return Err(Rule::RoleMayNot.into());
    }
    for op in &change.ops {
        let key = map_key(op)?;
        let nothing = Vec::new();
        let visible = before.visible.get(key).unwrap_or(&nothing);
        if op.obj != Obj::Id(before.map) {
            return deny(Rule::ForbiddenOperation, key);
        }
        if op.pred != *visible {
            return deny(Rule::BlindWrite, key);
        }
        check_item(op, key)?;
    }
    Ok(())
}

fn check_item(op: &Op, key: &str) -> Result<(), Denial> {
    let Value::Bytes(bytes) = put(op, key)? else {
        return deny(Rule::BadValue, key);
    };
    match crate::codec::decode::<CatalogItem>(bytes) {
        Ok(item) if item.id.to_string() == key && item.name.len() <= 200 => Ok(()),
        _ => deny(Rule::BadValue, key),
    }
}

/// A new catalog: its kind, its name, its entries, by the administration.
fn check_new_catalog(facts: &Facts, change: &DecodedChange) -> Result<(), Denial> {
    if facts.role != Role::Administrator {
        return Err(Rule::RoleMayNot.into());
    }
    let mut items = None;
    let mut seen = BTreeSet::new();
    for op in &change.ops {
        let name = map_key(op)?;
        if !op.pred.is_empty() {
            return deny(Rule::ForbiddenOperation, name);
        }
        match &op.obj {
            Obj::Root if !seen.insert(name) => return deny(Rule::ForbiddenOperation, name),
            Obj::Root if name == field::ITEMS && op.action == Action::MakeMap => {
                items = Some(op.id)
            }
            Obj::Root if name == field::NAME => match put(op, name)? {
                Value::Str(text) if text.len() <= 100 => {}
                _ => return deny(Rule::BadValue, name),
            },
            Obj::Root if name == field::DOC => {}
            Obj::Root if name == field::SCHEMA => check_field(facts, name, put(op, name)?)?,
            Obj::Id(object) if items == Some(*object) => check_item(op, name)?,
            _ => return deny(Rule::ForbiddenOperation, name),
        }
    }
    match items.is_some() && seen.contains(field::NAME) && seen.contains(field::SCHEMA) {
        true => Ok(()),
        false => Err(Rule::BadValue.into()),
    }
}

fn creates_catalog(change: &DecodedChange) -> bool {
    change.ops.iter().any(|op| {
        op.obj == Obj::Root
            && op.key == Key::Map(field::DOC.to_owned())
            && op.action == Action::Put(Value::Str("catalog".to_owned()))
    })
}

fn check_creation(facts: &Facts, change: &DecodedChange) -> Result<(), Denial> {
    if !matches!(
        facts.role,
        Role::BlockCaptain | Role::Crew | Role::Operator | Role::Supervisor | Role::Citizen
    ) {
        return Err(Rule::RoleMayNot.into());
    }
    let mut seen = BTreeSet::new();
    let mut maps: Vec<(&str, OpId)> = Vec::new();
    let mut recorded = false;
    for op in &change.ops {
        let name = map_key(op)?;
        match &op.obj {
            Obj::Root if !op.pred.is_empty() || !seen.insert(name) => {
                return deny(Rule::ForbiddenOperation, name);
            }
            Obj::Root if RECORD_MAPS.contains(&name) => match op.action {
                Action::MakeMap => maps.push((name, op.id)),
                _ => return deny(Rule::ForbiddenOperation, name),
            },
            Obj::Root => check_field(facts, name, put(op, name)?)?,
            Obj::Id(object) => {
                let map = maps.iter().find(|(_, id)| id == object);
                let Some((map, _)) = map else {
                    return deny(Rule::ForbiddenOperation, name);
                };
                let record = check_record(facts, map, op)?;
                match record {
                    Record::Event(event) if event.kind == EventKind::Recorded && !recorded => {
                        recorded = true;
                    }
                    _ => return deny(Rule::BadRecord, map),
                }
            }
        }
    }
    for needed in [field::SCHEMA, field::DOC, field::TITLE, field::DESCRIPTION] {
        if !seen.contains(needed) {
            return deny(Rule::BadValue, needed);
        }
    }
    if maps.len() != RECORD_MAPS.len() || !recorded {
        return Err(Rule::BadRecord.into());
    }
    Ok(())
}

fn check_update(facts: &Facts, view: &PetitionView, change: &DecodedChange) -> Result<(), Denial> {
    let summary = view
        .summary()
        .map_err(|_| Denial::from(Rule::UnknownDocument))?;
    if !facts.covers(&summary.scopes()) {
        return Err(Rule::OutOfScope.into());
    }
    if change.ops.is_empty() {
        return check_join(facts, change);
    }
    for op in &change.ops {
        let name = map_key(op)?;
        match &op.obj {
            Obj::Root => {
                if RECORD_MAPS.contains(&name) {
                    return deny(Rule::ForbiddenOperation, name);
                }
                if !is_known(name) {
                    // Who may write it later on is known to those who know it.
                    return deny(Rule::NewerSchema, name);
                }
                if !EDITABLE.contains(&name) {
                    return deny(Rule::ForbiddenOperation, name);
                }
                check_edit(facts, view, op, name)?;
            }
            Obj::Id(object) => {
                let map = view.maps.iter().find(|(_, id)| *id == object);
                let Some((map, _)) = map else {
                    return deny(Rule::ForbiddenOperation, name);
                };
                if view.has_record(map, name) {
                    return deny(Rule::BadRecord, map);
                }
                check_act(facts, view, &check_record(facts, map, op)?)?;
            }
        }
    }
    Ok(())
}

/// A change without operations joins heads, at least two: whoever may write to the petition may, and
/// so may the administration, whose device joins for the relay, and notes the folio of a petition that
/// had to wait for it by one on any heads. It says what its author had seen and decides nothing.
fn check_join(facts: &Facts, change: &DecodedChange) -> Result<(), Denial> {
    match facts.role {
        Role::Auditor => Err(Rule::RoleMayNot.into()),
        Role::Administrator => Ok(()),
        _ if change.deps.len() < 2 => Err(Rule::ForbiddenOperation.into()),
        _ => Ok(()),
    }
}

/// Fields that people correct after the capture.
const EDITABLE: [&str; 6] = [
    field::TITLE,
    field::DESCRIPTION,
    field::STREET,
    field::NEIGHBORHOOD,
    field::PRIORITY,
    field::POSITION,
];

fn check_edit(facts: &Facts, view: &PetitionView, op: &Op, name: &str) -> Result<(), Denial> {
    let author = view
        .recorded()
        .is_some_and(|entry| entry.record.by.user == facts.user);
    if !author && !matches!(facts.role, Role::Operator | Role::Supervisor) {
        return deny(Rule::RoleMayNot, name);
    }
    if view.state.is_final {
        return deny(Rule::AlreadyFinal, name);
    }
    let mut visible: Vec<OpId> = view
        .fields
        .get(name)
        .map(|field| field.values.iter().map(|(_, op)| *op).collect())
        .unwrap_or_default();
    visible.sort_unstable();
    if op.pred != visible {
        return deny(Rule::BlindWrite, name);
    }
    check_field(facts, name, put(op, name)?)
}

/// A key in a map; everything else has no place in a petition.
fn map_key(op: &Op) -> Result<&str, Denial> {
    match &op.key {
        Key::Map(name) if !op.insert => Ok(name),
        _ => Err(Rule::ForbiddenOperation.into()),
    }
}

fn put<'o>(op: &'o Op, name: &str) -> Result<&'o Value, Denial> {
    match &op.action {
        Action::Put(value) => Ok(value),
        _ => deny(Rule::ForbiddenOperation, name),
    }
}

/// Types and sizes of the root's scalars. Unknown names of a newer app pass if they are scalars of
/// bounded size: they survive a round trip through this version.
fn check_field(facts: &Facts, name: &str, value: &Value) -> Result<(), Denial> {
    let reference =
        |bytes: &[u8]| crate::codec::decode::<CatalogRef>(bytes).is_ok_and(|r| r.name.len() <= 200);
    let good = match (name, value) {
        (field::SCHEMA, Value::Uint(version)) if *version > u64::from(SCHEMA) => {
            return deny(Rule::NewerSchema, name);
        }
        (field::SCHEMA, Value::Uint(version)) => *version > 0,
        (field::DOC, Value::Str(kind)) => kind == "petition",
        (field::TITLE | field::DESCRIPTION, Value::Str(text)) => {
            !text.trim().is_empty() && is_clean(text)
        }
        (field::STREET | field::CROSS1 | field::CROSS2, Value::Str(text)) => is_clean(text),
        (
            field::CHANNEL | field::KIND | field::AGENCY | field::SERVICE | field::NEIGHBORHOOD,
            Value::Bytes(bytes),
        ) => reference(bytes),
        (field::BLOCK, Value::Uint(id)) if facts.role == Role::BlockCaptain => {
            let block = u32::try_from(*id).map(Scope::Block);
            if !block.is_ok_and(|block| facts.scopes.contains(&block)) {
                return deny(Rule::OutOfScope, name);
            }
            true
        }
        (field::BLOCK | field::SECTOR, Value::Uint(id)) => u32::try_from(*id).is_ok(),
        (field::POSITION, Value::Bytes(bytes)) => crate::codec::decode::<Position>(bytes)
            .is_ok_and(|p| {
                p.lat_e7.unsigned_abs() <= 900_000_000 && p.lon_e7.unsigned_abs() <= 1_800_000_000
            }),
        (field::PRIORITY, Value::Uint(level)) => *level <= 2,
        (field::PETITIONER, Value::Bytes(bytes)) => bytes.len() == 32,
        (name, value) if !is_known(name) => match value {
            Value::Str(text) => text.len() <= TEXT_BYTES,
            Value::Bytes(bytes) => bytes.len() <= RECORD_BYTES,
            Value::Unknown { .. } | Value::Counter(_) => false,
            _ => true,
        },
        _ => false,
    };
    if good {
        Ok(())
    } else {
        deny(Rule::BadValue, name)
    }
}

fn is_known(name: &str) -> bool {
    [
        field::SCHEMA,
        field::DOC,
        field::TITLE,
        field::DESCRIPTION,
        field::CHANNEL,
        field::KIND,
        field::AGENCY,
        field::SERVICE,
        field::NEIGHBORHOOD,
        field::STREET,
        field::CROSS1,
        field::CROSS2,
        field::BLOCK,
        field::SECTOR,
        field::POSITION,
        field::PRIORITY,
        field::PETITIONER,
    ]
    .contains(&name)
}

/// No NUL and no bidirectional overrides: text that shows other than it reads.
fn is_clean(text: &str) -> bool {
    let hides =
        |c: char| c == '\0' || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.len() <= TEXT_BYTES && !text.chars().any(hides)
}

fn check_record(facts: &Facts, map: &str, op: &Op) -> Result<Record, Denial> {
    let name = map_key(op)?;
    let id = RecordId::from_key(name)
        .ok()
        .filter(|id| id.belongs_to(&facts.device));
    if id.is_none() || !op.pred.is_empty() {
        return deny(Rule::BadRecord, map);
    }
    let Action::Put(Value::Bytes(bytes)) = &op.action else {
        return deny(Rule::BadRecord, map);
    };
    if bytes.len() > RECORD_BYTES {
        return deny(Rule::BadValue, map);
    }
    let Some(record) = Record::decode(map, bytes) else {
        // What a kind of event asks of its author is known to those who know it.
        let rule = match Record::is_newer(map, bytes) {
            true => Rule::NewerSchema,
            false => Rule::BadRecord,
        };
        return deny(rule, map);
    };
    let By { user, role, .. } = *record.by();
    if user != facts.user || role != facts.role {
        return deny(Rule::ForeignRecord, map);
    }
    check_texts(&record)?;
    Ok(record)
}

fn check_texts(record: &Record) -> Result<(), Denial> {
    let good = match record {
        Record::Comment(comment) => !comment.text.trim().is_empty() && is_clean(&comment.text),
        Record::Event(event) => [&event.reason, &event.note]
            .into_iter()
            .flatten()
            .all(|text| is_clean(text)),
        Record::Attachment(file) => file.media_type.len() <= 100,
        Record::Link(_) => true,
    };
    if good {
        Ok(())
    } else {
        deny(Rule::BadValue, record.map())
    }
}

/// May this person add this record to a petition that they saw like this?
pub fn check_act(facts: &Facts, seen: &PetitionView, record: &Record) -> Result<(), Denial> {
    match record {
        Record::Event(event) => check_event(facts, seen, event),
        // Comments, photos and links are sets: anyone who holds the petition and may write adds to them.
        _ if matches!(facts.role, Role::Auditor | Role::Administrator) => {
            deny(Rule::RoleMayNot, record.map())
        }
        _ => Ok(()),
    }
}

fn check_event(facts: &Facts, seen: &PetitionView, event: &Event) -> Result<(), Denial> {
    let rule = |rule: Rule| deny(rule, event.kind.as_str());
    if !may(facts, seen, event.kind) {
        return rule(Rule::RoleMayNot);
    }
    let complete = match event.kind {
        EventKind::Referred | EventKind::ReferralProposed => event.agency.is_some(),
        EventKind::FinalState => event.outcome.is_some(),
        EventKind::NotApplicable | EventKind::NotYet => event
            .reason
            .as_ref()
            .is_some_and(|reason| !reason.trim().is_empty()),
        EventKind::Assigned => event.crew.is_some(),
        _ => true,
    };
    if !complete {
        return rule(Rule::BadValue);
    }
    check_state(seen, event.kind).or_else(rule)
}

/// Who may do what, by kind of event (domain §1, §2).
fn may(facts: &Facts, seen: &PetitionView, kind: EventKind) -> bool {
    use EventKind as K;
    let own = seen
        .recorded()
        .is_some_and(|entry| entry.record.by.user == facts.user);
    match facts.role {
        Role::Supervisor => kind != K::Recorded,
        Role::Operator => matches!(
            kind,
            K::Referred | K::NotApplicable | K::CitizenConfirmed | K::CitizenDisputed
        ),
        Role::Crew => matches!(
            kind,
            K::Started | K::NotYet | K::Done | K::NotApplicable | K::ReferralProposed
        ),
        Role::AgencyDesk => matches!(kind, K::Accepted | K::ReferralProposed | K::Assigned),
        Role::BlockCaptain | Role::Citizen => {
            own && matches!(kind, K::CitizenConfirmed | K::CitizenDisputed)
        }
        Role::Coordinator | Role::Auditor | Role::Administrator => false,
    }
}

/// Does it make sense on the state that the author saw?
fn check_state(seen: &PetitionView, kind: EventKind) -> Result<(), Rule> {
    use EventKind as K;
    let state = &seen.state;
    let closed = matches!(state.status, Status::Done | Status::NotApplicable);
    match kind {
        K::Recorded => Err(Rule::BadRecord),
        K::FinalState => Ok(()),
        K::Reopened if closed || state.is_final => Ok(()),
        K::CitizenConfirmed | K::CitizenDisputed if closed && !state.in_conflict() => Ok(()),
        K::Reopened | K::CitizenConfirmed | K::CitizenDisputed => Err(Rule::NotClosed),
        _ if state.is_final => Err(Rule::AlreadyFinal),
        _ if state.in_conflict() => Err(Rule::InConflict),
        _ if closed => Err(Rule::AlreadyClosed),
        _ => Ok(()),
    }
}

/// The kinds of events that this person may add now: what a screen offers.
pub fn allowed_events(facts: &Facts, seen: &PetitionView) -> Vec<EventKind> {
    let in_scope = seen
        .summary()
        .is_ok_and(|summary| facts.covers(&summary.scopes()));
    EventKind::ALL
        .into_iter()
        .filter(|kind| in_scope && may(facts, seen, *kind) && check_state(seen, *kind).is_ok())
        .collect()
}

/// The outcome that an event of this kind closes with, if it closes.
pub fn outcome_of(event: &Event) -> Option<Outcome> {
    match event.kind {
        EventKind::Done => Some(Outcome::Done),
        EventKind::NotApplicable => Some(Outcome::NotApplicable),
        EventKind::FinalState => event.outcome,
        _ => None,
    }
}
