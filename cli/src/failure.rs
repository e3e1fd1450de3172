//! What went wrong, as a line for people and an exit code for programs.

use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::document::{self, Document};

/// Exit codes: stable, documented in the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    // 2, usage, is clap's.
    NotFound = 3,
    Invalid = 4,
    Unreachable = 5,
    Degraded = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{target}: cannot reach the node: {reason}")]
    Unreachable { target: String, reason: String },
    #[error("{target}: {}", answer(.status))]
    Refused { target: String, status: Box<Status> },
    #[error("{0}")]
    Document(#[from] document::Error),
    #[error("{message}")]
    Ended { exit: Exit, message: String },
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// A call's status; one that never reached the node counts as unreachable.
    pub(crate) fn of(target: &str, status: Status) -> Self {
        let target = target.to_owned();
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
                Self::Unreachable { target, reason: status.message().to_owned() }
            }
            _ => Self::Refused { target, status: Box::new(status) },
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Refused { status, .. } => match status.code() {
                Code::NotFound => Exit::NotFound,
                Code::InvalidArgument => Exit::Invalid,
                _ => Exit::Failed,
            },
            Self::Document(document::Error::Faults(_)) => Exit::Invalid,
            Self::Document(document::Error::Read { .. }) => Exit::Failed,
            Self::Ended { exit, .. } => *exit,
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) => Exit::Failed,
        }
    }

    /// The lines for standard error. Violations stand one per line with their path, and with the place in `document`.
    pub(crate) fn lines(&self, document: Option<&Document>) -> Vec<String> {
        let Self::Refused { target, status } = self else {
            return self.to_string().lines().map(str::to_owned).collect();
        };
        let details = status.get_error_details();
        let mut lines = vec![format!("error: {self}")];
        if let Some(bad) = details.bad_request() {
            let count = bad.field_violations.len();
            let s = if count == 1 { "" } else { "s" };
            lines = vec![format!("error: {target}: {count} violation{s}")];
            lines.extend(bad.field_violations.iter().map(|violation| {
                let path = violation.field.strip_prefix("config.").unwrap_or(&violation.field);
                match document.and_then(|document| document.place(path)) {
                    Some(place) => format!("{place}: {}: {}", violation.field, violation.description),
                    None => format!("{}: {}", violation.field, violation.description),
                }
            }));
        }
        lines
    }
}

fn answer(status: &Status) -> String {
    if status.message().is_empty() { format!("{:?}", status.code()) } else { status.message().to_owned() }
}
