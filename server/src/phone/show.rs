//! How things look: JSON with stable names for programs, lines and pages for people.

use manzana_client::{
    ClientError, Held, Petition, PetitionDetail, Status, StorageProblem, ToCorrect,
};
use manzana_engine::document::field;
use manzana_engine::fold::EventKind;
use manzana_engine::ids::RecordId;
use manzana_engine::intent::{Edit, Intent, RecordDraft};
use manzana_engine::policy::Rule;
use manzana_engine::record::{CatalogRef, Event, Record};
use serde_json::{Value, json};

use super::perform::now_ms;
use super::strings::{self, Side};

fn reference(entry: &CatalogRef) -> Value {
    json!({"id": entry.id, "name": entry.name})
}

/// A petition as lists carry it: see the help.
pub(super) fn petition(petition: &Petition, center: &str) -> Value {
    let summary = &petition.summary;
    let agencies: Vec<Value> = summary.agencies.iter().map(reference).collect();
    json!({
        "doc": petition.doc.to_string(),
        "folio": petition.folio,
        "provisional_folio": petition.provisional_folio,
        "title": summary.title,
        "status": summary.status.as_str(),
        "status_text": strings::status(summary.status, summary.unconfirmed, summary.conflict),
        "unconfirmed": summary.unconfirmed,
        "conflict": summary.conflict,
        "review": summary.review,
        "final": summary.is_final,
        "accepted": summary.accepted,
        "custody": petition.custody.as_str(),
        "custody_text": strings::custody(petition.custody, center),
        "unsent": petition.unsent,
        "captured_here": petition.captured_here,
        "quarantined": petition.quarantined,
        "captured_at": summary.captured_at,
        "location": summary.location,
        "priority": summary.priority.as_str(),
        "channel": summary.channel.as_ref().map(reference),
        "service": summary.service.as_ref().map(reference),
        "neighborhood": summary.neighborhood.as_ref().map(reference),
        "agencies": agencies,
        "comment_count": summary.comments,
    })
}

/// A petition on one line: folio, subject, place, status, custody.
pub(super) fn line(petition: &Petition, center: &str) -> String {
    let summary = &petition.summary;
    let place = [
        Some(summary.location.as_str()),
        summary.neighborhood.as_ref().map(|n| n.name.as_str()),
    ];
    let place: Vec<&str> = place
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect();
    let mut parts = vec![
        strings::folio_name(petition.folio.as_deref(), &petition.provisional_folio),
        summary.title.clone(),
        place.join(", "),
        strings::status(summary.status, summary.unconfirmed, summary.conflict).to_owned(),
        strings::custody(petition.custody, center),
    ];
    // Received, and yet something on it is not: said beside the custody, never instead of it.
    if petition.unsent > 0 && petition.custody > manzana_client::Custody::CopiedToAnother {
        parts.push(strings::unsent_here(petition.unsent));
    }
    if petition.quarantined {
        parts.push(strings::QUARANTINED.to_owned());
    }
    parts.retain(|part| !part.is_empty());
    clean(&parts.join(" · "))
}

