//! Every sentence that `manzana phone` says to people, in Mexican Spanish. Programs look at codes.

use std::io;

use jiff::civil::Date;
use manzana_client::{ClientError, Connection, Custody, InvitationError, StorageProblem};
use manzana_engine::fold::{EventKind, Outcome, Status};
use manzana_engine::grant::Role;
use manzana_engine::policy::Rule;
use manzana_engine::summary::Priority;

use crate::days;
use crate::strings::zoned;
pub(super) use crate::strings::{moment, role};

pub(super) const SAVED: &str = "Guardado en este teléfono. Se enviará solo cuando haya señal.";
pub(super) const EMPTY_LIST: &str =
    "Aquí aparecerán sus reportes. Capture uno con «manzana phone capture».";
pub(super) const NOTHING_TO_CORRECT: &str = "No hay nada por corregir.";
pub(super) const NOTHING_HELD: &str = "La ciudad no tiene nada suyo en revisión.";
pub(super) const HELD: &str =
    "La ciudad revisa esto antes de tomarlo. Sigue guardado en este teléfono:";
pub(super) const NO_HOME: &str =
    "Falta decir en qué carpeta está este teléfono: use --home CARPETA o la variable MANZANA_HOME.";
pub(super) const ASKED_OFFLINE: &str =
    "Pidió trabajar sin red (--offline) y esto necesita red. No se hizo nada.";
pub(super) const ALREADY_WATCHING: &str =
    "Otro proceso ya está conectado con esta carpeta. No hace falta otro.";
pub(super) const CANNOT_LISTEN: &str = "Mientras este proceso esté conectado, otros no podrán usar \
     esta carpeta: no se pudo abrir el canal entre ellos.";
pub(super) const HOLDER_GONE: &str = "El proceso que tenía esta carpeta terminó antes de contestar. \
     Revise con «list» si quedó guardado antes de repetir.";
pub(super) const DISCARDED: &str = "Se quitó de Por corregir.";
pub(super) const BAD_CORRECTION: &str = "Eso no está en Por corregir. Véalo con «to-correct».";
pub(super) const ALL_SENT: &str = "Todo está enviado y recibido.";
pub(super) const QUARANTINED: &str = "No se puede abrir en este teléfono";
pub(super) const NOT_ENROLLED: &str =
    "Este teléfono no está dado de alta. Pida una invitación y use «manzana phone enrol».";

/// A day as people write it, as its first millisecond in the city.
pub(super) fn day(text: &str) -> Option<i64> {
    let date: Date = match text.split('/').collect::<Vec<_>>()[..] {
        [day, month, year] => {
            Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?
        }
        _ => text.parse().ok()?,
    };
    days::start_of(date)
}

/// `dd/mm/aaaa` in the city.
pub(super) fn date(ms: i64) -> String {
    let shown = zoned(ms).map(|time| time.strftime("%d/%m/%Y").to_string());
    shown.unwrap_or_else(|| "fecha desconocida".to_owned())
}

/// `a las 10:32` today, with the date on other days.
fn at(ms: i64, now: i64) -> String {
    match zoned(ms).zip(zoned(now)) {
        Some((time, today)) if time.date() == today.date() => {
            format!("a las {}", time.strftime("%H:%M"))
        }
        Some((time, _)) => {
            format!(
                "el {} a las {}",
                time.strftime("%d/%m/%Y"),
                time.strftime("%H:%M")
            )
        }
        None => "en fecha desconocida".to_owned(),
    }
}

/// "3 sin enviar, la más antigua de ayer"; nothing when everything is sent.
pub(super) fn unsent(count: u64, oldest: Option<i64>, now: i64) -> Option<String> {
    let age = oldest.and_then(zoned).zip(zoned(now)).map(|(then, today)| {
        let yesterday = today.date().yesterday().ok();
        match then.date() {
            date if date == today.date() => "de hoy".to_owned(),
            date if Some(date) == yesterday => "de ayer".to_owned(),
            _ => format!("del {}", then.strftime("%d/%m/%Y")),
        }
    });
    match (count, age) {
        (0, _) => None,
        (1, Some(age)) => Some(format!("1 sin enviar, {age}")),
        (n, Some(age)) => Some(format!("{n} sin enviar, la más antigua {age}")),
        (n, None) => Some(format!("{n} sin enviar")),
    }
}

