//! One error type for the console's HTTP side: it maps to a status code and a sentence;
//! what lies inside is logged and never sent.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::auth::AuthError;
use crate::desk::DeskError;
use crate::strings;

/// What programs tell errors apart by; in the JSON in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// User or password are wrong.
    BadCredentials,
    /// No live session.
    NotSignedIn,
    /// Too many sign-in attempts.
    TooManyAttempts,
    /// `X-Manzana-Csrf` is missing or of another session.
    Csrf,
    /// `Origin` is missing or not the console's.
    Origin,
    /// `Host` is not the console's.
    Misdirected,
    /// Policy denied it.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It changed meanwhile.
    Conflict,
    /// A field is missing or out of bounds.
    Invalid,
    /// No such method here.
    MethodNotAllowed,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON by its type.
    UnsupportedMediaType,
    /// Nothing could be written.
    StorageFull,
    /// Worth trying again in a moment.
    Busy,
    /// It took too long.
    Timeout,
    /// Ours.
    Internal,
}

impl Code {
    /// The status code of an answer with this error.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadCredentials | Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Csrf | Self::Origin | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error on its way to a browser.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: &'static str,
    /// Seconds after which trying again makes sense.
    retry_after: Option<u64>,
}

impl ApiError {
    /// With the general sentence of its code.
    #[must_use]
    pub fn new(code: Code) -> Self {
        let retry_after = matches!(code, Code::Busy | Code::Timeout).then_some(2);
        Self {
            code,
            message: strings::message(code),
            retry_after,
        }
    }

    /// A field that is missing or out of bounds.
    #[must_use]
    pub fn invalid(field: &'static str) -> Self {
        Self {
            message: strings::invalid(field),
            ..Self::new(Code::Invalid)
        }
    }

    /// Ours; `what` goes to the log only.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(error = %what, "console request failed");
        Self::new(Code::Internal)
    }
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::NotFound => Self::new(Code::NotFound),
            DeskError::Forbidden { rule } => {
                tracing::info!(rule, "act forbidden");
                Self {
                    message: strings::forbidden(rule),
                    ..Self::new(Code::Forbidden)
                }
            }
            DeskError::Conflict { reason } => {
                tracing::info!(reason, "act in conflict");
                Self::new(Code::Conflict)
            }
            DeskError::Invalid { field } => Self::invalid(field),
            DeskError::StorageFull => {
                tracing::error!("storage is full: nothing was written");
                Self::new(Code::StorageFull)
            }
            DeskError::Busy => Self::new(Code::Busy),
            DeskError::Internal(inner) => Self::internal(inner),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::BadCredentials => Self::new(Code::BadCredentials),
            AuthError::Limited { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(Code::TooManyAttempts)
            },
            AuthError::Busy => Self::new(Code::Busy),
            AuthError::Desk(inner) => inner.into(),
            AuthError::Internal(inner) => Self::internal(inner),
        }
    }
}

#[derive(Serialize)]
struct Envelope {
    error: Body,
}

#[derive(Serialize)]
struct Body {
    code: Code,
    message: &'static str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Envelope {
            error: Body {
                code: self.code,
                message: self.message,
            },
        };
        let mut response = (self.code.status(), Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
