//! What could not be answered: problem details of RFC 9457 for programs, a page for people.

use axum::http::StatusCode;
use serde::Serialize;

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// What is wrong and how it is mended; it repeats no secret and no query text.
    pub detail: String,
}

/// The body that RFC 9457 describes.
#[derive(Debug, Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// The request is wrong.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What is asked for is not there.
    pub fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Something failed that is not the request's fault. The cause is logged, not told.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        let mut causes = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            causes = format!("{causes}: {cause}");
            source = cause.source();
        }
        if causes.contains("INTERRUPT Error") {
            // Only work that nobody waits for is interrupted.
            tracing::debug!(error = causes, "a request was given up");
        } else {
            tracing::error!(error = causes, "a request could not be answered");
        }
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer could not be computed; the server's log says why",
        )
    }

    /// What the status is called.
    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    /// As `application/problem+json`.
    pub fn json(&self) -> String {
        let details = Details {
            r#type: "about:blank",
            title: self.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        serde_json::to_string(&details).unwrap_or_default()
    }
}

impl From<crate::Error> for Problem {
    fn from(error: crate::Error) -> Self {
        match &error {
            crate::Error::NoTeam { .. } => Self::missing(error.to_string()),
            crate::Error::Week { .. } | crate::Error::Zone { .. } => Self::bad(error.to_string()),
            _ => Self::failed(&error),
        }
    }
}