pub(super) fn custody(custody: Custody, center: &str) -> String {
    match custody {
        Custody::OnThisPhone => "En este teléfono".to_owned(),
        Custody::CopiedToAnother => "Copiada a otro teléfono".to_owned(),
        Custody::Received => format!("Recibida en {center}"),
        Custody::AcceptedByAgency => "Aceptada por la dependencia".to_owned(),
    }
}

pub(super) fn status(status: Status, unconfirmed: bool, conflict: bool) -> &'static str {
    match status {
        _ if conflict => "En conflicto",
        Status::Pending => "Pendiente de atención",
        Status::Referred => "Turnada",
        Status::InProgress => "En desarrollo",
        Status::Done if unconfirmed => "Atendida por confirmar",
        Status::Done => "Atendida",
        Status::NotApplicable => "No procede",
    }
}

pub(super) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Normal => "Normal",
        Priority::Urgent => "Urgente",
        Priority::Risk => "Riesgo",
    }
}

pub(super) fn event(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Recorded => "Capturada",
        EventKind::Referred => "Turnada",
        EventKind::Accepted => "Aceptada por la dependencia",
        EventKind::ReferralProposed => "Se propone turnarla a otra dependencia",
        EventKind::Assigned => "Asignada a cuadrilla",
        EventKind::Started => "Trabajo iniciado",
        EventKind::NotYet => "Todavía no se puede",
        EventKind::Done => "Atendida",
        EventKind::NotApplicable => "No procede",
        EventKind::FinalState => "Estado final definido",
        EventKind::Reopened => "Reabierta",
        EventKind::CitizenConfirmed => "Confirmada por la ciudadanía",
        EventKind::CitizenDisputed => "La ciudadanía dice que no está resuelta",
    }
}

pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "Atendida",
        Outcome::NotApplicable => "No procede",
    }
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    /// It was this device's user.
    pub(super) mine: bool,
    pub(super) role: Role,
    /// Atendida, No procede, Reabierta.
    pub(super) word: &'static str,
    /// When, by its author's clock.
    pub(super) at: i64,
}

/// "Usted la marcó como Atendida; Ventanilla, como No procede a las 10:32. Decide: Supervisión."
pub(super) fn conflict(one: &Side, other: &Side, now: i64) -> String {
    // One's own word comes first; among strangers', the older one.
    let (first, second) = match (one.mine, other.mine) {
        (false, true) => (other, one),
        (true, false) => (one, other),
        _ if other.at < one.at => (other, one),
        _ => (one, other),
    };
    let beginning = match first.mine {
        true => format!("Usted la marcó como {}", first.word),
        false => {
            let when = at(first.at, now);
            format!("{} la marcó como {} {when}", role(first.role), first.word)
        }
    };
    let who = match second.mine {
        true => "usted, desde otro teléfono",
        false => role(second.role),
    };
    let when = at(second.at, now);
    format!(
        "{beginning}; {who}, como {} {when}. Decide: Supervisión.",
        second.word
    )
}

/// Why something is not accepted, as the end of a sentence.
pub(super) fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::BadChange => "este teléfono lo escribió de una forma que el sistema no entiende",
        Rule::ForeignActor => "se escribió con la identidad de otro teléfono",
        Rule::BadSequence => "su orden no coincide con lo que el sistema ya tiene",
        Rule::BadDocId => "su identificador no corresponde a su contenido",
        Rule::DocumentFull => "la petición ya no admite más movimientos",
        Rule::ForbiddenOperation => "ese dato no se puede cambiar",
        Rule::BadRecord => "el registro está incompleto o ya existía",
        Rule::ForeignRecord => "iba a nombre de otra persona",
        Rule::BlindWrite => "alguien más cambió ese dato al mismo tiempo",
        Rule::BadValue => "falta un dato o no es válido",
        Rule::RoleMayNot => "su función no permite hacerlo",
        Rule::OutOfScope => "la petición ya no está a su cargo: se turnó o es de otra zona",
        Rule::AlreadyFinal => "la petición ya tiene estado final",
        Rule::AlreadyClosed => "la petición ya estaba cerrada",
        Rule::InConflict => "la petición está en conflicto y la decide Supervisión",
        Rule::NotClosed => "la petición todavía no está cerrada",
        Rule::NewerSchema => "este teléfono tiene una versión más nueva que el sistema",
        Rule::UnknownDocument => "el sistema no conoce esa petición",
        Rule::ForeignGrant => "se escribió con un permiso que no es el de este teléfono",
        Rule::NotTaken => "la ciudad lo revisó y no lo tomó",
        Rule::TakenOver => {
            "la ciudad ya lo registró por su cuenta, con el nombre de usted: puede descartarlo"
        }
        _ => OTHER_RULE,
    }
}