/// No control characters of others' texts reach the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A petition in full: see the help.
pub(super) fn detail(detail: &PetitionDetail, now: i64) -> Value {
    let view = &detail.view;
    let mut value = petition(&detail.petition, &detail.me.center);
    let events: Vec<Value> = in_time(detail)
        .map(|(id, event)| event_json(id, event))
        .collect();
    let comments: Vec<Value> = view
        .comments
        .iter()
        .map(|entry| {
            let by = &entry.record.by;
            json!({
                "id": entry.id.key(),
                "at": by.at,
                "user": by.user,
                "role": by.role.as_str(),
                "text": entry.record.text,
            })
        })
        .collect();
    let position = view.position().map(|place| {
        json!({
            "lat": f64::from(place.lat_e7) / 1e7,
            "lon": f64::from(place.lon_e7) / 1e7,
            "accuracy": place.accuracy_m,
        })
    });
    let allowed: Vec<&str> = detail.allowed.iter().map(|kind| kind.as_str()).collect();
    let more = json!({
        "description": view.text(field::DESCRIPTION),
        "street": view.text(field::STREET),
        "cross1": view.text(field::CROSS1),
        "cross2": view.text(field::CROSS2),
        "kind": view.reference(field::KIND).as_ref().map(reference),
        "position": position,
        "allowed": allowed,
        "events": events,
        "comments": comments,
        "conflicts": conflicts(detail, now),
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// Events by the clocks of their authors: an order for reading, not for deciding.
fn in_time(detail: &PetitionDetail) -> impl Iterator<Item = (&RecordId, &Event)> {
    let mut events: Vec<_> = detail.view.events.iter().collect();
    events.sort_by_key(|entry| (entry.record.by.at, entry.id));
    events.into_iter().map(|entry| (&entry.id, &entry.record))
}

fn event_json(id: &RecordId, event: &Event) -> Value {
    let evidence: Vec<String> = event
        .evidence
        .iter()
        .flatten()
        .map(|hash| data_encoding::HEXLOWER.encode(hash.as_bytes()))
        .collect();
    json!({
        "id": id.key(),
        "kind": event.kind.as_str(),
        "text": strings::event(event.kind),
        "at": event.by.at,
        "user": event.by.user,
        "role": event.by.role.as_str(),
        "agency": event.agency.as_ref().map(reference),
        "crew": event.crew.as_ref().map(reference),
        "reason": event.reason,
        "next_at": event.next_at,
        "note": event.note,
        "outcome": event.outcome.map(|outcome| outcome.as_str()),
        "evidence": evidence,
    })
}

/// Every open conflict, in words.
pub(super) fn conflicts(detail: &PetitionDetail, now: i64) -> Vec<String> {
    let side = |id: &RecordId| {
        let event = &detail.view.event(id)?.record;
        Some(Side {
            mine: event.by.user == detail.me.user,
            role: event.by.role,
            word: word(event),
            at: event.by.at,
        })
    };
    let pairs = detail.view.state.conflicts.iter();
    pairs
        .filter_map(|(one, other)| side(one).zip(side(other)))
        .map(|(one, other)| strings::conflict(&one, &other, now))
        .collect()
}

fn word(event: &Event) -> &'static str {
    match event.outcome {
        Some(outcome) if event.kind == EventKind::FinalState => strings::outcome(outcome),
        _ => strings::event(event.kind),
    }
}

/// A petition on a page.
pub(super) fn page(detail: &PetitionDetail, now: i64) -> String {
    let (view, petition) = (&detail.view, &detail.petition);
    let mut lines = vec![line(petition, &detail.me.center)];
    lines.extend(conflicts(detail, now));
    lines.extend(view.text(field::DESCRIPTION).map(clean));
    let agencies = petition
        .summary
        .agencies
        .iter()
        .map(|agency| clean(&agency.name));
    let agencies: Vec<String> = agencies.collect();
    if !agencies.is_empty() {
        lines.push(agencies.join(", "));
    }
    lines.push(strings::priority(petition.summary.priority).to_owned());
    lines.extend(in_time(detail).map(|(_, event)| event_line(event)));
    for entry in &view.comments {
        let by = &entry.record.by;
        let (when, who) = (strings::moment(by.at), strings::role(by.role));
        lines.push(format!("{when} {who}: {}", clean(&entry.record.text)));
    }
    lines.join("\n")
}

fn event_line(event: &Event) -> String {
    let when = strings::moment(event.by.at);
    let mut line = format!(
        "{when} {}: {}",
        strings::role(event.by.role),
        strings::event(event.kind)
    );
    let details = [
        event
            .outcome
            .map(|outcome| strings::outcome(outcome).to_owned()),
        event.agency.as_ref().map(|agency| agency.name.clone()),
        event.crew.as_ref().map(|crew| crew.name.clone()),
        event.reason.clone(),
        event.next_at.map(strings::date),
        event.note.clone(),
    ];
    for detail in details.into_iter().flatten() {
        line.push_str(" — ");
        line.push_str(&clean(&detail));
    }
    line
}

/// Something in "Por corregir".
pub(super) fn correction(waiting: &ToCorrect) -> Value {
    let petitions: Vec<String> = waiting.docs.iter().map(ToString::to_string).collect();
    json!({
        "id": waiting.id.key(),
        "rule": rule_name(waiting.rule),
        "field": waiting.field,
        "text": strings::refused(waiting.rule, waiting.field.as_deref()),
        "what": what(&waiting.intent),
        "content": content_json(&waiting.intent),
        "petitions": petitions,
    })
}

/// Something that the city holds.
pub(super) fn held(held: &Held) -> Value {
    let petitions: Vec<String> = held.docs.iter().map(ToString::to_string).collect();
    json!({
        "id": held.id.key(),
        "what": what(&held.intent),
        "content": content_json(&held.intent),
        "petitions": petitions,
    })
}

pub(super) fn correction_line(waiting: &ToCorrect) -> String {
    let why = strings::refused(waiting.rule, waiting.field.as_deref());
    clean(&format!(
        "{} · {} · {why}",
        waiting.id.key(),
        act_line(&waiting.intent)
    ))
}

/// What somebody did with all the words they wrote: nothing typed is kept out of sight.
pub(super) fn act_line(intent: &Intent) -> String {
    let mut line = what(intent);
    for (_, words) in content(intent) {
        line.push_str(" — ");
        line.push_str(&words);
    }
    clean(&line)
}

fn content_json(intent: &Intent) -> Value {
    let words = content(intent).into_iter();
    words
        .map(|(name, words)| (name.to_owned(), Value::String(words)))
        .collect()
}

/// What somebody wrote or chose, by the names under which `resend` takes it.
fn content(intent: &Intent) -> Vec<(&'static str, String)> {
    let name = |reference: &Option<CatalogRef>| reference.as_ref().map(|entry| entry.name.clone());
    let mut found = Vec::new();
    let mut add = |key, words: Option<String>| found.extend(words.map(|words| (key, words)));
    match intent {
        Intent::Capture { petition, .. } => {
            add("title", Some(petition.title.clone()));
            add("description", Some(petition.description.clone()));
            add("street", petition.street.clone());
            add("neighborhood", name(&petition.neighborhood));
            add("agency", name(&petition.agency));
        }
        Intent::Add { records, .. } => {
            for record in records.iter().filter_map(RecordDraft::record) {
                match record {
                    Record::Comment(comment) => add("text", Some(comment.text)),
                    Record::Event(event) => {
                        add("agency", name(&event.agency));
                        add("crew", name(&event.crew));
                        add("reason", event.reason);
                        add("note", event.note);
                    }
                    _ => {}
                }
            }
        }
        Intent::Correct { edits, .. } => {
            for edit in edits {
                match edit {
                    Edit::Title(text) => add("title", Some(text.clone())),
                    Edit::Description(text) => add("description", Some(text.clone())),
                    Edit::Street(text) => add("street", Some(text.clone())),
                    Edit::Neighborhood(entry) => add("neighborhood", Some(entry.name.clone())),
                    Edit::Priority(level) => {
                        add("priority", Some(strings::priority(*level).to_owned()));
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    found
}

fn what(intent: &Intent) -> String {
    match intent {
        Intent::Capture { .. } => strings::CAPTURE.to_owned(),
        Intent::Add { records, .. } => match records.first().and_then(|draft| draft.record()) {
            Some(Record::Event(event)) => strings::event(event.kind).to_owned(),
            Some(Record::Comment(_)) => strings::COMMENT.to_owned(),
            _ => strings::OTHER_ACT.to_owned(),
        },
        Intent::Correct { .. } => strings::CORRECTION.to_owned(),
        _ => strings::OTHER_ACT.to_owned(),
    }
}

/// `RoleMayNot` → `role_may_not`.
pub(super) fn rule_name(rule: Rule) -> String {
    let mut name = String::new();
    for c in format!("{rule:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// An error for programs.
pub(super) fn error(error: &ClientError) -> Value {
    let (rule, field) = match error {
        ClientError::Denied { rule, field } => (Some(rule_name(*rule)), field.clone()),
        _ => (None, None),
    };
    json!({
        "category": error.category().as_str(),
        "code": code(error),
        "rule": rule,
        "field": field,
        "text": strings::error(error),
        "retry_after": error.retry_after().map(|wait| wait.as_secs()),
    })
}

fn code(error: &ClientError) -> &'static str {
    match error {
        ClientError::NotEnrolled => "not_enrolled",
        ClientError::AlreadyEnrolled => "already_enrolled",
        ClientError::InUse => "in_use",
        ClientError::Invitation(_) => "invitation",
        ClientError::Offline { .. } => "offline",
        ClientError::Untrusted => "untrusted",
        ClientError::Unauthorised => "unauthorised",
        ClientError::OtherVersion => "other_version",
        ClientError::Denied { .. } => "denied",
        ClientError::Unchanged => "unchanged",
        ClientError::NotFound => "not_found",
        ClientError::Ambiguous => "ambiguous",
        ClientError::BadExport => "bad_export",
        ClientError::Storage(StorageProblem::Rescued { .. }) => "rescued",
        ClientError::Storage(StorageProblem::Forgotten { .. }) => "forgotten",
        ClientError::Storage(_) => "storage",
        ClientError::Cancelled => "cancelled",
        _ => "internal",
    }
}

/// The device at a glance.
pub(super) fn status(status: &Status) -> Value {
    let me = status.me.as_ref();
    json!({
        "enrolled": me.is_some(),
        "device": me.map(|me| me.device.to_string()),
        "user": me.map(|me| me.user),
        "role": me.map(|me| me.role.as_str()),
        "display": me.map(|me| me.display.as_str()),
        "center": me.map(|me| me.center.as_str()),
        "relay": me.map(|me| me.relay.as_str()),
        "connection": status.connection.as_str(),
        "problem": status.problem.as_ref().map(error),
        "unsent": status.unsent,
        "oldest_unsent": status.oldest_unsent,
        "to_correct": status.to_correct,
        "held": status.held,
        "bytes_up": status.bytes_up,
        "bytes_down": status.bytes_down,
        "last_receipt": status.last_receipt,
        "recovery": status.recovery.as_ref().map(|recovery| json!({
            "since": recovery.since,
            "why": recovery.why.as_str(),
            "open": recovery.open,
        })),
        "text": status_line(status, now_ms()),
    })
}

/// Connection and what waits, in words.
pub(super) fn status_line(status: &Status, now: i64) -> String {
    let parts = [
        Some(strings::connection(status.connection).to_owned()),
        strings::unsent(status.unsent, status.oldest_unsent, now),
        strings::waiting_to_correct(status.to_correct),
        strings::in_review(status.held),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

pub(super) fn status_page(status: &Status, now: i64) -> String {
    let Some(me) = &status.me else {
        return strings::NOT_ENROLLED.to_owned();
    };
    let mut lines = vec![
        format!(
            "{} · {} · {}",
            clean(&me.display),
            strings::role(me.role),
            clean(&me.center)
        ),
        me.device.to_string(),
        status_line(status, now),
    ];
    lines.extend(status.last_receipt.map(strings::last_receipt));
    let recovery = status.recovery.as_ref();
    lines.extend(recovery.map(|recovery| {
        let why = clean(&recovery.why);
        strings::recovery(&clean(&me.center), recovery.since, &why, recovery.open)
    }));
    lines.join("\n")
}
