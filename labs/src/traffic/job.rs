//! What a client is told to do, and what it reports.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "kebab-case")]
pub enum Job {
    /// One TCP connection per port, closed with RST so that the same tuples can be used again. Prints `Vec<Reply>`.
    Ask(Ask),
    /// One datagram per port. Prints `Vec<Reply>`.
    AskUdp(Ask),
    /// Prints [`BulkReport`].
    Bulk(Bulk),
    /// Prints one [`Opened`] line when every connection is open or has failed, then, once stdin is closed,
    /// `Vec<Held>`.
    Hold(Hold),
    /// New TCP connections at a steady pace until stdin is closed; prints `Vec<Reply>`.
    Arrive(Arrive),
    /// Traffic that nobody should answer. Prints `Vec<Knocked>`.
    Knock(Knock),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub target: SocketAddr,
    pub source: IpAddr,
    pub ports: Vec<u16>,
    /// Connections at the same time.
    pub parallel: usize,
    /// For each connection.
    pub limit_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulk {
    pub target: SocketAddr,
    pub source: IpAddr,
    /// The upload's port; the download has the next one.
    pub port: u16,
    pub up: u64,
    pub down: u64,
    /// Without any progress.
    pub stall_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub target: SocketAddr,
    pub source: IpAddr,
    pub ports: Vec<u16>,
    /// Bytes of each frame.
    pub payload: u32,
    /// Pause between frames of one connection.
    pub interval_ms: u64,
    /// A frame that takes longer ends the connection as failed.
    pub give_up_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrive {
    pub target: SocketAddr,
    pub source: IpAddr,
    /// Ports are taken in turn and used again after the last.
    pub ports: Vec<u16>,
    pub interval_ms: u64,
    pub limit_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Destination ports are the VIP's undefined ones, one knock each.
    pub targets: Vec<SocketAddr>,
    pub source: IpAddr,
    pub udp: bool,
    /// How long to listen for an answer. Below a second a SYN is sent once.
    pub wait_ms: u64,
}

/// One connection or datagram and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub port: u16,
    /// Milliseconds since 1970 when it began.
    pub at_ms: u64,
    pub took_ms: u64,
    /// The server's name; `None` when there was no complete answer.
    pub server: Option<String>,
    /// The client as the server sees it.
    pub seen: Option<SocketAddr>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkReport {
    pub up: Transfer,
    pub down: Transfer,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub server: Option<String>,
    /// Checked bytes.
    pub bytes: u64,
    pub took_ms: u64,
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub open: usize,
    pub failed: usize,
}

/// A long connection from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub port: u16,
    pub server: Option<String>,
    /// Frames that came back right.
    pub frames: u64,
    pub bytes: u64,
    /// Longest time that a frame needed to come back, and when it was sent.
    pub worst_ms: u64,
    pub worst_at_ms: u64,
    pub failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub at_ms: u64,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Never opened.
    NotOpened,
    Reset,
    /// The server closed it.
    Closed,
    /// A frame did not come back in time.
    Stalled,
    WrongBytes,
    Other,
}

/// What came back from a port that should be silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knocked {
    pub target: SocketAddr,
    /// `None`: nothing, as it should be.
    pub answer: Option<String>,
}

/// The clock of all reports: the nodes share the machine's.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