/// For rules of a newer engine.
pub(super) const OTHER_RULE: &str = "una regla que este programa todavía no conoce";

/// The field of a rule, where it is one that people see.
pub(super) fn field(name: &str) -> Option<&'static str> {
    Some(match name {
        "title" => "el asunto",
        "description" => "la descripción",
        "street" | "cross1" | "cross2" => "la calle",
        "neighborhood" => "la colonia",
        "priority" => "la prioridad",
        "position" => "el punto en el mapa",
        "block" | "sector" => "la manzana",
        "comments" => "el comentario",
        "agency" => "la dependencia",
        "not_yet" | "not_applicable" => "el motivo",
        "referred" | "referral_proposed" => "la dependencia",
        _ => return None,
    })
}

fn with_field(reason: Rule, name: Option<&str>) -> String {
    let named = name.and_then(field).filter(|_| reason == Rule::BadValue);
    match named {
        Some(field) => format!("falta {field} o no es válido"),
        None => rule(reason).to_owned(),
    }
}

/// What the relay did not accept.
pub(super) fn refused(reason: Rule, name: Option<&str>) -> String {
    let why = with_field(reason, name);
    format!("Este cambio no fue aceptado: {why}. Quedó guardado en Por corregir.")
}

pub(super) fn connection(connection: Connection) -> &'static str {
    match connection {
        Connection::Stopped => "Sin conectar",
        Connection::Offline => "Sin señal; se intentará de nuevo",
        Connection::Connecting => "Conectando",
        Connection::Online => "Conectado",
        Connection::Refused => "El centro no admite a este teléfono",
        Connection::Untrusted => "Lo que responde no es el centro de la ciudad",
        _ => "Sin datos de la conexión",
    }
}

/// What happened, what is safe, what to do.
pub(super) fn error(error: &ClientError) -> String {
    match error {
        ClientError::NotEnrolled => NOT_ENROLLED.to_owned(),
        ClientError::AlreadyEnrolled => {
            "Este teléfono ya está dado de alta. Para otro, use otra carpeta.".to_owned()
        }
        ClientError::InUse => {
            "Otro proceso está usando esta carpeta. Espere a que termine y repita.".to_owned()
        }
        ClientError::Invitation(InvitationError::Newer) => {
            "La invitación es de una versión más nueva. Actualice este programa.".to_owned()
        }
        ClientError::Invitation(_) => {
            "Esa no es una invitación o está incompleta. Cópiela entera y repita.".to_owned()
        }
        ClientError::Offline { .. } => "No se pudo llegar al centro. Lo guardado sigue en este \
             teléfono; se enviará cuando haya señal."
            .to_owned(),
        ClientError::Untrusted => "Lo que responde en esa dirección no es el centro de la ciudad. \
             No se envió nada; lo guardado sigue en este teléfono."
            .to_owned(),
        ClientError::Unauthorised => "El centro no admite a este teléfono o la invitación ya no \
             vale. Lo guardado sigue aquí; pida una invitación nueva."
            .to_owned(),
        ClientError::OtherVersion => {
            "Este programa y el centro son de versiones distintas: actualice \
             la aplicación. Lo guardado sigue en este teléfono y se enviará después."
                .to_owned()
        }
        ClientError::Denied { rule, field } => {
            format!("No se guardó: {}.", with_field(*rule, field.as_deref()))
        }
        ClientError::Unchanged => "La petición ya dice eso: no hay nada que cambiar.".to_owned(),
        ClientError::NotFound => "Este teléfono no tiene esa petición. Revise el folio.".to_owned(),
        ClientError::Ambiguous => {
            "Hay varias peticiones con ese folio provisional. Use el identificador largo."
                .to_owned()
        }
        ClientError::BadExport => {
            "Ese archivo no es una copia de otro teléfono. No se cambió nada.".to_owned()
        }
        ClientError::Storage(StorageProblem::Full) => {
            "No hay espacio y esto no se guardó. Libere espacio y repita.".to_owned()
        }
        ClientError::Storage(StorageProblem::Newer) => {
            "Los datos son de una versión más nueva. Actualice este programa.".to_owned()
        }
        ClientError::Storage(StorageProblem::Damaged) => {
            "Los datos de esta carpeta están dañados o no son de este programa.".to_owned()
        }
        ClientError::Storage(StorageProblem::Rescued { unsent }) => format!(
            "Los datos de este teléfono estaban dañados. Se rescató lo que estaba entero ({}); lo que \
             tiene el centro volverá al conectarse. El archivo dañado quedó aparte. Repita lo que hacía.",
            rescued_unsent(*unsent)
        ),
        ClientError::Storage(StorageProblem::Forgotten { unsent }) => format!(
            "Los datos de este teléfono estaban dañados y ya no se sabe de quién es. Pida una invitación \
             nueva y use «manzana phone enrol»: entonces se enviará lo rescatado ({}). El archivo dañado \
             quedó aparte.",
            rescued_unsent(*unsent)
        ),
        ClientError::Storage(_) => {
            "No se pudo leer o guardar en esta carpeta. Revise sus permisos y repita.".to_owned()
        }
        ClientError::Cancelled => "Se canceló. Lo guardado sigue en este teléfono.".to_owned(),
        _ => "Ocurrió un error de este programa. Lo guardado sigue en este teléfono.".to_owned(),
    }
}

