//! What to probe and how, and what is known about it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// A probed endpoint, named by its owner (for vipcast: pool and backend).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(pub String);

/// The whole wanted set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub targets: BTreeMap<Target, Check>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub probe: Probe,
    /// Time from the start of one probe to the start of the next, jittered by at most a tenth.
    pub interval: Duration,
    /// A probe without a result after this time has failed.
    pub timeout: Duration,
    /// Good probes in a row that make a target up.
    pub rise: u32,
    /// Failed probes in a row that make it down.
    pub fall: u32,
    /// State to start from, when it is known from before a restart. Looked at once, when the target is new (or its
    /// address is).
    pub initial: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// TCP connect to the address.
    Tcp { address: SocketAddr },
    /// HTTP/1.1 GET.
    Http {
        address: SocketAddr,
        host: String,
        path: String,
        /// Inclusive ranges of good status codes.
        expect_status: Vec<(u16, u16)>,
        /// The body must contain this text (first 64 KiB are read).
        expect_body: Option<String>,
    },
}

impl Probe {
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp { address } | Self::Http { address, .. } => *address,
        }
    }
}

/// Why a probe failed. The text is what the operator reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    #[error("connection refused")]
    Refused,
    #[error("connection reset by the server")]
    Reset,
    #[error("no route to the address")]
    NoRoute,
    #[error("no answer to the connection request")]
    NoAnswer,
    #[error("timed out after {after:?} while {stage}")]
    TimedOut { after: Duration, stage: Stage },
    #[error("connection closed before the whole answer")]
    ClosedEarly,
    #[error("status {0}")]
    Status(u16),
    /// The body, as far as it was read, does not contain the wanted text.
    #[error("body lacks \"{0}\"")]
    BodyLacks(String),
    #[error("the answer is not HTTP/1.1: {0}")]
    NotHttp(String),
    /// The check itself cannot be sent: host or path are not valid HTTP.
    #[error("the request cannot be made: {0}")]
    BadRequest(String),
    #[error("{0}")]
    Io(String),
}

/// How far a probe had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Connect,
    Answer,
    Body,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Answer => "waiting for the answer",
            Self::Body => "reading the body",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verdict {
    /// Not yet probed often enough. Counts as down for traffic, but is shown apart.
    #[default]
    Unknown,
    Up,
    Down,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetState {
    pub verdict: Verdict,
    /// When the verdict last changed.
    pub since: SystemTime,
    /// Start of the first failed probe of the present run of failures.
    pub failing_since: Option<SystemTime>,
    /// When the last failed probe ended: the start of the clock for "last failing probe to withdraw".
    pub last_failure_at: Option<SystemTime>,
    /// Why the last failed probe failed, in an operator's words.
    pub last_error: Option<String>,
    pub probes: u64,
    pub failures: u64,
}

/// All targets, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub targets: BTreeMap<Target, TargetState>,
}
