//! Every sentence the relay shows to a person, in Mexican Spanish, in one place.
//!
//! Programs look at the code of an error, never at these words.

use jiff::{Timestamp, Zoned};
use manzana_engine::grant::Role;

use crate::days::city_zone;
use crate::http::errors::Code;

/// What `/` says when the binary was built without the console.
pub const CONSOLE_NOT_BUILT: &str = "La consola no está incluida en este programa. Compílela \
     con «npm ci && npm run build» en server/console y vuelva a compilar el servidor.";

/// Title of the page that [`CONSOLE_NOT_BUILT`] stands on.
pub const CONSOLE_NOT_BUILT_TITLE: &str = "Consola no incluida";

/// The sentence that goes with an error code.
#[must_use]
pub fn message(code: Code) -> &'static str {
    match code {
        Code::BadCredentials => "El usuario o la contraseña no son correctos.",
        Code::NotSignedIn => "Su sesión terminó. Vuelva a iniciar sesión.",
        Code::TooManyAttempts => "Demasiados intentos. Espere unos minutos y vuelva a intentar.",
        Code::Csrf => "La página perdió su sesión. Recárguela y vuelva a intentar.",
        Code::Origin => "La solicitud no viene de la consola de esta ciudad.",
        Code::Misdirected => "Esta dirección no corresponde a la consola de esta ciudad.",
        Code::Forbidden => "Su usuario no tiene permiso para hacer esto.",
        Code::NotFound => "No se encontró lo que busca.",
        Code::Conflict => {
            "La petición cambió mientras usted la veía. Revísela y vuelva a intentar."
        }
        Code::Invalid => "Hay un dato que falta o no es válido.",
        Code::MethodNotAllowed => "Esa acción no existe en esta dirección.",
        Code::TooLarge => "El contenido es demasiado grande.",
        Code::UnsupportedMediaType => "El contenido debe enviarse como JSON.",
        Code::StorageFull => {
            "El servidor no tiene espacio para guardar. Avise al administrador; su cambio no se guardó."
        }
        Code::Busy => "El servidor está ocupado. Vuelva a intentar en unos segundos.",
        Code::Timeout => "El servidor tardó demasiado. Vuelva a intentar.",
        Code::Internal => "Ocurrió un error en el servidor. Si continúa, avise al administrador.",
    }
}

/// The sentence for a policy rule that forbids an act, or the general one.
#[must_use]
pub fn forbidden(rule: &str) -> &'static str {
    match rule {
        "final_state" => "Definir el estado final requiere el permiso de supervisión.",
        _ => message(Code::Forbidden),
    }
}

/// The sentence for a field that the server did not take, or the general one.
#[must_use]
pub fn invalid(field: &str) -> &'static str {
    match field {
        "text" => "Escriba el comentario (hasta 2,000 caracteres).",
        "agency" => "Elija la dependencia a la que se turna.",
        "reason" => "Escriba el motivo (hasta 500 caracteres).",
        "outcome" => "Elija el estado final.",
        "status" => "Ese estatus no existe.",
        "neighborhood" => "Esa colonia no existe.",
        "from" => "La fecha «de» no es válida.",
        "to" => "La fecha «a» no es válida o es anterior a «de».",
        "q" => "La búsqueda es demasiado larga.",
        "user" | "password" => "Escriba su usuario y su contraseña.",
        _ => message(Code::Invalid),
    }
}

/// Name shown of one of the city's own users, who are no people.
pub(crate) fn own_user(name: &str) -> &str {
    match name {
        crate::relay::REVIEW => "Revisión",
        other => other,
    }
}

/// Whose a record was that the city took over: it stands before the record's own words.
pub(crate) fn whose(name: &str, author: Role, at: i64) -> String {
    format!("De {name} ({}), {}", role(author), moment(at))
}

/// Who does such acts, as others see them.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::BlockCaptain => "Jefe de manzana",
        Role::Crew => "Cuadrilla",
        Role::Operator => "Ventanilla",
        Role::Supervisor => "Supervisión",
        Role::AgencyDesk => "Dependencia",
        Role::Coordinator => "Coordinación",
        Role::Auditor => "Auditoría",
        Role::Administrator => "Administración",
        Role::Citizen => "Ciudadanía",
    }
}

/// A moment in the city.
pub(crate) fn zoned(ms: i64) -> Option<Zoned> {
    let time = Timestamp::from_millisecond(ms).ok()?;
    Some(time.to_zoned(city_zone()))
}

/// `dd/mm/aaaa hh:mm` in the city.
pub(crate) fn moment(ms: i64) -> String {
    let shown = zoned(ms).map(|time| time.strftime("%d/%m/%Y %H:%M").to_string());
    shown.unwrap_or_else(|| "fecha desconocida".to_owned())
}