fn rescued_unsent(count: usize) -> String {
    match count {
        0 => "nada estaba sin enviar".to_owned(),
        1 => "1 movimiento sin enviar".to_owned(),
        n => format!("{n} movimientos sin enviar"),
    }
}

pub(super) fn file_failed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "No existe ese archivo o carpeta.".to_owned(),
        io::ErrorKind::PermissionDenied => "No hay permiso para usar ese archivo.".to_owned(),
        _ => "No se pudo leer o escribir el archivo.".to_owned(),
    }
}

pub(super) fn enrolled(name: &str, center: &str) -> String {
    format!("Listo, {name}. Este teléfono quedó dado de alta en {center}.")
}

pub(super) fn provisional(folio: &str) -> String {
    format!("Folio provisional: {folio}")
}

pub(super) fn folio_name(folio: Option<&str>, provisional: &str) -> String {
    match folio {
        Some(folio) => folio.to_owned(),
        None => format!("({provisional})"),
    }
}

pub(super) fn unsent_here(count: u32) -> String {
    format!("{count} sin enviar")
}

pub(super) fn exported(count_bytes: usize) -> String {
    format!(
        "Copia escrita ({count_bytes} bytes). Llévela a otro teléfono; lo suyo sigue también aquí."
    )
}

pub(super) fn imported(count: usize) -> String {
    match count {
        0 => "No había nada nuevo en la copia.".to_owned(),
        1 => "Se tomó 1 movimiento de otro teléfono. Se enviará solo cuando haya señal.".to_owned(),
        n => format!(
            "Se tomaron {n} movimientos de otro teléfono. Se enviarán solos cuando haya señal."
        ),
    }
}

pub(super) fn not_all_sent(unsent: u64) -> String {
    match unsent {
        0 => "Todo lo suyo está recibido; falta terminar de bajar lo nuevo.".to_owned(),
        1 => "Queda 1 sin enviar. Se enviará cuando haya señal.".to_owned(),
        n => format!("Quedan {n} sin enviar. Se enviarán cuando haya señal."),
    }
}

pub(super) fn waiting_to_correct(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 por corregir".to_owned()),
        n => Some(format!("{n} por corregir")),
    }
}

pub(super) fn last_receipt(ms: i64) -> String {
    format!("Último acuse: {}", moment(ms))
}

pub(super) fn recovery(center: &str, since: i64, why: &str, open: bool) -> String {
    let since = moment(since);
    match open {
        true => format!(
            "{center} recupera sus datos desde {since} ({why}): lo guardado aquí no se pierde, los folios \
             nuevos salen al terminar"
        ),
        false => format!("{center} recuperó sus datos de un respaldo el {since} ({why})"),
    }
}

pub(super) fn gone(doc: &str) -> String {
    format!("{doc} ya no está en este teléfono")
}

pub(super) fn in_review(count: usize) -> Option<String> {
    match count {
        0 => None,
        n => Some(format!("{n} en revisión de la ciudad")),
    }
}

/// What an act in "Por corregir" was.
pub(super) const CAPTURE: &str = "Captura";
pub(super) const COMMENT: &str = "Comentario";
pub(super) const CORRECTION: &str = "Corrección de datos";
pub(super) const OTHER_ACT: &str = "Movimiento";
