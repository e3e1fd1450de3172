//! What the daemon gives to the API.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use model::Violations;
use proto::v1;
use tokio_stream::Stream;

/// Kinds of stored resources, in the order in which documents list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Vip,
    Pool,
    Service,
    Peer,
    EndpointRoute,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Vip, Kind::Pool, Kind::Service, Kind::Peer, Kind::EndpointRoute];

    /// The word that users write: vip, pool, service, peer, route.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Vip => "vip",
            Kind::Pool => "pool",
            Kind::Service => "service",
            Kind::Peer => "peer",
            Kind::EndpointRoute => "route",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One resource as it travels: meta, spec and, on the way out, status.
// A few of these live at a time, and the wire types are what they are: a box would be a detour in every match.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    Vip(v1::Vip),
    Pool(v1::Pool),
    Service(v1::Service),
    Peer(v1::Peer),
    EndpointRoute(v1::EndpointRoute),
}

impl Resource {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Vip(_) => Kind::Vip,
            Self::Pool(_) => Kind::Pool,
            Self::Service(_) => Kind::Service,
            Self::Peer(_) => Kind::Peer,
            Self::EndpointRoute(_) => Kind::EndpointRoute,
        }
    }

    pub fn meta(&self) -> Option<&v1::Meta> {
        match self {
            Self::Vip(vip) => vip.meta.as_ref(),
            Self::Pool(pool) => pool.meta.as_ref(),
            Self::Service(service) => service.meta.as_ref(),
            Self::Peer(peer) => peer.meta.as_ref(),
            Self::EndpointRoute(route) => route.meta.as_ref(),
        }
    }

    /// Empty when there is none.
    pub fn name(&self) -> &str {
        self.meta().map_or("", |meta| meta.name.as_str())
    }
}

/// A whole document: proto as the user wrote it. The daemon stores exactly this (specs) after `validate` accepted it.
pub type Document = v1::Config;

/// Why a call failed; becomes a gRPC status with details.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ControlError {
    #[error("invalid: {0}")]
    Invalid(Violations),
    #[error("{kind} {name} does not exist")]
    NotFound { kind: Kind, name: String },
    /// The stored etag differs from the one sent.
    #[error("{kind} {name} was changed by someone else: read it again (etag is {stored})")]
    Conflict { kind: Kind, name: String, stored: String },
    /// The request is legal but not now: `subject` says what is in the way, `remedy` what to do.
    #[error("{subject}: {remedy}")]
    Precondition { subject: String, remedy: String },
    /// A watcher did not keep up.
    #[error("the watcher fell behind: watch again from the present state")]
    Lagged,
    /// Changes since the revision that a watch asked for are not kept any more.
    #[error("revision is older than {oldest}, the oldest that is kept: watch from the present state (0)")]
    Compacted { oldest: u64 },
    #[error("internal: {0}")]
    Internal(String),
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    Updated { revision: u64, resource: Box<Resource> },
    Deleted { revision: u64, resource: Box<Resource> },
    Synced { revision: u64 },
}

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send + 'static>>;

/// The node behind the API. Writes return after the durable commit.
pub trait Control: Send + Sync + 'static {
    /// The stored resource with its present status.
    fn get(&self, kind: Kind, name: &str) -> BoxFuture<'_, Result<Resource, ControlError>>;
    /// All of a kind, sorted by name, with status.
    fn list(&self, kind: Kind) -> BoxFuture<'_, Result<Vec<Resource>, ControlError>>;
    /// Creates or replaces the spec; refuses when `meta.etag` is set and differs. Validates against the whole stored
    /// configuration. `validate_only` stores nothing.
    fn apply(&self, resource: Resource, validate_only: bool)
    -> BoxFuture<'_, Result<Resource, ControlError>>;
    fn delete(
        &self,
        kind: Kind,
        name: &str,
        etag: &str,
        validate_only: bool,
    ) -> BoxFuture<'_, Result<(), ControlError>>;
    /// Replays what is newer than `from_revision`, then follows. 0: the present state, `Synced`, then changes.
    /// A watcher that falls behind is ended with [`ControlError::Lagged`] and starts again.
    fn watch(
        &self,
        kind: Kind,
        from_revision: u64,
    ) -> BoxFuture<'_, Result<BoxStream<Result<WatchEvent, ControlError>>, ControlError>>;
    fn apply_config(
        &self,
        request: v1::ApplyConfigRequest,
    ) -> BoxFuture<'_, Result<v1::ApplyConfigResponse, ControlError>>;
    fn get_config(&self) -> BoxFuture<'_, Result<Document, ControlError>>;
    fn node_status(&self) -> BoxFuture<'_, Result<v1::NodeStatus, ControlError>>;
    fn watch_node(&self) -> BoxFuture<'_, Result<BoxStream<v1::NodeStatus>, ControlError>>;
    fn datapath(&self) -> BoxFuture<'_, Result<v1::DatapathState, ControlError>>;
}
